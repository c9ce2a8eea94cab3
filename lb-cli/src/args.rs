//! The command line: balance's flags, and those for what balance cannot do.

use std::{error::Error as _, ffi::OsString, net::IpAddr, num::NonZeroUsize, str::FromStr, time::Duration};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use lb_core::SelectorKind;

use crate::failure::{Failure, Status};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Balance(Box<Balance>),
    Demo(Demo),
    /// Help, or the version.
    Print(String),
}

const EXAMPLES: &str = "\
Backends are host[:port[:max[:weight]]]. Parts may be empty, an IPv6 address
goes in brackets, a port may be a service's name. Without a port it is PORT;
max is the number of connections at a time, 0 for any number. A word '!' ends
a group: the next group is used when no backend of those before it can take a
connection. A word '%' ends a group in which a client always meets the same
backend.

Examples:
  lb 80 alpha beta                        in turn: alpha beta alpha beta ...
  lb 80 alpha::256 ! beta::64 ! spare     fill alpha, then beta, then spare
  lb 80 alpha beta gamma %                each client has its own backend
  lb -b 127.0.0.1 8080 [2001:db8::7]:80   listen on one address
  lb --select least-loaded 80 a:::3 b     a takes three times as much as b
  lb demo                                 see it work, in one process

Exit status: 0 stopped as asked, 64 usage, 65 a backend, 69 the groups,
71 the system (address in use, no permission).";

const DEMO: &str = "\
Keys, on a terminal:
  1 2 3   kill or revive a backend; a killed one refuses connections, they go to the others
  s       silence the next backend: it neither takes nor refuses, so another is tried alongside
  q, ^C   quit

Until the first key, and always without a terminal, a timer does this every few seconds: one is
killed, another falls silent, both come back. At the end it says who has answered how often.

Exit status: 0 stopped as asked, 64 usage, 71 the system (the port is in use).";

/// Balances TCP connections over backends, with failover, limits and affinity.
#[derive(Debug, Parser)]
#[command(name = "lb", version, after_help = EXAMPLES, args_override_self = true, max_term_width = 120)]
#[command(override_usage = "lb [options] PORT backend... [!|%]\n       lb demo [options]")]
pub(crate) struct Balance {
    /// Listen on this address or host name; by default on all addresses, IPv4 and IPv6
    #[arg(short = 'b', value_name = "ADDRESS")]
    pub(crate) bind: Option<String>,

    /// Connect to backends from this address or host name
    #[arg(short = 'B', value_name = "ADDRESS")]
    pub(crate) source: Option<String>,

    /// Give up a connect after this time; fractions are welcome
    #[arg(short = 't', value_name = "SECONDS", default_value = "5", value_parser = positive_seconds, allow_negative_numbers = true)]
    pub(crate) connect_timeout: Duration,

    /// Close a session in which no byte has moved for this time; 0 is never
    #[arg(short = 'T', value_name = "SECONDS", default_value = "0", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) idle_timeout: Duration,

    /// In '%' groups another backend takes over when a client's own cannot; without it the next group does
    #[arg(short = 'H')]
    pub(crate) hash_failover: bool,

    /// A backend that cannot be connected to is not used again while another one is up, until lb is restarted
    #[arg(short = 'a')]
    pub(crate) autodisable: bool,

    /// Listen on IPv6, and on IPv4 through it; what -b names is looked up as IPv6
    #[arg(short = '6')]
    pub(crate) ipv6: bool,

    /// Stay in the foreground; lb always does so at present
    #[arg(short = 'f')]
    pub(crate) foreground: bool,

    /// Who chooses in groups without '%': round-robin, least-loaded, peak-ewma, random, hash, bucket-fill
    #[arg(long, value_name = "SELECTOR", default_value = "round-robin")]
    pub(crate) select: SelectorKind,

    /// Try the next backend alongside one that has been silent for so many milliseconds; off: one after the other
    #[arg(long, value_name = "MS|off", default_value = "250", allow_negative_numbers = true)]
    pub(crate) race: Race,

    /// Worker threads; by default as many as there are cores, at most 4
    #[arg(long, value_name = "N", value_parser = workers, allow_negative_numbers = true)]
    pub(crate) workers: Option<NonZeroUsize>,

    /// When stopped by TERM, INT or QUIT, let sessions go on for this time
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) grace: Duration,

    /// The port to listen on, a number or the name of a service
    #[arg(value_name = "PORT", required = true)]
    pub(crate) port: String,

    /// Backends in order, '!' and '%' between groups
    #[arg(value_name = "backend")]
    pub(crate) words: Vec<String>,
}

