//! Bodies both ways, however they are framed, and whole conversations on one connection.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use http_support::{Front, each, pair};
use wire::{Backend, End, Framing, Gate, answer, bulk, chunked, show};

const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers with the body it got, by length; `/chunks` by chunks, `/close` until its end.
fn mirror() -> Backend {
    Backend::new(|visit| {
        loop {
            let request = visit.request()?;
            let length = request.body.len();
            match request.target() {
                "/chunks" => {
                    visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                    visit.say(chunked(&request.body, 10_000))?;
                }
                "/close" => {
                    visit.say("HTTP/1.1 200 OK\r\n\r\n")?;
                    return visit.say(&request.body);
                }
                _ => {
                    visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
                    visit.say(&request.body)?;
                }
            }
        }
    })
}

fn post(target: &str, body: &[u8], by_chunks: bool) -> Vec<u8> {
    let framing =
        if by_chunks { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {}", body.len()) };
    let mut request = format!("POST {target} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
    if by_chunks {
        request.extend(chunked(body, 7_001));
    } else {
        request.extend(body);
    }
    request
}

#[test]
fn bodies_of_any_size_and_framing_come_back_whole() {
    let sizes = [0, 1, 5, 16 * 1024, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 3_000_000];
    let targets = ["/length", "/chunks", "/close"];
    let mut cases = Vec::new();
    for size in sizes {
        for target in targets {
            cases.push(("by length", (size, target, false)));
            cases.push(("by chunks", (size, target, true)));
        }
    }
    each(&cases, |&(size, target, by_chunks)| {
        let (backend, front) = pair(mirror());
        let (body, mut client) = (bulk(size), front.client());
        let request = post(target, &body, by_chunks);
        for _ in 0..2 {
            let answer = client.ask(&request);
            assert!(answer.body == body, "{size} {target} {by_chunks}: {} bytes", answer.body.len());
            let framing = if target == "/length" { Framing::Length(size) } else { Framing::Chunked };
            assert_eq!(answer.framing, framing);
        }
        let framing = if by_chunks { Framing::Chunked } else { Framing::Length(size) };
        assert!(backend.requests().iter().all(|request| request.body == body && request.framing == framing));
        assert_eq!(backend.connections(), if target == "/close" { 2 } else { 1 });
    });
}

#[test]
fn messages_that_come_byte_by_byte_are_the_same_messages() {
    for target in ["/length", "/chunks"] {
        for by_chunks in [false, true] {
            let (backend, front) = pair(mirror());
            let mut client = front.client();
            let twice = post(target, b"hello", by_chunks).repeat(2);
            client.say_slowly(&twice, 1);
            assert_eq!((client.answer("POST").text(), client.answer("POST").text()), ("hello".into(), "hello".into()));
            assert_eq!(backend.requests().len(), 2);
        }
    }
}

#[test]
fn chunks_with_extensions_zeros_and_capitals_are_understood() {
    let cases = [
        ("extension", "5;a=b\r\nhello\r\n0\r\n\r\n"),
        ("quoted extension", "5;a=\"b;c\"\r\nhello\r\n0;d\r\n\r\n"),
        ("blanks around an extension", "5 ; a = b\r\nhello\r\n0\r\n\r\n"),
        ("zeros", "0000000000000005\r\nhello\r\n000\r\n\r\n"),
        ("one by one", "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"),
        ("line ends as data", "5\r\nhe\r\n\n\r\n0\r\n\r\n"),
        ("a request as data", "1a\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n"),
        ("capitals", "00A\r\nhellohello\r\n0\r\n\r\n"),
    ];
    each(&cases, |body| {
        let (backend, front) = pair(mirror());
        let mut client = front.client();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
        // Extensions are optional to understand; one with blanks may be refused.
        let answer = client.ask(format!("{head}{body}"));
        if answer.status() == 400 && body.contains(" ;") {
            return;
        }
        assert_eq!(answer.body, backend.request().body);
        assert!((5..=26).contains(&answer.body.len()), "{}", show(&answer.body));
        assert_eq!(client.ask(AFTER).status(), 200);
    });
}

#[test]
fn trailers_of_a_request_reach_the_backend_and_never_its_head() {
    let (backend, front) = pair(mirror());
    let mut client = front.client();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(client.ask(format!("{head}5\r\nhello\r\n0\r\nX-T: end\r\n\r\n")).text(), "hello");
    assert_eq!(client.ask(AFTER).status(), 200);
    let request = backend.requests().remove(0);
    assert!(!request.has("x-t"));
    assert_eq!(request.trailers, [("X-T".to_owned(), "end".to_owned())]);
}

#[test]
fn trailers_that_would_frame_or_route_go_nowhere() {
    for field in [
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Host: evil",
        "X-Forwarded-For: 6.6.6.6",
        "Connection: close",
    ] {
        let (backend, front) = pair(mirror());
        let mut client = front.client();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.ask(format!("{head}5\r\nhello\r\n0\r\n{field}\r\n\r\n"));
        if answer.status() != 400 {
            let request = backend.request();
            let name = field.split(':').next().unwrap();
            assert!(!request.trailers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)), "{:?}", request.trailers);
            assert_eq!((request.field("host"), request.text().as_str()), ("a", "hello"));
        }
    }
}

