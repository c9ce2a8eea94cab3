//! Answers before the answer: 100 Continue and what else begins with 1.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::time::Duration;

use http_support::{Front, each, pair};
use wire::{Backend, Gate, answer, show};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const EXPECTS: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";

fn interim(said: &'static str) -> Backend {
    Backend::new(move |visit| {
        loop {
            visit.request()?;
            visit.say(said)?;
            visit.say(answer("x"))?;
        }
    })
}

#[test]
fn interim_answers_are_passed_on_in_order() {
    let said = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n";
    let (backend, front) = pair(interim(said));
    let mut client = front.client();
    for _ in 0..3 {
        assert_eq!(client.ask(GET).status(), 102);
        let hints = client.answer("GET");
        assert_eq!((hints.status(), hints.all("link")), (103, vec!["</a>", "</b>"]));
        assert_eq!(client.answer("GET").text(), "x");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn an_interim_answer_is_passed_on_before_the_answer_is_there() {
    let heard = Gate::default();
    let theirs = heard.clone();
    let (_backend, front) = pair(Backend::new(move |visit| {
        visit.request()?;
        visit.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        theirs.wait();
        visit.say(answer("x"))?;
        visit.listen()
    }));
    let mut client = front.client();
    assert_eq!(client.ask(GET).status(), 103);
    heard.open();
    assert_eq!(client.answer("GET").text(), "x");
}

#[test]
fn an_old_client_hears_no_interim_answer() {
    for said in ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 H\r\nA: b\r\n\r\n"] {
        let (_backend, front) = pair(interim(said));
        let mut client = front.client();
        let answer = client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "x"));
        client.ends();
    }
}

