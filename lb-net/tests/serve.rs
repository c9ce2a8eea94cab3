//! What clients of an HTTP listener are allowed, and how it stops.
#![cfg(feature = "manage-http")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/process.rs"]
mod process;
#[path = "support/web.rs"]
mod web;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use lb_net::serve::Limits;
use process::Staged;
use web::{Web, loopback};

const GET: &str = "GET /v1/pools HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Short enough for a test, and far from the others, which are long.
const SHORT: Duration = Duration::from_millis(150);
/// Long enough to say something in it, also on a machine that has much else to do.
const ROOMY: Duration = Duration::from_secs(1);

fn serving(limits: Limits) -> Web {
    Web::at(&loopback(), Staged::new(&[("web", "alpha")]), None, limits)
}

/// One answer of a connection that goes on.
fn answered(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// What is still said before the end.
fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_connection_is_kept_for_further_requests() {
    let web = serving(Limits::default());
    let mut stream = BufReader::new(web.connect());
    for _ in 0..3 {
        stream.get_mut().write_all(GET.as_bytes()).unwrap();
        assert!(answered(&mut stream).starts_with("HTTP/1.1 200 OK"));
    }
    stream.get_mut().write_all(format!("{GET}{GET}").as_bytes()).unwrap();
    assert!(answered(&mut stream).contains("\"web\"") && answered(&mut stream).contains("\"web\""), "both at once");
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    let web = serving(Limits::default().with_head_timeout(SHORT));
    let mut stream = web.connect();
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    assert_eq!(rest(&mut stream), "");
    assert!(began.elapsed() >= SHORT && began.elapsed() < Limits::default().idle_timeout);
}

#[test]
fn drop_by_drop_is_no_faster() {
    let web = serving(Limits::default().with_head_timeout(SHORT));
    let mut stream = web.connect();
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // Each letter is in time, and the head is not.
    while stream.write_all(b"x").is_ok() && stream.read(&mut [0; 256]).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert!(began.elapsed() >= SHORT);
}

#[test]
fn who_says_nothing_is_closed_before_and_after_a_request() {
    let web = serving(Limits::default().with_idle_timeout(ROOMY));
    let mut silent = web.connect();
    assert_eq!(rest(&mut silent), "");
    let mut stream = BufReader::new(web.connect());
    stream.get_mut().write_all(GET.as_bytes()).unwrap();
    answered(&mut stream);
    assert_eq!(rest(stream.get_mut()), "");
}

#[test]
fn who_does_not_read_is_not_written_to_for_ever() {
    let many: String = (0..10_000).map(|number| format!("b{number} ")).collect();
    let web = Web::at(&loopback(), Staged::new(&[("web", &many)]), None, Limits::default().with_write_timeout(SHORT));
    let mut stream = web.connect();
    let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    // Several megabytes each: more than the system keeps for who does not read.
    let began = Instant::now();
    while stream.write_all(ask).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "it goes on and on");
        std::thread::yield_now();
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let web = serving(Limits::default().with_head_bytes(8 * 1024));
    let filler = "x".repeat(9 * 1024);
    let answer = web.say(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {filler}\r\n\r\n"));
    assert_eq!(answer.status, 431, "{}", answer.head);
    assert_eq!(web.say("nonsense\r\n\r\n").status, 400);
}

#[test]
fn connections_above_the_limit_are_told_so() {
    let web = serving(Limits::default().with_connections(1));
    let mut first = BufReader::new(web.connect());
    first.get_mut().write_all(GET.as_bytes()).unwrap();
    answered(&mut first);
    let refused = rest(&mut web.connect());
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.ends_with("there are 1 connections already\n"),
        "{refused}"
    );
    drop(first);
    let began = Instant::now();
    loop {
        let mut next = web.connect();
        let _ = next.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes());
        if rest(&mut next).starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "a place becomes free");
    }
}

#[test]
fn who_has_said_all_may_close_that_side() {
    let web = serving(Limits::default());
    let mut stream = web.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_stop_ends_idle_connections_and_answers_requests_that_have_begun() {
    let staged = Staged::new(&[("web", "alpha")]);
    let web = Web::at(&loopback(), Arc::clone(&staged) as _, None, Limits::default());
    let mut idle = BufReader::new(web.connect());
    idle.get_mut().write_all(GET.as_bytes()).unwrap();
    answered(&mut idle);
    // It is held up within the process.
    let held = staged.reload.lock().unwrap();
    let mut busy = web.connect();
    busy.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").unwrap();
    let began = Instant::now();
    while staged.reloads.load(SeqCst) == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it begins");
        std::thread::yield_now();
    }
    web.begin_to_stop();
    assert_eq!(rest(idle.get_mut()), "");
    drop(held);
    let answer = rest(&mut busy);
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("gamma"), "{answer}");
    drop(web);
}

#[test]
fn who_waits_to_be_asked_for_a_body_is_asked() {
    // Longer than the head may take: the order is under way by then.
    let web = serving(Limits::default().with_head_timeout(ROOMY).with_idle_timeout(ROOMY));
    let mut stream = web.connect();
    let head = "POST /v1/pools/web/groups/0/channels/0/weight HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    let body = "Content-Type: application/json\r\nContent-Length: 12\r\nExpect: 100-continue";
    stream.write_all(format!("{head}\r\n{body}\r\n\r\n").as_bytes()).unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.set_read_timeout(Some(2 * ROOMY)).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it is waited for");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"{\"weight\":5}").unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 200 OK"));
}
