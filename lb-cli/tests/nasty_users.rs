//! Users who ask for what fails, while every rule is switched on that looks at traffic: they take no backend away from
//! others, and backends that are really bad go and come back.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;
#[path = "../../lb-net/tests/wire/mod.rs"]
mod wire;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use support::{App, File, Mood, Running, Stop, fresh_address, wait_for};
use wire::Client;

const NASTY: u8 = 1;
const OTHERS: [u8; 4] = [2, 3, 4, 5];

/// `lb` in front of applications, with every rule that looks at traffic.
struct Lb {
    running: Running,
    file: File,
    front: SocketAddr,
}

impl Lb {
    fn start(apps: &[App], ejection: &str, http: &str) -> Self {
        let (front, words) = (fresh_address(), apps.iter().map(App::word).collect::<Vec<_>>().join(" "));
        let file = File::new(&format!(
            "[services.www]\nrole = \"http\"\nlisten = \"{front}\"\npool = \"web\"\n\
             [services.www.http]\n{http}\n\
             [pools.web]\ngroups = \"{words}\"\nselector = \"round-robin\"\n\
             ejection = {{ period = \"500ms\", longest = \"60s\", request_failures = {{}}{ejection} }}\n"
        ));
        let running = file.run();
        running.line_with("listening on");
        Self { running, file, front }
    }

    fn healths(&self) -> Vec<String> {
        let told = |backend: &Value| backend["health"].as_str().unwrap().to_owned();
        self.file.channels(self.front, 0).iter().map(told).collect()
    }

    /// What it has said until its end.
    fn ended(self) -> Vec<String> {
        self.running.signal(Signal::TERM);
        self.running.ended().1
    }
}

/// A connection of the client of this number.
fn client_of(front: SocketAddr, number: u8) -> Client {
    Client::from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, number)), front)
}

/// The status that is answered to this client over a connection of its own.
fn ask(front: SocketAddr, number: u8, request: &str) -> u16 {
    client_of(front, number).ask(request).status()
}

fn request(method: &str, target: &str, more: &str) -> String {
    let length = if method == "POST" { "Content-Length: 5\r\n" } else { "" };
    let body = if method == "POST" { "hello" } else { "" };
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{length}{more}\r\n{body}")
}

/// Others ask for good pages meanwhile, over kept and over fresh connections: all are answered. How many.
fn others_are_served(front: SocketAddr, what: impl FnOnce()) -> usize {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = |number: u8| {
            let (stop, mut client, mut served) = (&stop, client_of(front, number), 0);
            move || {
                loop {
                    let answer = client.ask(request("GET", "/", ""));
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    served += 1;
                    if served % 5 == 0 || answer.closes() {
                        client = client_of(front, number);
                    }
                    if stop.load(Relaxed) {
                        return served;
                    }
                    // A load, not a race for the processors.
                    thread::sleep(Duration::from_millis(3));
                }
            }
        };
        let asking: Vec<_> = OTHERS.into_iter().map(|number| scope.spawn(other(number))).collect();
        {
            let _end_of_all = Stop(&stop);
            what();
        }
        asking.into_iter().map(|one| one.join().unwrap()).sum()
    })
}

/// So many requests of one address, over many connections at a time, of which every second one is kept.
fn be_nasty(front: SocketAddr, text: &str, times: usize, at_a_time: usize) {
    thread::scope(|scope| {
        for number in 0..at_a_time {
            scope.spawn(move || {
                let mut client = client_of(front, NASTY);
                for _ in 0..times / at_a_time {
                    let answer = client.ask(text);
                    assert!(answer.status() >= 500, "{}", answer.first);
                    if number % 2 == 0 || answer.closes() {
                        client = client_of(front, NASTY);
                    }
                }
            });
        }
    });
}

/// One user takes no backend away from others by asking for this page.
fn takes_nobody_down(page: &str, times: usize, at_a_time: usize) {
    let apps = ["a", "b", "c"].map(App::start);
    // Long enough for the good ones on a machine that has other things to do.
    let lb = Lb::start(&apps, "", "first_byte_timeout = \"2s\"");
    let served = others_are_served(lb.front, || {
        for method in ["GET", "POST"] {
            be_nasty(lb.front, &request(method, page, ""), times, at_a_time);
            assert_eq!(lb.healths(), ["up"; 3], "{method}");
        }
    });
    assert!(served > 20, "others were served {served} times");
    assert!(others_are_served(lb.front, || ()) >= OTHERS.len(), "afterwards, each once at least");
    let lines = lb.ended();
    assert!(lines.iter().all(|line| !line.contains("ejected")), "{lines:#?}");
}

#[test]
fn a_page_that_fails_takes_nobody_down() {
    takes_nobody_down("/500", 1000, 4);
}

#[test]
fn a_page_that_hangs_takes_nobody_down() {
    takes_nobody_down("/hang", 500, 250);
}

#[test]
fn a_page_that_kills_its_worker_takes_nobody_down() {
    takes_nobody_down("/kill", 1000, 4);
}

#[test]
fn a_request_that_kills_visits_two_backends_at_most() {
    for (method, most) in [("GET", 2), ("POST", 1)] {
        let apps = ["a", "b", "c", "d", "e"].map(App::start);
        let lb = Lb::start(&apps, "", "");
        for round in 1..=3 {
            assert!(ask(lb.front, NASTY, &request(method, "/kill", "")) >= 502);
            let came: usize = apps.iter().map(App::came).sum();
            assert!(came <= round * most, "{method}: {came} visits by {round} requests");
        }
    }
}

