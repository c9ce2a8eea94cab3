//! The options of HTTP.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use lb_net::{
    config::{self, Size, Time},
    http::{AccessFormat, AccessLogSettings, AccessTo, Edit, KeySource, Settings, Sticky},
    proxy_protocol::Networks,
};

use super::{
    Balance,
    help::HTTP,
    values::{length, positive_seconds, seconds},
};
use crate::failure::{Failure, Status};

/// What of a command line is about HTTP.
#[derive(Debug, Args)]
pub(crate) struct Http {
    /// Balance HTTP requests in place of connections: each goes to a backend, and connections are kept on both sides
    #[arg(long, help_heading = HTTP)]
    pub(crate) http: bool,

    /// The largest body of a request, such as 10MiB, or none for any; a larger one is answered with 413. By default 10GiB
    #[arg(long, value_name = "SIZE|none", allow_negative_numbers = true, help_heading = HTTP)]
    max_body: Option<MaxBody>,

    /// How long the head of a request may take; by default 10
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, allow_negative_numbers = true,
          help_heading = HTTP)]
    head_timeout: Option<Duration>,

    /// How long a backend may think about a request before its answer begins; by default 60
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, allow_negative_numbers = true,
          help_heading = HTTP)]
    first_byte_timeout: Option<Duration>,

    /// How long a whole request and its answer may take, 0 for any time; by default a day
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, help_heading = HTTP)]
    request_timeout: Option<Duration>,

    /// How many requests may wait while all backends are full; by default 1024
    #[arg(long, value_name = "LENGTH", value_parser = length, allow_negative_numbers = true, help_heading = HTTP)]
    queue: Option<u32>,

    /// What '%' groups tell clients apart by: client (the address), uri, 'header NAME', 'cookie NAME', 'query NAME'
    #[arg(long, value_name = "KEY", help_heading = HTTP)]
    pub(crate) key: Option<KeySource>,

    /// Bring a client back to its backend with a cookie of this name; without a name it is lb
    #[arg(long, value_name = "COOKIE", num_args = 0..=1, require_equals = true, default_missing_value = "lb",
          help_heading = HTTP)]
    sticky: Option<String>,

    /// Proxies in front of lb, such as 10.0.0.0/8: what they say of their clients (X-Forwarded-For) is kept and added to, and
    /// whom they name is who asks, for keys and access logs
    #[arg(long, value_name = "NETWORKS", help_heading = HTTP)]
    trusted_proxies: Option<Networks>,

    /// Change a field of each request: 'set NAME: VALUE', 'add NAME: VALUE' or 'remove NAME'; may be given several times
    #[arg(long, value_name = "CHANGE", help_heading = HTTP)]
    request_header: Vec<Edit>,

    /// The same of each answer that a backend gives
    #[arg(long, value_name = "CHANGE", help_heading = HTTP)]
    answer_header: Vec<Edit>,

    /// Write a line for each request to this file, or to stdout (-), which stays in the foreground; by default off
    #[arg(long, value_name = "FILE|-|off", help_heading = HTTP)]
    access_log: Option<Requests>,

    /// How a request is written there: common, combined, timings or json; by default combined
    #[arg(long, value_name = "FORMAT", help_heading = HTTP)]
    access_log_format: Option<AccessFormat>,
}

/// The largest body.
#[derive(Clone, Copy, Debug)]
struct MaxBody(Option<Size>);

impl FromStr for MaxBody {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self(None)),
            _ => word.parse().map(|size| Self(Some(size))).map_err(|error| error.to_string()),
        }
    }
}

/// Where requests are written to.
#[derive(Clone, Debug)]
struct Requests(Option<AccessTo>);

impl FromStr for Requests {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "off" => Ok(Self(None)),
            "-" => Ok(Self(Some(AccessTo::Stdout))),
            // From here on: the working directory changes when lb goes to the background.
            _ => {
                let path: PathBuf = std::path::absolute(word).map_err(|error| format!("not a file: {error}"))?;
                Ok(Self(Some(AccessTo::File(path))))
            }
        }
    }
}

