//! Bytes through the running program: half-close, both directions at a time, ends of every kind, many sessions.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
use support::{Backend, PATIENCE, Running, Session, Silent, fresh_address};

/// An `lb` before a backend that the test plays, and one session of it: client and server.
fn session(options: &[&str]) -> (Running, TcpStream, TcpStream) {
    let listener = TcpListener::bind(fresh_address()).unwrap();
    let (lb, front) = Running::balancing(options, &[&listener.local_addr().unwrap().to_string()]);
    let client = TcpStream::connect(front).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (lb, client, server)
}

fn all_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

#[test]
fn either_side_may_end_first_and_still_hear_the_other_out() {
    for client_first in [true, false] {
        let (_lb, client, server) = session(&[]);
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        first.write_all(b"that is all").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(all_of(&mut second), b"that is all");
        // After the end was seen, and more than fits into buffers.
        let answer = noise(3_000_000, 1);
        thread::scope(|scope| {
            scope.spawn(|| second.write_all(&answer).and_then(|()| second.shutdown(Shutdown::Write)).unwrap());
            assert!(all_of(&mut first) == answer, "client first: {client_first}");
        });
    }
}

#[test]
fn both_directions_flow_at_a_time_through_small_buffers() {
    let (_lb, client, server) = session(&["--workers", "1"]);
    for stream in [&client, &server] {
        set_socket_send_buffer_size(stream, 65_536).unwrap();
        set_socket_recv_buffer_size(stream, 65_536).unwrap();
    }
    let (up, down) = (noise(4_000_000, 2), noise(4_000_000, 3));
    let write = |stream: &TcpStream, bytes: &[u8]| {
        let mut stream = stream;
        stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)).unwrap();
    };
    thread::scope(|scope| {
        scope.spawn(|| write(&client, &up));
        scope.spawn(|| write(&server, &down));
        let heard = scope.spawn(|| all_of(&mut server.try_clone().unwrap()));
        assert!(all_of(&mut client.try_clone().unwrap()) == down);
        assert!(heard.join().unwrap() == up);
    });
}

#[test]
fn a_reset_is_passed_on_as_one_in_both_directions() {
    for client_resets in [true, false] {
        let (_lb, client, server) = session(&[]);
        let (mut rude, mut other) = if client_resets { (client, server) } else { (server, client) };
        rude.write_all(b"x").unwrap();
        other.read_exact(&mut [0]).unwrap();
        set_socket_linger(&rude, Some(Duration::ZERO)).unwrap();
        drop(rude);
        let error = other.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "client resets: {client_resets}");
    }
}

#[test]
fn a_client_that_has_gone_is_not_forwarded() {
    let silent = Silent::start();
    let listener = TcpListener::bind(fresh_address()).unwrap();
    let words = [silent.address.to_string(), "!".to_owned(), listener.local_addr().unwrap().to_string()];
    let words = words.each_ref().map(String::as_str);
    let (lb, front) = Running::balancing(&["-d", "--race", "off", "-t", "0.5"], &words);
    let gone = TcpStream::connect(front).unwrap();
    let name = gone.local_addr().unwrap().to_string();
    lb.line_with(&format!("{name}: connecting to {}", words[0]));
    set_socket_linger(&gone, Some(Duration::ZERO)).unwrap();
    drop(gone);
    lb.line_with(&name);
    // The next client is the first that the spare sees.
    let client = TcpStream::connect(front).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    (&client).write_all(b"here").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = [0; 4];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"here");
}

#[test]
fn five_hundred_sessions_need_no_process_or_thread_each() {
    let [alpha, beta] = ["alpha", "beta"].map(Backend::start);
    let (lb, front) = Running::balancing(&["--workers", "2"], &[&alpha.word(), &beta.word()]);
    let open = |front: SocketAddr| thread::spawn(move || (0..50).map(|_| Session::open(front)).collect::<Vec<_>>());
    let opening: Vec<_> = (0..10).map(|_| open(front)).collect();
    let mut sessions: Vec<Session> = opening.into_iter().flat_map(|opening| opening.join().unwrap()).collect();
    let threads = fs::read_dir(format!("/proc/{}/task", lb.id())).unwrap().count();
    assert!(threads < 20, "{threads} threads");
    assert!(sessions.iter_mut().all(Session::echoes));
    // Strictly in turn, whoever accepted them.
    assert_eq!(sessions.iter().filter(|session| session.name == "alpha").count(), 250);
}
