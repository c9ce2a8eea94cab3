//! Keys of how much requests may take: of clients, of backends, of each other.

use std::{fs, thread, time::Duration};

use crate::{
    Tested, both,
    http_place::{Client, Web, both_ways, pool},
    place::{Lb, Place},
    support::wait_for,
};

pub(crate) const TESTED: &[&[Tested]] = &[
    both!("http.max_head", a_head_is_not_longer),
    both!("http.max_fields", a_head_has_not_more_fields),
    both!("http.max_body", a_body_is_not_longer),
    both!("http.max_connections", so_many_clients_are_there_at_a_time),
    both!("http.keep", connections_are_kept_or_not),
    both!("http.keep.idle", connections_are_kept_or_not),
    both!("http.keep.uses", connections_have_so_many_requests),
    both!("http.keep.age", connections_become_so_old),
    both!("http.keep.idle_timeout", connections_are_kept_for_a_time),
    both!("http.queue", so_many_wait),
    both!("http.queue.length", so_many_wait),
    both!("http.queue.timeout", they_wait_for_a_time),
    both!("http.retry", some_requests_are_repeated),
    both!("http.retry.percent", some_requests_are_repeated),
    both!("http.retry.per_second", some_requests_are_repeated),
    both!("http.retry.idempotency_key", a_key_makes_a_request_one_that_may_be_repeated),
    both!("http.access_log", each_request_is_written),
    both!("http.access_log.to", each_request_is_written),
    both!("http.access_log.format", each_request_is_written),
];

fn each(line: &str, otherwise: &str, look: impl Fn(&Lb, &Web)) {
    let place = Place::new();
    let alpha = Web::start(&place, "alpha");
    both_ways(&place, &pool(&[&alpha]), line, otherwise).iter().for_each(|lb| look(lb, &alpha));
}

/// The statuses that this is answered with, by the service that it holds for and by the other one.
fn statuses(lb: &Lb, request: &str) -> [u16; 2] {
    [0, 1].map(|service| {
        let mut client = Client::new(lb.fronts[service]);
        client.send(request);
        client.answer().unwrap().status
    })
}

#[test]
fn a_head_is_not_longer() {
    let request = format!("GET / HTTP/1.1\r\nHost: site.example\r\nX-Long: {}\r\n\r\n", "x".repeat(2000));
    each("max_head = \"1KiB\"", "max_head = \"4KiB\"", |lb, _| assert_eq!(statuses(lb, &request), [431, 200]));
}

#[test]
fn a_head_has_not_more_fields() {
    let request = "GET / HTTP/1.1\r\nHost: site.example\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n";
    each("max_fields = 3", "max_fields = 4", |lb, _| assert_eq!(statuses(lb, request), [431, 200]));
}

#[test]
fn a_body_is_not_longer() {
    let request = "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 5\r\n\r\nabcde";
    each("max_body = \"4B\"", "max_body = \"none\"", |lb, _| assert_eq!(statuses(lb, request), [413, 200]));
}

#[test]
fn so_many_clients_are_there_at_a_time() {
    each("max_connections = 1", "max_connections = \"none\"", |lb, _| {
        for (service, waits) in [(0, true), (1, false)] {
            // In the middle of a request: who has been answered would make room.
            let mut first = Client::new(lb.fronts[service]);
            first.get("/", "");
            first.send("GET / HTTP/1.1\r\n");
            let mut second = Client::new(lb.fronts[service]);
            second.send("GET / HTTP/1.1\r\nHost: site.example\r\n\r\n");
            assert!(!waits || second.waits(Duration::from_millis(200)));
            if waits {
                drop(first);
            }
            assert_eq!(second.answer().unwrap().status, 200);
        }
    });
}

/// On which connections so many requests, one after the other, were answered.
fn connections(lb: &Lb, service: usize, count: usize, pause: Duration) -> Vec<String> {
    let mut client = Client::new(lb.fronts[service]);
    let mut ask = |_| {
        thread::sleep(pause);
        client.get("/", "").connection().to_owned()
    };
    (0..count).map(&mut ask).collect()
}

fn distinct(mut all: Vec<String>) -> usize {
    all.dedup();
    all.len()
}

#[test]
fn connections_are_kept_or_not() {
    each("keep = { idle = 0 }", "keep = { idle = 9 }", |lb, _| {
        assert_eq!([0, 1].map(|service| distinct(connections(lb, service, 4, Duration::ZERO))), [4, 1]);
    });
}

#[test]
fn connections_have_so_many_requests() {
    each("keep = { uses = 2 }", "keep = { uses = \"none\" }", |lb, _| {
        assert_eq!([0, 1].map(|service| distinct(connections(lb, service, 6, Duration::ZERO))), [3, 1]);
    });
}

