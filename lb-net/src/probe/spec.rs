//! balance.fm's way to write monitoring (`-m`), with its additions, and back.

use std::{fmt, net::IpAddr, num::NonZeroU32, str::FromStr, time::Duration};

use lb_core::health::RiseFall;

use super::{
    Check, CheckKind, CheckSpec, MonitorSpecError,
    kind::{OPTIONS, command, http, misplaced},
    words::{Word, number, words},
};

/// What is checked, how often, and what follows: balance.fm's `-m`. Every value is valid.
///
/// Words are joined by `:`; a backslash escapes any character (`\:`, and `\n`, `\t` as in C).
///
/// | word | | default |
/// |---|---|---|
/// | `connect` | check: a connection can be made | |
/// | `http=PATH` | check: GET of this path is answered as expected | |
/// | `command=TEXT` | check: `sh -c` ends well; `%H` is the address, `%P` the port | |
/// | `timeout=SECONDS` | of the check before it | the connect timeout, but no longer than the interval |
/// | `expect=TEXT` | of the http before it: the whole body, without white space around it; of the connect: the line it says | any |
/// | `contains=TEXT` | of the same: a part of it, in place of `expect`; of the connect: the application's words mean nothing then | any |
/// | `status=N,N-N,...` | of the http before it: good statuses | 200-299 |
/// | `header=NAME\: VALUE` | of the http before it: one more header of the request | none |
/// | `host=NAME` | of the http before it: the host that is asked for | the backend's name and port |
/// | `send=TEXT` | of the connect before it: what is said first, such as `PING\r\n` | nothing |
/// | `pass=N,N,...` | of the command before it: good exit statuses, 0 to 255 | 0 |
/// | `interval=SECONDS` | between the starts of two rounds, at least 0.01 | 60 |
/// | `jitter=FRACTION` | by what part of it each interval varies at random, 0 to 1 | 0 |
/// | `rise=N`, `fall=N` | rounds in a row that bring a backend back, or take it down | 1 |
/// | `noenable` | never bring one back | |
/// | `nodisable` | never take one down | |
/// ```
/// use lb_net::probe::MonitorSpec;
/// let spec: MonitorSpec = r"command=check --to %H\:%P:pass=0,3:interval=5:fall=2".parse()?;
/// assert_eq!(spec.interval().as_secs(), 5);
/// assert_eq!(spec.to_string(), r"command=check --to %H\:%P:pass=0,3:interval=5:fall=2");
/// # Ok::<(), lb_net::probe::MonitorSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorSpec {
    /// In the order in which they are made; there is one at least.
    checks: Vec<CheckSpec>,
    interval: Duration,
    jitter: f64,
    rise: NonZeroU32,
    fall: NonZeroU32,
    enables: bool,
    disables: bool,
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

impl MonitorSpec {
    /// The checks, in order.
    #[must_use]
    pub fn checks(&self) -> &[CheckSpec] {
        &self.checks
    }

    /// Between the starts of two rounds of a backend.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether a backend that passes is brought back (not `noenable`).
    #[must_use]
    pub fn enables(&self) -> bool {
        self.enables
    }

    /// Whether a backend that fails is taken down (not `nodisable`).
    #[must_use]
    pub fn disables(&self) -> bool {
        self.disables
    }

    /// How the balancer is to judge what is found: the `probes` of its configuration. A backend is up before its first
    /// check, as in balance.
    #[must_use]
    pub fn policy(&self) -> RiseFall {
        let policy = RiseFall::new(self.rise, self.fall).with_intervals(self.interval, self.interval);
        let mut policy = policy.assuming_up();
        policy.jitter = self.jitter;
        policy
    }

    /// The checks as they are made: where no time was said it is the connect timeout (`-t`), but no longer than the
    /// interval. Connections come from `source` (`-B`).
    pub(super) fn build(&self, connect_timeout: Duration, source: Option<IpAddr>) -> Vec<Check> {
        let timeout = connect_timeout.min(self.interval);
        let build = |check: &CheckSpec| check.build(check.timeout.unwrap_or(timeout), source);
        self.checks.iter().map(build).collect()
    }
}

