//! `lb demo` without a terminal.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
};

use rustix::process::Signal;
use support::{PATIENCE, Running, command, run};

fn front(welcome: &str) -> SocketAddr {
    let (_, address) = welcome.split_once("http://").expect("an address");
    address.split('/').next().expect("a part").parse().expect("an address")
}

#[test]
fn it_shows_failover_by_itself_and_no_request_fails() {
    let demo = Running::demo(&["--port", "0", "--seconds", "6"]);
    let front = front(&demo.line_with("lb balances http://"));
    demo.line_with("beta killed: it refuses connections, they go to alpha and gamma");
    let answer = http_get(front);
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("Connection: close\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\nhello from "), "{answer}");
    demo.line_with("gamma silent: it does not answer, so the next is tried alongside: alpha");
    let (status, lines) = demo.ended();
    assert_eq!(status.code(), Some(0));
    let [.., answers, client] = &lines[..] else { panic!("{lines:#?}") };
    assert!(answers.starts_with("answers: alpha ") && !answers.contains(" 0"), "{answers}");
    assert!(client.starts_with("demo client: ") && client.contains(" requests, 0 failed, slowest "), "{client}");
    assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:#?}");
}

fn http_get(front: SocketAddr) -> String {
    let mut stream = TcpStream::connect(front).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"GET /any/thing HTTP/1.1\r\nHost: demo\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn term_and_int_end_it_with_a_summary() {
    for signal in [Signal::TERM, Signal::INT] {
        let demo = Running::demo(&["--port", "0"]);
        demo.line_with("client: ");
        demo.signal(signal);
        let (status, lines) = demo.ended();
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(lines.iter().any(|line| line.contains("requests, 0 failed")), "{lines:#?}");
    }
}

#[test]
fn a_port_that_was_asked_for_must_be_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = run(&mut command(&["demo", "--port", &port]));
    assert_eq!(said.status.code(), Some(71));
    let line = String::from_utf8(said.stderr).unwrap();
    assert!(line.starts_with(&format!("lb: cannot listen on 127.0.0.1:{port}: ")), "{line}");
    assert!(line.ends_with("; another lb, or another program, listens there\n"), "{line}");
}

#[test]
fn any_port_will_do_when_the_usual_one_is_taken() {
    // By us, or by whoever has it already.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let demo = Running::demo(&[]);
    let welcome = demo.line_with("lb balances http://");
    assert!(welcome.ends_with(" (port 8080 is taken)."), "{welcome}");
    assert!(http_get(front(&welcome)).contains("hello from "));
    demo.signal(Signal::TERM);
    assert_eq!(demo.ended().0.code(), Some(0));
}

#[test]
fn its_help_is_worth_reading() {
    let said = run(&mut command(&["demo", "--help"]));
    assert_eq!((said.status.code(), said.stderr.len()), (Some(0), 0));
    let help = String::from_utf8(said.stdout).unwrap();
    for part in ["lb demo [options]", "--port", "--seconds", "1 2 3", "q, ^C", "timer"] {
        assert!(help.contains(part), "{part} is missing in {help}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let mut demo = command(&["demo", "--port", "0"]);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(demo.stdout.take());
    let said = demo.wait_with_output().unwrap();
    assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap()), (Some(0), String::new()));
}