#[test]
fn trailers_of_an_answer_reach_a_client_that_takes_them() {
    let said =
        "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: end\r\n\r\n";
    let (backend, front) = pair(Backend::saying(said));
    let mut client = front.client();
    for takes in ["Connection: TE\r\nTE: trailers\r\n", ""] {
        let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{takes}\r\n"));
        assert_eq!((answer.text().as_str(), answer.has("x-t")), ("hello", false));
        let end = [("X-T".to_owned(), "end".to_owned())];
        assert!(answer.trailers == end || (takes.is_empty() && answer.trailers.is_empty()), "{:?}", answer.trailers);
    }
    assert_eq!(backend.connections(), 1);
}

/// Answers that have no body whatever their fields say: what follows them is the next answer.
#[test]
fn answers_without_a_body_are_followed_by_the_next() {
    let length = "Content-Length: 5\r\n";
    let cases = [
        ("HEAD with a length", ("HEAD", "200 OK", length)),
        ("HEAD with chunks", ("HEAD", "200 OK", "Transfer-Encoding: chunked\r\n")),
        ("HEAD without", ("HEAD", "200 OK", "")),
        ("204", ("GET", "204 No Content", "")),
        ("204 with a length of 0", ("GET", "204 No Content", "Content-Length: 0\r\n")),
        ("304", ("GET", "304 Not Modified", "ETag: \"x\"\r\n")),
        ("304 with a length", ("GET", "304 Not Modified", length)),
        ("304 with chunks", ("GET", "304 Not Modified", "Transfer-Encoding: chunked\r\n")),
        ("an answer of length 0", ("GET", "200 OK", "Content-Length: 0\r\n")),
    ];
    each(&cases, |&(method, status, fields)| {
        let (_backend, front) = pair(Backend::saying(format!("HTTP/1.1 {status}\r\n{fields}\r\n")));
        let mut client = front.client();
        for _ in 0..3 {
            let answer = client.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!((answer.first.as_str(), answer.body.len()), (&*format!("HTTP/1.1 {status}"), 0));
            assert!(!answer.closes(), "{}", show(&answer.head));
            if fields == length {
                assert_eq!(answer.field("content-length"), "5");
            }
        }
    });
}

#[test]
fn an_answer_until_the_end_is_chunked_for_who_understands_it() {
    for body in [&b""[..], b"hello", &bulk(200_000)] {
        let said = [b"HTTP/1.0 200 OK\r\n\r\n", body].concat();
        let backend = Backend::new(move |visit| {
            visit.request()?;
            visit.say(&said)
        });
        let (backend, front) = pair(backend);
        let mut client = front.client();
        for _ in 0..2 {
            let answer = client.ask(AFTER);
            assert_eq!(answer.framing, Framing::Chunked);
            assert!(answer.body == body && !answer.closes());
        }
        assert_eq!(backend.connections(), 2);
    }
}

