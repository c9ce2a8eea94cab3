//! Keys of ejection.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

use crate::{
    Tested,
    place::{Lb, Place},
    support::{Backend, Stop, ask, ask_from, ask_times, wait_for},
};

pub(crate) const TESTED: &[Tested] = &[
    ("pools.NAME.ejection", so_many_failed_connects_set_a_backend_aside),
    ("pools.NAME.ejection.connect_failures", so_many_failed_connects_set_a_backend_aside),
    ("pools.NAME.ejection.period", who_is_set_aside_is_tried_again_after_a_growing_time),
    ("pools.NAME.ejection.longest", who_is_set_aside_is_tried_again_after_a_growing_time),
    ("pools.NAME.ejection.most_percent", only_a_part_of_a_group_is_set_aside),
    ("pools.NAME.ejection.request_failures", failures_that_clients_can_provoke_count_only_when_asked_for),
    ("pools.NAME.ejection.request_failures.clients", so_many_clients_must_have_seen_it_fail),
    ("pools.NAME.ejection.request_failures.window", they_must_have_seen_it_within_a_time),
];

#[test]
fn so_many_failed_connects_set_a_backend_aside() {
    let place = Place::new();
    let (alpha, gone) = (place.backend("alpha"), place.address());
    let groups = format!("groups = \"{} {gone}\"", alpha.word());
    let lb = place.serve_each(
        &["", "ejection = {}", "ejection = { connect_failures = 2 }"].map(|ejection| format!("{groups}\n{ejection}")),
    );
    for front in &lb.fronts {
        ask_times(20, *front);
    }
    let failed = [0, 1, 2].map(|service| lb.count(service, 1, "connect_failed"));
    assert!(failed[0] >= 10 && failed[1..] == [3, 2], "{failed:?}");
    assert_eq!([0, 1, 2].map(|service| lb.health(service, 1)), ["up", "ejected", "ejected"]);
}

/// For how long the backend that refuses was set aside each time, while clients come.
fn periods(lb: &Lb, count: usize) -> Vec<String> {
    let told = |line: String| line.rsplit_once(" for ").unwrap().1.trim_end_matches(')').to_owned();
    let (ended, front) = (AtomicBool::new(false), lb.front());
    thread::scope(|scope| {
        let _stop = Stop(&ended);
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                ask(front);
            }
        });
        (0..count).map(|_| told(lb.running.line_with("ejected ("))).collect()
    })
}

#[test]
fn who_is_set_aside_is_tried_again_after_a_growing_time() {
    let place = Place::new();
    let (alpha, gone) = (place.backend("alpha"), place.address());
    for (ejection, expected) in [
        ("", ["10s"].as_slice()),
        ("period = \"40ms\"", &["40ms", "80ms", "160ms"]),
        ("period = \"40ms\", longest = \"60ms\"", &["40ms", "60ms", "60ms"]),
    ] {
        let lb = place.serve(&format!("groups = \"{} {gone}\"\nejection = {{ {ejection} }}", alpha.word()));
        assert_eq!(periods(&lb, expected.len()), expected, "{ejection}");
    }
}

#[test]
fn only_a_part_of_a_group_is_set_aside() {
    let place = Place::new();
    let (alpha, gone) = (place.backend("alpha"), [place.address(), place.address()]);
    let groups = format!("groups = \"{} {} {}\"", alpha.word(), gone[0], gone[1]);
    let percent = ["most_percent = 33", "", "most_percent = 66", "most_percent = 67"];
    let lb = place.serve_each(&percent.map(|most| format!("{groups}\nejection = {{ {most} }}")));
    let ejected = |service: usize| {
        ask_times(20, lb.fronts[service]);
        [1, 2].iter().filter(|number| lb.health(service, **number) == "ejected").count()
    };
    assert_eq!([0, 1, 2, 3].map(ejected), [0, 1, 1, 2]);
}

/// Who takes connections and breaks them off before the first byte.
fn breaking(place: &Place) -> SocketAddr {
    let listener = place.listener();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            set_socket_linger(stream.unwrap(), Some(Duration::ZERO)).unwrap();
        }
    });
    address
}

/// Two backends of each service, the second of which breaks off; each with this rule.
fn with_rules(place: &Place, rules: &[&str]) -> (Lb, Backend) {
    let (alpha, broken) = (place.backend("alpha"), breaking(place));
    let pool = |rule: &&str| format!("groups = \"{} {broken}\"\nejection = {{ {rule} }}", alpha.word());
    (place.serve_each(&rules.iter().map(pool).collect::<Vec<_>>()), alpha)
}

/// Whether the second backend is set aside once 24 clients, or one as often, have come.
fn is_ejected(lb: &Lb, service: usize, distinct: bool, pause: Duration) -> bool {
    for n in 1..=24 {
        // About each second one is broken off.
        ask_from(Ipv4Addr::new(127, 98, 0, if distinct { n } else { 1 }), lb.fronts[service]);
        thread::sleep(pause);
    }
    wait_for("all to have ended", || [0, 1].iter().all(|number| lb.count(service, *number, "in_flight") == 0));
    assert!(lb.count(service, 1, "failed") > 0, "it breaks off");
    lb.health(service, 1) == "ejected"
}

#[test]
fn failures_that_clients_can_provoke_count_only_when_asked_for() {
    let place = Place::new();
    let (lb, _alpha) = with_rules(&place, &["", "request_failures = {}"]);
    assert_eq!([0, 1].map(|service| is_ejected(&lb, service, true, Duration::ZERO)), [false, true]);
}

#[test]
fn so_many_clients_must_have_seen_it_fail() {
    let place = Place::new();
    let (lb, _alpha) = with_rules(&place, &["request_failures = {}", "request_failures = { clients = 1 }"]);
    assert_eq!([0, 1].map(|service| is_ejected(&lb, service, false, Duration::ZERO)), [false, true]);
}

#[test]
fn they_must_have_seen_it_within_a_time() {
    let place = Place::new();
    let (lb, _alpha) = with_rules(&place, &["request_failures = {}", "request_failures = { window = \"1ms\" }"]);
    let pause = Duration::from_millis(5);
    assert_eq!([0, 1].map(|service| is_ejected(&lb, service, true, pause)), [true, false]);
}
