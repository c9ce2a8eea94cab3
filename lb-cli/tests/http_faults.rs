//! HTTP through the real binary while backends die, `lb` stops and reloads, and clients are slow: nothing is lost, and
//! what is cut is seen as cut.
#![allow(clippy::unwrap_used)]

mod support;
#[path = "../../lb-net/tests/wire/mod.rs"]
mod wire;

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{Asked, File, Load, Quick, Running, askers, fresh_address, wait_for};
use wire::{Backend, Client, End, Refusing, bulk};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PAUSE: Duration = Duration::from_millis(2);

/// A process of its own in front of a backend, so that it can be killed.
struct Killable {
    process: Option<Running>,
    behind: String,
    address: SocketAddr,
}

impl Killable {
    fn start(behind: &str) -> Self {
        let (process, address) = Running::balancing(&["--workers", "1"], &[behind]);
        Self { process: Some(process), behind: behind.to_owned(), address }
    }

    fn kill(&mut self) {
        self.process.take().unwrap().signal(Signal::KILL);
    }

    fn revive(&mut self) {
        self.process = Some(Running::at(self.address, &["--workers", "1"], &[&self.behind]));
    }

    fn word(&self) -> String {
        self.address.to_string()
    }
}

/// What askers saw while this was done.
fn meanwhile(front: SocketAddr, clients: usize, what: impl FnOnce(&Load)) -> Asked {
    Load::meanwhile(|load| askers(front, clients, PAUSE, load), what)
}

#[test]
fn a_backend_that_is_killed_in_mid_answer_is_seen_to_be_gone_at_once() {
    const HALF: usize = 300_000;
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{HALF:x}\r\n"),
    ];
    for head in heads {
        let backend = Backend::new(move |visit| {
            visit.request()?;
            visit.say(&head)?;
            visit.say(bulk(HALF))?;
            visit.listen()
        });
        let mut killable = Killable::start(&backend.word());
        let (_lb, front) = Running::balancing(&["--http"], &[&killable.word()]);
        // The machine may have other things to do; not every time, and not for as long as any timeout takes.
        let quickest = (0..3).map(|round| {
            if round > 0 {
                killable.revive();
            }
            let mut client = Client::to(front);
            assert_eq!(client.say(GET).head("GET").status(), 200);
            client.bytes(HALF);
            killable.kill();
            let begin = Instant::now();
            let (end, rest) = client.rest();
            assert!(matches!(end, End::Closed | End::Reset) && !rest.ends_with(b"0\r\n\r\n"), "{end:?}");
            begin.elapsed()
        });
        let quickest = quickest.min().unwrap();
        assert!(quickest < Duration::from_secs(2), "{quickest:?}");
    }
}

#[test]
fn two_of_three_backends_that_refuse_cost_no_request() {
    let (good, bad) = (Quick::start("good"), [Refusing::new(), Refusing::new()]);
    let (lb, front) = Running::balancing(&["--http"], &[&bad[0].word(), &good.word(), &bad[1].word()]);
    let asked = meanwhile(front, 8, |load| load.wait_for(1_000));
    assert!(asked.failed.is_empty() && asked.refused == 0 && asked.closed == 0, "{asked:?}");
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
}

#[test]
fn a_backend_that_is_killed_again_and_again_costs_no_request() {
    let (steady, behind) = (Quick::start("steady"), Quick::start("moody"));
    let mut moody = Killable::start(&behind.word());
    let (lb, front) = Running::balancing(&["--http"], &[&moody.word(), &steady.word()]);
    let mut asked = meanwhile(front, 8, |load| {
        for _ in 0..10 {
            load.wait_for(200);
            moody.kill();
            load.wait_for(100);
            moody.revive();
        }
    });
    assert!(
        asked.failed.is_empty() && asked.refused == 0,
        "{} of {}: {:?}",
        asked.failed.len(),
        asked.served,
        asked.failed.first()
    );
    // Nobody waits until a connect is given up, which takes 5 s.
    assert!(asked.within(1000) < Duration::from_secs(4), "{:?}", asked.within(1000));
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
}

#[test]
fn a_stop_under_load_loses_no_request() {
    for _ in 0..3 {
        let (a, b) = (Quick::start("a"), Quick::start("b"));
        let (lb, front) = Running::balancing(&["--http"], &[&a.word(), &b.word()]);
        let asked = meanwhile(front, 16, |load| {
            load.wait_for(500);
            lb.signal(Signal::TERM);
            let (status, lines) = lb.ended();
            assert_eq!(status.code(), Some(0), "{lines:?}");
        });
        assert!(asked.failed.is_empty(), "{} of {}: {:?}", asked.failed.len(), asked.served, asked.failed.first());
    }
}

