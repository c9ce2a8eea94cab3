//! Applications steer their balancer: DOWN drains, silence kills, nobody gets work before UP, and all of them can be
//! restarted under load.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;
#[path = "../../lb-net/tests/wire/mod.rs"]
mod wire;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{App, File, Page, Running, Stop, fresh_address, long_body, wait_for};
use wire::{Client, Message};

const UP: Page = Page::Says("UP");
const DOWN: Page = Page::Says("DOWN");

/// `lb` that asks its backends every 100 ms.
struct Lb {
    _running: Running,
    file: File,
    front: SocketAddr,
}

impl Lb {
    fn start(words: &[String], pool: &str, http: &str) -> Self {
        let front = fresh_address();
        let file = File::new(&format!(
            "[services.www]\nrole = \"http\"\nlisten = \"{front}\"\npool = \"web\"\n[services.www.http]\n{http}\n\
             [pools.web]\ngroups = \"{}\"\nselector = \"round-robin\"\n{pool}\n[pools.web.probes]\n\
             checks = [{{ http = \"/up\", expect = \"UP\", timeout = \"1s\" }}]\ninterval = \"100ms\"\nfall = 2\n",
            words.join(" ")
        ));
        let running = file.run();
        running.line_with("listening on");
        Self { _running: running, file, front }
    }

    fn of(apps: &[&App], pool: &str, http: &str) -> Self {
        Self::start(&apps.iter().map(|app| app.word()).collect::<Vec<_>>(), pool, http)
    }

    fn wait_until(&self, backend: usize, health: &str) {
        let is = || self.file.channels(self.front, 0)[backend]["health"].as_str().unwrap().to_owned();
        wait_for(&format!("backend {backend} is {health}"), || is().starts_with(health));
    }

    fn get(&self, target: &str, more: &str) -> Message {
        get(self.front, target, more)
    }

    /// Who answers so many requests: all are answered.
    fn names(&self, times: usize) -> Vec<String> {
        let name = |answer: Message| {
            assert_eq!(answer.status(), 200, "{}", answer.text());
            answer.text()
        };
        (0..times).map(|_| name(self.get("/", ""))).collect()
    }
}

/// What a client with a connection of its own is answered.
fn get(front: SocketAddr, target: &str, more: &str) -> Message {
    Client::to(front).ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"))
}

#[test]
fn down_drains_and_long_answers_complete() {
    let [a, b] = ["a", "b"].map(App::start);
    let lb = Lb::of(&[&a, &b], "", "sticky = { cookie = \"lb\" }");
    [0, 1].into_iter().for_each(|backend| lb.wait_until(backend, "up"));
    // Some connections to both are kept; and one client is pinned to a.
    let pinned = loop {
        let answer = lb.get("/", "");
        if answer.text() == "a" {
            break answer.field("set-cookie").split(';').next().unwrap().to_owned();
        }
    };
    thread::scope(|scope| {
        let front = lb.front;
        let asked: Vec<_> =
            (0..16).map(|n| scope.spawn(move || get(front, if n < 8 { "/long" } else { "/chunks" }, ""))).collect();
        wait_for("eight long answers at each", || a.running() + b.running() == 16);
        assert_eq!(a.running(), 8);
        a.says(DOWN);
        lb.wait_until(0, "down");
        let came = a.came();
        assert_eq!(lb.names(50), ["b"; 50]);
        let moved = lb.get("/", &format!("Cookie: {pinned}\r\n"));
        assert_eq!((moved.text().as_str(), moved.has("set-cookie")), ("b", true), "the pinned one is moved");
        assert_eq!(a.running(), 8, "they are still running");
        [&a, &b].into_iter().for_each(App::goes_on);
        let whole = long_body();
        for answer in asked {
            let answer = answer.join().unwrap();
            assert!(answer.status() == 200 && answer.body == whole, "{}", answer.first);
        }
        assert_eq!(a.came(), came, "no new one has started there");
    });
    // Long before they would be too old: nobody has told them to but the DOWN.
    wait_for("the end of kept connections", || a.open() == 0);
    a.says(UP);
    lb.wait_until(0, "up");
    assert!(lb.names(10).contains(&"a".to_owned()), "it is back");
}

