//! `--print-config`: what a command line was understood to mean, as TOML.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use lb_core::{SelectorKind, Status};
use lb_net::config::quoted;

use crate::{
    args::Balance,
    log::Format,
    plan::{Plan, selector},
};

/// Every setting in force. Times are text with their unit.
pub(crate) fn text(args: &Balance, plan: &Plan) -> String {
    let mut text = String::new();
    // Into memory: it does not fail.
    let _ = settings(&mut text, args, plan).and_then(|()| groups(&mut text, plan));
    text
}

fn settings(text: &mut String, args: &Balance, plan: &Plan) -> fmt::Result {
    writeln!(text, "# What lb {} understands.\n", env!("CARGO_PKG_VERSION"))?;
    writeln!(text, "listen = {}", quoted(&plan.place.address().to_string()))?;
    writeln!(text, "workers = {}", args.worker_count())?;
    writeln!(text, "accept_proxy = {}", or(args.accept_proxy.as_ref(), "off"))?;

    writeln!(text, "\n[connect]")?;
    writeln!(text, "timeout = {}", time(args.connect_timeout))?;
    writeln!(text, "race = {}", args.race.0.map_or_else(|| quoted("off"), time))?;
    writeln!(text, "source = {}", or(plan.source.as_ref(), "any"))?;
    writeln!(text, "resolve_every = {}", or_never(args.resolve_every))?;
    writeln!(text, "send_proxy = {}", or(args.send_proxy.as_ref(), "off"))?;

    writeln!(text, "\n[health]")?;
    let back = args.autodisable_for.map(time);
    let autodisable = if args.autodisable { quoted("until enabled") } else { quoted("off") };
    writeln!(text, "autodisable = {}", back.unwrap_or(autodisable))?;
    writeln!(text, "monitor = {}", or(args.monitor.as_ref(), "off"))?;

    writeln!(text, "\n[sessions]")?;
    writeln!(text, "idle_timeout = {}", or_never(args.idle_timeout))?;
    writeln!(text, "client_keepalive = {}", or(args.client_keepalive.as_ref(), "system"))?;
    writeln!(text, "backend_keepalive = {}", or(args.backend_keepalive.as_ref(), "system"))?;
    writeln!(text, "grace = {}", time(args.grace))?;

    writeln!(text, "\n[process]")?;
    writeln!(text, "background = {}", args.is_daemon())?;
    writeln!(text, "user = {}", or(args.user.as_ref(), "unchanged"))?;
    writeln!(text, "control = {}", quoted(&plan.control.to_string_lossy()))?;

    writeln!(text, "\n[log]")?;
    writeln!(text, "to = {}", quoted(if args.is_daemon() { "syslog" } else { "stderr" }))?;
    writeln!(text, "format = {}", quoted(if args.log_format == Format::Json { "json" } else { "human" }))?;
    writeln!(text, "trace = {}", args.trace)?;
    writeln!(text, "dump = {}", args.dump)?;

    // Groups that control makes.
    writeln!(text, "\n[new_groups]")?;
    selected(text, selector(args))?;
    writeln!(text, "hash_spill = {}", args.hash_failover)
}

fn groups(text: &mut String, plan: &Plan) -> fmt::Result {
    let mut endpoints = plan.endpoints.iter();
    for group in &plan.config.groups {
        writeln!(text, "\n[[groups]]")?;
        selected(text, group.selector)?;
        for (backend, endpoint) in group.backends.iter().zip(endpoints.by_ref()) {
            let known: Vec<String> = endpoint.addresses().iter().map(|address| quoted(&address.to_string())).collect();
            writeln!(text, "\n[[groups.backends]]\nname = {}", quoted(&backend.name))?;
            writeln!(text, "addresses = [{}]", known.join(", "))?;
            let limit = backend.limit.map_or_else(|| quoted("none"), |limit| limit.to_string());
            writeln!(text, "limit = {limit}\nweight = {}", backend.weight)?;
            writeln!(text, "status = {}", quoted(status(backend.status)))?;
        }
    }
    Ok(())
}

fn selected(text: &mut String, selector: SelectorKind) -> fmt::Result {
    writeln!(text, "selector = {}", quoted(&selector.to_string()))?;
    if let SelectorKind::Hash { spill } = selector {
        writeln!(text, "spill = {spill}")?;
    }
    Ok(())
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Disabled => "disabled",
        Status::Draining => "draining",
        _ => "enabled",
    }
}

/// What was asked for, or a word that says what holds without it.
fn or(value: Option<&impl ToString>, without: &str) -> String {
    value.map_or_else(|| quoted(without), |value| quoted(&value.to_string()))
}

fn or_never(duration: Duration) -> String {
    if duration.is_zero() { quoted("never") } else { time(duration) }
}

/// `1m 30s`
fn time(duration: Duration) -> String {
    quoted(&humantime::format_duration(duration).to_string())
}
