//! Long or heavy use of HTTP through the real binary: what it must not keep.
#![allow(clippy::unwrap_used)]

mod support;
#[path = "../../lb-net/tests/wire/mod.rs"]
mod wire;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use support::{PATIENCE, Quick, Running, ask_all, wait_for};
use wire::{Backend, Client, bulk};

const LARGE: usize = 100 << 20;
const PIECE: usize = 1 << 20;

/// Its own resident memory in KiB, without the pages of files: code counts as it is used.
fn memory_kib(lb: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", lb.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().split(' ').next().unwrap().parse().unwrap()
}

/// Whether no thread of it runs or could.
fn is_idle(lb: &Running) -> bool {
    let mut threads = fs::read_dir(format!("/proc/{}/task", lb.id())).unwrap();
    threads.all(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('S')
    })
}

/// `LB_SOAK_REQUESTS` is as long as one likes.
#[test]
fn many_requests_leave_descriptors_and_memory_where_they_were() {
    let requests = std::env::var("LB_SOAK_REQUESTS").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let (a, b) = (Quick::start("a"), Quick::start("b"));
    let (lb, front) = Running::balancing(&["--http", "--workers", "2"], &[&a.word(), &b.word()]);
    // Clients that have gone are gone; connections to backends may stay: of each worker to each, one for each client.
    let most = lb.descriptors() + 2 * 2 * 16;
    // What is kept for the next requests is there after the first ones.
    for clients in [8, 16] {
        ask_all(front, clients, 2_000);
    }
    let before_kib = memory_kib(&lb);
    for _ in 0..10 {
        ask_all(front, 16, requests / 10);
    }
    wait_for("descriptors to settle", || lb.descriptors() <= most);
    let after_kib = memory_kib(&lb);
    assert!(after_kib <= before_kib + 2048, "{before_kib} KiB became {after_kib}");
}

/// A backend that takes all of a body, and answers with as much.
fn large() -> Backend {
    Backend::new(|visit| {
        loop {
            let head = visit.head()?;
            if head.method() == "PUT" {
                visit.skip(LARGE)?;
                visit.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
                continue;
            }
            let chunks = head.target() == "/chunks";
            let framing =
                if chunks { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {LARGE}") };
            visit.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"))?;
            let piece = bulk(PIECE);
            for _ in 0..LARGE / PIECE {
                if chunks {
                    visit.say(format!("{PIECE:x}\r\n"))?;
                }
                visit.say(&piece)?;
                if chunks {
                    visit.say("\r\n")?;
                }
            }
            if chunks {
                visit.say("0\r\n\r\n")?;
            }
        }
    })
}

/// Reads so many bytes, keeps none, and does this after each piece.
fn skip(stream: &mut TcpStream, mut bytes: usize, mut after: impl FnMut()) {
    let mut room = vec![0; PIECE];
    while bytes > 0 {
        let most = room.len().min(bytes);
        let count = stream.read(&mut room[..most]).unwrap();
        assert!(count > 0, "it ended {bytes} bytes too soon");
        bytes -= count;
        after();
    }
}

fn connect(front: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(front).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads up to the empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn large_bodies_up_and_down_take_no_memory() {
    let backend = large();
    let (lb, front) = Running::balancing(&["--http", "--workers", "1"], &[&backend.word()]);
    let before_kib = memory_kib(&lb);
    let mut highest_kib = before_kib;
    let mut look = || highest_kib = highest_kib.max(memory_kib(&lb));
    let mut stream = connect(front);
    stream.write_all(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes()).unwrap();
    let piece = bulk(PIECE);
    for _ in 0..LARGE / PIECE {
        stream.write_all(&piece).unwrap();
        look();
    }
    assert!(head(&mut stream).starts_with("HTTP/1.1 200 "));
    skip(&mut stream, 2, &mut look);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(head(&mut stream).contains(&format!("{LARGE}\r\n")));
    skip(&mut stream, LARGE, &mut look);
    stream.write_all(b"GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(head(&mut stream).contains("chunked"));
    skip(&mut stream, LARGE, &mut look);
    assert!(highest_kib < before_kib + 4 * 1024, "{before_kib} KiB became {highest_kib}");
}

#[test]
fn clients_that_do_not_read_take_little_memory_and_disturb_nobody() {
    const CLIENTS: u64 = 40;
    let backend = large();
    let (lb, front) = Running::balancing(&["--http", "--workers", "1"], &[&backend.word()]);
    let before_kib = memory_kib(&lb);
    let mut stalled: Vec<_> = (0..CLIENTS).map(|_| Client::narrow(front)).collect();
    for (at, client) in stalled.iter_mut().enumerate() {
        client.say(["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n"][at % 2]);
    }
    backend.wait("all requests", |seen| seen.requests.len() as u64 == CLIENTS);
    for client in &mut stalled {
        assert_eq!(client.head("GET").status(), 200);
    }
    // As much as can go into all the buffers has gone there when the backend cannot say more and lb has nothing to do.
    let (mut last, mut worked) = (0, lb.worked());
    wait_for("memory to settle", || {
        thread::sleep(std::time::Duration::from_millis(200));
        let now = (memory_kib(&lb), lb.worked());
        let before = (std::mem::replace(&mut last, now.0), std::mem::replace(&mut worked, now.1));
        before == now && is_idle(&lb)
    });
    assert!(last <= before_kib + CLIENTS * 128, "{before_kib} KiB became {last}");
    let mut client = Client::to(front);
    assert_eq!(client.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").head("HEAD").status(), 200);
}
