//! Keys of probes and their checks.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Tested,
    place::{Lb, Place},
    support::{Directory, PATIENCE, Silent, wait_for},
};

pub(crate) const TESTED: &[Tested] = &[
    ("pools.NAME.probes", backends_are_checked_without_a_client),
    ("pools.NAME.probes.checks", the_first_check_that_fails_decides),
    ("pools.NAME.probes.checks.connect", backends_are_checked_without_a_client),
    ("pools.NAME.probes.checks.http", answers_are_judged_by_path_status_and_body),
    ("pools.NAME.probes.checks.expect", answers_are_judged_by_path_status_and_body),
    ("pools.NAME.probes.checks.expect_contains", answers_are_judged_by_path_status_and_body),
    ("pools.NAME.probes.checks.headers", requests_say_what_they_are_told_to),
    ("pools.NAME.probes.checks.host", requests_say_what_they_are_told_to),
    ("pools.NAME.probes.checks.send", lines_are_said_and_expected),
    ("pools.NAME.probes.checks.status", answers_are_judged_by_path_status_and_body),
    ("pools.NAME.probes.checks.command", commands_are_judged_by_their_exit_status),
    ("pools.NAME.probes.checks.pass", commands_are_judged_by_their_exit_status),
    ("pools.NAME.probes.checks.timeout", a_check_may_take_its_time_and_no_longer),
    ("pools.NAME.probes.interval", checks_are_made_at_their_interval),
    ("pools.NAME.probes.jitter", intervals_are_changed_at_random),
    ("pools.NAME.probes.rise", so_many_checks_bring_a_backend_back),
    ("pools.NAME.probes.fall", so_many_checks_take_a_backend_out),
    ("pools.NAME.probes.enables", checks_may_bring_nobody_back),
    ("pools.NAME.probes.disables", checks_may_take_nobody_out),
    ("pools.NAME.probes.initial", before_the_first_check_there_is_work_or_none),
];

/// A pool of one backend.
fn pool(backend: SocketAddr, checks: &str, more: &str) -> String {
    format!("groups = \"{backend}\"\n[pools.NAME.probes]\nchecks = [{checks}]\n{more}")
}

/// The service of each of these pools; NAME in them is that of each.
fn serve(place: &Place, pools: &[String]) -> Lb {
    let pools: Vec<String> =
        pools.iter().enumerate().map(|(at, pool)| pool.replace("pools.NAME", &format!("pools.p{at}"))).collect();
    place.serve_each(&pools)
}

fn is(lb: &Lb, service: usize, health: &str) {
    wait_for(&format!("{health} at service {service}"), || lb.health(service, 0) == health);
}

const DOWN: &str = "down: silent";

#[test]
fn backends_are_checked_without_a_client() {
    let place = Place::new();
    let (alpha, gone) = (place.backend("alpha"), place.address());
    let pools = [
        pool(alpha.address, "{ connect = true }", ""),
        pool(gone, "{ connect = true }", ""),
        format!("groups = \"{gone}\""),
    ];
    let lb = serve(&place, &pools);
    is(&lb, 0, "up");
    is(&lb, 1, DOWN);
    assert_eq!(lb.health(2, 0), "up", "nobody has looked");
}

#[test]
fn the_first_check_that_fails_decides() {
    let place = Place::new();
    let (alpha, files) = (place.backend("alpha"), Directory::new());
    let path = files.join("second");
    let second = format!("{{ command = \"touch {path}\" }}");
    let lb = serve(&place, &[pool(alpha.address, &format!("{{ command = \"false\" }}, {second}"), "")]);
    is(&lb, 0, DOWN);
    assert!(!fs::exists(&path).unwrap(), "it is not made after one that has failed");
    let _lb = serve(&place, &[pool(alpha.address, &format!("{{ connect = true }}, {second}"), "")]);
    wait_for("the second check", || fs::exists(&path).unwrap());
}

/// Who answers to /up with UP, to /busy with BUSY, to /asked with the host and header that it got, and to all else with
/// status 418.
fn web(place: &Place) -> SocketAddr {
    let listener = place.listener();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), [0; 1024]);
            let count = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..count]);
            let field = |name| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("nothing");
            let (status, body) = match head.split(' ').nth(1) {
                Some("/up") => ("200 OK", "UP".to_owned()),
                Some("/busy") => ("200 OK", "BUSY".to_owned()),
                Some("/asked") => ("200 OK", format!("{}, {}", field("Host: "), field("X-Probe: "))),
                _ => ("418 I'm a teapot", "UP".to_owned()),
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    address
}

