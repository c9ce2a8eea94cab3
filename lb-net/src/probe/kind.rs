//! One check of balance.fm's `-m`: what it does, its options, and its words.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use super::{
    Check, Exec, Http, MonitorSpecError, Probe, StatusSet, Tcp,
    words::{Word, escape, number},
};

/// One check as written.
/// ```
/// let spec: lb_net::probe::MonitorSpec = "connect:timeout=0.3".parse()?;
/// assert_eq!(spec.checks()[0].timeout.unwrap().as_millis(), 300);
/// # Ok::<(), lb_net::probe::MonitorSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckSpec {
    /// What is done.
    pub kind: CheckKind,
    /// How long it may take, if that was said.
    pub timeout: Option<Duration>,
}

/// What a check does.
/// ```
/// use lb_net::probe::{CheckKind, MonitorSpec};
/// assert_eq!("connect".parse::<MonitorSpec>()?.checks()[0].kind, CheckKind::Connect);
/// # Ok::<(), lb_net::probe::MonitorSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckKind {
    /// [`Tcp`]
    Connect,
    /// [`Http`]
    Http {
        /// What is asked for.
        path: String,
        /// The body that is expected.
        expect: Option<String>,
        /// The statuses that are good.
        status: StatusSet,
    },
    /// [`Exec`]
    Command {
        /// What the shell is given.
        text: String,
        /// The exit statuses that are good.
        pass: Vec<u8>,
    },
}

impl CheckSpec {
    pub(super) fn new(kind: CheckKind) -> Self {
        Self { kind, timeout: None }
    }

    pub(super) fn build(&self, timeout: Duration, source: Option<IpAddr>) -> Check {
        let (name, probe): (_, Arc<dyn Probe>) = match &self.kind {
            CheckKind::Connect => {
                let probe = Tcp::default();
                ("connect".to_owned(), Arc::new(source.map_or(probe, |source| probe.with_source(source))))
            }
            CheckKind::Http { path, expect, status } => {
                let mut probe = Http::new(path).with_status(status.clone());
                if let Some(body) = expect {
                    probe = probe.with_expect(body);
                }
                (format!("http={path}"), Arc::new(source.map_or(probe.clone(), |source| probe.with_source(source))))
            }
            CheckKind::Command { text, pass } => {
                ("command".to_owned(), Arc::new(Exec::new(text).with_pass(pass.clone())))
            }
        };
        Check::new(name, probe, timeout)
    }

    /// An option behind this check.
    pub(super) fn take(&mut self, word: &Word) -> Result<(), MonitorSpecError> {
        match (word.key.as_str(), &mut self.kind) {
            ("timeout", _) => self.timeout = Some(word.seconds()?),
            ("pass", CheckKind::Command { pass, .. }) => {
                let codes: Option<_> = word.value("0")?.split(',').map(|code| number(code).ok()).collect();
                *pass = codes.ok_or_else(|| word.wrong("exit statuses from 0 to 255, such as 0,3"))?;
            }
            ("expect", CheckKind::Http { expect, .. }) => {
                let text = word.value("UP")?.trim_ascii();
                *expect = Some(text.to_owned()).filter(|text| !text.is_empty());
                expect.as_ref().ok_or_else(|| word.wrong("more than white space"))?;
            }
            ("status", CheckKind::Http { status, .. }) => {
                *status = word.value("200")?.parse().map_err(|error| match error {
                    MonitorSpecError::Value(_, expected) => word.wrong(expected),
                    other => other,
                })?;
            }
            _ => return Err(misplaced(word)),
        }
        Ok(())
    }
}

/// For an option that is behind no check of its kind.
pub(super) fn misplaced(word: &Word) -> MonitorSpecError {
    word.misplaced(match word.key.as_str() {
        "timeout" => "connect, http=PATH or command=TEXT",
        "pass" => "command=TEXT",
        _ => "http=PATH",
    })
}

pub(super) fn http(word: &Word) -> Result<CheckKind, MonitorSpecError> {
    let path = word.value("/")?.to_owned();
    if !path.starts_with('/') {
        return Err(word.wrong("a path that begins with '/'"));
    }
    if !path.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(word.wrong("a path of visible ASCII: write other letters as %20 and the like"));
    }
    Ok(CheckKind::Http { path, expect: None, status: StatusSet::default() })
}

pub(super) fn command(word: &Word) -> Result<CheckKind, MonitorSpecError> {
    let text = word.value("TEXT")?.to_owned();
    if text.contains('\0') {
        Err(word.wrong("a command without NUL"))
    } else {
        Ok(CheckKind::Command { text, pass: vec![0] })
    }
}

impl fmt::Display for CheckSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        self.timeout.iter().try_for_each(|timeout| write!(f, ":timeout={}", timeout.as_secs_f64()))
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Http { path, expect, status } => {
                write!(f, "http={}", escape(path))?;
                expect.iter().try_for_each(|body| write!(f, ":expect={}", escape(body)))?;
                if *status == StatusSet::default() { Ok(()) } else { write!(f, ":status={status}") }
            }
            Self::Command { text, pass } => {
                write!(f, "command={}", escape(text))?;
                let pass: Vec<String> = pass.iter().map(u8::to_string).collect();
                if pass == ["0"] { Ok(()) } else { write!(f, ":pass={}", pass.join(",")) }
            }
        }
    }
}
