//! The configuration file: what is planted is found, what is written is read, and nothing panics.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{num::NonZeroU16, time::Duration};

use lb_core::{
    BackendConfig, Config, GroupConfig, SelectorKind, Start, Status,
    health::{Eject, RequestFailures},
};
use lb_net::config::{
    Control, ControlHttp, Http, Initial, Listen, Log, LogFormat, LogTo, Model, Name, Pool, Probes, Process, Service,
    Sessions, Severity, Time, TokenSource, Workers, parse,
};
use lb_net::http;
use proptest::{collection::vec, prelude::*, sample::select};

/// What makes each of the mistakes below the only one.
const GOOD: &str = "
[pools.web]
groups = \"alpha:80 beta:80\"
[services.www]
listen = 80
pool = \"web\"
";

/// A mistake in place of a line, or behind the file: the line, the word and a part of the remedy.
type Mistake = (&'static str, &'static str, usize, &'static str, &'static str);

const IN_A_POOL: &[Mistake] = &[
    (L3, "groups = \"alpha:80\"\nselectr = \"hash\"", 4, "selectr", "unknown key 'selectr': did you mean 'selector'?"),
    (L3, "groups = \"alpha:80:many beta\"", 3, "alpha:80:many", "limit 'many' is not a number from 0 to 4294967295"),
    (L3, "groups = \"alpha:99999\"", 3, "alpha:99999", "port '99999' is neither a number from 1 to 65535"),
    (L3, "groups = \"! beta\"", 3, "!", "group 0 is empty: name a backend before '!'"),
    (L3, "groups = \"a:80 ::1\"", 3, "::1", "an IPv6 address goes in brackets"),
    (L3, "groups = 80", 3, "80", "expected groups in balance's words"),
    (L3, "groups = \"a:80\"\nselector = \"rond-robin\"", 4, "\"rond-robin\"", "did you mean \"round-robin\"?"),
    (L3, "groups = \"a:80\"\nslow_start = 20", 4, "20", "expected a time with its unit, such as \"20s\""),
    (L3, "groups = \"a:80\"\nslow_start = \"20 sec.\"", 4, "\"20 sec.\"", "a number and its unit"),
    (L3, "groups = \"a:80\"\nautodisable = true", 4, "true", "expected \"off\" or \"until enabled\""),
    (L3, "groups = \"a:80\"\nport = 70000", 4, "70000", "expected a number from 1 to 65535"),
    (L3, "groups = \"a:80\"\nspill = \"yes\"", 4, "\"yes\"", "expected true or false"),
    (L3, "groups = \"a:80\"\nidle_timeout = \"5m\"", 4, "idle_timeout", "it belongs in [services.NAME]"),
    (L3, "[[pools.web.groups]]\nselector = \"hash\"", 3, "[[pools.web.groups]]", "'backends' is missing: add backends"),
    (L3, "[[pools.web.groups]]\nbackends = [{ nme = \"a:80\" }]", 4, "nme", "did you mean 'name'?"),
    (L3, "[[pools.web.groups]]\nbackends = [\"a:80\", 5]", 4, "5", "expected a backend, such as \"alpha:80\""),
    (L3, "[[pools.web.groups]]\nbackends = [{ name = \"a:80\", weight = 70000 }]", 4, "70000", "from 0 to 65535"),
    (
        L3,
        "[[pools.web.groups]]\nbackends = [{ name = \"a:80\", status = \"enable\" }]",
        4,
        "\"enable\"",
        "mean \"enabled\"?",
    ),
    (L3, "[[pools.web.groups]]\nspill = true\nbackends = [\"a:80\"]", 4, "true", "it belongs to selector = \"hash\""),
];