impl FromStr for MonitorSpec {
    type Err = MonitorSpecError;
    fn from_str(text: &str) -> Result<Self, MonitorSpecError> {
        let one = NonZeroU32::MIN;
        let (interval, jitter, checks) = (DEFAULT_INTERVAL, 0.0, Vec::new());
        let mut spec = Self { checks, interval, jitter, rise: one, fall: one, enables: true, disables: true };
        words(text)?.iter().try_for_each(|word| spec.take(word))?;
        if spec.checks.is_empty() { Err(MonitorSpecError::NoCheck(text.to_owned())) } else { Ok(spec) }
    }
}

impl MonitorSpec {
    fn take(&mut self, word: &Word) -> Result<(), MonitorSpecError> {
        match word.key.as_str() {
            "connect" => word.bare().map(|()| self.checks.push(CheckSpec::new(CheckKind::Connect)))?,
            "http" => self.checks.push(CheckSpec::new(http(word)?)),
            "command" => self.checks.push(CheckSpec::new(command(word)?)),
            key if OPTIONS.contains(&key) => self.checks.last_mut().ok_or_else(|| misplaced(word))?.take(word)?,
            "interval" => {
                let interval = word.seconds()?;
                let long = interval >= LEAST_INTERVAL;
                self.interval = long.then_some(interval).ok_or_else(|| word.wrong("at least 0.01 seconds"))?;
            }
            "jitter" => {
                let fraction = word.value("0.1")?.parse().ok().filter(|fraction| (0.0..=1.0).contains(fraction));
                self.jitter = fraction.ok_or_else(|| word.wrong("a fraction from 0 to 1, such as 0.1"))?;
            }
            "rise" => self.rise = rounds(word)?,
            "fall" => self.fall = rounds(word)?,
            "noenable" => word.bare().map(|()| self.enables = false)?,
            "nodisable" => word.bare().map(|()| self.disables = false)?,
            _ => return Err(word.unknown()),
        }
        Ok(())
    }
}

fn rounds(word: &Word) -> Result<NonZeroU32, MonitorSpecError> {
    number(word.value("2")?).map_err(|()| word.wrong("a number from 1 to 4294967295"))
}