#[test]
fn an_interim_answer_has_no_body_whatever_it_says() {
    let cases = [
        ("length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"),
        ("chunks", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("fields of its connection", "HTTP/1.1 103 Early Hints\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"),
    ];
    each(&cases, |said| {
        let (_backend, front) = pair(interim(said));
        let mut client = front.client();
        let first = client.ask(GET);
        if first.status() == 103 {
            assert!(!first.has("x-hop"), "{}", show(&first.head));
            assert_eq!(client.answer("GET").text(), "x");
        } else {
            assert_eq!((first.status(), first.field("lb-reason")), (502, "bad-answer"));
        }
    });
}

#[test]
fn a_continue_that_nobody_asked_for_does_no_harm() {
    let (backend, front) = pair(interim("HTTP/1.1 100 Continue\r\n\r\n"));
    let mut client = front.client();
    for _ in 0..3 {
        let mut answer = client.ask(GET);
        if answer.status() == 100 {
            answer = client.answer("GET");
        }
        assert_eq!((answer.status(), answer.text().as_str()), (200, "x"));
    }
    assert_eq!(backend.requests().len(), 3);
}

/// A backend that continues, if it does, and answers.
fn continuing(said: &'static str) -> Backend {
    Backend::new(move |visit| {
        loop {
            let mut head = visit.head()?;
            visit.say(said)?;
            visit.body(&mut head)?;
            visit.say(answer(&head.text()))?;
        }
    })
}

#[test]
fn an_expectation_is_passed_on_and_so_is_what_it_is_answered() {
    for piece in [usize::MAX, 1] {
        let (backend, front) = pair(continuing("HTTP/1.1 100 Continue\r\n\r\n"));
        let mut client = front.client();
        for _ in 0..3 {
            assert_eq!(client.ask(EXPECTS).status(), 100);
            assert_eq!(client.say_slowly("hello", piece).answer("POST").text(), "hello");
        }
        assert!(backend.requests().iter().all(|head| head.field("expect") == "100-continue"));
        assert_eq!(backend.connections(), 1);
    }
}

#[test]
fn an_expectation_is_fulfilled_for_chunks_too() {
    let (_backend, front) = pair(continuing("HTTP/1.1 100 Continue\r\n\r\n"));
    let mut client = front.client();
    let head = EXPECTS.replace("Content-Length: 5", "Transfer-Encoding: chunked");
    assert_eq!(client.ask(head).status(), 100);
    assert_eq!(client.say("5\r\nhello\r\n0\r\n\r\n").answer("POST").text(), "hello");
    assert_eq!(client.ask(AFTER).status(), 100);
}

#[test]
fn a_client_that_does_not_wait_is_served() {
    let (_backend, front) = pair(continuing("HTTP/1.1 100 Continue\r\n\r\n"));
    let mut client = front.client();
    for _ in 0..3 {
        let mut answer = client.ask(format!("{EXPECTS}hello"));
        if answer.status() == 100 {
            answer = client.answer("POST");
        }
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    }
}

/// Who sends its body although nobody has told it to is served too, if the backend takes it.
#[test]
fn a_backend_that_says_nothing_gets_the_body_when_it_comes() {
    let (backend, front) = pair(continuing(""));
    let mut client = front.client();
    client.say(EXPECTS);
    backend.wait("the head", |seen| seen.requests.len() == 1);
    assert_eq!(client.say("hello").answer("POST").text(), "hello");
}

/// Until the backend has said something it is the one who is waited for, and then the client.
#[test]
fn who_waits_to_be_told_to_go_on_is_not_late() {
    for (said, status, reason) in
        [("", 504, "first-byte-timeout"), ("HTTP/1.1 100 Continue\r\n\r\n", 408, "body-timeout")]
    {
        let backend = continuing(said);
        let front = Front::with(&backend.word(), |settings| {
            settings.times.body = Duration::from_millis(300);
            settings.times.first_byte = Duration::from_millis(600);
        });
        let mut client = front.client();
        let mut answer = client.ask(EXPECTS);
        if answer.status() == 100 {
            answer = client.answer("POST");
        }
        assert_eq!((answer.status(), answer.field("lb-reason")), (status, reason));
        front.idle();
        let stats = front.stats().remove(0);
        let blamed = u64::from(said.is_empty());
        assert_eq!((stats.failed, stats.cancelled), (blamed, 1 - blamed));
    }
}

#[test]
fn who_is_told_late_to_go_on_has_its_time_from_then() {
    const TIME: Duration = Duration::from_millis(600);
    let backend = Backend::new(|visit| {
        let mut head = visit.head()?;
        std::thread::sleep(TIME * 2);
        visit.say("HTTP/1.1 100 Continue\r\n\r\n")?;
        visit.body(&mut head)?;
        visit.say(answer(&head.text()))
    });
    let front = Front::with(&backend.word(), |settings| settings.times.body = TIME);
    let mut client = front.client();
    assert_eq!(client.ask(EXPECTS).status(), 100);
    assert!(!client.hears_within(TIME / 4), "it is not late yet");
    assert_eq!(client.say("hello").answer("POST").text(), "hello");
}

/// The refusal is all that the client hears, no body is asked for, and what it sends all the same is no request.
#[test]
fn an_expectation_is_refused_by_the_backend() {
    for said in [
        "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
    ] {
        for comes in ["", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let backend = Backend::new(move |visit| match visit.number {
                0 => {
                    visit.head()?;
                    visit.say(said)?;
                    visit.listen()
                }
                _ => {
                    visit.request()?;
                    visit.say(answer("good"))?;
                    visit.listen()
                }
            });
            let (backend, front) = pair(backend);
            let mut client = front.client();
            let head = EXPECTS.replace("Length: 5", "Length: 400");
            let refused = client.ask(&head);
            assert_eq!((refused.text().as_str(), refused.closes()), ("no", true), "{}", show(&refused.head));
            client.say(comes).ends();
            assert_eq!(front.ask(AFTER).text(), "good");
            let seen = backend
                .look(|seen| seen.requests.iter().map(|(at, head)| (*at, head.first.clone())).collect::<Vec<_>>());
            assert_eq!(seen, [(0, "POST / HTTP/1.1".to_owned()), (1, "GET /after HTTP/1.1".to_owned())]);
        }
    }
}

#[test]
fn an_expectation_of_too_much_is_refused_before_anything_is_sent() {
    let backend = Backend::named("x");
    let front = Front::with(&backend.word(), |settings| settings.limits.body_bytes = Some(4));
    let mut client = front.client();
    let refused = client.ask(EXPECTS);
    assert_eq!((refused.status(), refused.field("lb-reason")), (413, "body-too-large"));
    client.ends();
    assert_eq!(backend.connections(), 0);
}

#[test]
fn an_old_clients_expectation_is_not_heard() {
    let (backend, front) = pair(Backend::named("x"));
    let request = "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(front.ask(request).status(), 200);
    assert_eq!((backend.request().text().as_str(), backend.request().has("expect")), ("hello", false));
}

#[test]
fn an_expectation_without_a_body_does_not_wait() {
    let (_backend, front) = pair(Backend::named("x"));
    let mut client = front.client();
    let mut answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
    if answer.status() == 100 {
        answer = client.answer("GET");
    }
    assert_eq!(answer.text(), "x");
}
