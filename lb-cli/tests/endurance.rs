//! Long or heavy use of the real binary: what it must not lose, and what it must not keep.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{Backend, PATIENCE, Running, Session, Stop, fresh_address, wait_for};

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

    fn kill(&mut self) {
        self.process.take().unwrap().signal(Signal::KILL);
    }

    fn revive(&mut self) {
        self.process = Some(Running::at(self.address, &["--workers", "1"], &[&self.backend.word()]));
    }
}

/// A client that says one line and gets it back; or when it failed.
fn visit(front: SocketAddr) -> Result<(), Instant> {
    let session = TcpStream::connect_timeout(&front, PATIENCE).ok().and_then(Session::over);
    let echoed = session.is_some_and(|mut session| session.echoes());
    if echoed { Ok(()) } else { Err(Instant::now()) }
}

#[test]
fn while_one_of_two_backends_is_killed_again_and_again_only_those_it_had_accepted_fail() {
    const CLIENTS: usize = 8;
    let (steady, mut dying) = (Backend::start("steady"), Killable::start("dying"));
    let (lb, front) = Running::balancing(&[], &[&dying.address.to_string(), &steady.word()]);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (failures, kills) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    match visit(front) {
                        Ok(()) => drop(served.fetch_add(1, Relaxed)),
                        Err(at) => failures.lock().unwrap().push(at),
                    }
                    // A load, not a race for the two cores that other tests need too.
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let _end_of_all = Stop(&stop);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(700));
            kills.lock().unwrap().push(Instant::now());
            dying.kill();
            thread::sleep(Duration::from_millis(300));
            dying.revive();
        }
    });
    let (failures, kills, served) = (failures.into_inner().unwrap(), kills.into_inner().unwrap(), served.into_inner());
    let near_a_kill =
        |at: &&Instant| kills.iter().any(|kill| **at >= *kill && at.duration_since(*kill).as_millis() < 500);
    assert_eq!(failures.iter().filter(near_a_kill).count(), failures.len(), "a failure that no kill explains");
    assert!(failures.len() <= kills.len() * CLIENTS, "{} failures at {} kills", failures.len(), kills.len());
    assert!(served > 2_000, "only {served} clients were served");
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

/// How many descriptors the process has open, and its resident memory in KiB.
fn held(lb: &Running) -> (usize, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", lb.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
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