const IN_ITS_HEALTH: &[Mistake] = &[
    (L3, "groups = \"a:80\"\nprobes = { interval = \"2s\" }", 4, "probes", "'checks' is missing: add checks"),
    (L3, "groups = \"a:80\"\nprobes.checks = [{ http = \"up\" }]", 4, "\"up\"", "expected a path that begins with '/'"),
    (
        L3,
        "groups = \"a:80\"\nprobes.checks = [{ timeout = \"1s\" }]",
        4,
        "{ timeout = \"1s\" }",
        "add one of connect = true",
    ),
    (
        L3,
        "groups = \"a:80\"\nprobes.checks = [{ command = \"x\", expect = \"UP\" }]",
        4,
        "\"UP\"",
        "a check with 'connect' or 'http'",
    ),
    (L3, "probes.checks = [{ connect = true, status = \"200\" }]", 3, "\"200\"", "a check with 'http'"),
    (L3, "probes.checks = [{ connect = true, host = \"a\" }]", 3, "\"a\"", "a check with 'http'"),
    (L3, "probes.checks = [{ http = \"/\", send = \"a\" }]", 3, "\"a\"", "it belongs to a check with 'connect'"),
    (L3, "probes.checks = [{ connect = true, send = \"\" }]", 3, "\"\"", "expected more than nothing"),
    (
        L3,
        "probes.checks = [{ http = \"/\", expect = \"a\", expect_contains = \"b\" }]",
        3,
        "\"b\"",
        "leave one of the two",
    ),
    (L3, "probes.checks = [{ http = \"/\", host = \"http://a\" }]", 3, "\"http://a\"", "such as www.example or www"),
    (
        L3,
        "probes.checks = [{ http = \"/\", headers = [\"X: y\", \"Z\"] }]",
        3,
        "\"Z\"",
        "NAME: VALUE, such as X-Probe: lb",
    ),
    (L3, "probes.checks = [{ http = \"/\", headers = \"Host: a\" }]", 3, "\"Host: a\"", "there is 'host' for that one"),
    (L3, "probes.checks = [{ http = \"/\", headers = \"Upgrade: a\" }]", 3, "\"Upgrade: a\"", "those are lb's own"),
    (L3, "probes.checks = [{ http = \"/\", headers = \"X: a\\r\\nY: b\" }]", 3, "", "without line ends"),
    (L3, "probes.checks = [{ http = \"/\", headers = 5 }]", 3, "5", "expected headers, such as \"X-Probe: lb\""),
    (L3, "probes.checks = [{ http = \"/\", contains = \"a\" }]", 3, "contains", "did you mean 'expect_contains'?"),
    (L3, "probes.checks = [{ http = \"/\", header = \"a\" }]", 3, "header", "did you mean 'headers'?"),
    (L3, "groups = \"a:80\"\nprobes.checks = [{ http = \"/\", status = \"20\" }]", 4, "\"20\"", "a list of statuses"),
    (
        L3,
        "groups = \"a:80\"\nprobes.checks = [{ command = \"x\", pass = 256 }]",
        4,
        "256",
        "expected a number from 0 to 255",
    ),
    (
        L3,
        "groups = \"a:80\"\nprobes = { checks = [{ connect = true }], interval = \"1ms\" }",
        4,
        "\"1ms\"",
        "at least 0.01",
    ),
    (L3, "groups = \"a:80\"\nprobes = { checks = [{ connect = true }], jitter = 2 }", 4, "2", "a fraction from 0 to 1"),
    (L3, "groups = \"a:80\"\nprobes = { checks = [{ connect = true }], rise = 0 }", 4, "0", "a number from 1 to"),
    (L3, "groups = \"a:80\"\nejection = { most_percent = 0 }", 4, "0", "expected a number from 1 to 100"),
    (
        L3,
        "groups = \"a:80\"\nejection = { period = \"2m\", longest = \"1m\" }",
        4,
        "\"1m\"",
        "make longest at least as long",
    ),
    (L3, "groups = \"a:80\"\nejection = { request_failures = 3 }", 4, "3", "expected a table: { clients = 3"),
];

const IN_A_SERVICE: &[Mistake] = &[
    (L5, "pool = \"web\"", 4, "www", "'listen' is missing: add listen = 80"),
    (L5, "listen = \"http\"\npool = \"web\"", 5, "\"http\"", "expected a port or address:port"),
    (L5, "listen = \"::1:80\"\npool = \"web\"", 5, "\"::1:80\"", "\"[::1]:80\""),
    (L5, "listen = []\npool = \"web\"", 5, "[]", "one place to listen at least"),
    (L5, "listen = [80, 80]\npool = \"web\"", 5, "80", "service 'www' listens on 80 already"),
    (L5, "listen = 80\npool = \"wbe\"", 6, "\"wbe\"", "there is no pool 'wbe': did you mean 'web'?"),
    (L5, "listen = 80\npool = \"web\"\nrole = \"https\"", 7, "\"https\"", "did you mean \"http\"?"),
    (L5, "listen = 80\npool = \"web\"\ntimeout = \"5s\"", 7, "timeout", "did you mean 'connect_timeout'?"),
    (L5, "listen = 80\npool = \"web\"\ngrace = \"0s\"", 7, "\"0s\"", "'0s' is not above zero, or \"none\""),
    (L5, "listen = 80\npool = \"web\"\nrace = false", 7, "false", "expected a time with its unit"),
    (L5, "listen = 80\npool = \"web\"\nclient_keepalive = \"60,10\"", 7, "\"60,10\"", "such as 60,10,3"),
    (L5, "listen = 80\npool = \"web\"\naccept_proxy = [\"10.0.0.0/33\"]", 7, "\"10.0.0.0/33\"", "such as 10.0.0.0/8"),
    (L5, "listen = 80\npool = \"web\"\nsend_proxy = \"v3\"", 7, "\"v3\"", "expected \"off\", \"v1\" or \"v2\""),
    (L5, "listen = 80\npool = \"web\"\nsource = \"lo\"", 7, "\"lo\"", "an IP address of this machine"),
];