#[test]
fn answers_are_judged_by_path_status_and_body() {
    let place = Place::new();
    let web = web(&place);
    let rows = [
        ("{ http = \"/up\" }", "up"),
        ("{ http = \"/busy\" }", "up"),
        ("{ http = \"/none\" }", DOWN),
        ("{ http = \"/busy\", expect = \"UP\" }", DOWN),
        ("{ http = \"/up\", expect = \"UP\" }", "up"),
        ("{ http = \"/busy\", expect_contains = \"US\" }", "up"),
        ("{ http = \"/busy\", expect_contains = \"UP\" }", DOWN),
        ("{ http = \"/none\", status = \"400-499\" }", "up"),
        ("{ http = \"/up\", status = \"400-499\" }", DOWN),
    ];
    let lb = serve(&place, &rows.map(|(check, _)| pool(web, check, "")));
    rows.iter().enumerate().for_each(|(service, (_, health))| is(&lb, service, health));
}

#[test]
fn requests_say_what_they_are_told_to() {
    let place = Place::new();
    let web = web(&place);
    let own = format!("expect = \"{web}, nothing\"");
    let rows = [
        ("host = \"a.example\", expect = \"a.example, nothing\"", "up"),
        ("expect = \"a.example, nothing\"", DOWN),
        (&*own, "up"),
        ("headers = \"X-Probe: lb\", expect_contains = \", lb\"", "up"),
        ("headers = [\"X-Other: x\", \"X-Probe: lb\"], expect_contains = \", lb\"", "up"),
        ("headers = \"X-Other: lb\", expect_contains = \", lb\"", DOWN),
    ];
    let lb = serve(&place, &rows.map(|(words, _)| pool(web, &format!("{{ http = \"/asked\", {words} }}"), "")));
    rows.iter().enumerate().for_each(|(service, (_, health))| is(&lb, service, health));
}

/// Who answers to a line PING with +PONG, to any other with -ERR, and closes.
fn pongs(place: &Place) -> SocketAddr {
    let listener = place.listener();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = stream.write_all(if line == "PING\r\n" { b"+PONG\r\n" } else { b"-ERR\r\n" });
        }
    });
    address
}

