//! Nobody ever gets another's bytes, or half an answer that looks whole. One test for each advisory that concerns HTTP/1.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::thread;

use std::time::Duration;

use http_support::{Front, each, pair};
use wire::{Backend, Broken, Client, End, Gate, Visit, answer, bulk, show};

const GET: &str = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";
/// What is a request only for who has lost count.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";

/// Answers each request with its target and its body.
fn telling(visit: &mut Visit) -> Result<(), Broken> {
    loop {
        let request = visit.request()?;
        let told = format!("{} {}", request.target(), request.text());
        visit.say(answer(&told))?;
    }
}

/// With `/smuggled` nowhere but in bodies: as one request with this body, or not at all.
fn is_one_request_or_none(bytes: &str, body: &str) {
    for piece in [usize::MAX, 1] {
        let (backend, front) = pair(Backend::new(telling));
        let mut client = front.client();
        client.say_slowly(bytes, piece).finish();
        let (end, heard) = client.rest();
        assert_ne!(end, End::Hung);
        let answers = show(&heard).matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{}", show(&heard));
        drop(front);
        backend.wait("its connections to end", |seen| seen.open == 0);
        match &backend.requests()[..] {
            [] => assert!(
                heard.is_empty() || heard.starts_with(b"HTTP/1.1 4") || heard.starts_with(b"HTTP/1.1 501"),
                "{}",
                show(&heard)
            ),
            [one] => assert_eq!((one.text().as_str(), one.target()), (body, "/first")),
            more => panic!("{more:?}"),
        }
    }
}

#[test]
fn rustsec_2020_0008_the_body_of_a_get_is_no_request() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let length = SMUGGLED.len();
        let head = format!("{method} /first HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let (backend, front) = pair(Backend::new(|visit| {
            loop {
                visit.request()?;
                visit.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            }
        }));
        let mut client = front.client();
        assert_eq!(client.ask(format!("{head}{SMUGGLED}")).status(), 200);
        assert_eq!(client.ask(AFTER).status(), 200);
        assert_eq!(backend.firsts(), [format!("{method} /first HTTP/1.1"), "GET /after HTTP/1.1".to_owned()]);
        assert_eq!(backend.requests()[0].text(), SMUGGLED);
    }
}

#[test]
fn rustsec_2021_0020_several_codings_have_one_meaning_or_none() {
    let codings = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: x",
    ];
    for coding in codings {
        let request = format!("POST /first HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        is_one_request_or_none(&request, "never");
    }
}

#[test]
fn rustsec_2021_0078_a_length_with_a_sign_is_none() {
    for length in ["+5", "-5", "+0", "0x0", "5,+5"] {
        let request = format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello{SMUGGLED}");
        is_one_request_or_none(&request, "never");
    }
}

#[test]
fn rustsec_2021_0079_a_chunk_size_does_not_wrap_around() {
    let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for size in ["10000000000000005", "100000000000000000000000000000005", "f0000000000000005", "fffffffffffffffff"] {
        is_one_request_or_none(&format!("{head}{size}\r\nhello\r\n0\r\n\r\n{SMUGGLED}"), "never");
        let said = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n");
        is_cut(&said, GET);
    }
}

#[test]
fn rustsec_2020_0031_and_2021_0081_a_coding_is_spelt_right_or_is_none() {
    let spelt = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked-x",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked, ",
        "Transfer-Encoding\0: chunked",
    ];
    for coding in spelt {
        for length in ["", "Content-Length: 15\r\n"] {
            let request =
                format!("POST /first HTTP/1.1\r\nHost: a\r\n{length}{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
            is_one_request_or_none(&request, "never");
        }
    }
}

#[test]
fn rustsec_2025_0037_an_early_answer_leaves_no_body_behind() {
    let body = format!("{SMUGGLED}{SMUGGLED}");
    for framing in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        // How much of the request the client has sent when the answer comes.
        for sent in [0, 10, body.len() / 2] {
            let (backend, front) = pair(Backend::new(|visit| {
                if visit.number > 0 {
                    return telling(visit);
                }
                visit.head()?;
                visit.say(answer("early"))?;
                visit.listen()
            }));
            let all = format!("POST /first HTTP/1.1\r\nHost: a\r\n{framing}");
            let (now, later) = all.split_at(all.len() - body.len() + sent);
            let mut client = front.client();
            client.say(now);
            let early = client.answer("POST");
            assert_eq!(early.text(), "early");
            client.say(later).say(AFTER);
            if early.closes() {
                client.ends();
            } else {
                assert_eq!(client.answer("GET").text(), "/after ");
            }
            assert_eq!(front.ask(AFTER).text(), "/after ");
            let firsts = backend
                .look(|seen| seen.requests.iter().map(|(at, head)| (*at, head.first.clone())).collect::<Vec<_>>());
            assert!(firsts.iter().skip(1).all(|(at, first)| *at > 0 && first == "GET /after HTTP/1.1"), "{firsts:?}");
        }
    }
}