const ELSEWHERE: &[Mistake] = &[
    ("", "[service.x]\n", 7, "service", "unknown key 'service': did you mean 'services'?"),
    ("", "[services.\"a b\"]\nlisten = 81\npool = \"web\"\n", 7, "\"a b\"", "a name of 1 to 64 letters"),
    ("", "[services.other]\nlisten = [81, 80]\npool = \"web\"\n", 8, "80", "service 'www' listens on 80 already"),
    ("", "[log]\nformat = \"xml\"\n", 8, "\"xml\"", "expected \"human\" or \"json\""),
    ("", "[log]\ndump = \"stdout\"\n", 8, "\"stdout\"", "expected true or false"),
    ("", "[process]\nworkers = 0\n", 8, "0", "expected a number from 1 to 1024"),
    ("", "[process]\nuser = \":\"\n", 8, "\":\"", "not USER or USER:GROUP"),
    ("", "[control]\ndirectory = \"run\"\n", 8, "\"run\"", "a path that begins with '/'"),
    ("", "[control]\nhttp = 9480\n", 8, "9480", "expected address:port or unix:/path in quotes"),
    ("", "[control]\nhttp = \"localhost:9480\"\n", 8, "\"localhost:9480\"", "such as \"127.0.0.1:9480\""),
    ("", "[control]\nhttp = \"unix:lb\"\n", 8, "\"unix:lb\"", "the whole path of a socket"),
    ("", "[control]\nhttp = \"0.0.0.0:9480\"\n", 8, "\"0.0.0.0:9480\"", "add token_file = \"/etc/lb/token\""),
    ("", "[control]\nhttp = \"[::]:1\"\ntoken = \"a b\"\n", 9, "\"a b\"", "`openssl rand -hex 32` prints"),
    ("", "[control]\nhttp = \"[::]:1\"\ntoken_file = \"t\"\n", 9, "\"t\"", "a path that begins with '/'"),
    ("", "[control]\ntoken = \"secret\"\n", 8, "\"secret\"", "it belongs to http: add http = \"127.0.0.1:9480\""),
    ("", "[control]\ntoken_file = \"/t\"\n", 8, "\"/t\"", "it belongs to http: add http"),
    (
        "",
        "[control]\nhttp = \"[::1]:1\"\ntoken = \"x\"\ntoken_file = \"/t\"\n",
        10,
        "\"/t\"",
        "there is a token already: leave one of the two out",
    ),
    ("", "[control]\nhtp = \"127.0.0.1:9480\"\n", 8, "htp", "did you mean 'http'?"),
    ("", "[pools.web]\nport = 5\n", 7, "web", "duplicate key"),
    ("", "[log\n", 7, "", "unclosed table"),
    (
        "",
        "[pools.bare]\ngroups = \"alpha\"\n[services.two]\nlisten = [81, 82]\npool = \"bare\"\n",
        11,
        "\"bare\"",
        "has no port",
    ),
];

/// What is written by who knows other programs, or in a hurry.
const IN_A_HURRY: &[Mistake] = &[
    (L3, "groups = alpha:80", 3, "alpha:80", "text in quotes, such as \"alpha:80\""),
    (L3, "groups = “alpha:80”", 3, "“alpha:80”", "text in quotes, such as \"alpha:80\""),
    (L3, "groups: \"alpha:80\"", 3, ":", "'=' between them: key = value"),
    (L3, "groups = \"alpha:80", 3, "", "expected `\"`"),
    (L3, "// all of them", 3, "//", "a comment begins with '#'"),
    (L3, "; all of them", 3, ";", "a comment begins with '#'"),
    (L3, "include \"other.toml\"", 3, "", "expected '=' and a value behind the key"),
    (L3, "port = 080", 3, "0", "a number does not begin with 0"),
    (L3, "start = \"first\"; port = 80", 3, "", "each key has a line of its own"),
    (L3, "groups = \"http://alpha:80\"", 3, "http://alpha:80", "is a URL, and a backend is host[:port"),
    (L3, "groups = \"alpha:80, beta:80\"", 3, "alpha:80,", "backends have spaces between them"),
    (
        L3,
        "groups = [\"alpha:80\", \"beta:80\"]",
        3,
        "[\"alpha:80\", \"beta:80\"]",
        "[[pools.NAME.groups]] with backends =",
    ),
    (L3, "[pools.web.groups]\nbackends = [\"a:80\"]", 3, "[pools.web.groups]", "it has two brackets"),
    (L3, "[[pools.web.groups]]\nbackends = [\"a:80 b:80\"]", 4, "\"a:80 b:80\"", "each backend has quotes of its own"),
    (L3, "[[pools.web.groups]]\nbackends = [\"http://a/\"]", 4, "\"http://a/\"", "is a URL"),
    (L3, "[[pools.web.groups]]\nbackends = [\"\"]", 4, "\"\"", "expected a backend, such as \"alpha:80\""),
    (L3, "[[pools.web.groups]]\nbackends = [{ name = \"a\", port = 80 }]", 4, "port", "it goes behind the name"),
    (L3, "[[pools.web.groups]]\nbackends = [{ name = \"a\", maxconn = 8 }]", 4, "maxconn", "did you mean 'limit'?"),
    (
        L3,
        "[[pools.web.groups]]\nbackends = [{ name = \"a:80:256\" }]",
        4,
        "\"a:80:256\"",
        "limit and weight have keys of their own",
    ),
    (L3, "algorithm = \"hash\"", 3, "algorithm", "did you mean 'selector'?"),
    (L3, "selector = \"ip_hash\"", 3, "\"ip_hash\"", "did you mean \"hash\"?"),
    (L3, "health_check = {}", 3, "health_check", "did you mean 'probes'?"),
    (L3, "ejection = true", 3, "true", "or ejection = {}"),
    (L3, "slow_start = \"5M\"", 3, "\"5M\"", "minutes are 5m"),
    (L3, "slow_start = \"0\"", 3, "\"0\"", "such as 30s or 250ms, or \"off\""),
    (L3, "probes.checks = [{ http = \"/\", status = 200 }]", 3, "200", "expected statuses, such as \"200\""),
    (L3, "probes.checks = [{ http = \"/\", body = \"UP\" }]", 3, "body", "did you mean 'expect'?"),
    (L3, "probes.checks = [{ connect = \"yes\" }]", 3, "\"yes\"", "expected true or false"),
    (L5, "listen = 80\npool = \"web\"\nport = 81", 7, "port", "did you mean 'listen'?"),
    (L5, "listen = 80\npool = \"web\"\nclient_keepalive = \"off\"", 7, "\"off\"", "or \"system\""),
    ("", "[probes]\n", 7, "probes", "('probes' belongs in [pools.NAME])"),
    ("", "[log]\nformat = \"JSON\"\n", 8, "\"JSON\"", "did you mean \"json\"?"),
    ("", "[log]\nlevel = \"debug\"\n", 8, "level", "did you mean 'trace'?"),
    ("", "[process]\nthreads = 4\n", 8, "threads", "did you mean 'workers'?"),
    ("[pools.web]", "[pool.web]", 2, "pool", "did you mean 'pools'?"),
];

