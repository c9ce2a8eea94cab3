//! What no two readers understand alike goes to no backend: it is answered, and the connection ends.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use http_support::{Front, each, pair};
use wire::{Backend, End, show};

/// What would be another request if the one before ended where it does not.
const TAIL: &str = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";

/// A request that is refused, and how.
struct Refused {
    bytes: Vec<u8>,
    statuses: &'static [u16],
    reason: &'static str,
}

/// A head of a request line and the fields besides `Host`.
fn head(first: &str, fields: &str) -> Vec<u8> {
    format!("{first}\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn line(first: &str, statuses: &'static [u16], reason: &'static str) -> Refused {
    Refused { bytes: head(first, ""), statuses, reason }
}

/// A request with this field, as it goes over the wire without its end.
fn with(field: &str, statuses: &'static [u16], reason: &'static str) -> Refused {
    Refused { bytes: head("POST / HTTP/1.1", &format!("{field}\r\n")), statuses, reason }
}

fn bytes(bytes: impl AsRef<[u8]>, statuses: &'static [u16], reason: &'static str) -> Refused {
    Refused { bytes: bytes.as_ref().to_vec(), statuses, reason }
}

/// It is answered with a status and a reason, the connection ends, and no backend hears a word.
fn is_refused(case: &Refused) {
    is_refused_for(case, &[case.reason]);
}

/// With any of these reasons: which of them it is says nothing of safety.
fn is_refused_for(case: &Refused, reasons: &[&str]) {
    for (tail, piece) in [("", usize::MAX), (TAIL, usize::MAX), (TAIL, 7)] {
        let (backend, front) = pair(Backend::named("a"));
        let mut client = front.client();
        let all = [&case.bytes[..], tail.as_bytes()].concat();
        match piece {
            usize::MAX => client.say(&all),
            _ => client.say_slowly(&all, piece.max(all.len() / 64)),
        };
        let answer = client.answer("GET");
        assert!(case.statuses.contains(&answer.status()), "{} instead of {:?}", show(&answer.head), case.statuses);
        assert!(answer.closes(), "it does not close: {}", show(&answer.head));
        assert!(reasons.contains(&answer.field("lb-reason")), "{}", show(&answer.head));
        assert!((10..200).contains(&answer.body.len()), "{}", answer.text());
        client.ends();
        drop(front);
        backend.wait("all connections to end", |seen| seen.open == 0);
        assert!(backend.bytes().iter().all(Vec::is_empty), "the backend got {:?}", backend.firsts());
    }
}

#[test]
fn a_request_line_that_is_none_is_refused() {
    let (bad, target, version) = ("bad-request-line", "bad-target", "bad-version");
    each(
        &[
            ("space in the target", line("GET /a b HTTP/1.1", &[400], bad)),
            ("two spaces first", line("GET  / HTTP/1.1", &[400], bad)),
            ("two spaces last", line("GET /  HTTP/1.1", &[400], bad)),
            ("tab for space", line("GET\t/\tHTTP/1.1", &[400], bad)),
            ("blank at the end", line("GET / HTTP/1.1 ", &[400], bad)),
            ("blank at the beginning", line(" GET / HTTP/1.1", &[400], bad)),
            ("no target", line("GET HTTP/1.1", &[400], bad)),
            ("only a word", line("GET", &[400], bad)),
            ("no version", line("GET /", &[400], bad)),
            ("bare CR", line("GET /\rX HTTP/1.1", &[400], bad)),
            ("NUL in the target", line("GET /\0 HTTP/1.1", &[400], bad)),
            ("DEL in the target", line("GET /\x7f HTTP/1.1", &[400], bad)),
            ("control in the target", line("GET /\x01 HTTP/1.1", &[400], bad)),
            ("lower case", line("GET / http/1.1", &[400], bad)),
            ("other protocol", line("GET / ICY/1.1", &[400], bad)),
            ("version of three digits", line("GET / HTTP/1.10", &[400], bad)),
            ("version without digits", line("GET / HTTP/1.x", &[400], bad)),
            ("version with comma", line("GET / HTTP/1,1", &[400], bad)),
            ("a TLS greeting", bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400], bad)),
            ("a fragment", line("GET /a#b HTTP/1.1", &[400], target)),
            ("no slash", line("GET a HTTP/1.1", &[400], target)),
            ("star of others", line("GET * HTTP/1.1", &[400], target)),
            ("empty authority", line("GET http:///a HTTP/1.1", &[400], target)),
            ("user in the authority", line("GET http://me@a/ HTTP/1.1", &[400], target)),
            ("authority form of others", line("GET a:80 HTTP/1.1", &[400], target)),
            ("HTTP/2.0", line("GET / HTTP/2.0", &[505], version)),
            ("HTTP/0.9", line("GET / HTTP/0.9", &[505], version)),
            ("the preface of HTTP/2", bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505], version)),
        ],
        |case| is_refused_for(case, &[bad, target, version, "bad-method"]),
    );
}

