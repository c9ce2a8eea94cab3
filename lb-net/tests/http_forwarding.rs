//! What goes on: one unambiguous message without the fields of one connection, and with ours.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::net::{IpAddr, Ipv4Addr};

use http_support::{Front, each, pair};
use lb_net::http::{Edit, Settings};
use wire::{Backend, Client, Message, answer, show};

/// What the backend got of this request, and what the client got of `said`.
fn exchanged(
    request: impl AsRef<[u8]>,
    said: impl Into<Vec<u8>>,
    change: impl FnOnce(&mut Settings),
) -> (Message, Message) {
    let backend = Backend::saying(said);
    let front = Front::with(&backend.word(), change);
    let answer = front.ask(request);
    (backend.request(), answer)
}

/// What the backend got of a GET with these fields.
fn got(fields: &str) -> Message {
    let (request, answered) = exchanged(format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), answer("x"), |_| {});
    assert_eq!(answered.text(), "x");
    request
}

/// What a client got of a 200 with these fields.
fn gets(fields: &str) -> Message {
    let said = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n{fields}\r\nx");
    let (_, answered) = exchanged("GET / HTTP/1.1\r\nHost: a\r\n\r\n", said, |_| {});
    assert_eq!(answered.text(), "x");
    answered
}

/// Fields of one connection, and who names them.
const HOP: &[(&str, &str)] = &[
    ("nominated", "Connection: X-Hop\r\nX-Hop: 1\r\n"),
    ("nominated in other letters", "Connection: x-hOP\r\nX-Hop: 1\r\n"),
    ("nominated after it", "X-Hop: 1\r\nConnection: X-Hop\r\n"),
    ("nominated among others", "Connection: keep-alive, ,X-Hop ,\tX-Other\r\nX-Hop: 1\r\nX-Other: 2\r\n"),
    ("nominated twice", "Connection: X-Hop, X-Hop\r\nX-Hop: 1\r\nX-Hop: 2\r\n"),
    ("in two fields", "Connection: X-Other\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Other: 2\r\n"),
    ("with close", "Connection: close, X-Hop\r\nX-Hop: 1\r\n"),
    ("Keep-Alive", "Keep-Alive: timeout=5\r\nConnection: keep-alive\r\n"),
    ("Keep-Alive, nominated by nobody", "Keep-Alive: timeout=5\r\n"),
    ("Proxy-Connection", "Proxy-Connection: keep-alive\r\n"),
    ("Upgrade, nominated by nobody", "Upgrade: websocket\r\n"),
    ("h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
];

const GONE: &[&str] = &["x-hop", "x-other", "keep-alive", "proxy-connection", "upgrade", "http2-settings"];

#[test]
fn fields_of_the_clients_connection_stay_there() {
    each(HOP, |fields| {
        let request = got(&format!("X-Stays: 1\r\n{fields}X-Stays: 2\r\n"));
        assert_eq!(request.all("x-stays"), ["1", "2"]);
        assert!(GONE.iter().all(|name| !request.has(name)), "{}", show(&request.head));
    });
}

#[test]
fn fields_of_the_backends_connection_stay_there() {
    each(HOP, |fields| {
        let answer = gets(&format!("X-Stays: 1\r\n{fields}X-Stays: 2\r\n"));
        assert_eq!(answer.all("x-stays"), ["1", "2"]);
        assert!(GONE.iter().all(|name| !answer.has(name)), "{}", show(&answer.head));
    });
}

#[test]
fn what_frames_or_routes_a_request_cannot_be_nominated_away_without_a_refusal() {
    let names = ["Host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", "Via", "Connection", "close, Host"];
    let cases = names.map(|name| (name, name));
    each(&cases, |name| {
        for framed in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            let request = format!("POST /a HTTP/1.1\r\nHost: a\r\nConnection: {name}\r\n{framed}");
            let (backend, front) = pair(Backend::named("x"));
            let answered = front.ask(request);
            if answered.status() == 400 {
                assert_eq!(backend.connections(), 0);
                continue;
            }
            let request = backend.request();
            assert_eq!((answered.text().as_str(), request.text().as_str()), ("x", "hello"));
            assert_eq!(request.field("host"), "a");
            assert_eq!(request.field("x-forwarded-for"), "127.0.0.1");
            assert_eq!(request.field("via"), "1.1 lb");
        }
    });
}

