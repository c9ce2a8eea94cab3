//! The command line.
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Measures lb beside its peers, in one interleaved run, and prints Markdown tables.

usage: proxy [--layer tcp|http] [--rounds N] [--secs S] [--workers N] [--only a,b] [--tests x,y] [--lb PATH]

  --layer tcp|http  the tests of one layer [both]
  --rounds N    rounds of every test, in each of which every product has a turn [10]
  --secs S      seconds of a run, after a short warm-up [1]
  --workers N   threads of each product, and CPUs for them [1]
  --only a,b    products: lb haproxy haproxy-splice nginx caddy direct [all that are here]
  --tests x,y   tcp   newconn      a new connection for each small request, 64 at once
                      small        small requests and replies on 64 kept connections
                      bulk1        one download without end
                      bulk8        eight of them
                      calls        system calls for each exchange (needs perf as root, or strace)
                      idle         memory, threads and wake-ups with 1 000 and 9 000 idle connections
                http  kept         GET with an answer of 2 bytes on 64 kept connections
                      close        the same with a new client connection for each request
                      answer100k   answers of 100 KiB
                      upload10m    POST of 10 MiB on 4 connections
                      rate5k       5 000 requests a second at fixed times; latency from when each was due
                      backends2    as kept, with 2 backends; with backends100 in the same rounds
                      backends100  as kept, with 100 backends
                      http-calls   system calls for each request
                      http-idle    memory, threads and wake-ups with 1 000 and 9 000 kept connections
                [all]
  --lb PATH     the binary to measure [lb beside this program]

HAProxy, nginx and Caddy are looked for in $PATH and /usr/sbin (Debian: apt-get install haproxy nginx caddy); what is not
here is left out. nginx and Caddy have part in the HTTP tests. The proxy runs on one CPU, load and backends on another;
with more workers on as many each, or all on all if there are too few. CPU is the kernel's exact time of the proxy's
processes divided by all the work done; ratios are to HAProxy within a round, and of those the median. `noise` is what
others used, in CPUs: a run with more than 10 % is repeated up to two times and the quietest is kept. Where `proxy CPU`
is well below 100 % for each worker, the load was the limit: compare CPU, not rates. Over HTTP the first request that is
not answered as it must be fails its run, and then this program. Only loopback addresses are used.";

/// Names of all tests over TCP.
const TCP_TESTS: [&str; 6] = ["newconn", "small", "bulk1", "bulk8", "calls", "idle"];

/// Names of all tests over HTTP.
const HTTP_TESTS: [&str; 9] =
    ["kept", "close", "answer100k", "upload10m", "rate5k", "backends2", "backends100", "http-calls", "http-idle"];

/// Names of all products.
const PRODUCT_NAMES: [&str; 6] = ["lb", "haproxy", "haproxy-splice", "nginx", "caddy", "direct"];

/// More would only measure how they are scheduled.
const MOST_WORKERS: usize = 64;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) run: Duration,
    pub(crate) workers: usize,
    pub(crate) only: Vec<String>,
    pub(crate) tests: Vec<String>,
    pub(crate) lb: PathBuf,
}

impl Args {
    /// From the command line; what is wrong with it otherwise.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let beside = std::env::current_exe().map(|exe| exe.with_file_name("lb")).unwrap_or_default();
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let every_test = [&TCP_TESTS[..], &HTTP_TESTS].concat();
        let (only, tests) = (all(&PRODUCT_NAMES), all(&every_test));
        let mut args = Self { rounds: 10, run: Duration::from_secs(1), workers: 1, only, tests, lb: beside };
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("{flag}: a value is missing; see --help"))?;
            let wrong = || format!("{flag}: {value:?} is not understood; see --help");
            match flag.as_str() {
                "--rounds" => args.rounds = value.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(wrong)?,
                "--secs" => args.run = seconds(&value).ok_or_else(wrong)?,
                "--workers" => args.workers = workers(&value).ok_or_else(wrong)?,
                "--layer" => args.tests = all(layer(&value).ok_or_else(wrong)?),
                "--only" => args.only = names(&value, &PRODUCT_NAMES).ok_or_else(wrong)?,
                "--tests" => args.tests = names(&value, &every_test).ok_or_else(wrong)?,
                "--lb" => args.lb = value.into(),
                _ => return Err(format!("{flag}: no such flag; see --help")),
            }
        }
        Ok(args)
    }

    /// Whether this test is wanted.
    pub(crate) fn wants(&self, test: &str) -> bool {
        self.tests.iter().any(|name| name == test)
    }
}

/// A minute at most, so that every run is bounded.
fn seconds(value: &str) -> Option<Duration> {
    let seconds: f64 = value.parse().ok()?;
    (0.05..=60.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

fn workers(value: &str) -> Option<usize> {
    value.parse().ok().filter(|workers| (1..=MOST_WORKERS).contains(workers))
}

/// The tests of a layer.
fn layer(value: &str) -> Option<&'static [&'static str]> {
    match value {
        "tcp" => Some(&TCP_TESTS),
        "http" => Some(&HTTP_TESTS),
        _ => None,
    }
}

fn names(value: &str, known: &[&str]) -> Option<Vec<String>> {
    value.split(',').map(|name| known.contains(&name).then(|| name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_test_under_load_can_be_named() {
        let known = |name| TCP_TESTS.contains(&name) || HTTP_TESTS.contains(&name);
        assert!(crate::test::TESTS.iter().all(|test| known(test.name)));
    }

    #[test]
    fn names_and_numbers_that_make_no_sense_are_refused() {
        let args = parse("--rounds 3 --secs 0.5 --only lb,direct --tests small").unwrap();
        assert_eq!((args.rounds, args.run), (3, Duration::from_millis(500)));
        assert!(args.wants("small") && !args.wants("idle"));
        let args = parse("--layer http --workers 2").unwrap();
        assert!(args.workers == 2 && args.wants("http-idle") && !args.wants("idle"));
        for line in ["--rounds 0", "--workers 0", "--layer udp", "--secs 1e9", "--only apache", "--tests", "--fast 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