/// Shows lb at work: three backends, a balancer and some traffic in one process; backends die and come back.
///
/// Everything is on 127.0.0.1 and gone when the demo ends. The backends alpha, beta and gamma are small web servers that
/// answer with their name; ask them through the balancer, with curl or a browser, while you watch who gets what. The demo's
/// own client does so 20 times a second.
#[derive(Debug, Parser)]
#[command(name = "lb demo", version, override_usage = "lb demo [options]", after_help = DEMO, max_term_width = 120)]
pub(crate) struct Demo {
    /// The port to listen on, 0 for any free one; by default 8080, or any free one if that is taken
    #[arg(long, value_name = "PORT", value_parser = demo_port, allow_negative_numbers = true)]
    pub(crate) port: Option<u16>,

    /// Stop after this time; by default it goes on until q or ^C
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, allow_negative_numbers = true)]
    pub(crate) seconds: Option<Duration>,
}

/// How long a backend may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Race(pub(crate) Option<Duration>);

impl FromStr for Race {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == "off" {
            return Ok(Self(None));
        }
        let millis = word.parse::<u32>().ok().filter(|millis| *millis > 0);
        let millis = millis.ok_or("not a number of milliseconds from 1 to 4294967295, and not 'off'")?;
        Ok(Self(Some(Duration::from_millis(u64::from(millis)))))
    }
}

fn seconds(word: &str) -> Result<Duration, &'static str> {
    const DAYS: f64 = 36_500.0 * 86_400.0;
    let known = word.parse().ok().filter(|seconds: &f64| (0.0..=DAYS).contains(seconds));
    // What is not 0 is no 0, however short.
    let time = |seconds| {
        if seconds > 0.0 { Duration::from_secs_f64(seconds).max(Duration::from_millis(1)) } else { Duration::ZERO }
    };
    known.map(time).ok_or("not a number of seconds, 0 or more")
}

fn positive_seconds(word: &str) -> Result<Duration, &'static str> {
    seconds(word).ok().filter(|time| !time.is_zero()).ok_or("not a number of seconds above 0")
}

fn demo_port(word: &str) -> Result<u16, &'static str> {
    word.parse().map_err(|_| "not a port from 1 to 65535, nor 0 for any free one")
}

fn workers(word: &str) -> Result<NonZeroUsize, &'static str> {
    let known = word.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= 1024);
    known.ok_or("not a number from 1 to 1024")
}

/// Reads the command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|first| first == "demo") {
        return read::<Demo>(&arguments[1..], "lb demo").map(|demo| demo.map_or_else(Command::Print, Command::Demo));
    }
    Ok(match read::<Balance>(&arguments, "lb")? {
        Err(text) => Command::Print(text),
        Ok(balance) if balance.port == "demo" => {
            return Err(Failure::new(Status::Usage, "'demo' goes first: lb demo [options]; see lb demo --help"));
        }
        Ok(balance) => Command::Balance(Box::new(balance)),
    })
}

/// The arguments, or the help that they ask for.
fn read<A: Parser>(arguments: &[OsString], name: &str) -> Result<Result<A, String>, Failure> {
    let matches = A::command().try_get_matches_from(arguments).and_then(|matches| A::from_arg_matches(&matches));
    match matches {
        Ok(read) => Ok(Ok(read)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(usage(&error).with_remedy(&format!("see {name} --help"))),
    }
}

/// clap's complaint in our words, with what was typed and the nearest that exists.
fn usage(error: &clap::Error) -> Failure {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.as_str(),
        Some(ContextValue::Strings(words)) => words.first().map_or("", String::as_str),
        _ => "",
    };
    let (argument, value) = (word(ContextKind::InvalidArg), word(ContextKind::InvalidValue));
    // `-t <SECONDS>`
    let option = argument.split(' ').next().unwrap_or_default();
    let line = match (error.kind(), error.source()) {
        (ErrorKind::MissingRequiredArgument, _) => "no port to listen on: lb [options] PORT backend...".to_owned(),
        (ErrorKind::UnknownArgument, _) => match word(ContextKind::SuggestedArg) {
            _ if !argument.starts_with('-') => format!("'{argument}' is one word too many"),
            "" => format!("unknown option '{argument}'"),
            near => format!("unknown option '{argument}', did you mean '{near}'?"),
        },
        (ErrorKind::InvalidValue, _) if value.is_empty() => format!("{option} needs a value: {argument}"),
        (ErrorKind::ValueValidation, Some(why)) => format!("{option} '{value}': {why}"),
        _ => {
            let text = error.to_string();
            text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default().to_owned()
        }
    };
    Failure::new(Status::Usage, line)
}

impl Balance {
    pub(crate) fn worker_count(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.workers.map_or(cores.min(4), NonZeroUsize::get)
    }
}

/// An address by its number or its name: the first one that the system knows, of the family asked for.
pub(crate) fn address(word: &str, ipv6: bool) -> Result<IpAddr, Failure> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let found = lb_net::resolve::addresses(bare, "1").map_err(|error| Failure::chain(Status::System, &error))?;
    let mut all = found.iter().map(std::net::SocketAddr::ip);
    let wanted = if ipv6 { all.clone().find(IpAddr::is_ipv6) } else { all.next() };
    wanted.ok_or_else(|| Failure::new(Status::System, format!("'{word}' has no IPv6 address")))
}
