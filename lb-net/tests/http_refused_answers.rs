//! What a backend says and is no answer reaches no client, and its connection serves nobody any more.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use http_support::{each, pair};
use wire::{Backend, Broken, Gate, Visit, answer, show};

const GET: &str = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";

/// On its first connection it says this to the first request and hears what comes then; on others it says `good`.
fn first_saying(first: impl Into<Vec<u8>>, closes: bool) -> Backend {
    let first = first.into();
    Backend::new(move |visit| match visit.number {
        0 => {
            visit.request()?;
            visit.say(&first)?;
            if closes { Ok(()) } else { visit.listen() }
        }
        _ => good(visit),
    })
}

fn good(visit: &mut Visit) -> Result<(), Broken> {
    loop {
        visit.request()?;
        visit.say(answer("good"))?;
    }
}

/// The client gets 502 and nothing of what was said; the connection is dropped; the next request has another one.
fn is_refused(said: &[u8], closes: bool, reasons: &[&str]) {
    for request in [GET, POST] {
        let (backend, front) = pair(first_saying(said, closes));
        let mut client = front.client();
        let refused = client.ask(request);
        assert_eq!(refused.status(), 502, "{}", show(&refused.head));
        assert!(reasons.contains(&refused.field("lb-reason")), "{}", show(&refused.head));
        assert!(!refused.text().contains("SECRET"), "{}", refused.text());
        backend.wait("the connection to be dropped", |seen| seen.open == 0);
        assert_eq!(backend.firsts(), [request.lines().next().unwrap()], "it was asked again");
        let mut next = if refused.closes() { front.client() } else { client };
        assert_eq!(next.ask(AFTER).text(), "good");
        assert_eq!(backend.look(|seen| seen.requests.last().unwrap().0), 1);
    }
}

fn with(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nX-A: SECRET\r\n{fields}\r\n\r\nSECRET").into_bytes()
}

fn line(first: &str) -> Vec<u8> {
    format!("{first}\r\nContent-Length: 6\r\n\r\nSECRET").into_bytes()
}

