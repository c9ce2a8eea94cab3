//! The command line: balance's flags, and those for what balance cannot do.

mod file;
mod help;
mod http;
mod read;
mod values;

use std::{net::IpAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::Parser;
use lb_core::{SelectorKind, selector::Metric};
use lb_net::{
    config::UserName,
    proxy_protocol::{Networks, Version},
    sys::Keepalive,
};

pub(crate) use self::{
    file::{Check, Diff, Run, Schema},
    help::{CHECK, CHECKS, DIFF, ENVIRONMENT, EXAMPLES, FILES, RUN, SAID, SIGNALS, STATUSES, SYNOPSIS, WORDS},
    http::Http,
    read::parse,
    values::{Page, Race},
};
use self::{
    help::{CHOICE, CONTROL, HEALTH, LISTEN, LOGS, PROCESS, SESSIONS},
    values::{demo_port, directory, positive_seconds, seconds, workers},
};
use crate::{
    failure::{Failure, Status},
    log::Format,
};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Balance(Box<Balance>),
    Demo(Demo),
    /// All services of a configuration file.
    Run(Run),
    Check(Check),
    Diff(Diff),
    Schema,
    /// Help, or the version.
    Print(String),
    /// The manual page, or completions for a shell (`--generate`).
    Generate(Page),
}

/// Balances TCP connections or HTTP requests over backends, with failover, limits and affinity.
#[derive(Debug, Parser)]
#[command(name = "lb", version, after_help = help::after(), args_override_self = true, max_term_width = 120)]
#[command(override_usage = SYNOPSIS.join("\n       "))]
pub(crate) struct Balance {
    /// Listen on this address or host name; by default on all addresses, IPv4 and IPv6
    #[arg(short = 'b', value_name = "ADDRESS", help_heading = LISTEN)]
    pub(crate) bind: Option<String>,

    /// Listen on IPv6, and on IPv4 through it; what -b names is looked up as IPv6
    #[arg(short = '6', help_heading = LISTEN)]
    pub(crate) ipv6: bool,

    /// Worker threads; by default as many as there are cores, at most 4
    #[arg(long, value_name = "N", value_parser = workers, allow_negative_numbers = true, help_heading = LISTEN)]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Believe the PROXY protocol (v1 or v2) from these networks, such as 10.0.0.0/8,fd00::/8; who connects from
    /// elsewhere is served as ever, and who is in them and does not begin with a valid header is not served
    #[arg(long, value_name = "NETWORKS", help_heading = LISTEN)]
    pub(crate) accept_proxy: Option<Networks>,

    /// Who chooses in groups without '%': round-robin, least-loaded, peak-ewma, random, hash, bucket-fill; by default
    /// round-robin, with --http least-loaded
    #[arg(long, value_name = "SELECTOR", help_heading = CHOICE)]
    pub(crate) select: Option<SelectorKind>,

    /// In '%' groups another backend takes over when a client's own cannot; without it the next group does
    #[arg(short = 'H', help_heading = CHOICE)]
    pub(crate) hash_failover: bool,

