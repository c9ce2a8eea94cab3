//! Which backend a request goes to: the least loaded, the one of its key, the one of its cookie.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use http_support::{Front, wait_for, words};
use lb_core::{BackendConfig, Config, GroupConfig, SelectorKind, Start, Status};
use lb_net::http::{KeySource, Settings, Sticky};
use wire::{Backend, Client, Gate, Message, answer, show};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn abc() -> [Backend; 3] {
    ["A", "B", "C"].map(Backend::named)
}

fn least_loaded(backends: &[&Backend]) -> Config {
    let group = GroupConfig::new(backends.iter().map(|backend| BackendConfig::new(backend.word())));
    let selector = "least-loaded".parse::<SelectorKind>().unwrap();
    Config::default().with_group(group.with_selector(selector)).with_start(Start::First)
}

/// In front of a group that hashes.
fn hashing(backends: &[&Backend], key: &str) -> Front {
    let key: KeySource = key.parse().unwrap();
    Front::with(&format!("{} %", words(backends)), |settings| settings.key = key)
}

#[test]
fn one_client_who_comes_again_and_again_sees_each_in_turn() {
    for keeps in [true, false] {
        let [a, b, _] = abc();
        let front = Front::of(least_loaded(&[&a, &b]), |_| {});
        let mut client = front.client();
        let mut seen = String::new();
        for _ in 0..10 {
            seen.push_str(&client.ask(GET).text());
            if !keeps {
                client = front.client();
            }
        }
        assert!(["ABABABABAB", "BABABABABA"].contains(&seen.as_str()), "{seen}");
    }
}

#[test]
fn who_is_busy_gets_less() {
    let gate = Gate::default();
    let theirs = gate.clone();
    let busy = Backend::new(move |visit| {
        loop {
            visit.request()?;
            theirs.wait();
            visit.say(answer("busy"))?;
        }
    });
    let free = Backend::named("free");
    let front = Front::of(least_loaded(&[&busy, &free]), |_| {});
    let mut first = front.client();
    first.say(GET);
    busy.wait("its request", |seen| seen.requests.len() == 1);
    for _ in 0..10 {
        assert_eq!(front.ask(GET).text(), "free");
    }
    gate.open();
    assert_eq!(first.answer("GET").text(), "busy");
}

/// For each of many values of a key: the one backend that all its requests go to.
fn owners(front: &Front, request: impl Fn(usize) -> String) -> HashMap<String, usize> {
    let mut owners = HashMap::new();
    for value in 0..40 {
        let first = front.ask(request(value)).text();
        for _ in 0..3 {
            assert_eq!(front.ask(request(value)).text(), first, "value {value} moved");
        }
        *owners.entry(first).or_default() += 1;
    }
    owners
}

#[test]
fn requests_with_the_same_key_go_to_the_same_backend() {
    let of = |key: &'static str, request: fn(usize) -> String| {
        let [a, b, c] = abc();
        let front = hashing(&[&a, &b, &c], key);
        let owners = owners(&front, request);
        assert!(owners.len() == 3 && owners.values().all(|count| *count >= 3), "{key}: {owners:?}");
    };
    of("header X-User", |value| format!("GET / HTTP/1.1\r\nHost: a\r\nx-user: {value}\r\nX-User: other\r\n\r\n"));
    of("cookie id", |value| format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; id={value}; y=2\r\n\r\n"));
    of("query id", |value| format!("GET /?x={value}&id={value}&y=1 HTTP/1.1\r\nHost: a\r\n\r\n"));
    of("uri", |value| format!("GET /{value}?x HTTP/1.1\r\nHost: a\r\n\r\n"));
}

#[test]
fn what_is_no_part_of_the_key_changes_nothing() {
    type OfValue = fn(usize) -> String;
    let cases: [(&str, OfValue); 4] = [
        ("header X-User", |value| format!("GET /{value} HTTP/1.1\r\nHost: a\r\nX-User: me\r\nX-A: {value}\r\n\r\n")),
        ("cookie id", |value| {
            format!("GET /{value} HTTP/1.1\r\nHost: a\r\nCookie: xid={value}; id=me; z={value}\r\n\r\n")
        }),
        ("query id", |value| format!("GET /?xid={value}&id=me&z={value} HTTP/1.1\r\nHost: a\r\n\r\n")),
        // Without the key it is the client's address.
        ("header X-User", |value| format!("GET /{value} HTTP/1.1\r\nHost: a\r\n\r\n")),
    ];
    for (key, request) in cases {
        let [a, b, c] = abc();
        let front = hashing(&[&a, &b, &c], key);
        assert_eq!(owners(&front, request).len(), 1, "{key}");
    }
}

#[test]
fn each_request_of_a_connection_has_its_own_key() {
    let [a, b, c] = abc();
    let front = hashing(&[&a, &b, &c], "uri");
    let request = |value: usize| format!("GET /{value} HTTP/1.1\r\nHost: a\r\n\r\n");
    let apart: Vec<_> = (0..20).map(|value| front.ask(request(value)).text()).collect();
    let mut client = front.client();
    let together: Vec<_> = (0..20).map(|value| client.ask(request(value)).text()).collect();
    assert_eq!(apart, together);
}