#[test]
fn an_old_client_gets_no_chunks() {
    for keeps in ["", "Connection: keep-alive\r\n"] {
        for target in ["/chunks", "/close"] {
            let (_backend, front) = pair(mirror());
            let mut client = front.client();
            let request = format!("POST {target} HTTP/1.0\r\nHost: a\r\n{keeps}Content-Length: 5\r\n\r\nhello");
            let answer = client.ask(request);
            assert_eq!((answer.framing, answer.text().as_str()), (Framing::UntilClose, "hello"));
            assert!(!answer.has("transfer-encoding") && answer.closes(), "{}", show(&answer.head));
        }
    }
}

#[test]
fn an_old_client_keeps_its_connection_only_if_it_asks() {
    let (_backend, front) = pair(mirror());
    let request = "POST /length HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let mut client = front.client();
    assert_eq!(client.ask(request).text(), "hello");
    assert_eq!(client.end(), End::Closed);
    let mut client = front.client();
    for _ in 0..3 {
        let answer = client.ask(request.replace("Host: a", "Host: a\r\nConnection: Keep-Alive"));
        assert!(answer.text() == "hello" && answer.lists("connection", "keep-alive"), "{}", show(&answer.head));
    }
    assert_eq!(client.ask(request).text(), "hello");
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn requests_at_once_are_answered_in_their_order() {
    for piece in [usize::MAX, 11] {
        let (backend, front) = pair(mirror());
        let mut all = Vec::new();
        for at in 0..40 {
            all.extend(post(["/length", "/chunks", "/close"][at % 3], format!("body {at}").as_bytes(), at % 2 == 0));
            all.extend(AFTER.replace("/after", &format!("/{at}")).as_bytes());
        }
        let mut client = front.client();
        client.say_slowly(&all, piece);
        for at in 0..40 {
            assert_eq!(client.answer("POST").text(), format!("body {at}"));
            assert_eq!(client.answer("GET").text(), "");
        }
        let targets: Vec<_> = backend.requests().iter().map(|request| request.target().to_owned()).collect();
        let gets: Vec<_> = targets.iter().skip(1).step_by(2).cloned().collect();
        assert_eq!(gets, (0..40).map(|at| format!("/{at}")).collect::<Vec<_>>());
    }
}

#[test]
fn the_next_request_waits_for_the_answer_to_the_one_before() {
    let gate = Gate::default();
    let theirs = gate.clone();
    let (backend, front) = pair(Backend::new(move |visit| {
        loop {
            if visit.request()?.target() == "/slow" {
                theirs.wait();
                visit.say(answer("slow"))?;
            } else {
                visit.say(answer("quick"))?;
            }
        }
    }));
    let mut client = front.client();
    client.say(format!("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n{AFTER}"));
    backend.wait("the first", |seen| seen.requests.len() == 1);
    gate.open();
    assert_eq!((client.answer("GET").text(), client.answer("GET").text()), ("slow".into(), "quick".into()));
}

#[test]
fn nothing_behind_the_last_request_is_heard() {
    let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let listed = last.replace("close", "x, CLOSE ,y");
    let post = last.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi");
    for last in [last, &listed, &post] {
        let (backend, front) = pair(Backend::named("x"));
        let mut client = front.client();
        let answer = client.ask(format!("{last}{AFTER}{AFTER}"));
        assert!(answer.text() == "x" && answer.closes(), "{}", show(&answer.head));
        client.ends();
        drop(front);
        backend.wait("its connections to end", |seen| seen.open == 0);
        assert_eq!(backend.requests().len(), 1);
    }
}

#[test]
fn a_client_that_has_said_all_it_had_to_say_is_answered() {
    let (_backend, front) = pair(mirror());
    let mut client = front.client();
    client.say(post("/chunks", b"hello", true)).say(AFTER).finish();
    assert_eq!((client.answer("POST").text(), client.answer("GET").text()), ("hello".into(), String::new()));
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn a_backend_that_says_close_is_not_asked_again() {
    for said in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        let (backend, front) = pair(Backend::saying(said));
        let mut client = front.client();
        for _ in 0..3 {
            let answer = client.ask(AFTER);
            assert!(answer.text() == "x" && !answer.closes(), "{}", show(&answer.head));
        }
        assert_eq!(backend.connections(), 3);
        backend.wait("its connections to end", |seen| seen.open == 0);
    }
}

#[test]
fn a_backend_connection_is_kept_and_serves_other_clients() {
    let (backend, front) = pair(Backend::named("x"));
    for _ in 0..20 {
        assert_eq!(front.ask(AFTER).text(), "x");
    }
    assert_eq!((backend.connections(), backend.requests().len()), (1, 20));
}

/// Both directions move at once: the backend answers each piece before it gets the next.
#[test]
fn an_answer_that_begins_before_its_request_has_ended_is_passed_on() {
    const ROUNDS: usize = 20;
    let (backend, front) = pair(Backend::new(|visit| {
        visit.head()?;
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..ROUNDS {
            let piece = visit.bytes(b"5\r\nhello\r\n".len())?;
            visit.say(piece)?;
        }
        visit.bytes(b"0\r\n\r\n".len())?;
        visit.say("0\r\n\r\n")?;
        visit.listen()
    }));
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    backend.wait("the head", |seen| seen.requests.len() == 1);
    assert_eq!(client.head("POST").status(), 200);
    for _ in 0..ROUNDS {
        client.say("5\r\nhello\r\n");
        assert_eq!(client.bytes(10), b"5\r\nhello\r\n");
    }
    client.say("0\r\n\r\n");
    assert_eq!(client.bytes(5), b"0\r\n\r\n");
}

#[test]
fn pieces_of_an_answer_arrive_as_they_come() {
    let gates: [Gate; 3] = Default::default();
    let theirs = gates.clone();
    let (_backend, front) = pair(Backend::new(move |visit| {
        visit.request()?;
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")?;
        for gate in &theirs {
            visit.say("ab")?;
            gate.wait();
        }
        visit.listen()
    }));
    let mut client = front.client();
    assert_eq!(client.say(AFTER).head("GET").status(), 200);
    for gate in &gates {
        assert_eq!(client.bytes(2), b"ab");
        gate.open();
    }
}

#[test]
fn many_clients_at_once_get_each_their_own() {
    let (backend, front) = pair(mirror());
    thread::scope(|scope| {
        for at in 0..64_usize {
            let front = &front;
            scope.spawn(move || {
                let mut client = front.client();
                for round in 0..20_usize {
                    let body = format!("{at} {round} {}", "x".repeat(at * round));
                    let target = ["/length", "/chunks"][round % 2];
                    assert_eq!(client.ask(post(target, body.as_bytes(), at % 2 == 0)).text(), body);
                }
            });
        }
    });
    assert_eq!(backend.requests().len(), 64 * 20);
    assert!(backend.connections() <= 64, "{}", backend.connections());
}

/// Some clients send a line end behind a body: unread when the connection is closed, it would reset the answer away.
#[test]
fn what_comes_behind_a_body_does_not_reset_the_answer_away() {
    let asked = Gate::default();
    let theirs = asked.clone();
    let (_backend, front) = pair(Backend::new(move |visit| {
        let mut head = visit.head()?;
        theirs.open();
        visit.body(&mut head)?;
        visit.say(answer(&head.text()))?;
        visit.listen()
    }));
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n");
    asked.wait();
    client.say("hello\r\n");
    assert_eq!((client.answer("POST").text().as_str(), client.end()), ("hello", End::Closed));
}

/// As the servers do that write the head and the body of an answer one by one, and have left the system as it is. On a
/// kept connection the system of any client acknowledges late.
#[test]
fn who_answers_in_pieces_on_a_fresh_connection_waits_for_no_late_acknowledgement() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::new(&server.local_addr().unwrap().to_string());
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let reader = BufReader::new(stream.try_clone().unwrap());
            assert!(reader.lines().map_while(Result::ok).any(|line| line.is_empty()));
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\na").unwrap();
            stream.write_all(b"b").unwrap();
            // Closing it would send what waits.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    });
    let ask = || {
        let began = Instant::now();
        assert_eq!(front.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ab");
        began.elapsed()
    };
    let took: Vec<_> = (0..10).map(|_| ask()).collect();
    // The system sends it 40 ms late.
    assert!(took.iter().min().unwrap() < &Duration::from_millis(30), "{took:?}");
}