    /// Give up a connect after this time; fractions are welcome
    #[arg(short = 't', value_name = "SECONDS", default_value = "5", value_parser = positive_seconds,
          allow_negative_numbers = true, help_heading = CHOICE)]
    pub(crate) connect_timeout: Duration,

    /// Try the next backend alongside one that has been silent for so many milliseconds; off: one after the other
    #[arg(long, value_name = "MS|off", default_value = "250", allow_negative_numbers = true, help_heading = CHOICE)]
    pub(crate) race: Race,

    /// Connect to backends from this address or host name
    #[arg(short = 'B', value_name = "ADDRESS", help_heading = CHOICE)]
    pub(crate) source: Option<String>,

    /// Ask for the addresses of host names again this often, and at SIGHUP; 0: only then. The last good answer holds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, allow_negative_numbers = true,
          help_heading = CHOICE)]
    pub(crate) resolve_every: Duration,

    /// A backend that cannot be connected to is not used again while another one is up, until it is enabled by hand
    /// or by monitoring
    #[arg(short = 'a', help_heading = HEALTH)]
    pub(crate) autodisable: bool,

    /// Like -a, but the backend is tried again after this time
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, allow_negative_numbers = true,
          help_heading = HEALTH)]
    pub(crate) autodisable_for: Option<Duration>,

    /// Check backends at intervals, for example connect:timeout=0.3:interval=1 (see below); in the background a command's
    /// working directory is /
    #[arg(short = 'm', value_name = "SPEC", help_heading = HEALTH)]
    pub(crate) monitor: Option<String>,

    /// Close a session in which no byte has moved for this time; 0 is never
    #[arg(short = 'T', value_name = "SECONDS", default_value = "0", value_parser = seconds,
          allow_negative_numbers = true, help_heading = SESSIONS)]
    pub(crate) idle_timeout: Duration,

    /// TCP keepalive towards clients: seconds of silence before the first question, seconds between questions, how many
    /// stay unanswered before the connection is given up. Without it the system's times hold
    #[arg(short = 'k', value_name = "T,I,P", help_heading = SESSIONS)]
    pub(crate) client_keepalive: Option<Keepalive>,

    /// The same towards backends
    #[arg(short = 'K', value_name = "T,I,P", help_heading = SESSIONS)]
    pub(crate) backend_keepalive: Option<Keepalive>,

    /// Tell backends the client's address: each connection begins with a header of the PROXY protocol, v1 or v2
    #[arg(long, value_name = "VERSION", help_heading = SESSIONS)]
    pub(crate) send_proxy: Option<Version>,

    /// When stopped by TERM, INT or QUIT, let sessions go on for this time
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, allow_negative_numbers = true,
          help_heading = SESSIONS)]
    pub(crate) grace: Duration,

    /// Open a shell on the lb that listens on PORT (and on the same -b): 'help' lists its commands
    #[arg(short = 'i', conflicts_with = "command", help_heading = CONTROL)]
    pub(crate) interactive: bool,

    /// Run commands of that shell, such as 'show' or 'group 1; disable 0'; one that fails is a failure
    #[arg(short = 'c', value_name = "COMMANDS", help_heading = CONTROL)]
    pub(crate) command: Option<String>,

    /// Where the socket for -i and -c is; by default /run/lb, or lb in the user's runtime directory when not root
    #[arg(long, value_name = "DIRECTORY", value_parser = directory, help_heading = CONTROL)]
    pub(crate) control_dir: Option<PathBuf>,

    /// Changes nothing, for scripts that have it: lb never keeps its state in shared files
    #[arg(short = 'M', help_heading = CONTROL)]
    pub(crate) mapped: bool,

    /// Stay in the foreground; without it lb goes to the background as soon as it serves
    #[arg(short = 'f', help_heading = PROCESS)]
    pub(crate) foreground: bool,

    /// Once it listens, go on as this user (names or numbers), with no right of root left
    #[arg(long, value_name = "USER[:GROUP]", help_heading = PROCESS)]
    pub(crate) user: Option<UserName>,

    /// Print this command line as a configuration file for lb run, and start nothing
    #[arg(long, help_heading = PROCESS)]
    pub(crate) print_config: bool,

    /// Trace decisions on stderr; stays in the foreground
    #[arg(short = 'd', help_heading = LOGS)]
    pub(crate) trace: bool,

    /// Print what passes on stdout, '-> ' from a client and '-< ' from a backend; stays in the foreground
    #[arg(short = 'p', help_heading = LOGS)]
    pub(crate) dump: bool,

    /// How events are logged, on stderr or from the background to syslog
    #[arg(long, value_name = "FORMAT", default_value = "human", help_heading = LOGS)]
    pub(crate) log_format: Format,

    /// The port to listen on, a number or the name of a service
    #[arg(value_name = "PORT")]
    pub(crate) port: String,

    /// Backends in order, '!' and '%' between groups
    #[arg(value_name = "backend")]
    pub(crate) words: Vec<String>,

    #[command(flatten)]
    pub(crate) http: Http,
}

/// Shows lb at work: three backends, a balancer and some traffic in one process; backends die and come back.
///
/// Everything is on 127.0.0.1 and gone when the demo ends. The backends alpha, beta and gamma are small web servers that
/// answer with their name; ask them through the balancer, with curl or a browser, while you watch who gets what. The demo's
/// own client does so 20 times a second.
#[derive(Debug, Parser)]
#[command(name = "lb demo", version, override_usage = "lb demo [options]", after_help = help::DEMO, max_term_width = 120)]
pub(crate) struct Demo {
    /// The port to listen on, 0 for any free one; by default 8080, or any free one if that is taken
    #[arg(long, value_name = "PORT", value_parser = demo_port, allow_negative_numbers = true)]
    pub(crate) port: Option<u16>,

    /// Stop after this time; by default it goes on until q or ^C
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, allow_negative_numbers = true)]
    pub(crate) seconds: Option<Duration>,
}

impl Balance {
    /// Who chooses in groups without `%`, also in those that are made while it runs.
    pub(crate) fn selector(&self) -> SelectorKind {
        match self.select {
            Some(SelectorKind::Hash { .. }) => SelectorKind::Hash { spill: self.hash_failover },
            Some(other) => other,
            None if self.http.http => SelectorKind::LeastLoaded(Metric::InFlight),
            None => SelectorKind::RoundRobin,
        }
    }

    /// Whether it goes to the background. What writes to the terminal does not.
    pub(crate) fn is_daemon(&self) -> bool {
        !(self.foreground || self.trace || self.dump || self.http.prints())
    }
}

/// As many as there are cores, at most 4.
pub(crate) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(4)
}

/// An address by its number or its name: the first one that the system knows, of the family asked for.
pub(crate) fn address(word: &str, ipv6: bool) -> Result<IpAddr, Failure> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let found = lb_net::resolve::addresses(bare, "1").map_err(|error| Failure::chain(Status::System, &error))?;
    let mut all = found.iter().map(std::net::SocketAddr::ip);
    let wanted = if ipv6 { all.clone().find(IpAddr::is_ipv6) } else { all.next() };
    wanted.ok_or_else(|| Failure::new(Status::System, format!("'{word}' has no IPv6 address")))
}