fn planted() -> impl Iterator<Item = &'static Mistake> {
    [IN_A_POOL, IN_ITS_HEALTH, IN_A_SERVICE, IN_A_HURRY, ELSEWHERE].into_iter().flatten()
}

const L3: &str = "groups = \"alpha:80 beta:80\"";
const L5: &str = "listen = 80\npool = \"web\"";

#[test]
fn each_planted_mistake_is_found_with_its_line_its_word_and_its_remedy() {
    assert_eq!(parse(GOOD).unwrap().warnings, []);
    assert!(planted().count() >= 25);
    for &(instead_of, mistake, line, word, remedy) in planted() {
        let text = if instead_of.is_empty() { format!("{GOOD}{mistake}") } else { GOOD.replace(instead_of, mistake) };
        let problems = parse(&text).expect_err(mistake);
        let found = &problems.all()[0];
        assert_eq!((found.line, found.severity), (line, Severity::Error), "{mistake}\n{problems}");
        assert!(found.message.contains(remedy), "{mistake}: {remedy}\n{problems}");
        if !word.is_empty() {
            assert_eq!(found.word, word, "{mistake}\n{problems}");
            let shown = found.to_string();
            let [_, excerpt, caret] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
            let at = caret.find('^').unwrap();
            assert!(excerpt.chars().skip(at).collect::<String>().starts_with(word), "{shown}");
            assert_eq!(caret[at..].len(), word.chars().count(), "{shown}");
        }
        assert_eq!(problems.count(), 1, "nothing else is wrong: {problems}");
    }
}

#[test]
fn what_is_legal_and_hardly_meant_is_told() {
    let probes = |probes: &str| GOOD.replace(L3, &format!("{L3}\n[pools.web.probes]\n{probes}"));
    let rows = [
        (String::new(), "there is no service"),
        (format!("{GOOD}[pools.idle]\ngroups = \"a:1\""), "no service uses the pool 'idle'"),
        (GOOD.replace(L3, ""), "the pool 'web' has no backend"),
        (GOOD.replace(L3, "groups = \"a:80::0 b:80::0\""), "can never be reached: all of its weights are 0"),
        (
            GOOD.replace(L3, "[[pools.web.groups]]\nbackends = []\n[[pools.web.groups]]\nbackends = [\"a:1\"]"),
            "it has no backends",
        ),
        (
            GOOD.replace(L3, "[[pools.web.groups]]\nbackends = [{ name = \"a:1\", status = \"disabled\" }]"),
            "none of its backends is",
        ),
        (GOOD.replace(L3, "groups = \"a:80 fe80::1\""), "an IPv6 address goes in brackets, [fe80::1]"),
        (GOOD.replace(L3, "groups = \"a:80 | b:80\""), "'|' is taken for a host"),
        (GOOD.replace(L3, "[[pools.web.groups]]\nbackends = [{ name = \"a;b:80\" }]"), "none has a ';' in its name"),
        (GOOD.replace(L3, "groups = \"a:1\"\nspill = true"), "spill changes nothing"),
        (
            GOOD.replace(L3, "groups = \"a:1\"\nautodisable = \"until enabled\""),
            "stays out until it is enabled by hand",
        ),
        (GOOD.replace(L3, "groups = \"a:1\"\nejection = {}"), "nobody is ever ejected"),
        (GOOD.replace(L5, &format!("{L5}\nrace = \"5s\"")), "no race ever begins"),
        (format!("{GOOD}[services.two]\nlisten = \"127.0.0.1:80\"\npool = \"web\""), "is in the way of"),
        (
            probes("interval = \"1s\"\nchecks = [{ connect = true, timeout = \"2s\" }]"),
            "make timeout shorter than interval",
        ),
        (probes("checks = [{ http = \"/\", status = \"100-199\" }]\nenables = true"), ""),
        (probes("checks = [{ http = \"/\", status = \"100,102-199\" }]"), "no backend can pass this check"),
        (probes("checks = [{ http = \"/\", status = \"204\", expect = \"UP\" }]"), "have no body, and one is expected"),
        (
            probes("checks = [{ connect = true, expect = \"DRAIN: x\" }]"),
            "DRAIN is the word of applications that want no",
        ),
        (probes("checks = [{ http = \"/\", expect = \"UP 40%\" }, { http = \"/\", expect_contains = \"DOWN\" }]"), ""),
        (probes("checks = [{ http = \"/\", status = \"204\", expect_contains = \"U\" }]"), "have no body"),
        (
            probes("checks = [{ connect = true }]\nenables = false\ndisables = false\ninitial = \"up\""),
            "the checks change nothing",
        ),
        (probes("checks = [{ connect = true }]\nenables = false"), "no backend ever gets work"),
        (format!("{GOOD}[control]\nhttp = \"127.0.0.1:81\""), ""),
        (format!("{GOOD}[control]\nhttp = \"127.0.0.1:80\""), "service 'www' listens there too"),
        (format!("{GOOD}[control]\nhttp = \"unix:/x\"\ntoken = \"secret\""), "so short a token can be guessed"),
    ];
    for (text, part) in rows {
        let loaded = parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        let told: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let is_told = if part.is_empty() { told.is_empty() } else { told.concat().contains(part) };
        assert!(is_told, "{part} in {told:#?} of {text}");
    }
    let zero = GOOD.replace(L3, "[[pools.web.groups]]\nbackends = [\"b:1\", { name = \"a:1\", limit = 0 }]");
    let warning = &parse(&zero).unwrap().warnings[0];
    assert_eq!((warning.line, warning.word.as_str(), warning.severity), (4, "0", Severity::Warning), "{warning}");
}