impl Http {
    /// Whether requests are written to the terminal.
    pub(super) fn prints(&self) -> bool {
        self.access_log.as_ref().is_some_and(|log| log.0 == Some(AccessTo::Stdout))
    }

    /// An option of HTTP that is given, though the service has nothing to do with it.
    fn misplaced(&self) -> Option<&'static str> {
        let given = [
            ("--max-body", self.max_body.is_some()),
            ("--head-timeout", self.head_timeout.is_some()),
            ("--first-byte-timeout", self.first_byte_timeout.is_some()),
            ("--request-timeout", self.request_timeout.is_some()),
            ("--queue", self.queue.is_some()),
            ("--key", self.key.is_some()),
            ("--sticky", self.sticky.is_some()),
            ("--trusted-proxies", self.trusted_proxies.is_some()),
            ("--request-header", !self.request_header.is_empty()),
            ("--answer-header", !self.answer_header.is_empty()),
            ("--access-log", self.access_log.is_some()),
            ("--access-log-format", self.access_log_format.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given && !self.http).map(|(name, _)| name)
    }

    /// What all of them come to.
    ///
    /// # Errors
    /// What no configuration can say.
    pub(crate) fn settings(&self) -> Result<config::Http, Failure> {
        let mut own = Settings::default();
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut own.limits.body_bytes, self.max_body.map(|MaxBody(size)| size.map(Size::bytes)));
        set(&mut own.times.head, self.head_timeout);
        set(&mut own.times.first_byte, self.first_byte_timeout);
        set(&mut own.times.request, self.request_timeout.map(|time| Time::new(time).map(Time::get)));
        set(&mut own.queue.length, self.queue);
        set(&mut own.key, self.key.clone());
        set(&mut own.forward.trusted, self.trusted_proxies.clone());
        (own.request_edits, own.answer_edits) = (self.request_header.clone(), self.answer_header.clone());
        let usage = |error: &dyn std::error::Error| Failure::chain(Status::Usage, error);
        let sticky = self.sticky.as_deref().map(Sticky::new).transpose();
        own.sticky = sticky.map_err(|error| usage(&error).about("--sticky"))?;
        let to = self.access_log.clone().and_then(|log| log.0);
        let log = to.map(|to| AccessLogSettings::new(self.access_log_format.unwrap_or_default(), to));
        config::Http::new(own).and_then(|http| http.with_access_log(log)).map_err(|error| usage(&error))
    }
}

/// What one role cannot do and the other one can, with what to do instead.
///
/// # Errors
/// The first such.
pub(super) fn consistent(args: &Balance) -> Result<(), Failure> {
    let refused = |line: &str, remedy: &str| Err(Failure::new(Status::Usage, line).with_remedy(remedy));
    if let Some(option) = args.http.misplaced() {
        return refused(&format!("{option} is about HTTP requests, and connections are balanced"), "add --http");
    }
    match () {
        () if !args.http.http => Ok(()),
        () if args.send_proxy.is_some() => refused(
            "--send-proxy cannot go with --http: a backend connection serves one client after the other",
            "leave it out, each request says who it is from in X-Forwarded-For",
        ),
        () if args.dump => refused(
            "-p cannot go with --http: it prints sessions, and one connection has requests of many",
            "--access-log - prints a line for each request",
        ),
        () if !args.idle_timeout.is_zero() => refused(
            "-T cannot go with --http: it is about sessions in which no byte moves",
            "--head-timeout, --first-byte-timeout and --request-timeout are about requests",
        ),
        () if args.http.access_log_format.is_some() && args.http.access_log.is_none() => {
            refused("--access-log-format changes nothing without --access-log", "say where to: --access-log FILE")
        }
        () => Ok(()),
    }
}
