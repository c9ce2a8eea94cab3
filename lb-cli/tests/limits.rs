//! maxc holds in every attempt, and places come back however a session ends.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use support::{Backend, Control, Session, Silent, ask, fresh_address, wait_for};

/// Who answers so many clients that come at once and stay.
fn crowd(clients: usize, front: SocketAddr) -> Vec<Session> {
    let visitors: Vec<_> =
        (0..clients).map(|_| thread::spawn(move || Session::over(TcpStream::connect(front).unwrap()))).collect();
    visitors.into_iter().filter_map(|visitor| visitor.join().unwrap()).collect()
}

fn count(sessions: &[Session], name: &str) -> usize {
    sessions.iter().filter(|session| session.name == name).count()
}

#[test]
fn limits_hold_in_turns_in_failover_and_in_races() {
    let (alpha, spare, silent) = (Backend::start("alpha"), Backend::start("spare"), Silent::start());
    for first in [fresh_address().to_string(), silent.address.to_string()] {
        let words = [&first, &format!("{}:5", alpha.word()), "!", &format!("{}:3", spare.word())];
        let (_lb, control) = Control::start(&["--race", "20", "-t", "1", "--workers", "3"], &words);
        let held = crowd(40, control.front);
        assert_eq!((count(&held, "alpha"), count(&held, "spare"), held.len()), (5, 3, 8), "{first}");
        let rows = control.rows();
        assert_eq!((rows[1].sessions, rows[2].sessions), (5, 3));
        drop(held);
        // The silent one's attempts too, when their time is over.
        wait_for("all places to be free", || control.rows().iter().all(|row| row.sessions == 0));
    }
}

#[test]
fn a_limit_below_what_is_there_ends_no_session_and_lets_nobody_in_until_enough_have_gone() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    let mut held = crowd(4, control.front);
    control.must("maxc 0 2");
    let is_closed = || Session::over(TcpStream::connect(control.front).unwrap()).is_none();
    assert!(is_closed() && held.iter_mut().all(Session::echoes));
    for left in [3, 2] {
        held.pop();
        wait_for("it to have gone", || control.rows()[0].sessions == left);
        assert!(is_closed(), "{left} of 2");
    }
    held.pop();
    wait_for("a place", || control.rows()[0].sessions == 1);
    assert_eq!(ask(control.front), "alpha");
}

#[test]
fn failover_passes_over_what_is_disabled_or_full() {
    let [beta, gamma, spare] = ["beta", "gamma", "spare"].map(Backend::start);
    let dead = fresh_address().to_string();
    let words = [&dead, "!", &beta.word(), &format!("{}:1", gamma.word()), "!", &spare.word()];
    let (_lb, control) = Control::start(&[], &words);
    control.must("group 1; disable 0");
    let held = Session::open(control.front);
    assert_eq!(held.name, "gamma");
    let names: Vec<_> = (0..4).map(|_| ask(control.front)).collect();
    assert_eq!(names, ["spare"; 4]);
    let tried = control.rows().iter().map(|row| row.total).collect::<Vec<_>>();
    assert_eq!(tried, [5, 0, 1, 4]);
}

#[test]
fn a_place_comes_back_however_a_session_ends() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&["-T", "0.3"], &[&format!("{}:1", alpha.word())]);
    let is_free = || wait_for("the place", || control.rows()[0].sessions == 0);
    let open = || {
        let stream = TcpStream::connect(control.front).unwrap();
        Session::over(stream.try_clone().unwrap()).unwrap();
        stream
    };
    drop(open());
    is_free();
    // Reset by the client.
    let reset = open();
    rustix::net::sockopt::set_socket_linger(&reset, Some(Duration::ZERO)).unwrap();
    drop(reset);
    is_free();
    // Idle for too long.
    let _idle = open();
    is_free();
    // Counters begin again in the middle of it.
    let during = open();
    control.must("reset 0");
    drop(during);
    is_free();
    control.must("disable 0; enable 0");
    assert_eq!(ask(control.front), "alpha");
}