#[test]
fn what_frames_an_answer_cannot_be_nominated_away_without_a_refusal() {
    for name in ["Content-Length", "Transfer-Encoding", "Connection", "Set-Cookie, Content-Length"] {
        let said = format!("HTTP/1.1 200 OK\r\nConnection: {name}\r\nContent-Length: 1\r\n\r\nx");
        let (_, answer) = exchanged("GET / HTTP/1.1\r\nHost: a\r\n\r\n", said, |_| {});
        assert!(answer.status() == 502 || answer.field("content-length") == "1", "{}", show(&answer.head));
    }
}

#[test]
fn only_trailers_are_asked_for_again() {
    let request = got("Connection: TE\r\nTE: gzip, trailers;q=0.5, deflate\r\n");
    assert!(request.all("te").iter().all(|value| *value == "trailers"));
    let request = got("Connection: TE\r\nTE: trailers\r\n");
    assert_eq!((request.field("te"), request.lists("connection", "te")), ("trailers", true), "{}", show(&request.head));
    assert!(!got("TE: gzip\r\n").has("te"));
}

#[test]
fn a_target_reaches_the_backend_in_origin_form_and_unchanged() {
    let cases = [
        ("plain", ("GET /a/b", "a", "GET /a/b", "a")),
        (
            "odd paths are nobody's to mend",
            ("GET /a/../b//c/%2e%2E/;x?q=%41&&=/?", "a", "GET /a/../b//c/%2e%2E/;x?q=%41&&=/?", "a"),
        ),
        ("two slashes are no authority", ("GET //b/c", "a", "GET //b/c", "a")),
        ("absolute", ("GET http://b/p?q=1", "b", "GET /p?q=1", "b")),
        ("absolute with a port", ("GET http://b:8080/p", "b:8080", "GET /p", "b:8080")),
        ("absolute wins", ("GET http://b:8080/p", "a", "GET /p", "b:8080")),
        ("scheme in capitals", ("GET HTTP://b/p", "a", "GET /p", "b")),
        ("absolute without a path", ("GET http://b", "b", "GET /", "b")),
        ("absolute with only a query", ("GET http://b?q", "b", "GET /?q", "b")),
        ("absolute IPv6", ("GET http://[::1]:80/", "a", "GET /", "[::1]:80")),
        ("options of all", ("OPTIONS *", "a", "OPTIONS *", "a")),
        ("options, absolute", ("OPTIONS http://b", "b", "OPTIONS *", "b")),
        ("a method of its own", ("m-SEARCH!#$ /a", "a", "m-SEARCH!#$ /a", "a")),
        ("a host with capitals", ("GET /", "Ab.C:80", "GET /", "Ab.C:80")),
    ];
    each(&cases, |(first, host, sent, right)| {
        let request = format!("{first} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (request, answered) = exchanged(request, answer("x"), |_| {});
        assert_eq!(answered.text(), "x");
        assert_eq!(
            (
                request.first,
                request.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).unwrap().1.as_str()
            ),
            (format!("{sent} HTTP/1.1"), *right)
        );
    });
}

#[test]
fn other_spellings_arrive_in_ours() {
    let cases = [
        ("an empty line first", "\r\nGET /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n"),
        ("blanks around values", "GET /a HTTP/1.1\r\nHost:\t a \t\r\nX-A:b  \r\n\r\n"),
        ("a version above ours", "GET /a HTTP/1.7\r\nHost: a\r\nX-A: b\r\n\r\n"),
        ("HTTP/1.0", "GET /a HTTP/1.0\r\nHost: a\r\nX-A: b\r\n\r\n"),
    ];
    each(&cases, |request| {
        let (request, answered) = exchanged(request, answer("x"), |_| {});
        assert_eq!(answered.text(), "x");
        assert_eq!(
            (request.field("host"), request.field("x-a"), request.first.as_str()),
            ("a", "b", "GET /a HTTP/1.1")
        );
    });
}

#[test]
fn line_feeds_alone_become_line_ends_or_are_refused() {
    for request in ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\n"]
    {
        let (backend, front) = pair(Backend::named("x"));
        match front.ask(request).status() {
            200 => assert_eq!(backend.request().field("host"), "a"),
            status => assert_eq!((status, backend.connections()), (400, 0)),
        }
    }
}

#[test]
fn two_lengths_alike_become_one_or_are_refused() {
    for fields in ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5", "Content-Length: 05"] {
        let (backend, front) = pair(Backend::named("x"));
        let answer = front.ask(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello"));
        match answer.status() {
            200 => assert_eq!(backend.request().text(), "hello"),
            status => assert_eq!((status, backend.connections()), (400, 0)),
        }
    }
}