#[test]
fn rustsec_2026_0034_a_request_of_http_1_0_does_not_end_with_its_connection() {
    let one = format!("POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n{SMUGGLED}");
    is_one_request_or_none(&one, "never");
    let kept = format!(
        "POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"
    );
    is_one_request_or_none(&kept, "never");
    let both = format!(
        "POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello{SMUGGLED}"
    );
    is_one_request_or_none(&both, "never");
    // Without a length there is no body: what follows is not taken for one.
    is_one_request_or_none(&format!("POST /first HTTP/1.0\r\nHost: a\r\n\r\n{SMUGGLED}"), "");
}

#[test]
fn cve_2026_105299_nominated_fields_stay_on_their_connection() {
    let (backend, front) = pair(Backend::new(telling));
    let fields = "Connection: X-Secret, Cookie, Authorization\r\nX-Secret: 1\r\nCookie: 2\r\nAuthorization: 3\r\n";
    assert_eq!(front.ask(format!("GET /first HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).status(), 200);
    let request = backend.request();
    assert!(["x-secret", "cookie", "authorization"].iter().all(|name| !request.has(name)), "{}", show(&request.head));
}

#[test]
fn cve_2026_73548_a_connection_that_was_to_change_serves_nobody_else() {
    // The backend answers 200 to the upgrade and then speaks the other protocol all the same.
    let (served, poisoned) = (Gate::default(), Gate::default());
    let (theirs, told) = (served.clone(), poisoned.clone());
    let (_backend, front) = pair(Backend::new(move |visit| {
        if visit.number > 0 {
            return telling(visit);
        }
        visit.request()?;
        visit.say(answer("no"))?;
        theirs.wait();
        let said = visit.say(answer("SECRET"));
        told.open();
        said?;
        visit.listen()
    }));
    let asks = "GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\n";
    assert_eq!(front.ask(asks).text(), "no");
    served.open();
    poisoned.wait();
    assert_eq!(front.ask(AFTER).text(), "/after ");
}

#[test]
fn cve_2025_55315_and_2025_43859_junk_at_the_end_of_a_chunks_line_is_no_end() {
    let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        "5;\n0\r\nhello\r\n0\r\n\r\n",
        "5;a\nxx\r\nhello\r\n0\r\n\r\n",
        "5\n\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloxx0\r\n\r\n",
        "5\r\nhello\r\r0\r\n\r\n",
        "5\r\nhello\n\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
        "2\r\nxx\r\n47;\nGET / HTTP/1.1\r\n\r\n0\r\n\r\n",
    ];
    for body in bodies {
        is_one_request_or_none(&format!("{head}{body}{SMUGGLED}"), "never");
        is_cut(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), GET);
    }
}

/// The client can tell that what it got of this, before the backend went, is not whole; the next gets its own.
fn is_cut(said: &str, request: &str) {
    for resets in [false, true] {
        for first in ["", "1"] {
            // Once at once with its head, once after the client has heard the head.
            let (said, split) = (said.to_owned(), said.find("\r\n\r\n").unwrap() + 4);
            let (heard, waits) = (Gate::default(), !first.is_empty());
            let theirs = heard.clone();
            let (_backend, front) = pair(Backend::new(move |visit| {
                if visit.number > 0 {
                    return telling(visit);
                }
                visit.request()?;
                let (head, body) = said.split_at(split);
                visit.say(head)?;
                if waits {
                    theirs.wait();
                }
                visit.say(body)?;
                if resets {
                    visit.reset();
                }
                Ok(())
            }));
            let mut client = front.client();
            client.say(request);
            // The head may wait for the first of the body.
            let _ = waits && client.hears_within(std::time::Duration::from_millis(50));
            heard.open();
            let broken = match client.try_answer("GET") {
                // A reset may overtake the answer: then nothing came, and the request may be repeated.
                Ok(answer) if resets && answer.text() == "/first " => continue,
                Ok(answer) => {
                    assert_eq!(answer.status(), 502, "it looks whole: {}", show(&answer.head));
                    assert!(!answer.text().contains("hello"));
                    continue;
                }
                Err(broken) => broken,
            };
            assert!(matches!(broken.end, End::Closed | End::Reset), "{:?} {}", broken.end, show(&broken.got));
            assert!(!request.contains("HTTP/1.0") || broken.end == End::Reset, "in order: {}", show(&broken.got));
            assert_eq!(front.ask(AFTER).text(), "/after ");
        }
    }
}

const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_cut_answer_is_visible_as_cut() {
    let chunked = |body: &str| format!("{CHUNKS}{body}");
    let length = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{body}");
    each(
        &[
            ("length, nothing", length("")),
            ("length, half", length("hello")),
            ("length, all but one", length("hellohell")),
            ("chunks, none", chunked("")),
            ("chunks, in a size", chunked("5")),
            ("chunks, after a size", chunked("5\r\n")),
            ("chunks, half of one", chunked("5\r\nhel")),
            ("chunks, one", chunked("5\r\nhello")),
            ("chunks, after one", chunked("5\r\nhello\r\n")),
            ("chunks, in the last", chunked("5\r\nhello\r\n0")),
            ("chunks, after the last", chunked("5\r\nhello\r\n0\r\n")),
            ("chunks, in a trailer", chunked("5\r\nhello\r\n0\r\nX-T: e")),
            ("chunks, after a trailer", chunked("5\r\nhello\r\n0\r\nX-T: e\r\n")),
            ("chunks, before the very last byte", chunked("5\r\nhello\r\n0\r\n\r")),
        ],
        |said| is_cut(said, GET),
    );
}

#[test]
fn an_old_client_sees_a_cut_as_a_reset_because_nothing_else_tells() {
    for body in ["", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "5\r\nhel"] {
        is_cut(&format!("{CHUNKS}{body}"), &GET.replace("HTTP/1.1", "HTTP/1.0"));
    }
}

#[test]
fn chunks_that_are_none_cut_the_answer() {
    let bodies = [
        ("no size", "x\r\nhello\r\n0\r\n\r\n"),
        ("minus", "5\r\nhello\r\n-5\r\nhello\r\n0\r\n\r\n"),
        ("too long", "5\r\nhello!\r\n0\r\n\r\n"),
        ("line feed", "5\nhello\n0\n\n"),
        ("empty size", "5\r\nhello\r\n\r\n0\r\n\r\n"),
        ("a head for the last", "5\r\nhello\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("a trailer that is none", "5\r\nhello\r\n0\r\nX T\r\n\r\n"),
    ];
    each(&bodies, |body| {
        is_cut(&format!("{CHUNKS}{body}"), GET);
        is_cut(&format!("{CHUNKS}{body}"), &GET.replace("HTTP/1.1", "HTTP/1.0"));
    });
}

/// As long as the client has seen nothing, an answer that is none is refused: a connection that ends without a word has many
/// clients send their request again, whatever it does.
#[test]
fn chunks_that_are_none_and_come_with_their_head_are_refused() {
    for request in [GET, &GET.replace("GET", "POST"), &GET.replace("HTTP/1.1", "HTTP/1.0")] {
        let (backend, front) = pair(Backend::saying(format!("{CHUNKS}5\r\nhelloXX\r\n0\r\n\r\n")));
        let answer = front.ask(request);
        assert_eq!((answer.status(), answer.field("lb-reason")), (502, "bad-answer"), "{}", show(&answer.head));
        assert!(!answer.text().contains("hello"));
        backend.wait("the connection to be dropped", |seen| seen.open == 0);
        assert_eq!(backend.requests().len(), 1);
    }
}

/// Whoever knows the end by the end of the connection sees each other end as a reset: that of the grace period, and that of
/// a client who was waited for for too long.
#[test]
fn an_old_client_sees_our_own_cuts_as_a_reset_too() {
    let request = GET.replace("HTTP/1.1", "HTTP/1.0");
    let endless = || {
        Backend::new(|visit| {
            visit.request()?;
            visit.say(format!("{CHUNKS}5\r\nhello\r\n"))?;
            visit.listen()
        })
    };
    let backend = endless();
    let mut front = Front::with(&backend.word(), |settings| settings.times.grace = Duration::from_millis(300));
    let mut client = front.client();
    client.say(&request);
    assert!(client.hears_within(Duration::from_secs(5)));
    front.stop();
    assert_eq!(client.rest().0, End::Reset);
    let front = Front::with(&backend.word(), |settings| settings.times.between_reads = Duration::from_millis(300));
    let mut client = front.client();
    client.say(&request);
    assert_eq!(client.rest().0, End::Reset);
}

/// What is delimited by the end and ends with a reset has not ended.
#[test]
fn an_answer_until_the_end_that_is_reset_is_cut() {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        for size in [5, 300_000] {
            let heard = Gate::default();
            let theirs = heard.clone();
            let (_backend, front) = pair(Backend::new(move |visit| {
                visit.request()?;
                visit.say("HTTP/1.1 200 OK\r\n\r\n")?;
                visit.say(bulk(size))?;
                // A reset may overtake what has not been read yet.
                theirs.wait();
                visit.reset();
                Ok(())
            }));
            let mut client = front.client();
            client.say(GET.replace("HTTP/1.1", version));
            assert_eq!(client.head("GET").status(), 200);
            heard.open();
            let (end, rest) = client.rest();
            assert_ne!(end, End::Hung);
            if version == "HTTP/1.0" {
                assert_eq!(end, End::Reset);
            } else {
                assert!(!rest.ends_with(b"\r\n0\r\n\r\n") && rest != b"0\r\n\r\n", "{}", show(&rest));
            }
        }
    }
}

#[test]
fn a_large_answer_that_is_cut_is_cut_at_the_same_byte_at_most() {
    const TOLD: usize = 5_000_000;
    const SAID: usize = 3_000_000;
    let (_backend, front) = pair(Backend::new(|visit| {
        visit.request()?;
        visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOLD}\r\n\r\n"))?;
        visit.say(bulk(SAID))
    }));
    let mut client = front.client();
    let head = client.say(GET).head("GET");
    let (end, rest) = client.rest();
    assert!(end != End::Hung && rest.len() <= SAID && bulk(SAID).starts_with(&rest), "{end:?} {}", rest.len());
    assert_eq!(head.field("content-length"), TOLD.to_string());
}