#[test]
fn a_method_that_is_no_token_is_refused() {
    let words = ["G@T", "G(T", "GET,", "\"GET\"", "G\u{e9}T", "[GET]", "GET:"];
    let cases: Vec<_> = words.map(|word| (word, line(&format!("{word} / HTTP/1.1"), &[400], ""))).into();
    each(&cases, |case| is_refused_for(case, &["bad-method", "bad-request-line"]));
}

#[test]
fn connect_is_refused() {
    let cases = [
        ("a port", bytes("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &[405], "connect-not-allowed")),
        ("a path", line("CONNECT / HTTP/1.1", &[405], "connect-not-allowed")),
        ("in HTTP/1.0", bytes("CONNECT a:443 HTTP/1.0\r\n\r\n", &[405], "connect-not-allowed")),
    ];
    each(&cases, |case| is_refused_for(case, &["connect-not-allowed", "bad-target"]));
}

#[test]
fn a_field_that_is_none_is_refused() {
    let bad = "bad-field";
    each(
        &[
            ("space before the colon", with("X-A : b", &[400], bad)),
            ("tab before the colon", with("X-A\t: b", &[400], bad)),
            ("space in the name", with("X A: b", &[400], bad)),
            ("no name", with(": b", &[400], bad)),
            ("no colon", with("X-A", &[400], bad)),
            ("folded", with("X-A: b\r\n c", &[400], bad)),
            ("folded with a tab", with("X-A: b\r\n\tc", &[400], bad)),
            ("folded to nothing", with("X-A: b\r\n ", &[400], bad)),
            ("NUL in the value", with("X-A: b\0c", &[400], bad)),
            ("bare CR in the value", with("X-A: b\rc", &[400], bad)),
            ("bare CR before a field", with("X-A: b\rTransfer-Encoding: chunked", &[400], bad)),
            ("control in the value", with("X-A: b\x01c", &[400], bad)),
            ("DEL in the value", with("X-A: b\x7fc", &[400], bad)),
            ("NUL in the name", with("X\0A: b", &[400], bad)),
            ("brackets in the name", with("X(A): b", &[400], bad)),
            ("no ASCII in the name", with("X-\u{e4}: b", &[400], bad)),
            ("quotes in the name", with("\"X-A\": b", &[400], bad)),
            ("blank first", bytes("GET / HTTP/1.1\r\n Host: a\r\n\r\n", &[400], bad)),
            ("tab first", bytes("GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", &[400], bad)),
            ("blank line first", bytes("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", &[400], bad)),
            ("CR CR LF", bytes("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", &[400], bad)),
            ("length with a blank before the colon", with("Content-Length : 5", &[400], bad)),
            ("coding with a blank before the colon", with("Transfer-Encoding : chunked", &[400], bad)),
            ("folded coding", with("Transfer-Encoding:\r\n chunked", &[400], bad)),
            ("folded length", with("Content-Length:\r\n 5", &[400], bad)),
        ],
        |case| is_refused_for(case, &[bad, "bad-request-line"]),
    );
}

#[test]
fn a_host_that_is_none_is_refused() {
    let (missing, bad) = ("missing-host", "bad-host");
    let host = |host: &str| bytes(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[400], bad);
    each(
        &[
            ("no Host", bytes("GET / HTTP/1.1\r\n\r\n", &[400], missing)),
            ("no Host in HTTP/1.2", bytes("GET / HTTP/1.2\r\n\r\n", &[400], missing)),
            ("no Host, absolute form", bytes("GET http://a/ HTTP/1.1\r\n\r\n", &[400], missing)),
            ("two", bytes("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400], bad)),
            ("two alike", bytes("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", &[400], bad)),
            ("two in HTTP/1.0", bytes("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", &[400], bad)),
            ("a blank", host("a b")),
            ("a list", host("a,b")),
            ("a path", host("a/b")),
            ("a user", host("me@a")),
            ("a query", host("a?b")),
            ("a fragment", host("a#b")),
            ("a backslash", host("a\\b")),
            ("quotes", host("\"a\"")),
            ("angle brackets", host("<a>")),
            ("a port that is none", host("a:b")),
            ("two ports", host("a:80:80")),
            ("a port too high", host("a:65536")),
            ("an address half in brackets", host("[::1")),
            ("an address without brackets", host("::1")),
            ("a scheme", host("http://a")),
        ],
        |case| is_refused_for(case, &[missing, bad]),
    );
}

#[test]
fn a_length_that_is_none_is_refused() {
    let length = |length: &str| with(&format!("Content-Length: {length}"), &[400], "bad-length");
    each(
        &[
            ("plus", length("+5")),
            ("minus", length("-5")),
            ("hexadecimal", length("0x5")),
            ("letters", length("abc")),
            ("letters behind", length("5a")),
            ("a comma behind", length("5,")),
            ("a comma before", length(",5")),
            ("two that differ", length("5, 6")),
            ("a blank within", length("5 5")),
            ("empty", length("")),
            ("a point", length("5.0")),
            ("an exponent", length("1e1")),
            ("quotes", length("\"5\"")),
            ("a semicolon", length("5;")),
            ("2^64", length("18446744073709551616")),
            ("40 digits", length(&"1".repeat(40))),
            ("no ASCII digits", length("\u{665}")),
            ("two fields that differ", with("Content-Length: 5\r\nContent-Length: 6", &[400], "ambiguous-length")),
            ("zero and more", with("Content-Length: 0\r\nContent-Length: 44", &[400], "ambiguous-length")),
            ("a good and a bad one", with("Content-Length: 5\r\nContent-Length: x", &[400], "bad-length")),
            ("in HTTP/1.0", bytes("POST / HTTP/1.0\r\nContent-Length: 5x\r\n\r\nhello", &[400], "bad-length")),
            ("with GET", bytes("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", &[400], "bad-length")),
        ],
        |case| is_refused_for(case, &["bad-length", "ambiguous-length"]),
    );
}

#[test]
fn a_coding_that_does_not_frame_is_refused() {
    let coding = |coding: &str| with(&format!("Transfer-Encoding: {coding}"), &[400, 501], "bad-coding");
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    each(
        &[
            ("with a length", with(both, &[400], "")),
            ("before a length", with("Transfer-Encoding: chunked\r\nContent-Length: 5", &[400], "")),
            ("with length 0", with("Content-Length: 0\r\nTransfer-Encoding: chunked", &[400], "")),
            ("with a bad length", with("Content-Length: abc\r\nTransfer-Encoding: chunked", &[400], "")),
            ("unknown with a length", with("Content-Length: 5\r\nTransfer-Encoding: x", &[400, 501], "")),
            ("empty with a length", with("Content-Length: 5\r\nTransfer-Encoding:", &[400, 501], "")),
            ("unknown", coding("x")),
            ("gzip", coding("gzip")),
            ("gzip first", coding("gzip, chunked")),
            ("not last", coding("chunked, gzip")),
            ("identity", coding("identity")),
            ("identity last", coding("chunked, identity")),
            ("identity first", coding("identity, chunked")),
            ("twice", coding("chunked, chunked")),
            ("in two fields", coding("chunked\r\nTransfer-Encoding: chunked")),
            ("in two fields with another", coding("x\r\nTransfer-Encoding: chunked")),
            ("in two fields before another", coding("chunked\r\nTransfer-Encoding: x")),
            ("and identity in another field", coding("chunked\r\nTransfer-Encoding: identity")),
            ("empty", coding("")),
            ("comma behind", coding("chunked,")),
            ("comma before", coding(",chunked")),
            ("letter before", coding("xchunked")),
            ("letter behind", coding("chunkedx")),
            ("parameter", coding("chunked;a=b")),
            ("semicolon", coding("chunked;")),
            ("quotes", coding("\"chunked\"")),
            ("single quotes", coding("'chunked'")),
            ("vertical tab", coding("\x0bchunked")),
            ("form feed", coding("chunked\x0c")),
            ("no break", coding("chunked\u{a0}")),
            ("cut", coding("chunke")),
            ("blank within", coding("chun ked")),
            ("in HTTP/1.0", bytes("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400], "")),
            ("in HTTP/1.0 with a host", bytes(head("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), &[400], "")),
            ("any in HTTP/1.0", bytes("POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", &[400, 501], "")),
        ],
        |case| is_refused_for(case, &["bad-coding", "unknown-coding", "ambiguous-length", "bad-field", "bad-length"]),
    );
}

#[test]
fn an_expectation_that_nobody_knows_is_refused() {
    let cases = ["200-ok", "100-continued", "x=y", "100-continue, x"];
    let cases = cases.map(|word| (word, with(&format!("Expect: {word}\r\nContent-Length: 5"), &[417], "bad-expect")));
    each(&cases, is_refused);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let many = |count: usize| (0..count).map(|at| format!("X-{at}: y\r\n")).collect::<String>();
    let long = |count: usize| format!("X-A: {}", "y".repeat(count));
    each(
        &[
            ("too many fields", bytes(head("GET / HTTP/1.1", &many(128)), &[431], "head-too-large")),
            ("far too many", bytes(head("GET / HTTP/1.1", &many(300)), &[431], "head-too-large")),
            ("a field too long", with(&long(64 * 1024), &[431], "head-too-large")),
            (
                "together too long",
                bytes(
                    head("GET / HTTP/1.1", &[long(9_000), String::new()].join("\r\n").repeat(8)),
                    &[431],
                    "head-too-large",
                ),
            ),
            ("a target too long", line(&format!("GET /{} HTTP/1.1", "a".repeat(64 * 1024)), &[414], "target-too-long")),
            ("no end of the line", bytes(format!("GET /{}", "a".repeat(70_000)), &[414], "target-too-long")),
            (
                "no end of a field",
                bytes(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(70_000)), &[431], "head-too-large"),
            ),
        ],
        is_refused,
    );
}

#[test]
fn a_head_up_to_the_limits_goes_on() {
    let many = (0..127).map(|at| format!("X-{at}: y\r\n")).collect::<String>();
    let long = format!("X-A: {}\r\n", "y".repeat(60_000));
    let requests = [
        ("127 fields and Host", head("GET / HTTP/1.1", &many)),
        ("60 KB in a field", head("GET / HTTP/1.1", &long)),
        ("60 KB of target", head(&format!("GET /{} HTTP/1.1", "a".repeat(60_000)), "")),
    ];
    each(&requests, |bytes| {
        let (backend, front) = pair(Backend::named("a"));
        assert_eq!(front.ask(bytes).text(), "a");
        let (got, sent) = (backend.request(), show(bytes));
        assert!(sent.starts_with(&got.first) || got.first.len() > 2_000);
        assert!(got.head.len() >= bytes.len(), "{} of {}", got.head.len(), bytes.len());
    });
}

#[test]
fn limits_of_a_service_of_its_own_hold() {
    let change = |settings: &mut lb_net::http::Settings| {
        settings.limits.head_bytes = 1024;
        settings.limits.fields = 3;
    };
    let cases = [
        ("fields", head("GET / HTTP/1.1", "A: b\r\nB: c\r\nC: d\r\n"), 431),
        ("bytes", head("GET / HTTP/1.1", &format!("A: {}\r\n", "b".repeat(1024))), 431),
        ("target", head(&format!("GET /{} HTTP/1.1", "b".repeat(1024)), ""), 414),
        ("what is allowed", head("GET / HTTP/1.1", "A: b\r\nB: c\r\n"), 200),
    ];
    each(&cases.map(|(name, bytes, status)| (name, (bytes, status))), |(bytes, status)| {
        let backend = Backend::named("a");
        let front = Front::with(&backend.word(), change);
        assert_eq!(front.client().say(bytes).answer("GET").status(), *status);
    });
}

#[test]
fn a_message_that_has_come_round_is_refused() {
    let round = |own: &str| vec![own; 100].join(", ");
    let case = with(&format!("Via: {}", round("1.1 lb")), &[508], "loop-detected");
    is_refused(&case);
}

/// Requests whose head is fine and whose chunks are not: no backend takes them for whole.
#[test]
fn chunks_that_are_none_never_make_a_whole_request() {
    let long = "a".repeat(70_000);
    let cases = [
        ("no size", "\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("no digit", "x\r\nhello\r\n0\r\n\r\n".into()),
        ("hexadecimal prefix", "0x5\r\nhello\r\n0\r\n\r\n".into()),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n".into()),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n".into()),
        ("blank before", " 5\r\nhello\r\n0\r\n\r\n".into()),
        ("underscore", "1_0\r\nhellohellohello!\r\n0\r\n\r\n".into()),
        ("2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n".into()),
        ("2^64 + 5", "10000000000000005\r\nhello\r\n0\r\n\r\n".into()),
        ("20 digits", "ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n".into()),
        ("CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n".into()),
        ("LF after the size", "5\nhello\r\n0\r\n\r\n".into()),
        ("CR after the size", "5\rhello\r\n0\r\n\r\n".into()),
        ("LF after the data", "5\r\nhello\n0\r\n\r\n".into()),
        ("letters after the data", "5\r\nhelloXX0\r\n\r\n".into()),
        ("nothing after the data", "5\r\nhello0\r\n\r\n".into()),
        ("data too long", "5\r\nhello!\r\n0\r\n\r\n".into()),
        ("LF in an extension", "5;a\nhello\r\n0\r\n\r\n".into()),
        ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n".into()),
        ("NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n".into()),
        ("an extension without end", format!("5;{long}\r\nhello\r\n0\r\n\r\n")),
        ("LF at the end", "5\r\nhello\r\n0\n\r\n".into()),
        ("LF after the last", "5\r\nhello\r\n0\r\n\n".into()),
        ("a trailer that is none", "5\r\nhello\r\n0\r\nX A: b\r\n\r\n".into()),
        ("a trailer without colon", "5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n".into()),
        ("a folded trailer", "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n".into()),
        ("a trailer too long", format!("5\r\nhello\r\n0\r\nA: {long}\r\n\r\n")),
    ];
    each(&cases.map(|(name, body)| (name, body)), |body| {
        for piece in [usize::MAX, 3] {
            let (backend, front) = pair(Backend::named("a"));
            let mut client = front.client();
            let all = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{TAIL}{TAIL}");
            client.say_slowly(&all, if piece == usize::MAX { piece } else { piece.max(all.len() / 64) });
            let (end, heard) = client.rest();
            assert_ne!(end, End::Hung, "it waits; it said {}", show(&heard));
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 400 "), "{}", show(&heard));
            assert_eq!(count(&heard, b"HTTP/1.1 "), usize::from(!heard.is_empty()), "{}", show(&heard));
            drop(front);
            backend.wait("all connections to end", |seen| seen.open == 0);
            assert_eq!(backend.firsts(), [""; 0]);
        }
    });
}

fn count(all: &[u8], part: &[u8]) -> usize {
    all.windows(part.len()).filter(|window| *window == part).count()
}

#[test]
fn a_body_that_ends_too_soon_never_makes_a_whole_request() {
    let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello";
    let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let last = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    let cases = [("length", length), ("chunks", chunks), ("the last chunk", last)];
    each(&cases, |bytes| {
        for resets in [false, true] {
            let (backend, front) = pair(Backend::named("a"));
            let mut client = front.client();
            client.say(bytes);
            if resets {
                client.reset();
            } else {
                client.finish().ends_or_refuses();
            }
            front.idle();
            backend.wait("its connections to end", |seen| seen.open == 0);
            assert_eq!(backend.firsts(), [""; 0]);
            assert_eq!(front.ask("GET /after HTTP/1.1\r\nHost: a\r\n\r\n").text(), "a");
            assert_eq!(backend.firsts(), ["GET /after HTTP/1.1"]);
        }
    });
}

#[test]
fn a_head_that_never_ends_reaches_nobody() {
    let (backend, front) = pair(Backend::named("a"));
    let mut client = front.client();
    client.say("GET / HTTP/1.1\r\nHost: a\r\n").finish();
    client.ends_or_refuses();
    assert_eq!(backend.connections(), 0);
}

/// Whatever its reason is: an answer to HEAD has no body (RFC 9110 section 9.3.2).
#[test]
fn a_head_that_is_refused_gets_no_body() {
    for fields in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nContent-Length: x\r\n"] {
        let (backend, front) = pair(Backend::named("a"));
        let mut client = front.client();
        client.say(format!("HEAD / HTTP/1.1\r\n{fields}\r\n"));
        let (_, heard) = client.finish().rest();
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.starts_with("HTTP/1.1 400 ") && heard.ends_with("\r\n\r\n"), "{heard}");
        assert_eq!(heard.matches("\r\n\r\n").count(), 1, "{heard}");
        assert_eq!(backend.connections(), 0);
    }
}