#[test]
fn lines_are_said_and_expected() {
    let place = Place::new();
    let redis = pongs(&place);
    let rows = [
        (r#"send = "PING\r\n", expect = "+PONG""#, "up"),
        (r#"send = "PING\r\n", expect_contains = "PONG""#, "up"),
        (r#"send = "PING\r\n", expect_contains = "OK""#, DOWN),
        (r#"send = "QUIT\r\n", expect = "+PONG""#, DOWN),
        (r#"send = "QUIT\r\n""#, "up"),
    ];
    let lb = serve(&place, &rows.map(|(words, _)| pool(redis, &format!("{{ connect = true, {words} }}"), "")));
    rows.iter().enumerate().for_each(|(service, (_, health))| is(&lb, service, health));
}

#[test]
fn commands_are_judged_by_their_exit_status() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let rows = [
        (format!("{{ command = \"test %H:%P = {}\" }}", alpha.word()), "up"),
        ("{ command = \"exit 3\" }".to_owned(), DOWN),
        ("{ command = \"exit 3\", pass = [2, 3] }".to_owned(), "up"),
        ("{ command = \"exit 0\", pass = 3 }".to_owned(), DOWN),
    ];
    let lb = serve(&place, &rows.clone().map(|(check, _)| pool(alpha.address, &check, "")));
    rows.iter().enumerate().for_each(|(service, (_, health))| is(&lb, service, health));
}

#[test]
fn a_check_may_take_its_time_and_no_longer() {
    let (place, silent) = (Place::new(), Silent::start());
    let began = Instant::now();
    let lb = serve(
        &place,
        &["{ connect = true, timeout = \"50ms\" }", "{ connect = true }"].map(|check| pool(silent.address, check, "")),
    );
    is(&lb, 0, DOWN);
    // As long as a connect may take, if nothing else is said: 5 s.
    assert_eq!(lb.health(1, 0), "unknown");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// How often that address was connected to, and the times between.
fn visited(listener: TcpListener) -> (Arc<AtomicU64>, Receiver<Duration>) {
    let visits = Arc::new(AtomicU64::new(0));
    let (count, (send, pauses)) = (Arc::clone(&visits), mpsc::channel());
    thread::spawn(move || {
        let mut last = Instant::now();
        while listener.accept().is_ok() {
            count.fetch_add(1, Relaxed);
            if send.send(last.elapsed()).is_err() {
                break;
            }
            last = Instant::now();
        }
    });
    (visits, pauses)
}

#[test]
fn checks_are_made_at_their_interval() {
    let place = Place::new();
    let [often, seldom] = [(); 2].map(|()| place.listener());
    let addresses = [&often, &seldom].map(|listener| listener.local_addr().unwrap());
    let ((often, _first), (seldom, _second)) = (visited(often), visited(seldom));
    let pools =
        [pool(addresses[0], "{ connect = true }", "interval = \"20ms\""), pool(addresses[1], "{ connect = true }", "")];
    let _lb = serve(&place, &pools);
    wait_for("ten checks", || often.load(Relaxed) >= 10);
    assert_eq!(seldom.load(Relaxed), 1, "the next one is due after a minute");
}

#[test]
fn intervals_are_changed_at_random() {
    let (place, interval) = (Place::new(), Duration::from_millis(300));
    let listener = place.listener();
    let address = listener.local_addr().unwrap();
    let (_, pauses) = visited(listener);
    let _lb = serve(&place, &[pool(address, "{ connect = true }", "interval = \"300ms\"\njitter = 1.0")]);
    pauses.recv_timeout(PATIENCE).unwrap();
    // Without jitter none is shorter than the interval; with it every third is shorter than a third of it.
    while pauses.recv_timeout(PATIENCE).unwrap() > interval / 3 {}
}

/// A check whose rounds pass as long as their number, from 0, is one of these; and the file that counts them.
fn in_rounds(files: &Directory, name: &str, good: &str) -> (String, String) {
    let path = files.join(name);
    let rounds =
        format!("n=$(cat {path} 2>/dev/null | wc -l); echo >>{path}; case $n in {good}) exit 0;; *) exit 1;; esac");
    // Longer than the interval, which would be too short for a shell on a machine that has other things to do.
    (format!("{{ command = \"{rounds}\", timeout = \"10s\" }}"), path)
}

fn rounds(path: &str) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

const OFTEN: &str = "interval = \"30ms\"";

#[test]
fn so_many_checks_bring_a_backend_back() {
    let (place, files) = (Place::new(), Directory::new());
    // One that is bad, two that are good, and then bad ones again.
    let [one, three] = ["one", "three"].map(|name| in_rounds(&files, name, "1|2"));
    let pools = [
        pool(place.address(), &one.0, &format!("{OFTEN}\ninitial = \"up\"")),
        pool(place.address(), &three.0, &format!("{OFTEN}\ninitial = \"up\"\nrise = 3")),
    ];
    let lb = serve(&place, &pools);
    let line = lb.running.line_with(" is up (");
    assert!(line.contains("p0"), "{line}");
    wait_for("the round after the last good one", || rounds(&three.1) > 4);
    lb.running.signal(rustix::process::Signal::TERM);
    let lines = lb.running.ended().1;
    assert!(lines.iter().all(|line| !(line.contains("p1") && line.contains(" is up ("))), "{lines:#?}");
}

#[test]
fn so_many_checks_take_a_backend_out() {
    let (place, files) = (Place::new(), Directory::new());
    // Two that are bad among good ones.
    let [one, three] = ["one", "three"].map(|name| in_rounds(&files, name, "[0145]|[6-9]|??*"));
    let pools = [
        pool(place.address(), &one.0, &format!("{OFTEN}\ninitial = \"up\"")),
        pool(place.address(), &three.0, &format!("{OFTEN}\ninitial = \"up\"\nfall = 3")),
    ];
    let lb = serve(&place, &pools);
    let line = lb.running.line_with(" is down: ");
    assert!(line.contains("p0"), "{line}");
    wait_for("the round after the last bad one", || rounds(&three.1) > 5);
    lb.running.signal(rustix::process::Signal::TERM);
    let lines = lb.running.ended().1;
    assert!(lines.iter().all(|line| !(line.contains("p1") && line.contains(" is down: "))), "{lines:#?}");
}

#[test]
fn checks_may_bring_nobody_back() {
    let (place, files) = (Place::new(), Directory::new());
    let [usual, never] = ["usual", "never"].map(|name| in_rounds(&files, name, "[1-9]*"));
    let pools = [
        pool(place.address(), &usual.0, &format!("{OFTEN}\ninitial = \"up\"")),
        pool(place.address(), &never.0, &format!("{OFTEN}\ninitial = \"up\"\nenables = false")),
    ];
    let lb = serve(&place, &pools);
    is(&lb, 1, DOWN);
    wait_for("two good rounds elsewhere", || rounds(&usual.1) > 3);
    assert_eq!([0, 1].map(|service| lb.health(service, 0)), ["up", DOWN]);
    lb.must(1, "enable 0");
    is(&lb, 1, "up");
}

#[test]
fn checks_may_take_nobody_out() {
    let (place, files) = (Place::new(), Directory::new());
    let [usual, never] = ["usual", "never"].map(|name| in_rounds(&files, name, "0"));
    let pools = [
        pool(place.address(), &usual.0, OFTEN),
        pool(place.address(), &never.0, &format!("{OFTEN}\ndisables = false")),
    ];
    let lb = serve(&place, &pools);
    is(&lb, 1, "up");
    wait_for("two bad rounds elsewhere", || rounds(&usual.1) > 3);
    assert_eq!([0, 1].map(|service| lb.health(service, 0)), [DOWN, "up"]);
}

#[test]
fn before_the_first_check_there_is_work_or_none() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let hangs = "{ command = \"sleep 30\", timeout = \"30s\" }";
    let pools = ["", "initial = \"unknown\"", "initial = \"up\""].map(|initial| pool(alpha.address, hangs, initial));
    let lb = serve(&place, &pools);
    assert!(lb.session(0).is_none() && lb.session(1).is_none());
    assert_eq!(lb.session(2).unwrap().name, "alpha");
}
