//! What happens to sessions by balance's other flags: keepalive, traces; and whose address a backend sees.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use support::{Backend, PATIENCE, Running, Session, ask, command, fresh_address, fresh_ip, keepalive_in, wait_for};

/// The keepalive of both sides of a session: towards the client, towards the backend.
fn keepalives(options: &[&str]) -> [Option<u64>; 2] {
    let listener = TcpListener::bind(fresh_address()).unwrap();
    let backend = listener.local_addr().unwrap();
    let (_lb, front) = Running::balancing(options, &[&backend.to_string()]);
    let client = TcpStream::connect(front).unwrap();
    let (server, upstream) = listener.accept().unwrap();
    let both = || [keepalive_in(front, client.local_addr().unwrap()), keepalive_in(upstream, backend)];
    // While the last segment is not acknowledged its own timer is the one that is shown.
    let mut seen = [None; 2];
    wait_for("both sides to be at rest", || {
        seen = both();
        seen.iter().all(Option::is_some)
    });
    drop(server);
    seen
}

#[test]
fn keepalive_is_on_by_default_and_set_for_each_side() {
    let hours = 3600..=7200;
    assert!(keepalives(&[]).iter().all(|seconds| hours.contains(&seconds.unwrap())));
    let [client, backend] = keepalives(&["-k", "100,10,3", "-K200,20,4"]);
    assert!((90..=100).contains(&client.unwrap()), "{client:?}");
    assert!((190..=200).contains(&backend.unwrap()), "{backend:?}");
}

#[test]
fn a_wrong_keepalive_is_named() {
    for word in ["100", "100,10", "100,10,0", "a,b,c", "1,2,3,4", "-1,2,3"] {
        let output = support::run(&mut command(&["-f", &format!("-k{word}"), "17481", "127.0.0.1:9"]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(&format!("'{word}'")), "{word}: {said}");
    }
}

#[test]
fn decisions_are_traced_on_request() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let (lb, front) = Running::balancing(&["-d"], &[&dead.to_string(), &alpha.word()]);
    let session = Session::open(front);
    let client = session.seen_as.clone();
    let refused = lb.line_with(&dead.to_string());
    assert!(refused.contains(&client) || lb.line_with("refused").contains(&dead.to_string()), "{refused}");
    lb.line_with(&alpha.word());
    drop(session);
    lb.line_with("ended");
}

#[test]
fn shared_files_are_accepted_and_said_to_be_needless() {
    let alpha = Backend::start("alpha");
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let lb = Running::start(&["-f", "-M", "-b", &ip, &port, &alpha.word()]);
    lb.line_with("-M");
    lb.line_with("listening on");
    assert_eq!(ask(front), "alpha");
}

/// Takes one connection and gives its first bytes, until there are so many.
fn first_bytes(listener: TcpListener, count: usize) -> mpsc::Receiver<Vec<u8>> {
    let (send, received) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        let _ = send.send(bytes);
    });
    received
}

#[test]
fn a_backend_is_told_its_clients_address() {
    for (version, expected) in [("v1", 0), ("v2", 28)] {
        let listener = TcpListener::bind(fresh_address()).unwrap();
        let backend = listener.local_addr().unwrap();
        let (_lb, front) = Running::balancing(&["--send-proxy", version], &[&backend.to_string()]);
        let mut client = TcpStream::connect(front).unwrap();
        let us = client.local_addr().unwrap();
        let v1 = format!("PROXY TCP4 {} {} {} {}\r\n", us.ip(), front.ip(), us.port(), front.port());
        let length = if version == "v1" { v1.len() } else { expected };
        client.write_all(b"hello").unwrap();
        let bytes = first_bytes(listener, length + 5).recv_timeout(PATIENCE).unwrap();
        assert_eq!(&bytes[length..], b"hello", "the header goes first");
        if version == "v1" {
            assert_eq!(&bytes[..length], v1.as_bytes());
        } else {
            assert_eq!(&bytes[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
            assert_eq!(&bytes[24..26], us.port().to_be_bytes());
        }
    }
}

#[test]
fn a_listed_peer_says_for_whom_it_speaks_and_others_do_not() {
    let (alpha, beta, gamma) = (Backend::start("alpha"), Backend::start("beta"), Backend::start("gamma"));
    let words = [alpha.word(), beta.word(), gamma.word(), "%".to_owned()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (_lb, front) = Running::balancing(&["--accept-proxy", "127.0.0.1/32,10.0.0.0/8"], &words);
    let direct = |client: Ipv4Addr| support::ask_from(client, front).unwrap();
    let through = |client: Ipv4Addr| {
        let mut stream = TcpStream::connect(front).unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST, "a listed peer");
        stream.write_all(format!("PROXY TCP4 {client} 192.0.2.1 1234 80\r\n").as_bytes()).unwrap();
        Session::over(stream).unwrap().name
    };
    for _ in 0..10 {
        let client = fresh_ip();
        assert_eq!(through(client), direct(client), "the backend of {client}, whoever carries its words");
    }
    // A listed peer that does not say it is closed.
    let mut stream = TcpStream::connect(front).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let ended = stream.read(&mut [0; 16]);
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
}