#[test]
fn all_mistakes_are_told_but_not_more_than_20() {
    let text: String = (0..30).map(|number| format!("wrong{number} = 1\n")).collect();
    let problems = parse(&text).unwrap_err();
    assert_eq!((problems.all().len(), problems.count()), (20, 30));
    assert!(problems.to_string().ends_with("and 10 more"), "{problems}");
}

#[test]
fn the_example_is_good() {
    let loaded = parse(include_str!("../../examples/lb.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.model.pools().len(), loaded.model.services().len()), (2, 3));
    let mail = &loaded.model.pools()["mail"];
    assert_eq!((mail.port(), mail.config().groups[0].selector), (Some(2525), SelectorKind::Hash { spill: true }));
    assert_eq!(parse(&loaded.model.to_toml()).unwrap().model, loaded.model);
}

/// A file for each key of a pool.
fn pool_keys() -> Vec<String> {
    let in_pool = |line: &str| GOOD.replace(L3, &format!("{L3}\n{line}"));
    let mut texts: Vec<String> = [
        "port = 1",
        "selector = \"random\"",
        "start = \"first\"",
        "slow_start = \"1s\"",
        "autodisable = \"until enabled\"",
    ]
    .map(in_pool)
    .to_vec();
    texts.push(in_pool("selector = \"hash\""));
    texts.push(in_pool("selector = \"hash\"\nspill = true"));
    let checks = [
        "connect = true",
        "http = \"/\"",
        "command = \"true\"",
        "connect = true, timeout = \"1s\"",
        "http = \"/\", expect = \"UP\"",
        "http = \"/\", status = \"200\"",
        "http = \"/\", expect_contains = \"UP\"",
        "http = \"/\", host = \"a.example:80\"",
        "http = \"/\", headers = [\"X-Probe: lb\", \"X-Empty:\"]",
        "connect = true, send = \"PING\\r\\n\"",
        "connect = true, expect = \"UP\"",
        "connect = true, expect_contains = \"220 \"",
        "command = \"true\", pass = 1",
    ];
    texts.extend(checks.map(|check| in_pool(&format!("probes.checks = [{{ {check} }}]"))));
    let probes = [
        "interval = \"1s\"",
        "jitter = 0.5",
        "rise = 2",
        "fall = 2",
        "enables = false",
        "disables = false",
        "initial = \"up\"",
    ];
    texts.extend(probes.map(|line| in_pool(&format!("probes = {{ checks = [{{ connect = true }}], {line} }}"))));
    let ejection = [
        "",
        "connect_failures = 1",
        "period = \"1s\"",
        "longest = \"1h\"",
        "most_percent = 1",
        "request_failures = {}",
        "request_failures.clients = 1",
        "request_failures.window = \"1s\"",
    ];
    texts.extend(ejection.map(|line| in_pool(&format!("ejection = {{ {line} }}"))));
    texts
}

/// A file for each key of anything else.
fn other_keys() -> Vec<String> {
    let in_group = |group: &str| {
        GOOD.replace(L3, &format!("[[pools.web.groups]]\n{group}\nbackends = [\"alpha:80\", \"beta:80\"]"))
    };
    let in_service = |line: &str| GOOD.replace(L5, &format!("{L5}\n{line}"));
    let mut texts: Vec<String> = Vec::new();
    texts.extend(["selector = \"bucket-fill\""].map(in_group));
    texts.push(in_group("selector = \"peak-ewma\""));
    let backend =
        |part: &str| GOOD.replace(L3, &format!("[[pools.web.groups]]\nbackends = [{{ name = \"alpha:80\"{part} }}]"));
    texts.extend(["", ", limit = 3", ", weight = 3", ", status = \"draining\""].map(backend));
    texts.push(GOOD.replace("listen = 80", "listen = 81"));
    let sessions = [
        "connect_timeout = \"1s\"",
        "race = \"off\"",
        "idle_timeout = \"1s\"",
        "grace = \"none\"",
        "client_keepalive = \"1,1,1\"",
        "backend_keepalive = \"1,1,1\"",
        "accept_proxy = \"::1\"",
        "send_proxy = \"v1\"",
        "source = \"127.0.0.1\"",
    ];
    texts.extend(sessions.map(in_service));
    texts.extend(sessions.map(|line| format!("{GOOD}[defaults]\n{line}")));
    let rest = [
        "log.to = \"syslog\"",
        "log.format = \"json\"",
        "log.trace = true",
        "log.dump = true",
        "process.user = \"www\"",
        "process.workers = 1",
        "process.resolve_every = \"never\"",
        "control.directory = \"/x\"",
        "control.http = \"127.0.0.1:9480\"",
        "control.http = \"unix:/run/lb/http\"",
        "control = { http = \"127.0.0.1:9480\", token = \"0123456789abcdef\" }",
        "control = { http = \"127.0.0.1:9480\", token_file = \"/etc/lb/token\" }",
    ];
    texts.extend(rest.map(|line| format!("{line}\n{GOOD}")));
    texts
}

#[test]
fn every_key_changes_the_model() {
    let base = parse(GOOD).unwrap().model;
    let texts = [pool_keys(), other_keys()].concat();
    let mut seen = vec![base.clone()];
    for text in texts {
        let model = parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).model;
        assert!(!seen.contains(&model), "it changes nothing: {text}");
        assert!(!base.difference(&model).is_empty() && !model.difference(&base).is_empty(), "not told: {text}");
        assert_eq!(parse(&model.to_toml()).unwrap().model, model, "{text}");
        seen.push(model);
    }
}

/// Files with so many backends: in each way to write them, and with something to tell of each.
fn large(count: usize) -> Vec<String> {
    let words: Vec<String> =
        (0..count).map(|n| format!("10.{}.{}.{}:80:9:2", n / 62_500, n / 250 % 250, n % 250)).collect();
    let each = |form: &dyn Fn(&String) -> String| words.iter().map(form).collect::<String>();
    let group = |backends: String| GOOD.replace(L3, &format!("[[pools.web.groups]]\nbackends = [\n{backends}]"));
    vec![
        GOOD.replace(L3, &format!("groups = \"{}\"", words.join(" "))),
        group(each(&|word| format!("\"{word}\",\n"))),
        group(each(&|word| format!("{{ name = \"{}\", limit = 9 }},\n", &word[..word.len() - 4]))),
        group(each(&|word| format!("{{ name = \"{}\", limit = 0 }},\n", &word[..word.len() - 4]))),
        group(each(&|word| format!("\"{word}:many\",\n"))),
        GOOD.replace(L3, &each(&|word| format!("[[pools.web.groups]]\nbackends = [\"{word}\"]\n"))),
    ]
}

fn time_to_read(text: &str) -> Duration {
    let began = std::time::Instant::now();
    if let Ok(loaded) = parse(text) {
        assert!(!loaded.model.to_toml().is_empty());
    }
    began.elapsed()
}

#[test]
fn ten_times_as_many_backends_take_about_ten_times_as_long() {
    for (few, many) in large(1_000).iter().zip(&large(10_000)) {
        // A loop in a loop would take a hundred times as long. Others use this machine too: one good time will do.
        let is_fast = |_| time_to_read(many) < 30 * time_to_read(few);
        assert!((0..5).any(is_fast), "{}", &many[..200]);
    }
}

#[test]
fn what_is_told_of_ten_thousand_backends_is_counted() {
    let all = large(10_000);
    let loaded = parse(&all[3]).unwrap();
    assert_eq!((loaded.warnings.len(), loaded.warnings.len() + loaded.more_warnings), (20, 10_001));
    let problems = parse(&all[4]).unwrap_err();
    assert_eq!((problems.all().len(), problems.count()), (20, 10_000));
}

fn time() -> impl Strategy<Value = Time> {
    (0_u64..9_999_999, 1_u32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Time::new(Duration::new(seconds, nanos)).unwrap())
}

fn backend() -> impl Strategy<Value = BackendConfig> {
    let name = select(vec!["alpha", "alpha:80", "10.0.0.1:8080", "[::1]:80", "[::1]", "b.example:http", "x'y"]);
    let status = select(vec![Status::Enabled, Status::Enabled, Status::Draining, Status::Disabled]);
    (name, proptest::option::of(select(vec![0, 1, 7, u32::MAX])), select(vec![0, 1, 1, 5, u16::MAX]), status).prop_map(
        |(name, limit, weight, status)| {
            let backend = BackendConfig::new(name).with_weight(weight).with_status(status);
            limit.map_or(backend.clone(), |limit| backend.with_limit(limit))
        },
    )
}

fn group() -> impl Strategy<Value = GroupConfig> {
    let backends = vec(backend(), 0..4);
    (select(SelectorKind::ALL.to_vec()), backends).prop_map(|(kind, all)| GroupConfig::new(all).with_selector(kind))
}

fn probes() -> impl Strategy<Value = Probes> {
    let spec = select(vec![
        "connect",
        "connect:timeout=0.3:interval=1",
        r"http=/health?a=b:expect=UP:status=200,300-399:timeout=1.5:interval=0.25:jitter=0.1:rise=2:fall=3",
        r#"http=/:host=[\:\:1]\:80:header=X-\:  é=\: \\:header=X\::contains= "'\:\n:connect:expect=a\nb"#,
        r"connect:send=\r\n\: \\=:contains=\t:timeout=1:connect:send=x",
        r"command=echo a\:b\\c\n'é' %H:pass=0,3,255:timeout=0.000001:connect:noenable",
        "http=/:connect:nodisable:jitter=0.000001",
    ]);
    (spec, any::<bool>())
        .prop_map(|(spec, up)| Probes::new(spec.parse().unwrap(), if up { Initial::Up } else { Initial::Unknown }))
}

fn ejection() -> impl Strategy<Value = Eject> {
    let rule = proptest::option::of((1_u32..9, time()));
    (1_u32.., time(), time(), 1_u8..=100, rule).prop_map(|(failures, one, two, percent, rule)| {
        let (first, longest) = (one.min(two).get(), one.max(two).get());
        let eject = Eject::default().with_connect_failures(failures.try_into().unwrap());
        let eject = eject.with_periods(first, longest).with_most_percent(percent);
        rule.map_or(eject.clone(), |(clients, window)| {
            eject.with_request_failures(RequestFailures::new(clients.try_into().unwrap(), window.get()))
        })
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let times = proptest::option::of(time());
    let groups = vec(group(), 0..4);
    let health = (proptest::option::of(probes()), proptest::option::of(ejection()));
    (groups, times, health, any::<bool>(), any::<bool>(), 1_u16..).prop_map(
        |(groups, slow, health, first, auto, port)| {
            let mut config = groups.into_iter().fold(Config::default(), Config::with_group);
            config.start = if first { Start::First } else { Start::Random };
            config.slow_start = slow.map(Time::get).unwrap_or_default();
            (config.ejection, config.autodisable) = (health.1, auto);
            let pool = Pool::new(config, health.0, NonZeroU16::new(port)).unwrap();
            pool.with_new_groups(SelectorKind::ALL[usize::from(port) % SelectorKind::ALL.len()], first)
        },
    )
}

fn sessions() -> impl Strategy<Value = Sessions> {
    let times = (time(), proptest::option::of(time()), proptest::option::of(time()), proptest::option::of(time()));
    let keepalive = || proptest::option::of(select(vec!["1,1,1", "60,10,3"]));
    let networks = select(vec!["", "10.0.0.0/8", "10.0.0.0/8,fd00::/8,::1"]);
    let words =
        (networks, proptest::option::of(select(vec!["v1", "v2"])), proptest::option::of(any::<std::net::IpAddr>()));
    (times, keepalive(), keepalive(), words).prop_map(|(times, client, backend, (networks, version, source))| {
        let mut sessions = Sessions::default();
        (sessions.connect_timeout, sessions.race, sessions.idle_timeout, sessions.grace) = times;
        sessions.client_keepalive = client.map(|text| text.parse().unwrap());
        sessions.backend_keepalive = backend.map(|text| text.parse().unwrap());
        sessions.accept_proxy = networks.parse().unwrap_or_default();
        sessions.send_proxy = version.map(|text| text.parse().unwrap());
        sessions.source = source;
        sessions
    })
}

fn http_times() -> impl Strategy<Value = http::Times> {
    let some = vec(time(), 5);
    (some, proptest::option::of(time()), proptest::option::of(time())).prop_map(|(some, request, tunnel)| {
        let mut times = http::Times::default();
        (times.head, times.body, times.idle) = (some[0].get(), some[1].get(), some[2].get());
        (times.first_byte, times.between_reads) = (some[3].get(), some[4].get());
        (times.request, times.tunnel_idle) = (request.map(Time::get), tunnel.map(Time::get));
        times
    })
}

fn http_texts() -> impl Strategy<Value = (http::Settings, Option<http::AccessLogSettings>)> {
    let edit = select(vec!["set X-A: b", "add X-A: \"é\\", "remove X-C", "set X-D: "]);
    let key = select(vec!["client", "uri", "header X-User", "cookie s", "query é"]);
    let sticky = proptest::option::of((select(vec!["lb", "a!b"]), 1_u64..9_999_999));
    let log = proptest::option::of(select(vec!["json stdout", "common stderr", "timings /var/x y\"\\é"]));
    let forward =
        (any::<bool>(), select(vec!["off", "lb", "~1"]), select(vec!["client", "a.example:80", "[::1]", "x_y"]));
    (vec(edit.clone(), 0..3), vec(edit, 0..3), key, sticky, log, forward).prop_map(
        |(request, answer, key, sticky, log, (flag, via, host))| {
            let edits = |all: Vec<&str>| all.into_iter().map(|text| text.parse().unwrap()).collect();
            let mut settings = http::Settings::default();
            (settings.request_edits, settings.answer_edits) = (edits(request), edits(answer));
            settings.key = key.parse().unwrap();
            let sticky =
                sticky.map(|(name, age)| http::Sticky::new(name).unwrap().with_lifetime(Duration::from_secs(age)));
            settings.sticky = sticky;
            (settings.forward.x_forwarded, settings.forward.forwarded) = (flag, !flag);
            settings.forward.via = Some(via.to_owned()).filter(|via| via != "off");
            settings.forward.host = Some(host.to_owned()).filter(|host| host != "client");
            settings.forward.trusted = if flag { "10.0.0.0/8,::1".parse().unwrap() } else { settings.forward.trusted };
            (settings, log.map(|text| text.parse().unwrap()))
        },
    )
}

fn http() -> impl Strategy<Value = Http> {
    let limits = (1024_u32..=1 << 20, 1_u16..=256, proptest::option::of(1_u64..), any::<u32>());
    let keep = (any::<u32>(), time(), proptest::option::of(time()), any::<u32>());
    let rest = (any::<u32>(), time(), 0_u8..=100, any::<u32>(), any::<bool>());
    (http_times(), http_texts(), limits, keep, rest).prop_map(|(times, (mut settings, log), limits, keep, rest)| {
        settings.times = times;
        let most = &mut settings.limits;
        (most.head_bytes, most.fields, most.body_bytes) = (limits.0, limits.1, limits.2);
        most.connections = limits.3.try_into().ok();
        (settings.keep.idle, settings.keep.idle_time) = (keep.0, keep.1.get());
        (settings.keep.age, settings.keep.uses) = (keep.2.map(Time::get), keep.3.try_into().ok());
        (settings.queue.length, settings.queue.time) = (rest.0, rest.1.get());
        let retry = &mut settings.retry;
        (retry.percent, retry.per_second, retry.idempotency_key) = (rest.2, rest.3, rest.4);
        Http::new(settings).unwrap().with_access_log(log).unwrap()
    })
}

fn control_http() -> impl Strategy<Value = Option<ControlHttp>> {
    let address = select(vec!["127.0.0.1:9480", "[::1]:1", "0.0.0.0:9480", "unix:/run/lb/http", "unix:/é\"\\"]);
    let written = "[!-~]{1,40}".prop_map(|text| TokenSource::Written(text.parse().unwrap()));
    let file = "/[a-zé\"\\\\]{0,9}".prop_map(|path| TokenSource::File(path.parse().unwrap()));
    // Not every address goes without a token.
    (address, proptest::option::of(prop_oneof![written, file]))
        .prop_map(|(address, token)| ControlHttp::new(address.parse().unwrap(), token).ok())
}

fn model() -> impl Strategy<Value = Model> {
    let listen = |at: usize| -> Listen {
        format!("{}{}", ["", "127.0.0.1:", "[::1]:", "name:"][at % 4], 80 + at).parse().unwrap()
    };
    let pools = vec(pool(), 1..3);
    let services = vec((any::<prop::sample::Index>(), sessions(), any::<bool>(), proptest::option::of(http())), 0..4);
    let process = (0_usize..1025, proptest::option::of(time()), any::<bool>(), select(vec![0, 1, 2]), control_http());
    (pools, services, (sessions(), http()), process).prop_map(move |(pools, services, (defaults, http), process)| {
        let (workers, resolve_every, json, to, over_http) = process;
        let mut model = Model::default().with_defaults(defaults.clone()).with_http_defaults(http.clone());
        let count = pools.len();
        for (at, pool) in pools.into_iter().enumerate() {
            model.add_pool(format!("p.{at}").parse().unwrap(), pool).unwrap();
        }
        for (at, (pool, own, inherits, requests)) in services.into_iter().enumerate() {
            let pool: Name = format!("p.{}", pool.index(count)).parse().unwrap();
            let mut own = if inherits { defaults.clone() } else { own };
            if requests.is_some() {
                own.send_proxy = None;
            }
            let service = Service::new(listen(at), pool, own).with_listen(listen(at + 100));
            let requests = requests.map(|requests| if inherits { http.clone() } else { requests });
            let service = requests.map_or(service.clone(), |requests| service.with_http(requests));
            model.add_service(format!("s-{at}").parse().unwrap(), service).unwrap();
        }
        let (mut log, mut control, mut process) = (Log::default(), Control::default(), Process::default());
        (log.to, log.trace, log.dump) = ([LogTo::Auto, LogTo::Stderr, LogTo::Syslog][to], json, to == 1);
        log.format = if json { LogFormat::Json } else { LogFormat::Human };
        control.directory = json.then(|| "/run/\"x\\é".parse().unwrap());
        control.http = over_http;
        (process.workers, process.resolve_every) = (Workers::new(workers), resolve_every);
        process.user = json.then(|| "a:b".parse().unwrap());
        model.with_log(log).with_control(control).with_process(process)
    })
}

/// A model, and one that has some of its parts.
fn two_models() -> impl Strategy<Value = (Model, Model)> {
    (model(), model(), vec(any::<bool>(), 5)).prop_map(|(one, other, own)| {
        let part = |at: usize| if own[at] { &one } else { &other };
        let mut mixed = Model::default().with_defaults(part(0).defaults().clone()).with_log(part(1).log());
        mixed = mixed.with_http_defaults(part(0).http_defaults().clone());
        mixed = mixed.with_control(part(2).control().clone()).with_process(part(3).process().clone());
        for (name, pool) in part(4).pools() {
            mixed.add_pool(name.clone(), pool.clone()).unwrap();
        }
        for (name, service) in one.services() {
            // Not each fits the other's pools.
            let _ = mixed.add_service(name.clone(), service.clone());
        }
        (one, mixed)
    })
}

/// Files that are nearly good: the interesting ones.
fn nearly() -> impl Strategy<Value = String> {
    let examples = [include_str!("../../examples/lb.toml"), include_str!("../../examples/http.toml")];
    let change = (any::<prop::sample::Index>(), 0_usize..20, "[\\[\\]{}=\"'a-z0-9.,%!: \n\u{1}é-]{0,6}");
    (select(examples.to_vec()), vec(change, 0..6)).prop_map(move |(example, changes)| {
        let mut text: Vec<char> = example.chars().collect();
        for (at, width, new) in changes {
            let at = at.index(text.len());
            let end = (at + width).min(text.len());
            text.splice(at..end, new.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn any_model_prints_and_loads_back_equal(model in model()) {
        let text = model.to_toml();
        let loaded = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        prop_assert_eq!(&loaded.model, &model, "{}", text);
        prop_assert_eq!(loaded.model.to_toml(), text);
    }

    #[test]
    fn models_are_different_exactly_when_they_are_not_equal((one, other) in two_models()) {
        prop_assert_eq!(one.difference(&other).is_empty(), one == other);
        prop_assert_eq!(one.difference(&other).changes().len() > 0, !other.difference(&one).is_empty());
        prop_assert!(one.difference(&one.clone()).is_empty());
    }

    #[test]
    fn no_input_panics(text in prop_oneof![nearly(), ".{0,200}", "[\\[\\]{}=\"a-z.\n]{0,80}"]) {
        match parse(&text) {
            Ok(loaded) => prop_assert_eq!(parse(&loaded.model.to_toml()).unwrap().model, loaded.model),
            Err(problems) => prop_assert!(!problems.to_string().is_empty() && problems.count() > 0),
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        assert!(parse(&format!("x = {}1{}", open.repeat(20_000), close.repeat(20_000))).is_err());
    }
    assert!(parse(&format!("{}b = 1", "a.".repeat(20_000))).is_err());
    assert!(parse(&format!("[{}b]", "a.".repeat(20_000))).is_err());
}