/// A backend that begins in this way gets nothing before it says UP.
fn gets_nothing_before_up(page: Page) {
    let (a, b) = (App::start("a"), App::at(fresh_address(), "b", page));
    let lb = Lb::of(&[&a, &b], "", "");
    lb.wait_until(0, "up");
    for _ in 0..3 {
        b.wait_until_asked(1);
        assert_eq!(lb.names(40), ["a"; 40]);
    }
    assert_eq!(b.came(), 0, "{page:?}");
    b.says(UP);
    lb.wait_until(1, "up");
    assert!(lb.names(10).contains(&"b".to_owned()));
}

#[test]
fn nobody_gets_work_before_up() {
    thread::scope(|scope| {
        for page in [DOWN, Page::Missing, Page::Hangs, Page::Says("STARTING")] {
            scope.spawn(move || gets_nothing_before_up(page));
        }
    });
}

/// When each request began, and whether the one in question has answered.
fn asked_until(front: SocketAddr, name: &str, stop: &AtomicBool) -> Vec<(Instant, bool)> {
    let (mut client, mut asked) = (Client::to(front), Vec::new());
    while !stop.load(Relaxed) {
        let began = Instant::now();
        let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.status(), 200);
        asked.push((began, answer.text() == name));
        thread::sleep(Duration::from_millis(4));
    }
    asked
}

/// How long a slow start takes here.
const RAMP: Duration = Duration::from_secs(2);

