//! Every key that there is, and the example that shows them.

use lb_core::SelectorKind;
use lb_net::config::parse;

use crate::{GOOD, L3, L5};

#[test]
fn the_example_is_good() {
    let loaded = parse(include_str!("../../../examples/lb.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.model.pools().len(), loaded.model.services().len()), (2, 3));
    let mail = &loaded.model.pools()["mail"];
    assert_eq!((mail.port(), mail.config().groups[0].selector), (Some(2525), SelectorKind::Hash { spill: true }));
    assert_eq!(parse(&loaded.model.to_toml()).unwrap().model, loaded.model);
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
