//! The outage that made Last.fm fork balance: the main host does not refuse, it is silent, and clients give up after half
//! a second, long before a connect of two seconds is over. So every request fails, for ever, though a spare is there.
//! Here all takes four times as long, as this machine may have other things to do.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use support::{Backend, Running, Session, Silent, wait_for};

const CLIENTS_PATIENCE: Duration = Duration::from_secs(2);

/// What a connect may take, in seconds.
const CONNECT: &str = "8";

/// Who answers a client before it gives up.
fn impatient(front: SocketAddr) -> Option<String> {
    let began = Instant::now();
    let stream = TcpStream::connect_timeout(&front, CLIENTS_PATIENCE).ok()?;
    stream.set_read_timeout(Some(CLIENTS_PATIENCE.saturating_sub(began.elapsed()))).unwrap();
    Session::over_patiently(stream).map(|session| session.name)
}

#[test]
fn the_last_fm_outage_without_monitoring_is_none_because_a_silent_host_is_raced() {
    let (silent, spare) = (Silent::start(), Backend::start("spare"));
    let (_lb, front) = Running::balancing(&["-t", CONNECT], &[&silent.address.to_string(), "!", &spare.word()]);
    for _ in 0..5 {
        assert_eq!(impatient(front).as_deref(), Some("spare"));
    }
}

#[test]
fn the_last_fm_outage_as_balance_had_it() {
    let (silent, spare) = (Silent::start(), Backend::start("spare"));
    let words = [&silent.address.to_string(), "!", &spare.word()];
    let (_lb, front) = Running::balancing(&["-t", CONNECT, "--race", "off"], &words);
    for _ in 0..2 {
        assert_eq!(impatient(front), None, "so much silence is too long for it");
    }
}

#[test]
fn the_last_fm_outage_with_monitoring_ends_with_the_first_check() {
    let (silent, spare) = (Silent::start(), Backend::start("spare"));
    let words = [&silent.address.to_string(), "!", &spare.word()];
    let monitoring = ["-t", CONNECT, "--race", "off", "-m", "connect:timeout=0.3:interval=1"];
    let (lb, front) = Running::balancing(&monitoring, &words);
    lb.line_with("down");
    for _ in 0..5 {
        assert_eq!(impatient(front).as_deref(), Some("spare"));
    }
    // The host is back, and nobody has to say so.
    let address = silent.address;
    drop(silent);
    let _main = Backend::at("main", address);
    wait_for("the main host to be used again", || impatient(front).as_deref() == Some("main"));
}