/// One that becomes warm while clients come: what was wrong with its share at which time.
fn ramp() -> Result<(), String> {
    let ([a, b], c) = (["a", "b"].map(App::start), App::at(fresh_address(), "c", DOWN));
    let lb = Lb::of(&[&a, &b, &c], "slow_start = \"2s\"", "");
    [0, 1].into_iter().for_each(|backend| lb.wait_until(backend, "up"));
    // Their own slow starts are over.
    thread::sleep(RAMP + RAMP / 10);
    let stop = AtomicBool::new(false);
    let asked: Vec<(Instant, bool)> = thread::scope(|scope| {
        let asking = [(); 2].map(|()| scope.spawn(|| asked_until(lb.front, "c", &stop)));
        {
            let _end_of_all = Stop(&stop);
            a.wait_for_work(10);
            c.says(UP);
            lb.wait_until(2, "up");
            thread::sleep(RAMP + RAMP / 2);
        }
        asking.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let up_since = c.up_since().unwrap();
    let of = |from: Duration, to: Duration| {
        let within = asked.iter().filter(|(at, _)| (up_since + from..up_since + to).contains(at));
        let own: Vec<bool> = within.map(|(_, own)| *own).collect();
        (own.iter().filter(|own| **own).count(), own.len())
    };
    assert!(asked.iter().all(|(at, own)| !own || *at + RAMP / 10 > up_since), "nothing before");
    // A third is even: a fifth of that is a fifteenth. One more, as turns are whole.
    let (first, half) = (of(Duration::ZERO, RAMP / 13), of(RAMP / 10, RAMP / 2));
    let warm = of(RAMP + RAMP / 10, 2 * RAMP);
    let is_good = first.0 <= first.1 / 15 + 1
        && half.0 > 0
        && half.0 * 4 < half.1
        && warm.0.abs_diff(warm.1 / 3) <= 3 + warm.1 / 20;
    if is_good { Ok(()) } else { Err(format!("{first:?} at first, {half:?} in the first half, {warm:?} when warm")) }
}

#[test]
fn a_warm_one_takes_over_its_share_by_and_by() {
    // The machine may have other things to do at a moment that counts; not every time.
    let wrong: Vec<String> = (0..4).map_while(|_| ramp().err()).collect();
    assert!(wrong.len() < 4, "{wrong:#?}");
}

/// Requests at fixed times, whatever the answers: what was answered otherwise than well.
fn at_fixed_times(front: SocketAddr, every: Duration, keeps: bool, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (begin, mut served, mut failed) = (Instant::now(), 0, Vec::new());
    let mut client = Client::to(front);
    for number in 0.. {
        if stop.load(Relaxed) {
            break;
        }
        thread::sleep((begin + every * number).saturating_duration_since(Instant::now()));
        let text = if number % 4 == 0 {
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        } else {
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        };
        if !keeps {
            client = Client::to(front);
        }
        match client.say(text).try_answer("GET") {
            Ok(answer) if answer.status() == 200 => {
                served += 1;
                if answer.closes() {
                    client = Client::to(front);
                }
            }
            other => {
                failed.push(format!("{other:?}"));
                client = Client::to(front);
            }
        }
    }
    (served, failed)
}

/// As an application does that is deployed anew, while others work.
fn restart(app: App, lb: &Lb, backend: usize, other: &App) -> App {
    app.says(DOWN);
    lb.wait_until(backend, "down");
    wait_for("the end of what is under way", || lb.file.channels(lb.front, 0)[backend]["in_flight"] == 0);
    let (address, name) = (app.address, app.name());
    drop(app);
    other.wait_for_work(20);
    let app = App::at(address, name, DOWN);
    app.wait_for_probes(2);
    app.says(UP);
    wait_for("its first request", || app.came() > 0);
    app
}

#[test]
fn a_rolling_restart_under_load_costs_no_request() {
    let mut apps = ["a", "b", "c"].map(|name| Some(App::start(name)));
    let words: Vec<String> = apps.iter().flatten().map(App::word).collect();
    let lb = Lb::start(&words, "slow_start = \"300ms\"", "");
    (0..3).for_each(|backend| lb.wait_until(backend, "up"));
    let (stop, front) = (AtomicBool::new(false), lb.front);
    let asked: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let kinds = [true, true, true, true, true, true, true, false, false, false];
        let asking: Vec<_> = kinds
            .map(|keeps| {
                let stop = &stop;
                scope.spawn(move || at_fixed_times(front, Duration::from_millis(10), keeps, stop))
            })
            .into_iter()
            .collect();
        {
            let _end_of_all = Stop(&stop);
            for _ in 0..2 {
                for backend in 0..apps.len() {
                    let app = apps[backend].take().unwrap();
                    let other = apps[(backend + 1) % apps.len()].as_ref().unwrap();
                    apps[backend] = Some(restart(app, &lb, backend, other));
                }
            }
        }
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let served: usize = asked.iter().map(|(served, _)| served).sum();
    let failed: Vec<&String> = asked.iter().flat_map(|(_, failed)| failed).collect();
    assert!(failed.is_empty(), "{} of {served} failed: {:?}", failed.len(), failed.first());
    assert!(served > 200, "only {served} were served");
}

#[test]
fn who_is_silent_is_dead_after_a_while_and_not_asked() {
    let [a, b] = ["a", "b"].map(App::start);
    let lb = Lb::of(&[&a, &b], "", "");
    [0, 1].into_iter().for_each(|backend| lb.wait_until(backend, "up"));
    assert!(lb.names(10).contains(&"a".to_owned()));
    a.says(Page::Hangs);
    lb.wait_until(0, "down: silent");
    let came = a.came();
    assert_eq!(lb.names(50), ["b"; 50]);
    assert_eq!(a.came(), came);
    a.says(UP);
    lb.wait_until(0, "up");
    assert!(lb.names(10).contains(&"a".to_owned()));
}

#[test]
fn a_process_that_is_stopped_is_dead_after_a_while_and_its_connections_with_it() {
    let [a, b] = ["a", "b"].map(App::start);
    // A process of its own in front of a, to be stopped.
    let (process, address) = Running::balancing(&["--workers", "1"], &[&a.word()]);
    let lb = Lb::start(&[address.to_string(), b.word()], "", "first_byte_timeout = \"2s\"");
    [0, 1].into_iter().for_each(|backend| lb.wait_until(backend, "up"));
    assert!(lb.names(10).contains(&"a".to_owned()), "a connection to it is kept");
    process.signal(Signal::STOP);
    lb.wait_until(0, "down: silent");
    assert_eq!(lb.names(50), ["b"; 50], "nobody waits for it");
    process.signal(Signal::CONT);
    lb.wait_until(0, "up");
    assert!(lb.names(10).contains(&"a".to_owned()));
}
