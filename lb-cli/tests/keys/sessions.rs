//! Keys of services and their sessions: their own, and those that they inherit.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpStream},
};

use rustix::process::Signal;

use crate::{
    Tested,
    place::{Lb, Place},
    support::{Session, Silent, bare_command, keepalive_in, run, wait_for},
};

pub(crate) const TESTED: &[Tested] = &[
    ("services.NAME.role", connections_are_balanced),
    ("services.NAME.listen", a_service_listens_at_each_place),
    ("services.NAME.pool", a_service_has_the_backends_of_its_pool),
    ("services.NAME.connect_timeout", a_connect_takes_its_time_and_no_longer),
    ("defaults.connect_timeout", a_connect_takes_its_time_and_no_longer),
    ("services.NAME.race", who_is_silent_is_raced),
    ("defaults.race", who_is_silent_is_raced),
    ("services.NAME.idle_timeout", idle_sessions_are_closed),
    ("defaults.idle_timeout", idle_sessions_are_closed),
    ("services.NAME.grace", sessions_may_go_on_after_a_stop),
    ("defaults.grace", sessions_may_go_on_after_a_stop),
    ("services.NAME.client_keepalive", peers_are_asked_whether_they_are_there),
    ("defaults.client_keepalive", peers_are_asked_whether_they_are_there),
    ("services.NAME.backend_keepalive", peers_are_asked_whether_they_are_there),
    ("defaults.backend_keepalive", peers_are_asked_whether_they_are_there),
    ("services.NAME.accept_proxy", peers_speak_for_clients_if_they_are_believed),
    ("defaults.accept_proxy", peers_speak_for_clients_if_they_are_believed),
    ("services.NAME.send_proxy", backends_are_told_the_client),
    ("defaults.send_proxy", backends_are_told_the_client),
    ("services.NAME.source", connections_come_from_an_address),
    ("defaults.source", connections_come_from_an_address),
];

/// `lb`s with these keys for one of two services: its own, and inherited by it but not by the other one, which has
/// `otherwise`. The service that they hold for is the first.
fn both_ways(place: &Place, top: &str, pool: &str, keys: &str, otherwise: &str) -> [Lb; 2] {
    [
        place.serve_as(top, &[(pool, keys), (pool, "")]),
        place.serve_as(&format!("{top}\n[defaults]\n{keys}"), &[(pool, ""), (pool, otherwise)]),
    ]
}

#[test]
fn connections_are_balanced() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let lb = place.serve_as("", &[(&format!("groups = \"{}\"", alpha.word()), "role = \"tcp\"")]);
    assert!(lb.session(0).unwrap().echoes());
    // The other role is in a file of its own; there is no third.
    let file = crate::support::File::new("[services.www]\nlisten = 1\npool = \"web\"\nrole = \"udp\"\n[pools.web]");
    let said = run(&mut bare_command(&["check", &file.path]));
    assert!(
        !said.status.success() && String::from_utf8_lossy(&said.stderr).contains("role: expected \"tcp\" or \"http\"")
    );
}

#[test]
fn a_service_listens_at_each_place() {
    let place = Place::new();
    let (alpha, places) = (place.backend("alpha"), [place.address(), place.address()]);
    let text = format!(
        "[pools.web]\ngroups = \"{}\"\n[services.www]\nlisten = [\"{}\", \"{}\"]\npool = \"web\"\n",
        alpha.word(),
        places[0],
        places[1]
    );
    let file = crate::support::File::new(&text);
    let lb = file.run();
    for at in places {
        lb.line_with(&format!("listening on {at}"));
        assert_eq!(crate::support::ask(at), "alpha");
    }
    assert!(TcpStream::connect(place.address()).is_err(), "and nowhere else");
}

#[test]
fn a_service_has_the_backends_of_its_pool() {
    let place = Place::new();
    let pools = place.backends(["alpha", "beta"]).map(|backend| (format!("groups = \"{}\"", backend.word()), backend));
    let lb = place.serve_each(&pools.each_ref().map(|(pool, _)| pool));
    assert_eq!([0, 1].map(|service| lb.session(service).unwrap().name), ["alpha", "beta"]);
}

#[test]
fn a_connect_takes_its_time_and_no_longer() {
    let (place, silent) = (Place::new(), Silent::start());
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{} ! {}\"", silent.address, alpha.word());
    let keys = "connect_timeout = \"100ms\"\nrace = \"off\"";
    for lb in both_ways(&place, "", &pool, keys, "connect_timeout = \"1h\"") {
        let (hasty, patient) = (lb.fronts[0], lb.fronts[1]);
        let mut waiting = TcpStream::connect(patient).unwrap();
        let _ = waiting.write_all(b"x");
        assert_eq!(crate::support::ask(hasty), "alpha");
        assert_eq!(lb.count(0, 0, "connect_failed"), 1, "given up before the next one was tried");
        assert_eq!(lb.count(1, 0, "connect_failed"), 0, "it has more time");
    }
}

#[test]
fn who_is_silent_is_raced() {
    let (place, silent) = (Place::new(), Silent::start());
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{} ! {}\"", silent.address, alpha.word());
    let times = "connect_timeout = \"400ms\"";
    let top = "log.trace = true";
    for lb in both_ways(&place, top, &pool, &format!("{times}\nrace = \"off\""), &format!("{times}\nrace = \"100ms\""))
    {
        for (service, raced) in [(0, false), (1, true)] {
            assert_eq!(lb.session(service).unwrap().name, "alpha");
            let failed = lb.count(service, 0, "connect_failed");
            assert_eq!(failed, u64::from(!raced), "whether the silent one was given up before");
        }
    }
}

