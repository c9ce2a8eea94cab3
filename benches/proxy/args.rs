//! The command line.
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Measures lb beside HAProxy, in one interleaved run, and prints Markdown tables.

usage: proxy [--rounds N] [--secs S] [--only a,b] [--tests x,y] [--lb PATH]

  --rounds N    rounds of every test, in each of which every product has a turn [10]
  --secs S      seconds of a run, after a short warm-up [1]
  --only a,b    products: lb haproxy haproxy-splice direct [all that are here]
  --tests x,y   newconn  a new connection for each small request, 64 at once
                small    small requests and replies on 64 kept connections
                bulk1    one download without end
                bulk8    eight of them
                calls    system calls for each exchange (needs perf as root, or strace)
                idle     memory, threads and wake-ups with 1 000 and 9 000 idle connections
                [all]
  --lb PATH     the binary to measure [lb beside this program]

HAProxy is looked for in $PATH and /usr/sbin (Debian: apt-get install haproxy). The proxy runs on one CPU, load and
backends on another. CPU is the kernel's exact time of the proxy's process divided by all the work done; ratios are
to HAProxy within a round, and of those the median. `noise` is what others used, in CPUs: a run with more than 10 % is
repeated up to two times and the quietest is kept. Where `proxy CPU` is well below 100 %, the load was the limit:
compare CPU, not rates. Only loopback addresses are used.";

/// Names of all tests.
pub(crate) const TEST_NAMES: [&str; 6] = ["newconn", "small", "bulk1", "bulk8", "calls", "idle"];

/// Names of all products.
const PRODUCT_NAMES: [&str; 4] = ["lb", "haproxy", "haproxy-splice", "direct"];

/// What to measure.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) run: Duration,
    pub(crate) only: Vec<String>,
    pub(crate) tests: Vec<String>,
    pub(crate) lb: PathBuf,
}

impl Args {
    /// From the command line; what is wrong with it otherwise.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let beside = std::env::current_exe().map(|exe| exe.with_file_name("lb")).unwrap_or_default();
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (only, tests) = (all(&PRODUCT_NAMES), all(&TEST_NAMES));
        let mut args = Self { rounds: 10, run: Duration::from_secs(1), only, tests, lb: beside };
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("{flag}: a value is missing; see --help"))?;
            let wrong = || format!("{flag}: {value:?} is not understood; see --help");
            match flag.as_str() {
                "--rounds" => args.rounds = value.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(wrong)?,
                "--secs" => args.run = seconds(&value).ok_or_else(wrong)?,
                "--only" => args.only = names(&value, &PRODUCT_NAMES).ok_or_else(wrong)?,
                "--tests" => args.tests = names(&value, &TEST_NAMES).ok_or_else(wrong)?,
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
    fn names_and_numbers_that_make_no_sense_are_refused() {
        let args = parse("--rounds 3 --secs 0.5 --only lb,direct --tests small").unwrap();
        assert_eq!((args.rounds, args.run), (3, Duration::from_millis(500)));
        assert!(args.wants("small") && !args.wants("idle"));
        for line in ["--rounds 0", "--secs 1e9", "--only apache", "--tests", "--fast 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
