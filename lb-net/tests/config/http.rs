//! Services of role http in a configuration file: each key, each mistake, what is inherited.

use std::time::Duration;

use lb_net::{
    config::{Role, Sessions, Severity, parse},
    http,
};

use crate::{GOOD, L3, L5};

/// A mistake in place of what the service says: the line, the word and a part of the remedy.
type Mistake = (&'static str, usize, &'static str, &'static str);

const OF_REQUESTS: &[Mistake] = &[
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nhead_timeot = \"5s\"",
        9,
        "head_timeot",
        "unknown key 'head_timeot': did you mean 'head_timeout'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nhead_timeout = \"never\"",
        9,
        "\"never\"",
        "a number and its unit",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nread_timeout = 60",
        9,
        "60",
        "such as \"60s\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nrequest_timeout = \"0s\"",
        9,
        "\"0s\"",
        "is not above zero, or \"never\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_head = 65536",
        9,
        "65536",
        "such as \"64KiB\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_head = \"64k\"",
        9,
        "\"64k\"",
        "such as 64KiB",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_head = \"100B\"",
        9,
        "\"100B\"",
        "a size from 1KiB to 1MiB",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_head = \"4GiB\"",
        9,
        "\"4GiB\"",
        "a size from 1KiB to 1MiB",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_fields = 0",
        9,
        "0",
        "a number from 1 to 256",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_body = \"0B\"",
        9,
        "\"0B\"",
        "is not above zero, or \"none\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_body = \"10M\"",
        9,
        "\"10M\"",
        "such as 10MiB, or \"none\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmax_connections = \"any\"",
        9,
        "\"any\"",
        "or \"none\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nkeep = 5",
        9,
        "5",
        "a table: { idle = ..., idle_timeout = ... }",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nkeep = { idle = -1 }",
        9,
        "-1",
        "a number from 0 to",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nkeep = { age = \"none\" }",
        9,
        "\"none\"",
        "or \"never\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nkeep = { uses = 0 }",
        9,
        "0",
        "a number from 1 to",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nqueue = { lenght = 5 }",
        9,
        "lenght",
        "did you mean 'length'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nqueue = { timeout = \"5\" }",
        9,
        "\"5\"",
        "such as 5s",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nretry = { percent = 101 }",
        9,
        "101",
        "a number from 0 to 100",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nretry = { idempotency_key = \"yes\" }",
        9,
        "\"yes\"",
        "expected true or false",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nretry_after = \"1500ms\"",
        9,
        "\"1500ms\"",
        "Retry-After has whole seconds",
    ),
    ("listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nretry_after = 5", 9, "5", "such as \"5s\""),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nunavailable_page = \"503.html\"",
        9,
        "\"503.html\"",
        "expected the whole path of a file, or \"off\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nunavailable_page = \"/nowhere/503.html\"",
        9,
        "\"/nowhere/503.html\"",
        "/nowhere/503.html: cannot be read: No such file",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nunavailable_page = \"/dev/zero\"",
        9,
        "\"/dev/zero\"",
        "/dev/zero is no file",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nunavailable_page = true",
        9,
        "true",
        "a file, such as \"/etc/lb/503.html\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nx_forwarded = \"on\"",
        9,
        "\"on\"",
        "expected true or false",
    ),
    ("listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nvia = \"a b\"", 9, "\"a b\"", "or \"off\""),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nhost = \"www example\"",
        9,
        "\"www example\"",
        "or \"client\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nhost = \"a:99999\"",
        9,
        "\"a:99999\"",
        "such as \"www.example\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\ntrusted_proxies = \"lan\"",
        9,
        "\"lan\"",
        "such as 10.0.0.0/8",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nrequest_headers = [\"put X: y\"]",
        9,
        "\"put X: y\"",
        "'set NAME: VALUE'",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nrequest_headers = [\"set Content-Length: 5\"]",
        9,
        "\"set Content-Length: 5\"",
        "lb's own business",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nanswer_headers = \"set X\"",
        9,
        "\"set X\"",
        "is no change of fields",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nkey = \"moon\"",
        9,
        "\"moon\"",
        "'cookie NAME'",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nsticky = true",
        9,
        "true",
        "sticky = { ... }, or \"off\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nsticky = { cookie = \"a b\" }",
        9,
        "\"a b\"",
        "cannot be the name of a cookie",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nsticky = { lifetime = \"1500ms\" }",
        9,
        "\"1500ms\"",
        "whole seconds",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\naccess_log = \"on\"",
        9,
        "\"on\"",
        "access_log = { ... }, or \"off\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\naccess_log = { format = \"json\" }",
        9,
        "access_log",
        "'to' is missing: add to = \"/var/log/lb/www.log\"",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\naccess_log = { to = \"www.log\" }",
        9,
        "\"www.log\"",
        "the whole path of a file",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\naccess_log = { to = \"stdout\", format = \"xml\" }",
        9,
        "\"xml\"",
        "\"common\", \"combined\", \"timings\" or \"json\"",
    ),
    (
        "listen = 80\npool = \"web\"\n[services.www.http]\nmax_body = \"1MiB\"",
        7,
        "[services.www.http]",
        "add role = \"http\"",
    ),
    ("listen = 80\npool = \"web\"\nrole = \"http\"\nidle_timeout = \"5m\"", 8, "\"5m\"", "http.tunnel_timeout"),
    ("listen = 80\npool = \"web\"\nrole = \"http\"\nsend_proxy = \"v2\"", 8, "\"v2\"", "X-Forwarded-For"),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\nmax_body = \"1MiB\"",
        8,
        "max_body",
        "it belongs in [services.NAME.http]",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\nclient_max_body_size = \"1m\"",
        8,
        "client_max_body_size",
        "did you mean 'max_body' in [services.NAME.http]?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nclient_max_body_size = \"1m\"",
        9,
        "client_max_body_size",
        "did you mean 'max_body'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\n\"timeout client\" = \"5s\"",
        9,
        "\"timeout client\"",
        "did you mean 'body_timeout'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nproxy_read_timeout = \"5s\"",
        9,
        "proxy_read_timeout",
        "did you mean 'read_timeout'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nmaxconn = 5",
        9,
        "maxconn",
        "did you mean 'max_connections'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nkeepalive_timeout = \"5s\"",
        9,
        "keepalive_timeout",
        "did you mean 'keep_alive_timeout'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\n\"timeout http-request\" = \"5s\"",
        9,
        "\"timeout http-request\"",
        "did you mean 'head_timeout'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nlarge_client_header_buffers = \"8k\"",
        9,
        "large_client_header_buffers",
        "did you mean 'max_head'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\ncookie = \"x\"",
        9,
        "cookie",
        "did you mean 'sticky'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nserver_name = \"x\"",
        9,
        "server_name",
        "did you mean 'host'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nproxy_set_header = \"x\"",
        9,
        "proxy_set_header",
        "did you mean 'request_headers'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nadd_header = \"x\"",
        9,
        "add_header",
        "did you mean 'answer_headers'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nset_real_ip_from = \"x\"",
        9,
        "set_real_ip_from",
        "did you mean 'trusted_proxies'?",
    ),
    (
        "listen = 80\npool = \"web\"\nrole = \"http\"\n[services.www.http]\nretries = 3",
        9,
        "retries",
        "did you mean 'retry'?",
    ),
];

#[test]
fn each_planted_mistake_is_found_with_its_line_its_word_and_its_remedy() {
    for &(mistake, line, word, remedy) in OF_REQUESTS {
        let text = GOOD.replace(L5, mistake);
        let problems = parse(&text).expect_err(mistake);
        let found = &problems.all()[0];
        assert_eq!((found.line, found.word.as_str()), (line, word), "{mistake}\n{problems}");
        assert!(found.severity == Severity::Error && found.message.contains(remedy), "{remedy}\n{problems}");
        assert_eq!(problems.count(), 1, "nothing else is wrong: {problems}");
    }
}

#[test]
fn what_is_legal_and_hardly_meant_is_told() {
    let rows = [
        (format!("{GOOD}[defaults.http]\nmax_body = \"1MiB\""), "no service inherits this: none has role = \"http\""),
        (GOOD.replace(L5, &format!("{L5}\nrole = \"http\"\nhttp.key = \"uri\"")), "nobody asks for the key"),
        (
            GOOD.replace(L5, &format!("{L5}\nrole = \"http\"\n[defaults.http]\nkey = \"uri\"")),
            "nobody asks for the key",
        ),
        (
            GOOD.replace(L3, &format!("{L3}\nselector = \"hash\""))
                .replace(L5, &format!("{L5}\nrole = \"http\"\nhttp.key = \"uri\"")),
            "",
        ),
        (
            GOOD.replace(L5, &format!("{L5}\nrole = \"http\"\n[log]\ndump = true")),
            "what passes through service 'www' is not dumped",
        ),
    ];
    for (text, part) in rows {
        let told: Vec<String> = parse(&text).unwrap().warnings.iter().map(ToString::to_string).collect();
        let is_told = if part.is_empty() { told.is_empty() } else { told.len() == 1 && told[0].contains(part) };
        assert!(is_told, "{part} in {told:#?} of {text}");
    }
}

#[test]
fn the_example_of_a_site_is_good() {
    let text = include_str!("../../../examples/http.toml");
    let loaded = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    assert!(loaded.model.services().values().any(|service| service.role() == Role::Http));
    // Every key is there, and each with its own value: it is what people begin with.
    let settings = loaded.model.http_defaults().settings(&Sessions::default());
    let mut usual = http::Settings::default();
    usual.forward.trusted = settings.forward.trusted.clone();
    assert_eq!(settings, usual, "what [defaults.http] calls the usual");
    assert_eq!(parse(&loaded.model.to_toml()).unwrap().model, loaded.model);
}

/// What may be said of requests.
const REQUESTS: &[&str] = &[
    "head_timeout = \"1s\"",
    "body_timeout = \"1s\"",
    "keep_alive_timeout = \"1s\"",
    "first_byte_timeout = \"1s\"",
    "read_timeout = \"1s\"",
    "request_timeout = \"never\"",
    "tunnel_timeout = \"never\"",
    "max_head = \"1KiB\"",
    "max_fields = 256",
    "max_body = \"none\"",
    "max_body = \"1B\"",
    "max_connections = 7",
    "keep = { idle = 0 }",
    "keep = { idle_timeout = \"1s\" }",
    "keep = { age = \"never\" }",
    "keep = { uses = 7 }",
    "queue = { length = 0 }",
    "queue = { timeout = \"1s\" }",
    "retry = { percent = 0 }",
    "retry = { per_second = 0 }",
    "retry = { idempotency_key = true }",
    "x_forwarded = false",
    "forwarded = true",
    "via = \"off\"",
    "via = \"edge-1\"",
    "host = \"www.example:8080\"",
    "host = \"[::1]\"",
    "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]",
    "request_headers = [\"set X-A: b\", \"remove X-B\"]",
    "answer_headers = \"add X-A: \"",
    "key = \"cookie session\"",
    "sticky = {}",
    "sticky = { cookie = \"www\" }",
    "sticky = { lifetime = \"5m\" }",
    "access_log = { to = \"stdout\" }",
    "access_log = { to = \"/var/log/lb/my www.log\", format = \"json\" }",
];

/// Two services of role http, and what is said of one of them, or inherited.
fn of_requests(own: &str, inherited: &str) -> String {
    let service = |name: &str, port: u16| {
        format!("[services.{name}]\nrole = \"http\"\nlisten = {port}\npool = \"web\"\n[services.{name}.http]\n")
    };
    let pool = "[pools.web]\ngroups = \"alpha:80 beta:80\"\n";
    format!("{pool}{}{}{own}\n[defaults.http]\n{inherited}\n", service("one", 1), service("two", 2))
}

#[test]
fn every_key_of_requests_changes_the_service_that_says_it_and_those_that_inherit_it() {
    let base = parse(&of_requests("", "")).unwrap().model;
    let mut seen = vec![base.clone()];
    for line in REQUESTS {
        for (own, inherited) in [(*line, ""), ("", *line)] {
            let text = of_requests(own, inherited);
            let model = parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).model;
            let changed = |name: &str| model.services()[name] != base.services()[name];
            assert_eq!((changed("one"), changed("two")), (own.is_empty(), true), "{text}");
            assert!(!seen.contains(&model), "it changes nothing: {text}");
            assert_eq!(parse(&model.to_toml()).unwrap().model, model, "{text}");
            let key = line.split(' ').next().unwrap();
            let told = base.difference(&model).to_string();
            assert!(told.contains(&format!("~ service two: http.{key}")), "{told}");
            assert_eq!(told.contains(&format!("~ service one: http.{key}")), own.is_empty(), "{told}");
            seen.push(model);
        }
    }
}

#[test]
fn tables_of_requests_are_inherited_key_by_key() {
    let inherited = "keep = { idle = 1, age = \"never\" }\nsticky = { cookie = \"all\", lifetime = \"5m\" }\n\
                     access_log = { to = \"stderr\", format = \"json\" }";
    let own = "keep = { idle = 2 }\nsticky = { lifetime = \"7m\" }\naccess_log = { to = \"stdout\" }";
    let model = parse(&of_requests(own, inherited)).unwrap().model;
    let http = |name: &str| model.services()[name].http().unwrap();
    let settings = |name: &str| http(name).settings(&Sessions::default());
    let (one, two) = (settings("one"), settings("two"));
    assert_eq!((one.keep.idle, two.keep.idle, two.keep.age), (1, 2, None));
    let sticky = two.sticky.unwrap();
    assert_eq!((sticky.cookie(), sticky.lifetime().as_secs()), ("all", 420));
    assert_eq!(http("two").access_log().unwrap().to_string(), "json stdout");
    assert_eq!(http("one").access_log().unwrap().to_string(), "json stderr");
    let off = parse(&of_requests("sticky = \"off\"\naccess_log = \"off\"", inherited)).unwrap().model;
    let http = off.services()["two"].http().unwrap();
    assert_eq!((http.settings(&Sessions::default()).sticky, http.access_log()), (None, None));
}

#[test]
fn what_holds_for_sessions_too_is_said_there() {
    let text =
        of_requests("", "").replace("[services.two]", "[services.two]\nconnect_timeout = \"7s\"\nrace = \"off\"");
    let model = parse(&(text + "[defaults]\ngrace = \"9s\"\nidle_timeout = \"1s\"")).unwrap().model;
    let service = &model.services()["two"];
    let times = service.http().unwrap().settings(service.sessions()).times;
    assert_eq!((times.connect.as_secs(), times.race, times.grace.as_secs()), (7, None, 9));
    assert_eq!(times.tunnel_idle, Some(Duration::from_secs(3600)), "of requests there are other times");
    // That all backends of the file are told of clients is not for those of requests.
    let problems = parse(&(of_requests("", "") + "[defaults]\nsend_proxy = \"v1\"")).unwrap_err();
    assert_eq!((problems.count(), problems.all()[0].word.as_str()), (2, "one"), "{problems}");
    parse(
        &(of_requests("", "").replace("pool = \"web\"", "pool = \"web\"\nsend_proxy = \"off\"")
            + "[defaults]\nsend_proxy = \"v1\""),
    )
    .unwrap();
}

#[test]
fn where_only_requests_come_who_has_least_to_do_is_next() {
    let selectors = |text: &str| {
        let model = parse(text).unwrap().model;
        assert_eq!(parse(&model.to_toml()).unwrap().model, model);
        let pool = &model.pools()["web"];
        (pool.selector().to_string(), pool.config().groups[0].selector.to_string())
    };
    let both = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(selectors(GOOD), both("round-robin"));
    assert_eq!(selectors(&of_requests("", "")), both("least-loaded"));
    assert_eq!(selectors(&(of_requests("", "") + "[services.three]\nlisten = 3\npool = \"web\"")), both("round-robin"));
    let said = |own: &str| of_requests("", "").replace("[pools.web]", &format!("[pools.web]\nselector = \"{own}\""));
    assert_eq!(selectors(&said("round-robin")), both("round-robin"));
    assert_eq!(selectors(&said("hash")), both("hash"));
    let no_service = "[pools.web]\ngroups = \"alpha:80\"";
    assert_eq!(selectors(no_service), both("round-robin"));
}