/// Sixteen clients come again and again until it is so.
fn until(front: SocketAddr, target: &str, what: &str, is_so: impl Fn() -> bool) {
    while_they_come(front, target, || wait_for(what, is_so));
}

/// Sixteen clients come again and again while this is done.
fn while_they_come<R>(front: SocketAddr, target: &str, what: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end_of_all = Stop(&stop);
        for part in 0..4 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    for number in (10..26).skip(part).step_by(4) {
                        ask(front, number, &request("GET", target, ""));
                        // A load, not a race for the processors.
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        what()
    })
}

/// The bad one of three goes, for growing times, and comes back when it is good; the others never go.
fn goes_and_comes_back(mood: Mood) {
    let apps = ["a", "b", "c"].map(App::start);
    // The good ones are good on a machine that has other things to do, too.
    let patience = if mood == Mood::Hangs { "first_byte_timeout = \"1s\"" } else { "" };
    let lb = Lb::start(&apps, "", patience);
    let b = &apps[1];
    b.is(mood);
    until(lb.front, "/", "the ejection", || lb.healths()[1] == "ejected");
    lb.running.line_with("ejected (");
    let told = |line: &str| line.rsplit_once(" for ").unwrap().1.trim_end_matches(')').to_owned();
    let (periods, visits) = while_they_come(lb.front, "/", || {
        let first = told(&lb.running.line_with("tried again"));
        // Those that were under way have come long ago; from here on there are trials alone, and while one takes long there
        // may be another. Work would be hundreds.
        let came = b.came();
        ([first, told(&lb.running.line_with("tried again"))], b.came() - came)
    });
    assert_eq!(periods, ["1s", "2s"]);
    assert!(visits < 10, "{visits} visits in a period");
    b.is(Mood::Good);
    until(lb.front, "/", "its return", || lb.healths()[1] == "up");
    let came = b.came();
    until(lb.front, "/", "more work for it", || b.came() > came + 5);
    assert_eq!(lb.healths(), ["up"; 3]);
    let (names, lines) = ([&apps[0], &apps[2]].map(App::word), lb.ended());
    let of_others = |line: &&String| line.contains("ejected") && names.iter().any(|name| line.contains(name));
    assert_eq!(lines.iter().find(of_others), None);
}

#[test]
fn one_that_fails_goes_and_comes_back() {
    goes_and_comes_back(Mood::Errors);
}

#[test]
fn one_that_resets_goes_and_comes_back() {
    goes_and_comes_back(Mood::Resets);
}

#[test]
fn one_that_hangs_goes_and_comes_back() {
    goes_and_comes_back(Mood::Hangs);
}

#[test]
fn a_page_that_fails_everywhere_makes_no_outlier() {
    for target in ["/500", "/kill"] {
        let apps = ["a", "b", "c"].map(App::start);
        let lb = Lb::start(&apps, "", "");
        until(lb.front, target, "a thousand failures", || apps.iter().map(App::came).sum::<usize>() > 1000);
        assert_eq!(lb.healths(), ["up"; 3], "{target}");
        assert!(lb.ended().iter().all(|line| !line.contains("ejected")), "{target}");
    }
}

#[test]
fn the_last_one_that_is_up_stays_whatever_it_does() {
    let apps = ["a", "b"].map(App::start);
    let lb = Lb::start(&apps, ", most_percent = 100", "");
    apps[0].is(Mood::Errors);
    until(lb.front, "/", "the ejection", || lb.healths()[0] == "ejected");
    apps[1].is(Mood::Errors);
    let came = apps[1].came();
    until(lb.front, "/", "many failures", || apps[1].came() > came + 200);
    assert_eq!(lb.healths()[1], "up");
}

#[test]
fn no_more_of_a_group_goes_than_its_cap_says() {
    let ejected = |most: u8| {
        let apps = ["a", "b", "c", "d", "e"].map(App::start);
        let lb = Lb::start(&apps, &format!(", most_percent = {most}"), "");
        apps[..2].iter().for_each(|app| app.is(Mood::Errors));
        let out = || lb.healths().iter().filter(|health| *health == "ejected").count();
        let expected = if most < 40 { 1 } else { 2 };
        until(lb.front, "/", "the ejections", || out() == expected);
        let came = apps[4].came();
        until(lb.front, "/", "much more", || apps[4].came() > came + 100);
        out()
    };
    assert_eq!([39, 40].map(ejected), [1, 2]);
}

/// The ends of addresses that a client names itself by, one after the other.
fn names_itself(front: SocketAddr, from: u8, times: u16, field: impl Fn(u16) -> String) -> BTreeSet<u16> {
    (0..times)
        .map(|n| ask(front, from, &request("GET", "/", &format!("X-Forwarded-For: {}\r\n", field(n % 16)))))
        .collect()
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart_and_nobody_else_can_be_many() {
    // Those whom the trusted one names. Then: one who is not trusted at all, what stands before the one who is named, and
    // a household, which has all the addresses of its network (IPv6).
    for (from, begin, end, b) in [
        (1, "192.0.2.", "", "ejected"),
        (2, "192.0.2.", "", "up"),
        (1, "6.6.6.", ", 192.0.2.7", "up"),
        (1, "2001:db8::7:", "", "up"),
    ] {
        let apps = ["a", "b", "c"].map(App::start);
        let lb = Lb::start(&apps, "", "trusted_proxies = \"127.0.0.1\"");
        apps[1].is(Mood::Errors);
        let statuses = names_itself(lb.front, from, 120, |n| format!("{begin}{n}{end}"));
        assert_eq!(statuses, BTreeSet::from([200, 500]));
        assert_eq!(lb.healths(), ["up", b, "up"], "{begin}");
    }
}