#[test]
fn a_request_of_http_1_0_without_a_host_has_one_behind_us() {
    let (request, answered) = exchanged("GET /a HTTP/1.0\r\n\r\n", answer("x"), |_| {});
    assert_eq!((answered.text().as_str(), request.all("host").len()), ("x", 1));
    assert!(answered.closes());
}

#[test]
fn a_host_that_is_set_is_what_backends_see() {
    let request = "GET / HTTP/1.1\r\nHost: a:81\r\n\r\n";
    let (request, _) = exchanged(request, answer("x"), |settings| settings.forward.host = Some("b".to_owned()));
    assert_eq!((request.field("host"), request.field("x-forwarded-host")), ("b", "a:81"));
}

#[test]
fn fields_arrive_in_their_order_and_with_their_letters() {
    let fields = "x-B: 1\r\nCookie: a=b; c=d\r\nX-a: 2\r\nACCEPT: */*\r\nX-a: 3\r\nX-Empty: \r\nX-\u{60}~!: \u{e4}\"(),/:;<=>?@[]{}\r\n";
    let sent = [
        ("x-B", "1"),
        ("Cookie", "a=b; c=d"),
        ("X-a", "2"),
        ("ACCEPT", "*/*"),
        ("X-a", "3"),
        ("X-Empty", ""),
        ("X-`~!", "\u{e4}\"(),/:;<=>?@[]{}"),
    ];
    let is_sent = |fields: &[(String, String)]| {
        let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let ours: Vec<_> = pairs.into_iter().filter(|pair| sent.contains(pair)).collect();
        assert_eq!(ours, sent);
    };
    is_sent(&got(fields).fields);
    is_sent(&gets(fields).fields);
}

#[test]
fn cookies_that_are_set_stay_apart() {
    let answer = gets("Set-Cookie: a=b, c\r\nVary: x\r\nSet-Cookie: d=e\r\n");
    assert_eq!(answer.all("set-cookie"), ["a=b, c", "d=e"]);
}

#[test]
fn each_of_us_says_via() {
    assert_eq!(got("").field("via"), "1.1 lb");
    assert_eq!(got("Via: 1.0 x\r\nVia: 1.1 y\r\n").all("via").join(", "), "1.0 x, 1.1 y, 1.1 lb");
    assert_eq!(gets("Via: 1.1 x\r\n").all("via").join(", "), "1.1 x, 1.1 lb");
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (request, answer) = exchanged("GET / HTTP/1.0\r\nHost: a\r\n\r\n", old, |_| {});
    assert_eq!((request.field("via"), answer.field("via")), ("1.0 lb", "1.0 lb"));
    let other = |settings: &mut Settings| settings.forward.via = Some("edge".to_owned());
    let (request, answered) = exchanged("GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer_x(), other);
    assert_eq!((request.field("via"), answered.field("via")), ("1.1 edge", "1.1 edge"));
    let (request, answered) = exchanged("GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer_x(), |s| s.forward.via = None);
    assert!(!request.has("via") && !answered.has("via"));
}

fn answer_x() -> String {
    answer("x")
}

/// What strangers say of themselves, and proxies of their clients.
const SAID: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil\r\nX-Forwarded-Port: 443\r\nForwarded: for=6.6.6.6;proto=https\r\n";

/// What the backend got of this from 127.0.0.2.
fn introduced(fields: &str, change: impl FnOnce(&mut Settings)) -> (Message, u16) {
    let backend = Backend::named("x");
    let front = Front::with(&backend.word(), change);
    let mut client = Client::from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), front.address);
    assert_eq!(client.ask(format!("GET / HTTP/1.1\r\nHost: a:81\r\n{fields}\r\n")).text(), "x");
    (backend.request(), front.address.port())
}

fn x_forwarded(request: &Message) -> [String; 4] {
    ["for", "proto", "host", "port"].map(|what| request.all(&format!("x-forwarded-{what}")).join(", "))
}

#[test]
fn a_stranger_is_who_it_is_and_not_who_it_says() {
    for fields in ["", SAID, "x-forwarded-FOR: 1.1.1.1, 2.2.2.2\r\n"] {
        let (request, port) = introduced(fields, |_| {});
        assert_eq!(x_forwarded(&request), ["127.0.0.2", "http", "a:81", &port.to_string()].map(String::from));
        assert!(!request.has("forwarded"), "{}", show(&request.head));
    }
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let trust = |settings: &mut Settings| settings.forward.trusted = "127.0.0.2/32".parse().unwrap();
    let (request, _) = introduced(SAID, trust);
    assert_eq!(x_forwarded(&request), ["6.6.6.6, 7.7.7.7, 127.0.0.2", "https", "evil", "443"].map(String::from));
    let (request, port) = introduced("", trust);
    assert_eq!(x_forwarded(&request), ["127.0.0.2", "http", "a:81", &port.to_string()].map(String::from));
    let other = |settings: &mut Settings| settings.forward.trusted = "127.0.0.3,10.0.0.0/8".parse().unwrap();
    let (request, port) = introduced(SAID, other);
    assert_eq!(x_forwarded(&request), ["127.0.0.2", "http", "a:81", &port.to_string()].map(String::from));
}