#[test]
fn connections_become_so_old() {
    each("keep = { age = \"10ms\" }", "keep = { age = \"never\" }", |lb, _| {
        // Longer than the age.
        let pause = Duration::from_millis(50);
        assert_eq!([0, 1].map(|service| distinct(connections(lb, service, 3, pause))), [3, 1]);
    });
}

#[test]
fn connections_are_kept_for_a_time() {
    each("keep = { idle_timeout = \"100ms\" }", "keep = { idle_timeout = \"1h\" }", |lb, alpha| {
        let all = [0, 1].map(|service| {
            let mut client = Client::new(lb.fronts[service]);
            let first = client.get("/", "").connection().to_owned();
            (client, first)
        });
        wait_for("the one that is kept for a time", || alpha.has_lost(&all[0].1));
        let same = all.map(|(mut client, first)| client.get("/", "").connection() == first);
        assert_eq!(same, [false, true]);
    });
}

/// The status of a request that comes while the only place is taken; it may wait for that.
fn second(lb: &Lb, alpha: &Web, service: usize, waits: bool) -> u16 {
    let [mut first, mut second] = [(); 2].map(|()| Client::new(lb.fronts[service]));
    first.send("GET /held HTTP/1.1\r\nHost: site.example\r\n\r\n");
    wait_for("the first to be there", || lb.count(service, 0, "in_flight") == 1);
    second.send("GET / HTTP/1.1\r\nHost: site.example\r\n\r\n");
    assert!(!waits || second.waits(Duration::from_millis(200)));
    let refused = (!waits).then(|| second.answer().unwrap().status);
    alpha.release();
    assert_eq!(first.answer().unwrap().status, 200);
    refused.unwrap_or_else(|| second.answer().unwrap().status)
}

fn with_one_place(line: &str, otherwise: &str) {
    let place = Place::new();
    let alpha = Web::start(&place, "alpha");
    for lb in both_ways(&place, &format!("groups = \"{}:1\"", alpha.address), line, otherwise) {
        assert_eq!([(0, false), (1, true)].map(|(service, waits)| second(&lb, &alpha, service, waits)), [503, 200]);
    }
}

#[test]
fn so_many_wait() {
    with_one_place("queue = { length = 0 }", "queue = { length = 1 }");
}

#[test]
fn they_wait_for_a_time() {
    with_one_place("queue = { timeout = \"100ms\" }", "queue = { timeout = \"1h\" }");
}

/// Statuses of a request that a backend has broken off, by both services. It is not their first one.
fn broken_off(line: &str, otherwise: &str, request: &str) {
    let place = Place::new();
    let (broken, alpha) = (Web::breaking(&place), Web::start(&place, "alpha"));
    for lb in both_ways(&place, &pool(&[&alpha, &broken]), line, otherwise) {
        assert_eq!(statuses(&lb, request), [200, 200]);
        assert_eq!(statuses(&lb, request), [200, 502], "{line}");
    }
}

#[test]
fn some_requests_are_repeated() {
    let (get, none) = ("GET / HTTP/1.1\r\nHost: site.example\r\n\r\n", "retry = { percent = 0, per_second = 0 }");
    broken_off("retry = { percent = 100, per_second = 0 }", none, get);
    broken_off("retry = { percent = 0, per_second = 9 }", none, get);
}

#[test]
fn a_key_makes_a_request_one_that_may_be_repeated() {
    let post = "POST / HTTP/1.1\r\nHost: site.example\r\nIdempotency-Key: \"1\"\r\nContent-Length: 1\r\n\r\na";
    broken_off("retry = { idempotency_key = true }", "retry = { idempotency_key = false }", post);
}

#[test]
fn each_request_is_written() {
    let place = Place::new();
    let alpha = Web::start(&place, "alpha");
    for (format, begin) in [("json", "{"), ("common", "127.")] {
        let directory = crate::support::Directory::new();
        let path = directory.join("requests.log");
        let line = format!("access_log = {{ to = \"{path}\", format = \"{format}\" }}");
        for lb in both_ways(&place, &pool(&[&alpha]), &line, "access_log = \"off\"") {
            for (service, target) in [(1, "/other"), (0, "/this")] {
                assert_eq!(Client::new(lb.fronts[service]).get(target, "").status, 200);
            }
            lb.running.signal(rustix::process::Signal::TERM);
            assert_eq!(lb.running.ended().0.code(), Some(0));
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert!(written.starts_with(begin) && written.contains("/this"), "{format}: {written}");
            assert!(!written.contains("/other"), "{written}");
        }
    }
}
