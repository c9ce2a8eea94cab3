//! The HTTP proxy when descriptors run out. Alone in its binary, because they are counted for the whole process.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use http_support::Front;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// One test, so that nothing else opens and closes meanwhile.
#[test]
fn a_request_waits_for_a_descriptor() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::new(&server.local_addr().unwrap().to_string());
    let (gone, all_gone) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            assert!(BufReader::new(&stream).lines().map_while(Result::ok).any(|line| line.is_empty()));
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            drop(stream);
            gone.send(()).unwrap();
        }
    });
    let mut client = front.client();
    assert_eq!(client.ask(GET).text(), "ok");
    all_gone.recv().unwrap();
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limits }).unwrap();
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    client.say(GET);
    assert!(!client.hears_within(Duration::from_millis(100)));
    drop(files);
    assert_eq!(client.answer("GET").text(), "ok");
    setrlimit(Resource::Nofile, limits).unwrap();
}
