//! A pool as TOML.

use std::fmt::{self, Write as _};

use lb_core::{BackendConfig, GroupConfig, SelectorKind, Start, Status, health::Eject};

use super::{
    Initial, Pool, Probes, Time,
    write_value::{duration, quoted, time_or},
};
use crate::{
    discover::Source,
    probe::{CheckKind, CheckSpec, Expect, StatusSet},
};

/// Below the name, which is a key already.
pub(super) fn pool(text: &mut String, name: &str, pool: &Pool) -> fmt::Result {
    let config = pool.config();
    writeln!(text, "\n[pools.{name}]")?;
    pool.port().iter().try_for_each(|port| writeln!(text, "port = {port}"))?;
    writeln!(text, "selector = {}", quoted(&pool.selector().to_string()))?;
    if pool.spills() {
        writeln!(text, "spill = true")?;
    }
    writeln!(text, "start = {}", quoted(if config.start == Start::First { "first" } else { "random" }))?;
    writeln!(text, "slow_start = {}", time_or(Time::new(config.slow_start), "off"))?;
    writeln!(text, "autodisable = {}", quoted(if config.autodisable { "until enabled" } else { "off" }))?;
    pool.probes().iter().try_for_each(|probes| write_probes(text, name, probes))?;
    config.ejection.iter().try_for_each(|eject| write_ejection(text, name, eject))?;
    let mut groups = config.groups.iter().enumerate();
    groups.try_for_each(|(at, group)| write_group(text, name, group, pool.sources(at)))
}

fn write_probes(text: &mut String, name: &str, probes: &Probes) -> fmt::Result {
    let (spec, policy) = (probes.spec(), probes.policy());
    writeln!(text, "\n[pools.{name}.probes]\nchecks = [")?;
    spec.checks().iter().try_for_each(|check| writeln!(text, "  {{ {} }},", check_text(check)))?;
    writeln!(text, "]\ninterval = {}", duration(spec.interval()))?;
    writeln!(text, "jitter = {:?}", policy.jitter)?;
    writeln!(text, "rise = {}\nfall = {}", policy.rise, policy.fall)?;
    writeln!(text, "enables = {}\ndisables = {}", spec.enables(), spec.disables())?;
    writeln!(text, "initial = {}", quoted(if probes.initial() == Initial::Up { "up" } else { "unknown" }))
}

fn check_text(check: &CheckSpec) -> String {
    let mut parts = match &check.kind {
        CheckKind::Connect => vec!["connect = true".to_owned()],
        CheckKind::Exchange { send, expect } => {
            let mut parts = vec!["connect = true".to_owned()];
            parts.extend(send.as_ref().map(|text| format!("send = {}", quoted(text))));
            parts.extend(expect.as_ref().map(expected_text));
            parts
        }
        CheckKind::Http { path, host, headers, expect, status } => {
            let mut parts = vec![format!("http = {}", quoted(path))];
            parts.extend(host.as_ref().map(|host| format!("host = {}", quoted(host.as_str()))));
            let headers: Vec<String> = headers.iter().map(|header| quoted(&header.to_string())).collect();
            parts.extend((!headers.is_empty()).then(|| format!("headers = [{}]", headers.join(", "))));
            parts.extend(expect.as_ref().map(expected_text));
            let status = Some(status).filter(|status| **status != StatusSet::default());
            parts.extend(status.map(|status| format!("status = {}", quoted(&status.to_string()))));
            parts
        }
        CheckKind::Command { text, pass } => {
            let codes: Vec<String> = pass.iter().map(u8::to_string).collect();
            vec![format!("command = {}", quoted(text)), format!("pass = [{}]", codes.join(", "))]
        }
    };
    parts.extend(check.timeout.map(|timeout| format!("timeout = {}", duration(timeout))));
    parts.join(", ")
}

fn expected_text(expect: &Expect) -> String {
    match expect {
        Expect::Whole(text) => format!("expect = {}", quoted(text)),
        Expect::Part(text) => format!("expect_contains = {}", quoted(text)),
    }
}

fn write_ejection(text: &mut String, name: &str, eject: &Eject) -> fmt::Result {
    writeln!(text, "\n[pools.{name}.ejection]\nconnect_failures = {}", eject.connect_failures)?;
    if let Some(rule) = eject.request_failures {
        let window = duration(rule.window);
        writeln!(text, "request_failures = {{ clients = {}, window = {window} }}", rule.clients)?;
    }
    writeln!(text, "period = {}\nlongest = {}", duration(eject.period), duration(eject.longest))?;
    writeln!(text, "most_percent = {}", eject.most_percent)
}

fn write_group(text: &mut String, name: &str, group: &GroupConfig, sources: &[Source]) -> fmt::Result {
    writeln!(text, "\n[[pools.{name}.groups]]\nselector = {}", quoted(&group.selector.to_string()))?;
    if let SelectorKind::Hash { spill } = group.selector {
        writeln!(text, "spill = {spill}")?;
    }
    for (key, is_file) in [("nodes", true), ("dns", false)] {
        let own = sources.iter().filter(|source| matches!(source, Source::Nodes(_)) == is_file);
        let words: Vec<String> = own.map(|source| quoted(&source.to_string())).collect();
        if !words.is_empty() {
            writeln!(text, "{key} = [{}]", words.join(", "))?;
        }
    }
    if group.backends.is_empty() {
        return if sources.is_empty() { writeln!(text, "backends = []") } else { Ok(()) };
    }
    writeln!(text, "backends = [")?;
    group.backends.iter().try_for_each(|backend| writeln!(text, "  {},", backend_text(backend)))?;
    writeln!(text, "]")
}

/// As a word, if a word can say it.
fn backend_text(backend: &BackendConfig) -> String {
    if backend.status == Status::Enabled && backend.limit != Some(0) {
        return quoted(&backend.to_string());
    }
    let mut parts = vec![format!("name = {}", quoted(&backend.name))];
    parts.extend(backend.limit.map(|limit| format!("limit = {limit}")));
    parts.extend((backend.weight != 1).then(|| format!("weight = {}", backend.weight)));
    parts.extend(
        (backend.status != Status::Enabled).then(|| format!("status = {}", quoted(&backend.status.to_string()))),
    );
    format!("{{ {} }}", parts.join(", "))
}
