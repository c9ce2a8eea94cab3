//! What comes out for what comes in. Lines end with `|` here.

use std::{hint::black_box, time::Instant};

use super::{
    super::{
        field::FieldRoom,
        framing::{Asked, of_answer, of_request},
        head::{AnswerHead, HeadLimits, RequestHead},
        refusal::Reason,
    },
    *,
};

const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 128 };

/// A proxy that adds nothing.
fn silent() -> Forward {
    Forward { x_forwarded: false, via: None, ..Forward::default() }
}

fn edits(lines: &[&str]) -> &'static [Edit] {
    lines.iter().map(|line| line.parse().unwrap()).collect::<Vec<_>>().leak()
}

/// What a backend gets for this head.
fn request_with(text: &str, forward: &Forward, change: impl FnOnce(&mut Hop<'_>)) -> Result<String, Reason> {
    let (client, local) = ("192.0.2.7:4000".parse().unwrap(), "198.51.100.1:8080".parse().unwrap());
    let mut hop = Hop { client, local, peer_trusted: false, forward, edits: &[], more_edits: &[] };
    change(&mut hop);
    let bytes = format!("{text}||").replace('|', "\r\n").into_bytes();
    let mut room = FieldRoom::new();
    let head = RequestHead::parse(&bytes, &mut room, &LIMITS)?.expect("it is whole");
    let mut out = b"before".to_vec();
    write_request(&head, &of_request(&head)?, &hop, &mut out)?;
    let out = String::from_utf8(out).unwrap();
    Ok(out.strip_prefix("before").and_then(|out| out.strip_suffix("\r\n\r\n")).unwrap().replace("\r\n", "|"))
}

fn request(text: &str) -> String {
    request_with(text, &silent(), |_| {}).unwrap()
}

/// The fields that a backend gets of `GET / HTTP/1.1|Host: a` and these.
fn fields(fields: &str, forward: &Forward, change: impl FnOnce(&mut Hop<'_>)) -> String {
    let all = request_with(&format!("GET / HTTP/1.1|Host: a|{fields}"), forward, change).unwrap();
    all.strip_prefix("GET / HTTP/1.1|Host: a").unwrap().trim_start_matches('|').to_owned()
}

/// What a client gets for this head.
fn answer_to(asked: Asked, text: &str, change: impl FnOnce(&mut Back<'_>)) -> String {
    let bytes = format!("{text}||").replace('|', "\r\n").into_bytes();
    let mut room = FieldRoom::new();
    let head = AnswerHead::parse(&bytes, &mut room, &LIMITS).unwrap().expect("it is whole");
    let framing = of_answer(&head, &asked).unwrap();
    let body = framing.for_client(1);
    let mut back = Back {
        edits: &[],
        more_edits: &[],
        via: None,
        client_minor: 1,
        keep_alive: true,
        body,
        trailers: false,
        set_cookie: None,
    };
    change(&mut back);
    let mut out = Vec::new();
    write_answer(&head, &framing, &back, &mut out);
    let out = String::from_utf8(out).unwrap();
    // The time of day is no part of what is expected.
    let now = super::super::date::with_now(|now| format!("Date: {}", &now[..10]));
    let lines = out.strip_suffix("\r\n\r\n").unwrap().split("\r\n").filter(|line| !line.starts_with(&now));
    lines.collect::<Vec<_>>().join("|")
}

#[test]
fn an_answer_without_a_date_gets_one() {
    let written = |text: &str, edits: &[Edit]| {
        let bytes = text.replace('|', "\r\n").into_bytes();
        let mut room = FieldRoom::new();
        let head = AnswerHead::parse(&bytes, &mut room, &LIMITS).unwrap().unwrap();
        let framing = of_answer(&head, &Asked { head: false, upgrade: false }).unwrap();
        let back = Back {
            edits,
            more_edits: &[],
            via: None,
            client_minor: 1,
            keep_alive: true,
            body: framing.for_client(1),
            trailers: false,
            set_cookie: None,
        };
        let mut out = Vec::new();
        write_answer(&head, &framing, &back, &mut out);
        let out = String::from_utf8(out).unwrap();
        out.split("\r\n").filter(|line| line.to_lowercase().starts_with("date:")).map(str::to_owned).collect::<Vec<_>>()
    };
    let added = written("HTTP/1.1 200 OK|Content-Length: 0||", &[]);
    assert!(added.len() == 1 && httpdate::parse_http_date(&added[0]["Date: ".len()..]).is_ok(), "{added:?}");
    assert_eq!(written("HTTP/1.1 200 OK|dAte: then|Content-Length: 0||", &[]), ["dAte: then"]);
    assert!(written("HTTP/1.1 100 Continue||", &[]).is_empty());
    assert!(written("HTTP/1.1 200 OK|Content-Length: 0||", edits(&["remove Date"])).is_empty());
}

fn answer(text: &str, change: impl FnOnce(&mut Back<'_>)) -> String {
    answer_to(Asked { head: false, upgrade: false }, text, change)
}

#[test]
fn a_plain_request_goes_on_with_who_asked() {
    let forward = Forward::default();
    let said = request_with("GET /a?b HTTP/1.1|Host: a|X-A: 1|Connection: keep-alive|X-B:2 ", &forward, |_| {});
    let expected = "GET /a?b HTTP/1.1|Host: a|X-A: 1|X-B: 2|X-Forwarded-For: 192.0.2.7|X-Forwarded-Proto: http|\
                    X-Forwarded-Host: a|X-Forwarded-Port: 8080|Via: 1.1 lb";
    assert_eq!(said.as_deref(), Ok(expected));
}

#[test]
fn fields_are_written_in_one_way_and_keep_their_order() {
    let said = request("GET / HTTP/1.1|B:1|Host: \ta\t|A: 2|b:\t3|C:|D: \t|a:  4 5  |E: \u{e4}");
    assert_eq!(said, "GET / HTTP/1.1|B: 1|Host: a|A: 2|b: 3|C: |D: |a: 4 5|E: \u{e4}");
}

#[test]
fn the_target_and_the_host_are_those_of_an_origin() {
    let rows = [
        ("GET http://b:8/c?d HTTP/1.1|X: 1|Host: a", "GET /c?d HTTP/1.1|Host: b:8|X: 1"),
        ("GET http://b HTTP/1.1|Host: a", "GET / HTTP/1.1|Host: b"),
        ("GET http://b?d HTTP/1.1|Host: a", "GET /?d HTTP/1.1|Host: b"),
        ("OPTIONS http://b HTTP/1.1|Host: a", "OPTIONS * HTTP/1.1|Host: b"),
        ("OPTIONS * HTTP/1.1|Host: a", "OPTIONS * HTTP/1.1|Host: a"),
        ("GET / HTTP/1.0", "GET / HTTP/1.1|Host: 198.51.100.1:8080"),
        ("GET / HTTP/1.0|Host: a", "GET / HTTP/1.1|Host: a"),
        ("GET / HTTP/1.3|Host: a", "GET / HTTP/1.1|Host: a"),
    ];
    for (from, to) in rows {
        assert_eq!(request(from), to);
    }
    let forward = Forward { host: Some("c".to_owned()), x_forwarded: true, ..silent() };
    let said = request_with("GET / HTTP/1.1|X: 1|Host: a", &forward, |_| {}).unwrap();
    assert!(said.starts_with("GET / HTTP/1.1|Host: c|X: 1|X-Forwarded-For") && said.contains("|X-Forwarded-Host: a|"));
}

/// CVE-2026-105299: what is nominated goes no further, and neither does what belongs to the connection.
#[test]
fn fields_of_the_connection_go_no_further() {
    let rows = [
        ("Connection: close, x-a ,X-B|X-A: 1|x-b: 2|X-C: 3", "X-C: 3"),
        ("X-A: 1|Connection: x-a|X-B: 2|Connection: x-b", ""),
        ("Keep-Alive: 5|Proxy-Connection: close|TE: gzip|Upgrade: h2c|HTTP2-Settings: A|Trailer: X|X: 1", "X: 1"),
        ("Connection: HTTP2-Settings, upgrade|HTTP2-Settings: A|Upgrade: h2c", ""),
        ("Proxy: http://evil/|Content_Length: 5|TRANSFER_ENCODING: chunked|x_forwarded-for: me|hosT_: b", "hosT_: b"),
        ("Proxy-Authorization: a|Authorization: b", "Proxy-Authorization: a|Authorization: b"),
        ("Connection: X-Forwarded-For, Via, Cookie|Via: 1.1 x|Cookie: a", "Via: 1.1 x"),
        ("Expect: 100-continue", ""),
    ];
    for (from, to) in rows {
        assert_eq!(fields(from, &silent(), |_| {}), to, "{from}");
    }
}

#[test]
fn one_framing_is_written_anew() {
    let rows = [
        ("content-length:\t007|X: 1", "X: 1|Content-Length: 7"),
        ("Content-Length: 0", "Content-Length: 0"),
        ("Transfer-Encoding:CHUNKED|Trailer: X|X: 1", "Trailer: X|X: 1|Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked|Connection: Transfer-Encoding", "Transfer-Encoding: chunked"),
        ("Content-Length: 5|Expect: 100-CONTINUE", "Content-Length: 5|Expect: 100-continue"),
        ("TE: gzip, trailers|Connection: TE", "TE: trailers|Connection: TE"),
        ("Upgrade: h2c, websocket|Upgrade: x/1|Connection: upgrade", "Upgrade: websocket, x/1|Connection: upgrade"),
        ("TE: trailers|Upgrade: a|Connection: upgrade", "TE: trailers|Upgrade: a|Connection: TE, upgrade"),
        ("Max-Forwards: 5", "Max-Forwards: 5"),
    ];
    for (from, to) in rows {
        assert_eq!(fields(from, &silent(), |_| {}), to, "{from}");
    }
    assert_eq!(
        request("TRACE / HTTP/1.1|Host: a|Max-Forwards: 10|X: 1"),
        "TRACE / HTTP/1.1|Host: a|X: 1|Max-Forwards: 9"
    );
}

#[test]
fn a_request_that_came_by_too_often_is_in_a_loop() {
    let forward = Forward { via: Some("me".to_owned()), ..silent() };
    let visits = |count: usize| format!("Via: {}|Via: 1.1\tME (x)", ["1.0 me", "1.1 other"].repeat(count).join(", "));
    assert!(fields(&visits(15), &forward, |_| {}).ends_with("|Via: 1.1 me"));
    let text = format!("GET / HTTP/1.1|Host: a|{}", visits(16));
    assert_eq!(request_with(&text, &forward, |_| {}), Err(Reason::LoopDetected));
    assert!(request_with(&text, &silent(), |_| {}).is_ok());
    assert!(request_with("GET / HTTP/1.0", &forward, |_| {}).unwrap().ends_with("Via: 1.0 me"));
}

#[test]
fn what_strangers_say_of_themselves_is_replaced() {
    let said = "X-Forwarded-For: 9.9.9.9|X-Forwarded-Proto: https|x-forwarded-host: b|X-Forwarded-Port: 1|Forwarded: for=x|X: 1";
    let both = Forward { x_forwarded: true, forwarded: true, ..silent() };
    let ours = "X: 1|X-Forwarded-For: 192.0.2.7|X-Forwarded-Proto: http|X-Forwarded-Host: a|X-Forwarded-Port: 8080|\
                Forwarded: for=192.0.2.7;host=a;proto=http";
    assert_eq!(fields(said, &both, |_| {}), ours);
    assert_eq!(fields(said, &silent(), |_| {}), "X: 1");
}

#[test]
fn what_trusted_proxies_say_is_kept_and_added_to() {
    let said = "X-Forwarded-For: 9.9.9.9|X-Forwarded-Proto: https|X-Forwarded-For:|Forwarded: for=x|X-Forwarded-For: 8.8.8.8, 7.7.7.7";
    let both = Forward { x_forwarded: true, forwarded: true, ..silent() };
    let ours = "X-Forwarded-Proto: https|X-Forwarded-For: 9.9.9.9, 8.8.8.8, 7.7.7.7, 192.0.2.7|X-Forwarded-Host: a|\
                X-Forwarded-Port: 8080|Forwarded: for=x, for=192.0.2.7;host=a;proto=http";
    assert_eq!(fields(said, &both, |hop| hop.peer_trusted = true), ours);
    assert_eq!(fields(said, &silent(), |hop| hop.peer_trusted = true), said.replace("For:|", "For: |"));
}

#[test]
fn addresses_are_written_as_their_fields_want_them() {
    let both = Forward { x_forwarded: true, forwarded: true, ..silent() };
    for (client, plain, quoted) in [
        ("[2001:db8::1]:5", "2001:db8::1", "\"[2001:db8::1]\""),
        ("[::ffff:192.0.2.1]:5", "192.0.2.1", "192.0.2.1"),
        ("255.0.19.200:5", "255.0.19.200", "255.0.19.200"),
    ] {
        let said = fields("", &both, |hop| hop.client = client.parse().unwrap());
        assert!(said.contains(&format!("X-Forwarded-For: {plain}|")), "{said}");
        assert!(said.contains(&format!("Forwarded: for={quoted};host=a;proto=http")), "{said}");
    }
    let said = request_with("GET / HTTP/1.1|Host: a:80", &both, |_| {}).unwrap();
    assert!(said.contains(";host=\"a:80\";"), "{said}");
    let mapped = request_with("GET / HTTP/1.0", &silent(), |hop| hop.local = "[::ffff:192.0.2.1]:80".parse().unwrap());
    assert_eq!(mapped.as_deref(), Ok("GET / HTTP/1.1|Host: 192.0.2.1:80"));
}

#[test]
fn edits_have_the_last_word_in_their_order() {
    let rows: [(&[&str], &[&str], &str); 7] = [
        (&["add x: 3"], &[], "X: 1|Y: 2|X: 2|x: 3"),
        (&["set x: 3"], &[], "Y: 2|x: 3"),
        (&["remove X"], &[], "Y: 2"),
        (&["add x: 3", "set x: 4"], &["add x: 5"], "Y: 2|x: 4|x: 5"),
        (&["set x: 3"], &["remove x"], "Y: 2"),
        (&["remove x", "add x: 3"], &["add Z:"], "Y: 2|x: 3|Z: "),
        (&["remove x", "set X-Forwarded-For: me", "remove x-forwarded-proto"], &[], "Y: 2|X-Forwarded-For: me"),
    ];
    for (first, more, to) in rows {
        let (first, more) = (edits(first), edits(more));
        let said = fields("X: 1|Y: 2|X: 2", &silent(), |hop| (hop.edits, hop.more_edits) = (first, more));
        assert_eq!(said, to, "{first:?} {more:?}");
        let said = answer("HTTP/1.1 204 A|X: 1|Y: 2|X: 2", |back| (back.edits, back.more_edits) = (first, more));
        assert_eq!(said, format!("HTTP/1.1 204 A|{to}"), "{first:?} {more:?}");
    }
    let ours = edits(&[
        "set X-Forwarded-For: me",
        "remove X-Forwarded-Host",
        "remove X-Forwarded-Port",
        "remove Via",
        "remove X-Forwarded-Proto",
    ]);
    assert_eq!(fields("", &Forward::default(), |hop| hop.edits = ours), "X-Forwarded-For: me");
}

#[test]
fn an_answer_goes_back_without_what_belongs_to_the_connection() {
    let from = "HTTP/1.0 200 Fine|Set-Cookie: a|Connection: x-a|X-A: 1|Keep-Alive: 5|lb-reason: lie|Upgrade: h2c|Set-Cookie: b|\
                Content-Length: 05|Trailer: X|Proxy-Connection: x|TE: x|set-cookie: c";
    let to =
        "HTTP/1.1 200 Fine|Set-Cookie: a|Set-Cookie: b|set-cookie: c|Via: 1.0 lb|Set-Cookie: lb=1|Content-Length: 5";
    let change = |back: &mut Back<'_>| (back.via, back.set_cookie) = (Some("lb"), Some("lb=1"));
    assert_eq!(answer(from, change), to);
}

#[test]
fn answers_are_framed_as_the_client_can_take_them() {
    let chunked = "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Trailer: X";
    assert_eq!(answer(chunked, |_| {}), "HTTP/1.1 200 OK|Transfer-Encoding: chunked");
    assert_eq!(answer(chunked, |back| back.trailers = true), "HTTP/1.1 200 OK|Trailer: X|Transfer-Encoding: chunked");
    assert_eq!(answer("HTTP/1.1 200 OK", |_| {}), "HTTP/1.1 200 OK|Transfer-Encoding: chunked");
    let old = |back: &mut Back<'_>| (back.client_minor, back.keep_alive, back.body) = (0, false, Body::UntilClose);
    assert_eq!(answer(chunked, old), "HTTP/1.1 200 OK|Connection: close");
    let kept = answer("HTTP/1.1 200 OK|Content-Length: 5", |back| back.client_minor = 0);
    assert_eq!(kept, "HTTP/1.1 200 OK|Content-Length: 5|Connection: keep-alive");
    let closed = answer("HTTP/1.1 200 OK|Content-Length: 5", |back| back.keep_alive = false);
    assert_eq!(closed, "HTTP/1.1 200 OK|Content-Length: 5|Connection: close");
}

#[test]
fn answers_without_a_body_say_no_more_than_they_may() {
    let head = Asked { head: true, upgrade: false };
    assert_eq!(answer_to(head, "HTTP/1.1 200 OK|Content-Length: 5", |_| {}), "HTTP/1.1 200 OK|Content-Length: 5");
    assert_eq!(answer_to(head, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", |_| {}), "HTTP/1.1 200 OK");
    assert_eq!(answer("HTTP/1.1 304 Same|Content-Length: 5", |_| {}), "HTTP/1.1 304 Same|Content-Length: 5");
    assert_eq!(answer("HTTP/1.1 204 None|Content-Length: 5", |_| {}), "HTTP/1.1 204 None");
    assert_eq!(answer("HTTP/1.1 204 None|Transfer-Encoding: chunked", |_| {}), "HTTP/1.1 204 None");
    let added = edits(&["add X: 1"]);
    let change = |back: &mut Back<'_>| {
        (back.edits, back.keep_alive, back.set_cookie, back.via) = (added, false, Some("lb=1"), Some("lb"));
    };
    let early = answer("HTTP/1.1 103 Early|Link: a|Content-Length: 0|Connection: close", change);
    assert_eq!(early, "HTTP/1.1 103 Early|Link: a|Via: 1.1 lb");
}

#[test]
fn a_change_of_protocol_goes_back_with_its_name() {
    let asked = Asked { head: false, upgrade: true };
    let from =
        "HTTP/1.1 101 Go|Connection: Upgrade, x|X: 1|Upgrade: WebSocket|Sec-WebSocket-Accept: a|Content-Length: 0";
    let to = "HTTP/1.1 101 Go|Sec-WebSocket-Accept: a|Upgrade: WebSocket|Connection: upgrade";
    assert_eq!(answer_to(asked, from, |back| back.keep_alive = false), to);
    let from = "HTTP/1.1 426 No|Upgrade: h2c, a/1|Connection: upgrade|Content-Length: 0";
    assert_eq!(answer(from, |_| {}), "HTTP/1.1 426 No|Content-Length: 0|Upgrade: a/1|Connection: upgrade");
    let closed = answer(from, |back| back.keep_alive = false);
    assert_eq!(closed, "HTTP/1.1 426 No|Content-Length: 0|Upgrade: a/1|Connection: upgrade, close");
}

const BROWSER: &str = "GET /articles/2026/11/index.html?page=2&sort=date HTTP/1.1|Host: www.example.com|Connection: keep-alive|\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36|\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8|\
    Accept-Encoding: gzip, deflate, br|Accept-Language: en-US,en;q=0.9,de;q=0.8|Referer: https://www.example.com/articles/|\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark|Sec-Fetch-Dest: document|Sec-Fetch-Mode: navigate|\
    Sec-Fetch-Site: same-origin|Upgrade-Insecure-Requests: 1||";

#[test]
#[ignore = "a measurement: cargo test --release -p lb-net --features http --lib browser -- --ignored --nocapture"]
fn what_a_browsers_request_costs() {
    const ROUNDS: u32 = 50_000;
    let (bytes, forward) = (BROWSER.replace('|', "\r\n").into_bytes(), Forward::default());
    let (client, local) = ("192.0.2.7:4000".parse().unwrap(), "198.51.100.1:8080".parse().unwrap());
    let hop = Hop { client, local, peer_trusted: false, forward: &forward, edits: &[], more_edits: &[] };
    let mut out = Vec::with_capacity(64 * 1024);
    let mut measure = |what: &str, judge: bool, write: bool| {
        let round = |out: &mut Vec<u8>| {
            let mut room = FieldRoom::new();
            let head = RequestHead::parse(black_box(&bytes), &mut room, &LIMITS).unwrap().unwrap();
            let framing = judge.then(|| of_request(&head).unwrap());
            if let Some(framing) = framing.filter(|_| write) {
                write_request(&head, &framing, &hop, out).unwrap();
            }
            black_box((&head, &framing, &out));
            out.clear();
        };
        let time = |_| {
            let start = Instant::now();
            (0..ROUNDS).for_each(|_| round(&mut out));
            start.elapsed() / ROUNDS
        };
        let best = (0..20).map(time).min().unwrap();
        println!("{what}: {best:?}");
    };
    measure("parse", false, false);
    measure("parse, judge", true, false);
    measure("parse, judge, write", true, true);
}
