//! A change of protocol is a tunnel that begins with the backend's 101 and not before.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::sync::{Arc, Mutex};

use http_support::{Front, ROOMY, moments, pair, wait_for};
use lb_net::http::{Hooks, Record, Settings};
use wire::{Backend, Client, End, Gate, answer, bulk, show};

const ASKS: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";

/// Switches, says what is to be said along with it, and returns what it gets; to other requests it says `good`.
fn switching(along: &'static str) -> Backend {
    Backend::new(move |visit| {
        loop {
            if visit.head()?.target() != "/chat" {
                visit.say(answer("good"))?;
                continue;
            }
            visit.say(format!("{SWITCHES}{along}"))?;
            loop {
                let piece = visit.bytes(1)?;
                visit.say(piece)?;
            }
        }
    })
}

fn switched(front: &Front) -> Client {
    let mut client = front.client();
    let switch = client.ask(ASKS);
    assert_eq!((switch.status(), switch.field("upgrade")), (101, "websocket"), "{}", show(&switch.head));
    assert!(switch.lists("connection", "upgrade"), "{}", show(&switch.head));
    assert_eq!(switch.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    client
}

#[test]
fn bytes_go_both_ways_after_the_101() {
    let (backend, front) = pair(switching(""));
    let mut client = switched(&front);
    for text in ["hello", "\r\n\r\n", AFTER] {
        assert_eq!(client.say(text).bytes(text.len()), text.as_bytes());
    }
    let request = backend.request();
    assert_eq!((request.field("upgrade"), request.lists("connection", "upgrade")), ("websocket", true));
    assert_eq!(request.field("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
    assert!(!request.lists("connection", "keep-alive") || request.lists("connection", "upgrade"));
}

#[test]
fn what_comes_along_with_the_101_is_passed_on() {
    let (_backend, front) = pair(switching("first words"));
    let mut client = switched(&front);
    assert_eq!(client.bytes(11), b"first words");
    assert_eq!(client.say("x").bytes(1), b"x");
}

#[test]
fn a_tunnel_carries_much_at_once_both_ways() {
    let (_backend, front) = pair(Backend::new(|visit| {
        visit.head()?;
        visit.say(SWITCHES)?;
        visit.say(bulk(3_000_000))?;
        let came = visit.bytes(3_000_000)?;
        visit.say(if came == bulk(3_000_000) { "same" } else { "else" })?;
        visit.listen()
    }));
    let mut client = switched(&front);
    let came = client.bytes(3_000_000);
    assert!(came == bulk(3_000_000));
    assert_eq!(client.say(bulk(3_000_000)).bytes(4), b"same");
}

#[test]
fn a_tunnel_ends_with_either_side_and_serves_nobody_else() {
    let (backend, front) = pair(Backend::new(|visit| {
        visit.head()?;
        visit.say(SWITCHES)?;
        visit.say("bye")
    }));
    let mut client = switched(&front);
    assert_eq!(client.rest(), (End::Closed, b"bye".to_vec()));
    backend.wait("its end", |seen| seen.open == 0);
    let (backend, front) = pair(switching(""));
    drop(switched(&front));
    backend.wait("its end", |seen| seen.ends[0].is_some());
    front.idle();
    assert_eq!(front.ask(AFTER).text(), "good");
    assert_eq!(backend.connections(), 2);
}

#[test]
fn a_half_of_a_tunnel_may_end_before_the_other() {
    let (_backend, front) = pair(Backend::new(|visit| {
        visit.head()?;
        visit.say(SWITCHES)?;
        while visit.more().is_ok() {}
        visit.say("last words")
    }));
    let mut client = switched(&front);
    client.say("hello").finish();
    assert_eq!(client.rest(), (End::Closed, b"last words".to_vec()));
}

/// RUSTSEC-2026-0033: bytes behind the request are a tunnel's only when there is one.
#[test]
fn nothing_of_the_client_goes_on_before_the_101() {
    let gate = Gate::default();
    let theirs = gate.clone();
    let (backend, front) = pair(Backend::new(move |visit| {
        visit.head()?;
        theirs.wait();
        visit.say(SWITCHES)?;
        let early = visit.bytes(5)?;
        visit.say(early)?;
        visit.listen()
    }));
    let mut client = front.client();
    client.say(format!("{ASKS}early"));
    backend.wait("the head", |seen| seen.requests.len() == 1);
    let head = backend.request().head;
    // Whatever was to be sent on has been sent on by the time another request is through.
    let other = Backend::named("x");
    let second = Front::new(&other.word());
    assert_eq!(second.ask(AFTER).text(), "x");
    assert_eq!(backend.bytes(), [head]);
    gate.open();
    assert_eq!((client.head("GET").status(), client.bytes(5)), (101, b"early".to_vec()));
}

/// The backend declines: what the client had sent for a tunnel is read as what it is, the next request, or not at all.
#[test]
fn a_declined_change_leaves_plain_requests() {
    for status in ["200 OK", "400 Bad Request", "426 Upgrade Required"] {
        let said = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno");
        let (backend, front) = pair(Backend::saying(said));
        let mut client = front.client();
        client.say(format!("{ASKS}{AFTER}"));
        let declined = client.answer("GET");
        assert_eq!(declined.text(), "no");
        if declined.closes() {
            client.ends();
            assert_eq!(backend.requests().len(), 1);
        } else {
            assert_eq!(client.answer("GET").text(), "no");
            assert_eq!(backend.firsts(), ["GET /chat HTTP/1.1", "GET /after HTTP/1.1"]);
        }
    }
}

/// RUSTSEC-2026-0033 once more: frames behind a declined request never reach a backend as they are.
#[test]
fn frames_behind_a_declined_change_reach_nobody() {
    let (backend, front) = pair(Backend::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"));
    let mut client = front.client();
    client.say([ASKS.as_bytes(), b"\x81\x05hello\r\n\r\n"].concat());
    assert_eq!(client.answer("GET").text(), "no");
    let (end, rest) = client.rest();
    assert_ne!(end, End::Hung);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{}", show(&rest));
    drop(front);
    backend.wait("its end", |seen| seen.open == 0);
    assert_eq!(backend.requests().len(), 1);
    assert!(backend.bytes().iter().all(|bytes| !show(bytes).contains("hello")));
}

/// Envoy CVE-2026-73548: what was a tunnel is no connection for anybody else's request, whatever was answered.
#[test]
fn another_protocol_than_the_one_asked_for_is_a_bad_gateway() {
    for to in ["h2c", "other", "websocket, h2c"] {
        let said = SWITCHES.replace("Upgrade: websocket", &format!("Upgrade: {to}"));
        let (backend, front) = pair(Backend::new(move |visit| {
            if visit.number == 0 {
                visit.head()?;
                visit.say(&said)?;
                return visit.listen();
            }
            visit.request()?;
            visit.say(answer("good"))?;
            visit.listen()
        }));
        let refused = front.ask(ASKS);
        assert_eq!((refused.status(), refused.field("lb-reason")), (502, "bad-answer"), "Upgrade: {to}");
        backend.wait("its end", |seen| seen.ends[0].is_some());
        assert_eq!(front.ask(AFTER).text(), "good");
    }
}

#[test]
fn http_2_is_never_upgraded_to() {
    for upgrade in ["h2c", "H2C", "h2c, websocket", "websocket, h2c", "h2", "HTTP/2.0"] {
        let (backend, front) = pair(Backend::named("plain"));
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        let answer = front.ask(request);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "plain"), "Upgrade: {upgrade}");
        let request = backend.request();
        assert!(!request.lists("upgrade", "h2c") && !request.has("http2-settings"), "{}", show(&request.head));
    }
}

#[test]
fn a_change_in_http_1_0_is_none() {
    let (backend, front) = pair(Backend::named("plain"));
    assert_eq!(front.ask(ASKS.replace("HTTP/1.1", "HTTP/1.0")).text(), "plain");
    assert!(!backend.request().has("upgrade"));
}

#[test]
fn a_request_with_a_body_and_a_change_keeps_both_apart() {
    let (backend, front) = pair(Backend::new(|visit| {
        let mut head = visit.head()?;
        visit.body(&mut head)?;
        visit.say(SWITCHES)?;
        visit.say(&head.body)?;
        visit.listen()
    }));
    let mut client = front.client();
    let switch = client.ask(ASKS.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"));
    if switch.status() == 101 {
        assert_eq!(client.bytes(5), b"hello");
    } else {
        assert_eq!(switch.status(), 502, "{}", show(&switch.head));
        assert!(!backend.request().has("upgrade"));
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let backend = switching("");
    let front = Front::with(&backend.word(), |settings| settings.times.tunnel_idle = Some(ROOMY));
    let mut client = switched(&front);
    for () in moments() {
        assert_eq!(client.say("x").bytes(1), b"x");
    }
    client.ends();
    backend.wait("its end", |seen| seen.open == 0);
    front.idle();
}

#[test]
fn a_tunnel_outlives_the_limits_of_requests() {
    let backend = switching("");
    let front = Front::with(&backend.word(), |settings| {
        settings.times.first_byte = ROOMY;
        settings.times.between_reads = ROOMY;
        settings.times.body = ROOMY;
        settings.times.idle = ROOMY;
        settings.times.head = ROOMY;
    });
    let mut client = switched(&front);
    assert!(!client.hears_within(2 * ROOMY));
    assert_eq!(client.say("x").bytes(1), b"x");
}

/// How a request ended: its status, whether that was ours, whether its answer was cut, and why.
type Ended = (u16, bool, bool, Option<&'static str>);

#[derive(Default)]
struct Ends(Mutex<Vec<Ended>>);

impl Hooks for Ends {
    fn on_end(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push((record.status, record.is_own_answer(), record.cut, record.reason));
    }
}

#[test]
fn a_tunnel_that_was_cut_is_no_answer_of_ours() {
    let backend = switching("");
    let ends = Arc::<Ends>::default();
    let mut settings = Settings::default();
    settings.times.tunnel_idle = Some(std::time::Duration::from_millis(400));
    let front = Front::by(&backend.word(), |proxy| {
        proxy.with_settings(settings).with_hooks(Arc::clone(&ends) as Arc<dyn Hooks>)
    });
    switched(&front).ends();
    switched(&front).reset();
    let mut whole = switched(&front);
    whole.finish().ends();
    wait_for("three ends", || ends.0.lock().unwrap().len() == 3);
    let mut ends = ends.0.lock().unwrap().clone();
    ends.sort_unstable();
    let cut = |reason| (101, false, true, Some(reason));
    assert_eq!(ends, [(101, false, false, None), cut("client-gone"), cut("tunnel-timeout")]);
}