/// A client goes while it sends: the backend gets no whole request, and its connection serves nobody else.
#[test]
fn a_client_that_goes_in_the_middle_of_its_request_leaves_nothing_behind() {
    let parts = [
        "POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello",
        "POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello",
    ];
    for part in parts {
        for resets in [false, true] {
            let (backend, front) = pair(Backend::new(telling));
            assert_eq!(front.ask(AFTER).text(), "/after ");
            let mut client = front.client();
            client.say(part);
            backend.wait(&format!("the beginning of {part}"), |seen| {
                seen.bytes.iter().any(|bytes| show(bytes).contains("/gone")) || seen.open > 1
            });
            if resets {
                client.reset()
            } else {
                drop(client)
            }
            front.idle();
            for _ in 0..3 {
                assert_eq!(front.ask(AFTER).text(), "/after ");
            }
            assert!(backend.requests().iter().all(|request| request.target() == "/after"));
        }
    }
}

/// A client goes while it is answered: what is left of its answer is nobody's.
#[test]
fn a_client_that_goes_in_the_middle_of_its_answer_leaves_nothing_behind() {
    for (resets, chunks) in [(false, false), (false, true), (true, false), (true, true)] {
        let (backend, front) = pair(Backend::new(move |visit| {
            loop {
                let request = visit.request()?;
                if request.target() != "/large" {
                    visit.say(answer("mine"))?;
                } else if chunks {
                    visit.say(CHUNKS)?;
                    visit.say(wire::chunked(&bulk(4_000_000), 50_000))?;
                } else {
                    visit.say("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")?;
                    visit.say(bulk(4_000_000))?;
                }
            }
        }));
        let mut client = front.client();
        assert_eq!(client.ask(AFTER).text(), "mine");
        assert_eq!(client.say("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").head("GET").status(), 200);
        client.bytes(1_000);
        if resets {
            client.reset()
        } else {
            drop(client)
        }
        for _ in 0..3 {
            assert_eq!(front.ask(AFTER).text(), "mine");
        }
        front.idle();
        assert!(backend.connections() <= 2, "{}", backend.connections());
    }
}

