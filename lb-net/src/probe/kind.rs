//! One check of balance.fm's `-m`: what it does, its options, and its words.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use super::{
    Check, Exchange, Exec, Expect, Header, HeaderError, Host, Http, MonitorSpecError, Probe, StatusSet, Tcp,
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
    /// [`Exchange`]
    #[non_exhaustive]
    Exchange {
        /// What is said first.
        send: Option<String>,
        /// The answer that is expected.
        expect: Option<Expect>,
    },
    /// [`Http`]
    #[non_exhaustive]
    Http {
        /// What is asked for.
        path: String,
        /// The host that is named, if it is not the backend's own name.
        host: Option<Host>,
        /// More headers of the request.
        headers: Vec<Header>,
        /// The body that is expected.
        expect: Option<Expect>,
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
        let probe: Arc<dyn Probe> = match &self.kind {
            CheckKind::Connect => {
                let probe = Tcp::default();
                Arc::new(source.map_or(probe, |source| probe.with_source(source)))
            }
            CheckKind::Exchange { send, expect } => {
                let probe = exchange(send.as_deref(), expect.clone()).with_patience(timeout);
                let probe = Arc::new(source.map_or(probe.clone(), |source| probe.with_source(source)));
                // It ends by itself, and tells what it has heard until then.
                return Check::new(self.kind.name(), probe, timeout + AFTER_PATIENCE);
            }
            CheckKind::Http { path, host, headers, expect, status } => {
                let mut probe = Http::new(path).with_status(status.clone());
                probe = headers.iter().cloned().fold(probe, Http::with_header);
                probe = host.iter().cloned().fold(probe, Http::with_host);
                probe = expect.iter().cloned().fold(probe, Http::with_expect);
                Arc::new(source.map_or(probe.clone(), |source| probe.with_source(source)))
            }
            CheckKind::Command { text, pass } => Arc::new(Exec::new(text).with_pass(pass.clone())),
        };
        Check::new(self.kind.name(), probe, timeout)
    }

    /// An option behind this check.
    pub(super) fn take(&mut self, word: &Word) -> Result<(), MonitorSpecError> {
        if matches!(word.key.as_str(), "send" | "expect" | "contains") && self.kind == CheckKind::Connect {
            self.kind = CheckKind::Exchange { send: None, expect: None };
        }
        match (word.key.as_str(), &mut self.kind) {
            ("timeout", _) => self.timeout = Some(word.seconds()?),
            ("pass", CheckKind::Command { pass, .. }) => {
                let codes: Option<_> = word.value("0")?.split(',').map(|code| number(code).ok()).collect();
                *pass = codes.ok_or_else(|| word.wrong("exit statuses from 0 to 255, such as 0,3"))?;
            }
            ("send", CheckKind::Exchange { send, .. }) => *send = Some(word.value(r"PING\r\n")?.to_owned()),
            ("expect" | "contains", CheckKind::Exchange { expect, .. } | CheckKind::Http { expect, .. }) => {
                let new = expected(word)?;
                let is_of_a_kind = |old: &Expect| std::mem::discriminant(old) == std::mem::discriminant(&new);
                if !expect.as_ref().is_none_or(is_of_a_kind) {
                    return Err(word.wrong("either expect=TEXT or contains=TEXT, not both"));
                }
                *expect = Some(new);
            }
            ("header", CheckKind::Http { headers, .. }) => {
                let header = word.value(r"X-Probe\: lb")?;
                let needs_more = || word.wrong(r"NAME\: VALUE, such as header=X-Probe\: lb");
                header.find(':').ok_or_else(needs_more)?;
                headers.push(header.parse().map_err(|HeaderError(expected)| word.wrong(expected))?);
            }
            ("host", CheckKind::Http { host, .. }) => {
                *host = Some(word.value("NAME")?.parse().map_err(|HeaderError(expected)| word.wrong(expected))?);
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
        "send" => "connect",
        "expect" | "contains" => "connect or http=PATH",
        _ => "http=PATH",
    })
}

/// The options of checks.
pub(super) const OPTIONS: [&str; 8] = ["timeout", "pass", "expect", "contains", "status", "header", "host", "send"];
/// What may be expected, in bytes: so much is read of any answer.
const MOST_EXPECTED: usize = 4096;

/// What a check is told to expect.
fn expected(word: &Word) -> Result<Expect, MonitorSpecError> {
    let text = word.value("UP")?;
    let is_whole = word.key == "expect";
    let text = if is_whole { text.trim_ascii() } else { text };
    match text.len() {
        0 => Err(word.wrong("more than white space")),
        1..=MOST_EXPECTED => Ok(if is_whole { Expect::Whole(text.to_owned()) } else { Expect::Part(text.to_owned()) }),
        _ => Err(word.wrong("a text of at most 4096 bytes")),
    }
}

/// How long after its patience is over a check is ended that has not ended by itself.
const AFTER_PATIENCE: Duration = Duration::from_millis(100);

fn exchange(send: Option<&str>, expect: Option<Expect>) -> Exchange {
    let probe = Exchange::default().with_send(send.unwrap_or_default());
    expect.into_iter().fold(probe, Exchange::with_expect)
}

pub(super) fn http(word: &Word) -> Result<CheckKind, MonitorSpecError> {
    let path = word.value("/")?.to_owned();
    if !path.starts_with('/') {
        return Err(word.wrong("a path that begins with '/'"));
    }
    if !path.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(word.wrong("a path of visible ASCII: write other letters as %20 and the like"));
    }
    Ok(CheckKind::Http { path, host: None, headers: Vec::new(), expect: None, status: StatusSet::default() })
}

pub(super) fn command(word: &Word) -> Result<CheckKind, MonitorSpecError> {
    let text = word.value("TEXT")?.to_owned();
    if text.contains('\0') {
        Err(word.wrong("a command without NUL"))
    } else {
        Ok(CheckKind::Command { text, pass: vec![0] })
    }
}

impl CheckKind {
    /// What it is called where it is told of.
    fn name(&self) -> String {
        match self {
            Self::Connect | Self::Exchange { .. } => "connect".to_owned(),
            Self::Http { path, .. } => format!("http={path}"),
            Self::Command { .. } => "command".to_owned(),
        }
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
            Self::Exchange { send, expect } => {
                f.write_str("connect")?;
                send.iter().try_for_each(|text| write!(f, ":send={}", escape(text)))?;
                expect.iter().try_for_each(|expect| write_expected(f, expect))
            }
            Self::Http { path, host, headers, expect, status } => {
                write!(f, "http={}", escape(path))?;
                host.iter().try_for_each(|host| write!(f, ":host={}", escape(host.as_str())))?;
                headers.iter().try_for_each(|header| write!(f, ":header={}", escape(&header.to_string())))?;
                expect.iter().try_for_each(|expect| write_expected(f, expect))?;
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

fn write_expected(f: &mut fmt::Formatter<'_>, expect: &Expect) -> fmt::Result {
    match expect {
        Expect::Whole(text) => write!(f, ":expect={}", escape(text)),
        Expect::Part(text) => write!(f, ":contains={}", escape(text)),
    }
}
