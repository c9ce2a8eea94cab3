//! Long or heavy use of the real binary: what it must not lose, and what it must not keep.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{Backend, Load, PATIENCE, Running, Session, fresh_address, wait_for};

/// A backend that is a process of its own, so that it can be killed: an `lb` in front of a backend of this process.
struct Killable {
    process: Option<Running>,
    backend: Backend,
    address: SocketAddr,
}

impl Killable {
    fn start(name: &'static str) -> Self {
        let backend = Backend::start(name);
        let (process, address) = Running::balancing(&["--workers", "1"], &[&backend.word()]);
        Self { process: Some(process), backend, address }
    }

    /// From when to when it was dying: whoever it had accepted before its end is cut.
    fn kill(&mut self) -> (Instant, Instant) {
        let began = Instant::now();
        // Killed, and waited for.
        drop(self.process.take());
        (began, Instant::now())
    }

    fn revive(&mut self) {
        self.process = Some(Running::at(self.address, &["--workers", "1"], &[&self.backend.word()]));
    }
}

/// A client that says one line and gets it back; or from when to when it has tried.
fn visit(front: SocketAddr) -> Result<(), (Instant, Instant)> {
    let began = Instant::now();
    let session = TcpStream::connect_timeout(&front, PATIENCE).ok().and_then(Session::over);
    let echoed = session.is_some_and(|mut session| session.echoes());
    if echoed { Ok(()) } else { Err((began, Instant::now())) }
}

/// When so many clients have tried in vain, while the others were served.
fn failures(front: SocketAddr, clients: usize, load: &Load) -> Vec<(Instant, Instant)> {
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while load.goes_on() {
                    match visit(front) {
                        Ok(()) => load.count(),
                        Err(times) => failures.lock().unwrap().push(times),
                    }
                    // A load, not a race for the two cores that other tests need too.
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn while_one_of_two_backends_is_killed_again_and_again_only_those_it_had_accepted_fail() {
    const CLIENTS: usize = 8;
    let (steady, mut dying) = (Backend::start("steady"), Killable::start("dying"));
    let (lb, front) = Running::balancing(&[], &[&dying.address.to_string(), &steady.word()]);
    let mut kills = Vec::new();
    let failures = Load::meanwhile(
        |load| failures(front, CLIENTS, load),
        |load| {
            for _ in 0..20 {
                load.wait_for(100);
                kills.push(dying.kill());
                load.wait_for(50);
                dying.revive();
            }
        },
    );
    let is_explained =
        |(began, ended): &&(Instant, Instant)| kills.iter().any(|kill| *began <= kill.1 && kill.0 <= *ended);
    assert_eq!(failures.iter().filter(is_explained).count(), failures.len(), "a failure that no kill explains");
    assert!(failures.len() <= kills.len() * CLIENTS, "{} failures at {} kills", failures.len(), kills.len());
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
}

/// Connections, one after the other, of so many clients at a time, each with a few bytes both ways.
fn many_sessions(front: SocketAddr, sessions: usize) {
    let left = AtomicUsize::new(sessions);
    let take = || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while take() {
                    let mut stream = TcpStream::connect(front).unwrap();
                    stream.write_all(b"x").unwrap();
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).unwrap();
                    assert_eq!(answer, b"y");
                }
            });
        }
    });
}

/// Answers each client with one byte and closes.
fn answering() -> SocketAddr {
    let listener = std::net::TcpListener::bind(fresh_address()).unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..2 {
        let listener = listener.try_clone().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0]).is_ok() {
                    let _ = stream.write_all(b"y");
                }
            }
        });
    }
    address
}

/// How many descriptors the process has open, and its own resident memory in KiB, without the pages of files: code
/// counts as it is used.
fn held(lb: &Running) -> (usize, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", lb.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    (lb.descriptors(), resident.trim().split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_hundred_thousand_sessions_leave_descriptors_and_memory_where_they_were() {
    let (a, b) = (answering().to_string(), answering().to_string());
    let (lb, front) = Running::balancing(&["--workers", "2"], &[&a, &b]);
    // What is kept for the next session is there after the first ones.
    many_sessions(front, 2_000);
    let (descriptors, memory_kib) = held(&lb);
    many_sessions(front, 100_000);
    wait_for("descriptors to be as before", || held(&lb).0 <= descriptors);
    let now_kib = held(&lb).1;
    assert!(now_kib <= memory_kib + 1024, "{memory_kib} KiB became {now_kib}");
}

#[test]
fn a_restart_on_the_same_port_refuses_nobody_once_the_new_one_is_ready() {
    let alpha = Backend::start("alpha");
    let (old, front) = Running::balancing(&[], &[&alpha.word()]);
    let mut sessions: Vec<_> = (0..20).map(|_| Session::open(front)).collect();
    old.signal(Signal::TERM);
    old.line_with("stopping");
    wait_for("the old one to close its port", || TcpStream::connect(front).is_err());
    let new = Running::at(front, &[], &[&alpha.word()]);
    let refused = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    if visit(front).is_err() {
                        refused.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(refused.load(Relaxed), 0);
    assert!(sessions.iter_mut().all(Session::echoes), "the old one's sessions go on");
    drop(sessions);
    assert_eq!(old.ended().0.code(), Some(0));
    drop(new);
}