#[test]
fn an_answer_without_one_meaning_is_a_bad_gateway() {
    each(
        &[
            ("two lengths", with("Content-Length: 5\r\nContent-Length: 6")),
            ("a list of lengths", with("Content-Length: 5, 6")),
            ("plus", with("Content-Length: +6")),
            ("minus", with("Content-Length: -6")),
            ("letters", with("Content-Length: abc")),
            ("hexadecimal", with("Content-Length: 0x6")),
            ("empty length", with("Content-Length: ")),
            ("a blank within", with("Content-Length: 6 6")),
            ("2^64", with("Content-Length: 18446744073709551616")),
            ("length and coding", with("Content-Length: 6\r\nTransfer-Encoding: chunked")),
            ("coding and length", with("Transfer-Encoding: chunked\r\nContent-Length: 6")),
            ("bad length and coding", with("Content-Length: x\r\nTransfer-Encoding: chunked")),
            ("chunked twice", with("Transfer-Encoding: chunked, chunked")),
            ("chunked in two fields", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
            ("not last", with("Transfer-Encoding: chunked, gzip")),
            ("parameter", with("Transfer-Encoding: chunked;a=b")),
            ("letter before", with("Transfer-Encoding: xchunked")),
            ("vertical tab", with("Transfer-Encoding: \x0bchunked")),
            ("empty coding", with("Transfer-Encoding: ")),
            ("unknown first", with("Transfer-Encoding: x, chunked")),
            (
                "coding in HTTP/1.0",
                b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nSECRET\r\n0\r\n\r\n".to_vec(),
            ),
        ],
        |said| is_refused(said, false, &["bad-answer"]),
    );
}

#[test]
fn what_is_no_head_is_a_bad_gateway() {
    each(
        &[
            ("words", line("SECRET words")),
            ("another protocol", line("ICY 200 OK")),
            ("HTTP/2", line("HTTP/2.0 200 OK")),
            ("HTTP/0.8", line("HTTP/0.8 200 OK")),
            ("lower case", line("http/1.1 200 OK")),
            ("two digits", line("HTTP/1.1 20 OK")),
            ("four digits", line("HTTP/1.1 2000 OK")),
            ("letters", line("HTTP/1.1 2xx OK")),
            ("minus", line("HTTP/1.1 -20 OK")),
            ("below 100", line("HTTP/1.1 099 OK")),
            ("a blank too many", line("HTTP/1.1  200 OK")),
            ("NUL in the reason", line("HTTP/1.1 200 O\0K")),
            ("CR in the reason", line("HTTP/1.1 200 O\rK")),
            ("no name", with("Content-Length: 6\r\n: b")),
            ("no colon", with("Content-Length: 6\r\nX")),
            ("blank in a name", with("Content-Length: 6\r\nX A: b")),
            ("NUL in a name", with("Content-Length: 6\r\nX\0A: b")),
            ("NUL in a value", with("Content-Length: 6\r\nX-B: b\0c")),
            ("bare CR in a value", with("Content-Length: 6\r\nX-B: b\rc")),
            ("control in a value", with("Content-Length: 6\r\nX-B: b\x01c")),
            ("blank first", b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 6\r\n\r\nSECRET".to_vec()),
            ("a request", b"GET /SECRET HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            ("binary", (128..=255).collect()),
        ],
        |said| is_refused(said, false, &["bad-answer"]),
    );
}

#[test]
fn an_answer_that_breaks_off_in_its_head_is_a_bad_gateway() {
    let page = "<html>SECRET</html>".repeat(10);
    each(
        &[
            ("HTTP/0.9", page.as_str()),
            ("in the version", "HTTP/1"),
            ("in the line", "HTTP/1.1 200 OK"),
            ("after the line", "HTTP/1.1 200 OK\r\n"),
            ("in a field", "HTTP/1.1 200 OK\r\nX-A: SECRET"),
            ("before the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n"),
            ("after an interim answer", "HTTP/1.1 102 Processing\r\nX-A: SECRET\r\n"),
        ],
        |said| is_refused(said.as_bytes(), true, &["bad-answer", "backend-closed"]),
    );
}

#[test]
fn an_answer_whose_head_is_too_large_is_a_bad_gateway() {
    let many = (0..300).map(|at| format!("X-{at}: SECRET\r\n")).collect::<String>();
    let long = format!("X-A: {}", "SECRET".repeat(20_000));
    each(
        &[
            ("fields", with(&format!("{many}Content-Length: 6"))),
            ("bytes", with(&long)),
            ("without end", format!("HTTP/1.1 200 OK\r\nX-A: {}", "SECRET".repeat(20_000)).into_bytes()),
            ("a line without end", format!("HTTP/1.1 200 {}", "SECRET".repeat(20_000)).into_bytes()),
        ],
        |said| is_refused(said, false, &["answer-too-large", "bad-answer"]),
    );
}

#[test]
fn a_change_of_protocol_that_nobody_asked_for_is_a_bad_gateway() {
    let switch =
        |to: &str| format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {to}\r\n\r\nSECRET");
    each(
        &[
            ("websocket", switch("websocket")),
            ("h2c", switch("h2c")),
            ("bare", "HTTP/1.1 101 Switching Protocols\r\n\r\nSECRET".to_owned()),
        ],
        |said| is_refused(said.as_bytes(), false, &["bad-answer"]),
    );
}

/// Either it is made clean or it is refused: the wire checks that what is sent on is clean.
#[test]
fn odd_answers_are_made_clean_or_refused() {
    each(
        &[
            ("folded", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 4\r\n\r\ngood"),
            ("blank before a colon", "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 4\r\n\r\ngood"),
            ("blank before the length's colon", "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\ngood"),
            ("line feeds", "HTTP/1.1 200 OK\nX-A: b\nContent-Length: 4\n\ngood"),
            ("two lengths alike", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\ngood"),
            ("a list of lengths alike", "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\ngood"),
            ("an empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"),
        ],
        |said| {
            let (backend, front) = pair(first_saying(*said, false));
            let answer = front.ask(GET);
            match answer.status() {
                200 => assert_eq!(answer.text(), "good"),
                status => assert_eq!((status, answer.field("lb-reason")), (502, "bad-answer")),
            }
            assert_eq!(backend.connections(), 1);
        },
    );
}

#[test]
fn odd_answers_that_mean_one_thing_go_on() {
    each(
        &[
            ("no reason", ("HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\ngood", 200)),
            ("no blank after the status", ("HTTP/1.1 200\r\nContent-Length: 4\r\n\r\ngood", 200)),
            ("an unknown status", ("HTTP/1.1 299 Odd\r\nContent-Length: 4\r\n\r\ngood", 299)),
            ("an unknown error", ("HTTP/1.1 599 Odd\r\nContent-Length: 4\r\n\r\ngood", 599)),
            ("a version above ours", ("HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\ngood", 200)),
            ("blanks around a length", ("HTTP/1.1 200 OK\r\nContent-Length: \t4 \r\n\r\ngood", 200)),
            ("no blank before a value", ("HTTP/1.1 200 OK\r\nContent-Length:4\r\n\r\ngood", 200)),
            (
                "chunked in capitals",
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n", 200),
            ),
            (
                "an extension",
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=\"b\"\r\ngood\r\n0;c\r\n\r\n", 200),
            ),
            ("zeros", ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0004\r\ngood\r\n000\r\n\r\n", 200)),
            ("letters of no ASCII", ("HTTP/1.1 200 \u{e4}\r\nX-A: \u{e4}\r\nContent-Length: 4\r\n\r\ngood", 200)),
        ],
        |&(said, status)| {
            for piece in [usize::MAX, 1] {
                let backend = Backend::new(move |visit| {
                    visit.request()?;
                    visit.say_slowly(said, piece)?;
                    visit.listen()
                });
                let (_backend, front) = pair(backend);
                let answer = front.ask(GET);
                assert_eq!((answer.status(), answer.text().as_str()), (status, "good"));
                assert!(answer.first.starts_with("HTTP/1.1 "), "{}", answer.first);
            }
        },
    );
}

const NEXT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECRET";

/// The answer is whole, and what comes with it is nobody's.
#[test]
fn bytes_after_an_answer_are_nobodys() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n";
    let get = GET.to_owned();
    let head = GET.replace("GET", "HEAD");
    each(
        &[
            ("two answers", (&get, format!("{}{NEXT}", answer("good")))),
            ("words", (&get, format!("{}SECRET", answer("good")))),
            ("one byte", (&get, format!("{}\n", answer("good")))),
            ("after chunks", (&get, format!("{chunks}{NEXT}"))),
            ("after chunks, one byte", (&get, format!("{chunks}\n"))),
            ("a body of HEAD", (&head, answer("SECRET"))),
            ("chunks of HEAD", (&head, chunks.replace("good", "SECR"))),
            ("a body of 204", (&get, "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nSECRET".to_owned())),
            ("chunks of 204", (&get, chunks.replace("200 OK", "204 No Content"))),
            ("a body of 304", (&get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nSECRET".to_owned())),
            ("length 0", (&get, format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{NEXT}"))),
        ],
        |(request, said)| {
            for piece in [usize::MAX, 5] {
                let said = said.clone();
                let backend = Backend::new(move |visit| match visit.number {
                    0 => {
                        visit.request()?;
                        visit.say_slowly(&said, piece)?;
                        visit.listen()
                    }
                    _ => good(visit),
                });
                let (backend, front) = pair(backend);
                let mut client = front.client();
                let first = client.ask(request);
                let bad = first.status() == 502 && request.starts_with("GET");
                assert!(bad || first.status() < 400, "{}", show(&first.head));
                assert!(bad || ["", "good"].contains(&first.text().as_str()), "{}", first.text());
                let mut next = if first.closes() { front.client() } else { client };
                assert_eq!(next.ask(AFTER).text(), "good");
                assert!(!show(next.heard()).contains("SECRET"), "{}", show(next.heard()));
                backend.wait("the connection to be dropped", |seen| seen.ends[0].is_some());
            }
        },
    );
}

#[test]
fn bytes_on_a_kept_connection_are_nobodys() {
    for _ in 0..20 {
        let (served, poisoned) = (Gate::default(), Gate::default());
        let (theirs, told) = (served.clone(), poisoned.clone());
        let backend = Backend::new(move |visit| {
            if visit.number > 0 {
                return good(visit);
            }
            visit.request()?;
            visit.say(answer("good"))?;
            theirs.wait();
            let said = visit.say(NEXT);
            told.open();
            said?;
            visit.listen()
        });
        let (backend, front) = pair(backend);
        let mut client = front.client();
        assert_eq!(client.ask(GET).text(), "good");
        served.open();
        poisoned.wait();
        for _ in 0..3 {
            assert_eq!(client.ask(AFTER).text(), "good");
        }
        backend.wait("the connection to be dropped", |seen| seen.ends[0].is_some());
        let number = backend.look(|seen| seen.requests.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        assert_eq!(number, [0, 1, 1, 1]);
        drop(client);
    }
}
