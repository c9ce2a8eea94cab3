//! What signals do, to the clients above all.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::ExitStatusExt as _,
};

use rustix::process::Signal;
use support::{Backend, Directory, Running, Session, ask, wait_for};

#[test]
fn term_int_and_quit_end_it_with_status_0() {
    let alpha = Backend::start("alpha");
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let (lb, front) = Running::balancing(&[], &[&alpha.word()]);
        assert_eq!(ask(front), "alpha");
        lb.signal(signal);
        let (status, lines) = lb.ended();
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert_eq!(lines, ["lb: stopping: sessions may go on for 30s"]);
    }
}

#[test]
fn a_running_session_goes_on_and_may_end_by_itself() {
    let alpha = Backend::start("alpha");
    let (lb, front) = Running::balancing(&[], &[&alpha.word()]);
    let mut session = Session::open(front);
    lb.signal(Signal::TERM);
    lb.line_with("stopping");
    wait_for("the listener to close", || TcpStream::connect(front).is_err());
    assert!(session.echoes());
    drop(session);
    let (status, lines) = lb.ended();
    assert_eq!((status.code(), lines), (Some(0), vec![]));
}

#[test]
fn clients_in_the_accept_queue_are_served() {
    let alpha = Backend::start("alpha");
    for workers in ["1", "3"] {
        let (lb, front) = Running::balancing(&["--workers", workers], &[&alpha.word()]);
        lb.signal(Signal::STOP);
        let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(front).unwrap()).collect();
        lb.signal(Signal::TERM);
        lb.signal(Signal::CONT);
        let answers = clients.into_iter().filter_map(Session::over).filter(|session| session.name == "alpha").count();
        assert_eq!(answers, 20, "with {workers} workers");
        assert_eq!(lb.ended().0.code(), Some(0));
    }
}

#[test]
fn hup_does_not_kill() {
    let alpha = Backend::start("alpha");
    let (lb, front) = Running::balancing(&[], &[&alpha.word()]);
    let mut session = Session::open(front);
    lb.signal(Signal::HUP);
    assert_eq!(ask(front), "alpha");
    assert!(session.echoes());
    drop(session);
    lb.signal(Signal::TERM);
    let (status, _) = lb.ended();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

/// The status line of a GET.
fn get(front: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(front).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn usr1_opens_access_logs_again_and_nothing_else_until_the_very_end() {
    let (directory, alpha) = (Directory::new(), Backend::start("alpha"));
    let (path, old) = (directory.join("access.log"), directory.join("access.log.1"));
    let (lb, front) = Running::balancing(&["--http", "--access-log", &path], &[&alpha.word()]);
    let has = |path: &str, what: &str| fs::read_to_string(path).is_ok_and(|text| text.contains(what));
    let rotate = |from: &str| {
        wait_for("the line of the request", || has(&path, from));
        fs::rename(&path, &old).unwrap();
        lb.signal(Signal::USR1);
        lb.line_with("USR1: access logs are to be opened again by their names");
        wait_for("the new file", || fs::exists(&path).unwrap());
    };
    get(front, "/one");
    rotate("/one");
    get(front, "/two");
    wait_for("the line of the next", || has(&path, "/two") && !has(&old, "/two"));
    let mut waiting = TcpStream::connect(front).unwrap();
    write!(waiting, "GET /three HTTP/1.1\r\n").unwrap();
    get(front, "/seen");
    lb.signal(Signal::TERM);
    lb.line_with("stopping");
    rotate("/seen");
    drop(waiting);
    let (status, lines) = lb.ended();
    assert_eq!((status.code(), status.signal(), lines), (Some(0), None, vec![]), "nothing was loaded, nobody was cut");
}

#[test]
fn usr2_does_nothing_and_says_so() {
    let alpha = Backend::start("alpha");
    let (lb, front) = Running::balancing(&[], &[&alpha.word()]);
    let mut session = Session::open(front);
    lb.signal(Signal::USR2);
    lb.line_with("USR2: there is nothing to do");
    assert!(ask(front) == "alpha" && session.echoes());
    drop(session);
    lb.signal(Signal::TERM);
    let (status, lines) = lb.ended();
    assert_eq!((status.code(), lines.len()), (Some(0), 1), "{lines:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let alpha = Backend::start("alpha");
    let (lb, front) = Running::balancing(&[], &[&alpha.word()]);
    let mut session = Session::open(front);
    lb.signal(Signal::TERM);
    lb.line_with("stopping");
    // Not before the workers have seen the first.
    wait_for("the listener to close", || TcpStream::connect(front).is_err());
    lb.signal(Signal::INT);
    let (status, lines) = lb.ended();
    assert_eq!((status.code(), lines), (Some(1), vec!["lb: stopped at once by a second signal".to_owned()]));
    assert!(session.sees_the_end());
}

#[test]
fn another_one_starts_on_the_same_address_while_old_sessions_run() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (old, front) = Running::balancing(&[], &[&alpha.word()]);
    let mut session = Session::open(front);
    old.signal(Signal::TERM);
    old.line_with("stopping");
    wait_for("the listener to close", || TcpStream::connect(front).is_err());
    let _new = Running::at(front, &[], &[&beta.word()]);
    assert_eq!(ask(front), "beta");
    assert!(session.echoes());
    drop(session);
    assert_eq!(old.ended().0.code(), Some(0));
}

#[test]
fn sessions_are_cut_when_the_grace_period_is_over_and_it_says_how_many() {
    let alpha = Backend::start("alpha");
    for (grace, clients, last) in [
        ("0", 1, "lb: stopped; 1 session was cut after the grace period"),
        ("0.1", 3, "lb: stopped; 3 sessions were cut after the grace period"),
    ] {
        let (lb, front) = Running::balancing(&["--grace", grace], &[&alpha.word()]);
        let mut sessions: Vec<_> = (0..clients).map(|_| Session::open(front)).collect();
        lb.signal(Signal::TERM);
        let (status, lines) = lb.ended();
        assert_eq!((status.code(), lines.last().map(String::as_str)), (Some(0), Some(last)));
        assert!(sessions.iter_mut().all(Session::sees_the_end));
    }
}
