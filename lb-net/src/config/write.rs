//! A model as TOML, in one way only.

use std::fmt::{self, Write as _};

use super::{
    Control, Http, LogFormat, LogTo, Model, Role, Service, Sessions, TokenSource, write_http, write_pool,
    write_value::{or, quoted, quoted_key, time, time_or},
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
        self.pools().iter().try_for_each(|(name, pool)| write_pool::pool(text, &quoted_key(name.as_str()), pool))?;
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
