//! Half an answer never looks whole.

use std::time::Duration;

use crate::{
    AFTER, CHUNKS, GET,
    http_support::{Front, each, pair},
    telling,
    wire::{Backend, End, Gate, bulk, show},
};

/// The client can tell that what it got of this, before the backend went, is not whole; the next gets its own.
pub(crate) fn is_cut(said: &str, request: &str) {
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