#[test]
fn clients_are_told_apart_by_their_addresses() {
    let [a, b, c] = abc();
    let front = hashing(&[&a, &b, &c], "client");
    let from = |last: u8| Client::from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), front.address).ask(GET).text();
    let first: Vec<_> = (1..40).map(from).collect();
    assert_eq!(first, (1..40).map(from).collect::<Vec<_>>());
    assert!(["A", "B", "C"].iter().all(|name| first.iter().any(|seen| seen == name)), "{first:?}");
}

fn sticky(settings: &mut Settings) {
    settings.sticky = Some(Sticky::new("lb").unwrap());
}

/// The cookie's pair, as a client sends it back.
fn pair_of(answer: &Message) -> String {
    answer.field("set-cookie").split(';').next().unwrap().to_owned()
}

fn with_cookie(pair: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; {pair}; c=d\r\n\r\n")
}

#[test]
fn a_cookie_brings_a_client_back() {
    let [a, b, c] = abc();
    let all = words(&[&a, &b, &c]);
    let (front, other) = (Front::with(&all, sticky), Front::with(&all, sticky));
    for _ in 0..3 {
        let first = front.ask(GET);
        let said = first.field("set-cookie");
        let attributes: Vec<_> = said.split("; ").skip(1).map(str::to_ascii_lowercase).collect();
        for attribute in ["path=/", "httponly", "samesite=lax", "max-age=3600"] {
            assert!(attributes.iter().any(|own| own == attribute), "{said}");
        }
        let pair = pair_of(&first);
        assert!(pair.starts_with("lb=") && !said.contains("127.0.0"), "{said}");
        for front in [&front, &other, &front, &other, &front] {
            let again = front.ask(with_cookie(&pair));
            assert_eq!((again.text(), again.has("set-cookie")), (first.text(), false), "{}", show(&again.head));
        }
    }
}

#[test]
fn a_cookie_that_is_none_is_replaced() {
    let [a, b, c] = abc();
    let front = Front::with(&words(&[&a, &b, &c]), sticky);
    for value in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", "%00", &"f".repeat(5_000), "\"\""] {
        let answer = front.ask(with_cookie(&format!("lb={value}")));
        assert_eq!(answer.status(), 200);
        assert!(pair_of(&answer).len() > 5, "{}", show(&answer.head));
    }
}

#[test]
fn a_cookie_holds_while_its_backend_drains_and_not_longer() {
    let [a, b, c] = abc();
    let front = Front::with(&words(&[&a, &b, &c]), sticky);
    let first = front.ask(GET);
    let pair = pair_of(&first);
    let place = ["A", "B", "C"].iter().position(|name| *name == first.text()).unwrap();
    let id = front.stats()[place].id;
    front.balancer.set_status(id, Status::Draining, Instant::now()).unwrap();
    for _ in 0..6 {
        assert_eq!(front.ask(with_cookie(&pair)).text(), first.text());
        assert_ne!(front.ask(GET).text(), first.text());
    }
    front.balancer.set_status(id, Status::Disabled, Instant::now()).unwrap();
    let moved = front.ask(with_cookie(&pair));
    assert_ne!(moved.text(), first.text());
    let pair = pair_of(&moved);
    for _ in 0..6 {
        assert_eq!(front.ask(with_cookie(&pair)).text(), moved.text());
    }
}

#[test]
fn a_cookie_of_a_backend_that_refuses_goes_to_another() {
    let [a, b, c] = abc();
    let front = Front::with(&words(&[&a, &b, &c]), sticky);
    let first = front.ask(GET);
    let gone = [&a, &b, &c].into_iter().find(|backend| !backend.requests().is_empty()).unwrap();
    gone.refuse();
    gone.cut();
    let moved = front.ask(with_cookie(&pair_of(&first)));
    assert_eq!(moved.status(), 200);
    assert_ne!(moved.text(), first.text());
    assert_ne!(pair_of(&moved), pair_of(&first));
}

#[test]
fn a_cookie_lasts_as_long_as_it_says() {
    let [a, b, c] = abc();
    let front = Front::with(&words(&[&a, &b, &c]), |settings| {
        settings.sticky = Some(Sticky::new("lb").unwrap().with_lifetime(Duration::from_secs(1)));
    });
    let first = front.ask(GET);
    assert!(first.field("set-cookie").contains("Max-Age=1"), "{}", show(&first.head));
    let pair = pair_of(&first);
    wait_for("its end", || front.ask(with_cookie(&pair)).has("set-cookie"));
}

#[test]
fn the_cookies_of_backends_go_on_beside_ours() {
    let backend = Backend::saying("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n");
    let front = Front::with(&backend.word(), sticky);
    let answer = front.ask(GET);
    let cookies = answer.all("set-cookie");
    assert!(cookies.len() == 2 && cookies.contains(&"a=b"), "{cookies:?}");
}

#[test]
fn a_backend_that_is_drained_or_disabled_gets_no_request_over_its_kept_connection() {
    for status in [Status::Draining, Status::Disabled] {
        let [a, b, _] = abc();
        let front = Front::new(&words(&[&a, &b]));
        let mut client = front.client();
        assert_eq!(client.ask(GET).text() + &client.ask(GET).text(), "AB");
        front.balancer.set_status(front.stats()[0].id, status, Instant::now()).unwrap();
        for _ in 0..6 {
            assert_eq!(client.ask(GET).text(), "B");
        }
        assert_eq!(a.requests().len(), 1);
    }
}