#[test]
fn idle_sessions_are_closed() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{}\"", alpha.word());
    // Longer than a greeting takes, whatever else the machine has to do.
    for lb in both_ways(&place, "", &pool, "idle_timeout = \"1s\"", "idle_timeout = \"never\"") {
        let [mut hasty, mut patient] = [0, 1].map(|service| lb.session(service).unwrap());
        assert!(hasty.sees_the_end());
        assert!(patient.echoes());
    }
}

#[test]
fn sessions_may_go_on_after_a_stop() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{}\"", alpha.word());
    let graces = ["", "grace = \"1h\"", "grace = \"none\"", "grace = \"50ms\""];
    let [usual, long, none, short] = graces;
    for (defaults, own, lasts) in [
        ("", usual, true),
        ("", none, false),
        (none, "", false),
        (short, "", false),
        (short, long, true),
        (long, none, false),
        (long, "", true),
    ] {
        let lb = place.serve_as(&format!("[defaults]\n{defaults}\n"), &[(&pool, own)]);
        let mut session = lb.session(0).unwrap();
        lb.running.signal(Signal::TERM);
        lb.running.line_with("stopping");
        if lasts {
            wait_for("a closed port", || TcpStream::connect(lb.front()).is_err());
            assert!(session.echoes(), "{defaults} {own}");
            drop(session);
        } else {
            assert!(session.sees_the_end(), "{defaults} {own}");
        }
        let (status, lines) = lb.running.ended();
        assert_eq!(status.code(), Some(0));
        assert_eq!(lines.iter().any(|line| line.contains("1 session was cut")), !lasts, "{lines:?}");
    }
}

/// The keepalive of both sides of a session: towards the client, towards the backend.
fn keepalives(lb: &Lb, service: usize, listener: &std::net::TcpListener) -> [u64; 2] {
    let (front, backend) = (lb.fronts[service], listener.local_addr().unwrap());
    let client = TcpStream::connect(front).unwrap();
    let (server, upstream) = listener.accept().unwrap();
    let mut seen = [None; 2];
    // While the last segment is not acknowledged its own timer is the one that is shown.
    wait_for("both sides to be at rest", || {
        seen = [keepalive_in(front, client.local_addr().unwrap()), keepalive_in(upstream, backend)];
        seen.iter().all(Option::is_some)
    });
    drop(server);
    seen.map(Option::unwrap)
}

#[test]
fn peers_are_asked_whether_they_are_there() {
    let place = Place::new();
    let listener = place.listener();
    let pool = format!("groups = \"{}\"", listener.local_addr().unwrap());
    let keys = "client_keepalive = \"100,10,3\"\nbackend_keepalive = \"200,20,4\"";
    let system = "client_keepalive = \"system\"\nbackend_keepalive = \"system\"";
    for lb in both_ways(&place, "", &pool, keys, system) {
        let [client, backend] = keepalives(&lb, 0, &listener);
        assert!((90..=100).contains(&client) && (190..=200).contains(&backend), "{client} and {backend} seconds");
        assert!(keepalives(&lb, 1, &listener).iter().all(|seconds| *seconds > 1000), "the system's");
    }
}

/// What a client that speaks for another one gets back from an echoing backend, behind its greeting.
fn spoken_for(lb: &Lb, service: usize) -> String {
    let mut stream = TcpStream::connect(lb.fronts[service]).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nhello\n").unwrap();
    BufReader::new(stream).lines().nth(1).unwrap().unwrap()
}

#[test]
fn peers_speak_for_clients_if_they_are_believed() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{}\"", alpha.word());
    let keys = "accept_proxy = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";
    for lb in both_ways(&place, "log.trace = true", &pool, keys, "accept_proxy = \"off\"") {
        assert_eq!(spoken_for(&lb, 0), "hello");
        lb.running.line_with("speaks for 192.0.2.7:1234");
        assert_eq!(spoken_for(&lb, 1), "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80", "payload like any other");
    }
}

/// Behind the greeting: what the backend was told first.
fn told(lb: &Lb, service: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(lb.fronts[service]).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream.write_all(b"hello\r").unwrap();
    let mut reader = BufReader::new(stream);
    let (mut greeting, mut bytes) = (String::new(), Vec::new());
    reader.read_line(&mut greeting).unwrap();
    reader.read_until(b'\r', &mut bytes).unwrap();
    bytes
}

#[test]
fn backends_are_told_the_client() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{}\"", alpha.word());
    for (version, begin) in [("v1", b"PROXY TCP4 ".as_slice()), ("v2", b"\r")] {
        for lb in both_ways(&place, "", &pool, &format!("send_proxy = \"{version}\""), "send_proxy = \"off\"") {
            let first = told(&lb, 0);
            assert!(first.starts_with(begin), "{version}: {first:?}");
            assert_eq!(told(&lb, 1), b"hello\r");
        }
    }
}

#[test]
fn connections_come_from_an_address() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let pool = format!("groups = \"{}\"", alpha.word());
    let source = Ipv4Addr::new(127, 97, 0, 1).to_string();
    for lb in both_ways(&place, "", &pool, &format!("source = \"{source}\""), "source = \"any\"") {
        let seen = |service| -> String { lb.session(service).map(|session: Session| session.seen_as).unwrap() };
        assert_eq!(seen(0), source);
        assert_ne!(seen(1), source);
    }
}