/// In the words it is read from; what is at its default is left out.
impl fmt::Display for MonitorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks: Vec<String> = self.checks.iter().map(ToString::to_string).collect();
        f.write_str(&checks.join(":"))?;
        if self.interval != DEFAULT_INTERVAL {
            write!(f, ":interval={}", self.interval.as_secs_f64())?;
        }
        if self.jitter > 0.0 {
            write!(f, ":jitter={}", self.jitter)?;
        }
        for (key, rounds) in [("rise", self.rise), ("fall", self.fall)] {
            if rounds != NonZeroU32::MIN {
                write!(f, ":{key}={rounds}")?;
            }
        }
        f.write_str(if self.enables { "" } else { ":noenable" })?;
        f.write_str(if self.disables { "" } else { ":nodisable" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::words::escape, *};

    fn parse(text: &str) -> Result<MonitorSpec, MonitorSpecError> {
        text.parse()
    }

    #[test]
    fn what_is_written_plainly_prints_back_as_it_was() {
        for text in [
            "connect",
            "connect:timeout=0.3:interval=1",
            "connect:command=exit 1:timeout=2:connect",
            r"command=echo a\:b\\c\nd:pass=0,3,255:timeout=0.000001",
            r"http=/health?a=b:expect=UP:status=200,300-399:timeout=1.5:interval=0.25:jitter=0.1:rise=2:fall=3",
            r"http=/:host=a.example\:80:header=X-Probe\: lb:header=X-Empty\::contains= a\: b :status=200:timeout=1",
            r"connect:send=PING\r\n:contains=+PONG:timeout=1:connect:connect:expect=UP:connect:send=x",
            "connect:noenable:nodisable",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_ways_to_write_it_mean_the_same() {
        let same = |one, other| assert_eq!(parse(one), parse(other), "{one}");
        same("interval=60:connect", "connect");
        same("interval=5:connect:interval=60", "connect");
        same("connect:timeout=5e-1", "connect:timeout=.5");
        same(r"connect:co\mmand=x\ty", "connect:command=x\ty");
        same("http=/:expect= UP ", "http=/:expect=UP");
        same("http=/:expect=DOWN:expect=UP", "http=/:expect=UP");
        same("connect:contains=UP:send=x", "connect:send=x:contains=UP");
        same(r"http=/:header=X \:\t y ", r"http=/:header=X\:y");
        same("http=/:status=200-299", "http=/");
        same("command=true:pass=0", "command=true");
        same("connect:timeout=1:timeout=2", "connect:timeout=2");
    }

    #[test]
    fn a_wrong_word_is_named_as_written_and_the_remedy_with_it() {
        let rows = [
            ("interval=5", "'interval=5' checks nothing: add connect, http=PATH or command=TEXT"),
            ("", "'' checks nothing: add connect, http=PATH or command=TEXT"),
            (
                "connect::noenable",
                r"'connect::noenable' has a colon too many: write \: for one that belongs to a value",
            ),
            ("conect", "unknown key 'conect': did you mean 'connect'?"),
            ("connect:timout=3", "unknown key 'timout=3': did you mean 'timeout'?"),
            ("connect=5", "connect=5: it takes no value: write connect"),
            ("connect:noenable=", "noenable=: it takes no value: write noenable"),
            ("http", "http: a value is missing: write http=/"),
            ("connect:timeout=", "timeout=: a value is missing: write timeout=SECONDS"),
            ("timeout=3:connect", "timeout=3: it must stand behind connect, http=PATH or command=TEXT"),
            ("command=true:connect:pass=1", "pass=1: it must stand behind command=TEXT"),
            ("http=/:expect= ", "expect= : expected more than white space"),
            ("http=health", "http=health: expected a path that begins with '/'"),
            (r"connect\", r"connect\: it ends in a backslash: write \\ for a backslash, \: for a colon"),
            ("connect:interval=0.001", "interval=0.001: expected at least 0.01 seconds"),
            ("connect:jitter=2", "jitter=2: expected a fraction from 0 to 1, such as 0.1"),
            ("connect:rise=0", "rise=0: expected a number from 1 to 4294967295"),
            ("connect:fall=+1", "fall=+1: expected a number from 1 to 4294967295"),
            ("command=x:pass=256", "pass=256: expected exit statuses from 0 to 255, such as 0,3"),
        ];
        for (text, message) in rows {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
        let all = parse("frequency=5:connect").unwrap_err().to_string();
        assert!(all.starts_with("unknown key 'frequency=5': one of connect, command, http, timeout, "), "{all}");
        for seconds in ["0", "-1", "nan", "inf", "1e99", "x", "315360001"] {
            let error = parse(&format!("connect:timeout={seconds}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("timeout={seconds}: expected seconds above 0")), "{error}");
        }
        for status in ["20", "600", "200-", "300-200", "200,", "+200", "2oo"] {
            let error = parse(&format!("http=/:status={status}")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("status={status}: expected a list of statuses")), "{error}");
        }
        assert!(parse("http=/a b").unwrap_err().to_string().contains("%20"));
    }

    #[test]
    fn a_wrong_option_is_named_as_written_and_the_remedy_with_it() {
        let rows = [
            ("connect:status=200", "status=200: it must stand behind http=PATH"),
            ("header=x:connect", "header=x: it must stand behind http=PATH"),
            ("connect:host=x", "host=x: it must stand behind http=PATH"),
            ("http=/:send=x", "send=x: it must stand behind connect"),
            ("command=true:expect=UP", "expect=UP: it must stand behind connect or http=PATH"),
            ("contains=UP:connect", "contains=UP: it must stand behind connect or http=PATH"),
            ("http=/:expct=UP", "unknown key 'expct=UP': did you mean 'expect'?"),
            ("http=/:headers=x", "unknown key 'headers=x': did you mean 'header'?"),
            ("connect:send", r"send: a value is missing: write send=PING\r\n"),
            ("connect:expect=a:contains=b", "contains=b: expected either expect=TEXT or contains=TEXT, not both"),
            ("http=/:header=X-Probe", r"header=X-Probe: expected NAME\: VALUE, such as header=X-Probe\: lb"),
            ("http=/:header=X-Probe: lb", r"header=X-Probe: expected NAME\: VALUE, such as header=X-Probe\: lb"),
            (
                r"http=/:header=a b\:c",
                r"header=a b\:c: expected a name of letters, digits and !#$%&'*+-.^_`|~ before the colon",
            ),
            (
                r"http=/:header=x\:a\nb",
                r"header=x\:a\nb: expected a value without line ends and other control characters behind the colon",
            ),
            (
                r"http=/:header=host\:a",
                r"header=host\:a: expected another header than Host: there is 'host' for that one",
            ),
            (
                r"http=/:header=Upgrade\:h2c",
                "header=Upgrade\\:h2c: expected another header than Connection, Content-Length, Transfer-Encoding and \
                 Upgrade: those are lb's own",
            ),
            ("http=/:host=a/b", "host=a/b: expected a host, such as www.example or www.example:8080"),
        ];
        for (text, message) in rows {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_check_without_a_timeout_has_the_connect_timeout_but_no_longer_than_the_interval() {
        let timeouts = |text: &str| -> Vec<u64> {
            let checks = parse(text).unwrap().build(Duration::from_secs(5), None);
            checks.iter().map(|check| check.timeout().as_secs()).collect()
        };
        assert_eq!(timeouts("connect:command=true:timeout=9"), [5, 9]);
        assert_eq!(timeouts("connect:interval=2:http=/"), [2, 2]);
    }

    #[test]
    fn the_policy_is_that_of_balance_unless_said_otherwise() {
        let policy = parse("connect:interval=7:jitter=0.5").unwrap().policy();
        assert_eq!((policy.rise.get(), policy.fall.get(), policy.interval.as_secs()), (1, 1, 7));
        assert_eq!((policy.initial, policy.jitter), (lb_core::Health::Up, 0.5));
        let policy = parse("connect:rise=2:fall=3").unwrap().policy();
        assert_eq!((policy.rise.get(), policy.fall.get()), (2, 3));
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("connect".to_owned()),
            "command=[a-z:=\\\\%\n\t ]{1,9}",
            "http=/[a-z%?=:\\\\]{0,9}",
            "timeout=[0-9]{1,8}[.]?[0-9]{0,8}",
            "interval=[0-9]{1,9}[.]?[0-9]{0,8}",
            "pass=[0-9]{1,3}(,[0-9]{1,2}){0,3}",
            "(expect|contains|send)=[ A-Zé:\r\n\\\\]{1,5}",
            "header=[a-zA-Z-]{1,3}\\\\:[ a-z\t=]{0,5}",
            "host=[a-z.]{1,5}",
            "status=[1-6][0-9]{2}(-[1-6]00)?",
            "jitter=[01]?[.][0-9]{1,20}",
            "(rise|fall)=[0-9]{1,11}",
            "no(en|dis)able",
            ".{0,5}",
        ]
    }

    proptest! {
        #[test]
        fn no_input_panics_and_what_parses_prints_back(
            text in prop_oneof![prop::collection::vec(word(), 0..6).prop_map(|words| words.join(":")), ".{0,40}"]
        ) {
            if let Ok(spec) = parse(&text) {
                prop_assert_eq!(parse(&spec.to_string()), Ok(spec));
            }
        }

        #[test]
        fn whatever_is_said_and_expected_prints_back(
            send in "\\PC{1,9}|[\r\n\t\0:\\\\= ]{1,9}", expect in "[^ ].{0,9}|[\r\n:\\\\=]{0,9}x", part: bool, http: bool
        ) {
            let (send, expect) = (escape(&send), escape(&expect));
            let main = if http { "http=/".to_owned() } else { format!("connect:send={send}") };
            let text = format!("{main}:{}={expect}", if part { "contains" } else { "expect" });
            let spec = parse(&text);
            prop_assume!(spec.is_ok() || part);
            prop_assert_eq!(parse(&spec.clone().unwrap().to_string()), spec);
        }

        #[test]
        fn checks_with_options_print_back(text in "[^\0]{1,20}", seconds in 0.01..300_000_000.0, jitter in 0.0..1.0) {
            let text = format!("command={}:timeout={seconds}:interval={seconds}:jitter={jitter}", escape(&text));
            let spec = parse(&text).unwrap();
            prop_assert_eq!(parse(&spec.to_string()), Ok(spec));
        }
    }
}