#[test]
fn forwarded_says_the_same_where_it_is_asked_for() {
    let on = |settings: &mut Settings| settings.forward.forwarded = true;
    let (request, _) = introduced(SAID, on);
    let said = request.field("forwarded").to_ascii_lowercase();
    assert!(said.contains("for=127.0.0.2") && said.contains("proto=http"), "{said}");
    assert!(said.contains("host=\"a:81\"") && !said.contains("6.6.6.6") && !said.contains("https"), "{said}");
    let trusted = |settings: &mut Settings| {
        settings.forward.forwarded = true;
        settings.forward.trusted = "127.0.0.0/8".parse().unwrap();
    };
    let (request, _) = introduced(SAID, trusted);
    let said = request.all("forwarded").join(", ");
    assert!(said.starts_with("for=6.6.6.6;proto=https, ") && said.contains("127.0.0.2"), "{said}");
}

#[test]
fn nothing_is_told_of_the_client_where_that_is_switched_off() {
    let (request, _) = introduced("", |settings| settings.forward.x_forwarded = false);
    assert!(x_forwarded(&request).iter().all(String::is_empty), "{}", show(&request.head));
}

#[test]
fn a_nominated_field_of_ours_is_ours_also_from_a_trusted_proxy() {
    // CVE-2026-105299's shape: the nomination removes what is said by the sender, never what we say.
    let trust = |settings: &mut Settings| settings.forward.trusted = "127.0.0.2/32".parse().unwrap();
    let (request, _) = introduced("Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\n", trust);
    assert!(request.field("x-forwarded-for").ends_with("127.0.0.2"), "{}", show(&request.head));
}

#[test]
fn requests_and_answers_are_edited_as_told() {
    let edits = |lines: &[&str]| lines.iter().map(|line| line.parse::<Edit>().unwrap()).collect::<Vec<_>>();
    let (there, back) = (
        edits(&["remove X-Gone", "set X-Set: new", "add X-Add: 2"]),
        edits(&["set Server: lb", "remove X-Powered-By", "add X-Add: 2"]),
    );
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nx-gone: 1\r\nX-GONE: 2\r\nx-set: old\r\nX-Set: older\r\nX-Add: 1\r\n\r\n";
    let said = "HTTP/1.1 200 OK\r\nserver: x\r\nServer: y\r\nX-POWERED-by: z\r\nX-Add: 1\r\nContent-Length: 1\r\n\r\nx";
    let (request, answer) = exchanged(request, said, |settings| {
        settings.request_edits = there;
        settings.answer_edits = back;
    });
    assert_eq!(
        (request.all("x-gone"), request.all("x-set"), request.all("x-add")),
        (vec![], vec!["new"], vec!["1", "2"])
    );
    assert_eq!(
        (answer.all("x-powered-by"), answer.all("server"), answer.all("x-add")),
        (vec![], vec!["lb"], vec!["1", "2"])
    );
}

#[test]
fn a_message_goes_only_as_far_as_its_max_forwards_says() {
    for method in ["OPTIONS", "TRACE"] {
        let (backend, front) = pair(Backend::named("x"));
        let mut client = front.client();
        let last = client.ask(format!("{method} /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"));
        assert!(last.status() < 300 || last.status() == 405, "{}", show(&last.head));
        assert_eq!(backend.connections(), 0);
        let mut client = if last.closes() { front.client() } else { client };
        assert_eq!(client.ask(format!("{method} /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n")).text(), "x");
        assert_eq!(backend.request().field("max-forwards"), "4");
    }
    assert_eq!(got("Max-Forwards: 0\r\n").first, "GET /a HTTP/1.1", "it says nothing to other methods");
}

#[test]
fn both_sides_speak_http_1_1_whatever_the_other_speaks() {
    let said = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (request, answer) = exchanged("GET / HTTP/1.1\r\nHost: a\r\n\r\n", said, |_| {});
    assert_eq!((request.first.as_str(), answer.first.as_str()), ("GET / HTTP/1.1", "HTTP/1.1 200 OK"));
    assert!(!answer.closes(), "the backend's connection is its own affair");
}
