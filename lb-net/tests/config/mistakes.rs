//! Mistakes: each is found with its line, its word and its remedy.

use lb_net::config::{Severity, parse};

use crate::{GOOD, L3, L5};

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
fn all_mistakes_are_told_but_not_more_than_20() {
    let text: String = (0..30).map(|number| format!("wrong{number} = 1\n")).collect();
    let problems = parse(&text).unwrap_err();
    assert_eq!((problems.all().len(), problems.count()), (20, 30));
    assert!(problems.to_string().ends_with("and 10 more"), "{problems}");
}