#[test]
fn a_request_that_runs_at_the_stop_is_answered() {
    let told = wire::Gate::default();
    let theirs = told.clone();
    let backend = Backend::new(move |visit| {
        visit.request()?;
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")?;
        theirs.wait();
        visit.say("llo")?;
        visit.listen()
    });
    let (lb, front) = Running::balancing(&["--http"], &[&backend.word()]);
    let mut client = Client::to(front);
    assert_eq!(client.say(GET).head("GET").status(), 200);
    lb.signal(Signal::TERM);
    wait_for("the port to be closed", || std::net::TcpStream::connect(front).is_err());
    told.open();
    assert_eq!(client.bytes(5), b"hello");
    client.ends();
    assert_eq!(lb.ended().0.code(), Some(0));
}

#[test]
fn reloads_under_load_lose_no_request() {
    let (a, b) = (Quick::start("a"), Quick::start("b"));
    let front = fresh_address();
    let text = |at: usize| {
        let groups = [format!("{} {}", a.word(), b.word()), b.word(), format!("{} {}", b.word(), a.word())];
        let more =
            ["", "[services.www.http]\nhead_timeout = \"5s\"\n", "[services.www.http]\nkeep_alive_timeout = \"20s\"\n"]
                [at % 3];
        format!(
            "[services.www]\nrole = \"http\"\nlisten = \"{front}\"\npool = \"web\"\n{more}[pools.web]\ngroups = \"{}\"\n",
            groups[at % 3]
        )
    };
    let file = File::new(&text(0));
    let lb = file.run();
    lb.line_with("listening on");
    let asked = meanwhile(front, 8, |load| {
        for at in 1..=12 {
            load.wait_for(100);
            file.rewrite(&text(at));
            lb.signal(Signal::HUP);
        }
        load.wait_for(100);
    });
    assert!(
        asked.failed.is_empty() && asked.refused == 0,
        "{} of {}: {:?}",
        asked.failed.len(),
        asked.served,
        asked.failed.first()
    );
    lb.signal(Signal::TERM);
    let (status, lines) = lb.ended();
    assert_eq!(status.code(), Some(0));
    let reloaded = |line: &String| line.contains("reloaded: ") && !line.contains("not reloaded");
    assert!(lines.iter().any(reloaded) && !lines.iter().any(|line| line.contains("not reloaded")), "{lines:#?}");
}

/// Whether this client, to whom nobody listens, was told so at most.
fn is_cut(client: &mut Client) -> bool {
    let (end, heard) = client.rest();
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 408 "), "{}", wire::show(&heard));
    end != End::Hung
}

/// `LB_SLOW_CLIENTS` are as many as one likes.
#[test]
fn heads_that_dribble_are_cut_in_time_and_disturb_nobody() {
    let slow: usize = std::env::var("LB_SLOW_CLIENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let good = Quick::start("good");
    let front = fresh_address();
    let file = File::new(&format!(
        "[services.www]\nrole = \"http\"\nlisten = \"{front}\"\npool = \"web\"\n[services.www.http]\nhead_timeout = \"2s\"\n\
         [pools.web]\ngroups = \"{}\"\n",
        good.word()
    ));
    let lb = file.run();
    lb.line_with("listening on");
    let mut asked = meanwhile(front, 2, |load| {
        let begin = Instant::now();
        let mut dribbling: Vec<_> = (0..slow).map(|_| Client::to(front)).collect();
        for client in &mut dribbling {
            client.say("GET / HTTP/1.1\r\nHost: a\r\nX-A: ");
        }
        // For as long as anybody listens: what is said does not give them more time.
        wait_for("all to be cut", || {
            thread::sleep(Duration::from_millis(100));
            dribbling.retain_mut(|client| client.can_say("x") || !is_cut(client));
            dribbling.is_empty()
        });
        assert!(begin.elapsed() > Duration::from_millis(1_600), "{:?}", begin.elapsed());
        load.wait_for(200);
    });
    assert!(asked.failed.is_empty() && asked.refused == 0, "{:?}", asked.failed.first());
    // Nobody waits until they have been cut.
    assert!(asked.within(990) < Duration::from_secs(1), "{:?}", asked.within(990));
    wait_for("their descriptors to be closed", || lb.descriptors() < slow);
}