#[test]
fn a_client_that_goes_before_its_answer_leaves_nothing_behind() {
    for resets in [false, true] {
        let (asked, gone) = (Gate::default(), Gate::default());
        let (theirs, until) = (asked.clone(), gone.clone());
        let (backend, front) = pair(Backend::new(move |visit| {
            loop {
                if visit.request()?.target() == "/after" {
                    visit.say(answer("mine"))?;
                } else {
                    theirs.open();
                    until.wait();
                    visit.say(answer("SECRET"))?;
                }
            }
        }));
        let mut client = front.client();
        client.say("POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        asked.wait();
        if resets {
            client.reset()
        } else {
            drop(client)
        }
        let first = front.ask(AFTER).text();
        gone.open();
        assert_eq!((first.as_str(), front.ask(AFTER).text().as_str()), ("mine", "mine"));
        front.idle();
        assert!(backend.requests().iter().filter(|request| request.target() == "/secret").count() == 1);
    }
}

/// Early refusal of a large upload: the client gets the refusal although it is still sending, and nobody hangs.
#[test]
fn an_early_refusal_of_an_upload_reaches_who_is_still_sending() {
    for closes in [false, true] {
        let (backend, front) = pair(Backend::new(move |visit| {
            if visit.number > 0 {
                return telling(visit);
            }
            visit.head()?;
            visit.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")?;
            if closes { Ok(()) } else { visit.listen() }
        }));
        let mut client = front.client();
        client.say("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n").say(bulk(100_000));
        let refused = client.answer("POST");
        assert_eq!((refused.status(), refused.text().as_str()), (403, "no"));
        // Whatever it sends now is no request, and does not go on for ever.
        for _ in 0..500 {
            if !client.can_say(SMUGGLED.repeat(1_000)) {
                break;
            }
        }
        drop(client);
        front.idle();
        assert_eq!(front.ask(AFTER).text(), "/after ");
        assert!(backend.firsts().iter().all(|first| !first.contains("smuggled")), "{:?}", backend.firsts());
    }
}

/// Everything at once, each client with an answer that only it can have.
#[test]
fn among_rude_clients_and_backends_nobody_gets_anothers_answer() {
    let (backend, other) = (Backend::new(rude), Backend::new(rude));
    let front = Front::new(&http_support::words(&[&backend, &other]));
    thread::scope(|scope| {
        for at in 0..16_usize {
            let front = &front;
            scope.spawn(move || visitor(front, at));
        }
    });
    front.idle();
    assert!(backend.requests().len() > 100);
}

/// Tells what it got, in all manners.
fn rude(visit: &mut Visit) -> Result<(), Broken> {
    for count in 0.. {
        let request = visit.request()?;
        let told = format!("{} {}", request.target(), request.text());
        match (visit.number * 7 + count) % 11 {
            0 => return Ok(()),
            1 => {
                visit.reset();
                return Ok(());
            }
            2 => visit.say(format!("{}{}", answer(&told), answer("SECRET")))?,
            3 => return visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len() + 5)),
            4 => {
                visit.say(CHUNKS)?;
                visit.say(wire::chunked(told.as_bytes(), 3))?;
            }
            5 => return visit.say(format!("HTTP/1.1 200 OK\r\n\r\n{told}")),
            _ => visit.say(answer(&told))?,
        }
    }
    Ok(())
}

fn visitor(front: &Front, at: usize) {
    let mut client: Option<Client> = None;
    for round in 0..60_usize {
        let body = format!("{at}-{round}");
        let request = format!("PUT /{body} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut now = client.take().unwrap_or_else(|| front.client());
        if (at + round).is_multiple_of(9) {
            now.say(&request[..request.len() - 2]);
            continue;
        }
        now.say(&request);
        if (at + round).is_multiple_of(7) {
            now.reset();
            continue;
        }
        match now.try_answer("PUT") {
            Ok(answer) if answer.status() == 200 => {
                assert_eq!(answer.text(), format!("/{body} {body}"));
                client = (!answer.closes()).then_some(now);
            }
            Ok(answer) => assert_eq!(answer.status(), 502, "{}", show(&answer.head)),
            Err(broken) => assert!(matches!(broken.end, End::Closed | End::Reset), "{:?}", broken.end),
        }
    }
}
