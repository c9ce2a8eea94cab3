//! What is legal and hardly meant.

use lb_net::config::{Severity, parse};

use crate::{GOOD, L3, L5};

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
fn a_word_of_applications_as_a_part_of_what_is_said_over_a_connection_is_told_of() {
    let warnings = |check: &str| {
        let probes = format!("{L3}\n[pools.web.probes]\nchecks = [{{ {check} }}]");
        parse(&GOOD.replace(L3, &probes)).unwrap().warnings
    };
    let told = warnings("connect = true, expect_contains = \"UP\"");
    let is_told =
        told[0].message.contains("mean nothing where a part of what is said is enough: expect understands them");
    assert!(is_told && told[0].word == "\"UP\"", "{}", told[0]);
    for check in ["connect = true, expect_contains = \"+PONG\"", "connect = true, expect = \"UP\""] {
        assert_eq!(warnings(check), [], "{check}");
    }
    assert_eq!(warnings("http = \"/\", expect_contains = \"UP\""), [], "its body is a whole");
}
