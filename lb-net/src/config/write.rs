//! A model as TOML, in one way only.

use std::fmt::{self, Write as _};

use lb_core::{BackendConfig, GroupConfig, SelectorKind, Start, Status, health::Eject};

use super::{
    Control, Http, Initial, LogFormat, LogTo, Model, Pool, Probes, Role, Service, Sessions, Time, TokenSource,
    write_http,
};
use crate::{
    discover::Source,
    probe::{CheckKind, CheckSpec, Expect, StatusSet},
};

impl Model {
    /// As text that [`parse`](super::parse) reads as an equal model. Equal models have the same text. A token that was
    /// written in the configuration is written here too.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        // Into memory: it does not fail.
        let _ = self.write(&mut text, Inherited::LeftOut);
        text
    }

    /// The same, with everything in each service that holds for it.
    pub(super) fn to_whole_toml(&self) -> String {
        let mut text = String::new();
        let _ = self.write(&mut text, Inherited::Written);
        text
    }

    fn write(&self, text: &mut String, inherited: Inherited) -> fmt::Result {
        let (log, process) = (self.log(), self.process());
        writeln!(text, "[log]")?;
        writeln!(text, "to = {}", quoted(log_to(log.to)))?;
        writeln!(text, "format = {}", quoted(if log.format == LogFormat::Json { "json" } else { "human" }))?;
        writeln!(text, "trace = {}\ndump = {}", log.trace, log.dump)?;
        write_control(text, self.control())?;
        writeln!(text, "\n[process]")?;
        process.user.iter().try_for_each(|user| writeln!(text, "user = {}", quoted(&user.to_string())))?;
        process.workers.iter().try_for_each(|workers| writeln!(text, "workers = {}", workers.get()))?;
        writeln!(text, "resolve_every = {}", time_or(process.resolve_every, "never"))?;
        writeln!(text, "\n[defaults]")?;
        lines(self.defaults()).iter().try_for_each(|line| writeln!(text, "{line}"))?;
        let mut services = self.services().values();
        let is_of_use = *self.http_defaults() != Http::default() || services.any(|service| service.http().is_some());
        if is_of_use || inherited == Inherited::Written {
            writeln!(text, "\n[defaults.http]")?;
            write_http::lines(self.http_defaults()).iter().try_for_each(|line| writeln!(text, "{line}"))?;
        }
        self.pools().iter().try_for_each(|(name, pool)| write_pool(text, &quoted_key(name.as_str()), pool))?;
        self.services()
            .iter()
            .try_for_each(|(name, service)| write_service(text, &quoted_key(name.as_str()), service, self, inherited))
    }
}

/// What becomes of settings that services inherit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inherited {
    LeftOut,
    Written,
}

fn write_control(text: &mut String, control: &Control) -> fmt::Result {
    if *control == Control::default() {
        return Ok(());
    }
    writeln!(text, "\n[control]")?;
    control.directory.iter().try_for_each(|directory| writeln!(text, "directory = {}", quoted(directory.as_str())))?;
    let Some(http) = &control.http else { return Ok(()) };
    writeln!(text, "http = {}", quoted(&http.address().to_string()))?;
    match http.token() {
        None => Ok(()),
        Some(TokenSource::Written(token)) => writeln!(text, "token = {}", quoted(token.reveal())),
        Some(TokenSource::File(file)) => writeln!(text, "token_file = {}", quoted(file.as_str())),
    }
}

fn log_to(to: LogTo) -> &'static str {
    match to {
        LogTo::Auto => "auto",
        LogTo::Stderr => "stderr",
        LogTo::Syslog => "syslog",
    }
}

fn lines(sessions: &Sessions) -> [String; 9] {
    let keepalive = |keepalive: Option<crate::sys::Keepalive>| or(keepalive.as_ref(), "system");
    let networks = Some(&sessions.accept_proxy).filter(|networks| !networks.is_empty());
    [
        format!("connect_timeout = {}", time(sessions.connect_timeout)),
        format!("race = {}", time_or(sessions.race, "off")),
        format!("idle_timeout = {}", time_or(sessions.idle_timeout, "never")),
        format!("grace = {}", time_or(sessions.grace, "none")),
        format!("client_keepalive = {}", keepalive(sessions.client_keepalive)),
        format!("backend_keepalive = {}", keepalive(sessions.backend_keepalive)),
        format!("accept_proxy = {}", or(networks, "off")),
        format!("send_proxy = {}", or(sessions.send_proxy.as_ref(), "off")),
        format!("source = {}", or(sessions.source.as_ref(), "any")),
    ]
}

fn write_service(text: &mut String, name: &str, service: &Service, model: &Model, inherited: Inherited) -> fmt::Result {
    writeln!(text, "\n[services.{name}]")?;
    writeln!(text, "role = {}", quoted(if service.role() == Role::Http { "http" } else { "tcp" }))?;
    let places: Vec<String> = service.listen().iter().map(|listen| quoted(&listen.to_string())).collect();
    writeln!(text, "listen = [{}]", places.join(", "))?;
    writeln!(text, "pool = {}", quoted(service.pool().as_str()))?;
    let (own, usual) = (lines(service.sessions()), lines(model.defaults()));
    // Of role http it has none of its own, whatever is inherited.
    let is_its_own = |line: &&str| service.http().is_none() || !line.starts_with("idle_timeout");
    different(&own, &usual, inherited).filter(is_its_own).try_for_each(|line| writeln!(text, "{line}"))?;
    let Some(http) = service.http() else { return Ok(()) };
    let (own, usual) = (write_http::lines(http), write_http::lines(model.http_defaults()));
    let mut own = different(&own, &usual, inherited).peekable();
    if own.peek().is_some() {
        writeln!(text, "\n[services.{name}.http]")?;
    }
    own.try_for_each(|line| writeln!(text, "{line}"))
}

/// The lines that are not inherited, or all.
fn different<'a>(own: &'a [String], usual: &'a [String], inherited: Inherited) -> impl Iterator<Item = &'a str> {
    let both = own.iter().zip(usual);
    let own = both.filter(move |(own, usual)| own != usual || inherited == Inherited::Written);
    own.map(|(own, _)| own.as_str())
}

fn write_pool(text: &mut String, name: &str, pool: &Pool) -> fmt::Result {
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

/// What was asked for, or the word for what holds without it.
pub(super) fn or(value: Option<&impl ToString>, without: &str) -> String {
    value.map_or_else(|| quoted(without), |value| quoted(&value.to_string()))
}

fn time(time: Time) -> String {
    quoted(&time.to_string())
}

pub(super) fn time_or(time: Option<Time>, without: &str) -> String {
    or(time.as_ref(), without)
}

pub(super) fn duration(duration: std::time::Duration) -> String {
    quoted(&humantime::format_duration(duration).to_string())
}

/// A name with a dot in it would be two keys.
fn quoted_key(name: &str) -> String {
    if name.contains('.') { quoted(name) } else { name.to_owned() }
}

/// A text as TOML's basic string.
/// ```
/// assert_eq!(lb_net::config::quoted("a\"b\n"), "\"a\\\"b\\u000A\"");
/// ```
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_read_as_it_was_written(text in any::<String>()) {
            let written = quoted(&text);
            let read = toml::de::DeValue::parse(&written).unwrap();
            prop_assert_eq!(read.get_ref().as_str(), Some(text.as_str()));
        }
    }
}
