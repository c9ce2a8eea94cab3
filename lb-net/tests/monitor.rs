//! The monitor: who is checked when, and what follows.
#![cfg(all(feature = "probe", feature = "tcp"))]
#![allow(clippy::unwrap_used)]

#[path = "support/checks.rs"]
mod checks;
mod support;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use checks::*;
use lb_core::{
    BackendConfig, Balancer, Cause, Config, EventKind, GroupConfig, Health, Outcome, Request, Status,
    health::{RiseFall, Said, Share},
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    connect::Addresses,
    probe::{Answer, Check, Monitor, Probe, Switch, Target},
};
use support::{Front, Manner, Refusing, Silent, Stub, balancer, eventually, soon};
use tokio::sync::mpsc;

#[tokio::test]
async fn twenty_silent_backends_take_one_timeout() {
    let silent: Vec<Silent> = (0..20).map(|_| Silent::new()).collect();
    let addresses: Vec<SocketAddr> = silent.iter().map(|silent| silent.address).collect();
    let text = "connect:timeout=0.5";
    let balancer = over(&addresses, &spec(text));
    let begin = Instant::now();
    let running = Running::new(text, &balancer);
    eventually(|| balancer.stats().backends.iter().all(|backend| backend.health == DOWN)).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_millis(500) && passed < Duration::from_secs(5), "{passed:?}");
    running.stop().await;
}

#[tokio::test]
async fn twenty_hung_commands_take_one_timeout_and_other_backends_wait_for_none() {
    let stubs: Vec<Stub> = (0..21).map(|_| Stub::new(Manner::Echo)).collect();
    let addresses: Vec<SocketAddr> = stubs.iter().map(|stub| stub.address).collect();
    let well = addresses[20];
    let text = format!("command=test %P = {} || sleep 1000:timeout=1", well.port());
    let balancer = over(&addresses, &spec(&text));
    let begin = Instant::now();
    let mut running = Running::new(&text, &balancer);
    assert_eq!(running.next().await.backend, well.to_string(), "it has not waited for those that hang");
    for _ in 0..20 {
        assert_eq!(running.next().await.reason, "probe: command: no answer within 1s");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_round_is_at_once_and_the_next_an_interval_later() {
    let pace = spec("connect:interval=0.5").policy();
    let balancer = balancer(config(&[support::loopback()]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Slow(Duration::from_millis(400))), Duration::from_secs(1));
    let begin = tokio::time::Instant::now();
    let mut running = Running::of(Monitor::with_checks([check], pace), &balancer);
    // Each round begins one interval after the start, not after the end, of the one before.
    for answer in [400, 900, 1_400, 1_900] {
        running.next().await;
        let passed = begin.elapsed().as_millis();
        assert!((answer..answer + 20).contains(&passed), "{passed} ms and not {answer}");
    }
    running.stop().await;
}

/// Takes its time.
#[derive(Debug)]
struct Slow(Duration);

#[async_trait::async_trait]
impl Probe for Slow {
    async fn probe(&self, _: &Target) -> Answer {
        tokio::time::sleep(self.0).await;
        Answer::Passed
    }
}

#[tokio::test]
async fn checks_slower_than_the_interval_delay_only_their_own_backend() {
    let (silent, stub) = (Silent::new(), Stub::new(Manner::Echo));
    let text = "connect:timeout=5:interval=0.05";
    let balancer = over(&[silent.address, stub.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    for _ in 0..5 {
        assert_eq!(running.next().await.backend, stub.address.to_string());
    }
    running.stop().await;
}

#[tokio::test]
async fn the_checks_of_a_backend_are_made_in_order_and_the_first_that_fails_decides() {
    let (stub, refusing, scratch) = (Stub::new(Manner::Echo), Refusing::new(), Scratch::new());
    let text = format!("connect:command=echo %P >> {}; exit 7:interval=60", scratch.file("ran"));
    let balancer = over(&[refusing.address, stub.address], &spec(&text));
    let mut running = Running::new(&text, &balancer);
    let mut reasons = [running.next().await.reason, running.next().await.reason];
    reasons.sort();
    assert_eq!(reasons, ["probe: command: exit status 7", "probe: connect: connection refused"]);
    assert_eq!(scratch.words("ran", 1).await, [u32::from(stub.address.port())], "the other has skipped the rest");
    running.stop().await;
}

#[tokio::test]
async fn a_backend_that_dies_is_out_after_its_first_failed_check_and_back_after_its_first_good_one() {
    let stub = Stub::new(Manner::Echo);
    let text = "connect:interval=0.05";
    let balancer = over(&[stub.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    assert_eq!(running.next().await.answer, Answer::Passed);
    assert_eq!(health(&balancer, 0), Health::Up);
    let address = stub.kill().await;
    while running.next().await.answer == Answer::Passed {}
    eventually(|| health(&balancer, 0) == DOWN).await;
    let _stub = Stub::at(address, Manner::Echo);
    while running.next().await.answer != Answer::Passed {}
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
}

#[tokio::test]
async fn every_change_comes_with_its_reason() {
    let refusing = Refusing::new();
    let text = "connect:interval=0.05";
    let balancer = over(&[refusing.address], &spec(text));
    balancer.record_events();
    let running = Running::new(text, &balancer);
    eventually(|| health(&balancer, 0) == DOWN).await;
    let _stub = refusing.revive(Manner::Echo);
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
    let changes = balancer.take_events().into_iter().filter_map(|event| match event.kind {
        EventKind::Health { to, reason, .. } => Some((to, reason)),
        _ => None,
    });
    let expected = [(DOWN, "probe: connect: connection refused".into()), (Health::Up, "probe: passed".into())];
    assert_eq!(changes.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn rise_and_fall_count_rounds() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let text = format!("command=test -e {}:interval=0.05:rise=2:fall=3", scratch.file("well"));
    let balancer = over(&[stub.address], &spec(&text));
    let seen: Arc<Mutex<Vec<(bool, Health)>>> = Arc::default();
    let monitor = Monitor::new(&spec(&text), Duration::from_secs(5), None);
    // What each finding finds: the health before it counts.
    let (before, noted) = (Arc::clone(&balancer), Arc::clone(&seen));
    let monitor = monitor.with_trace(move |found| {
        noted.lock().unwrap().push((found.answer == Answer::Passed, health(&before, 0)));
    });
    let task = tokio::spawn(monitor.run(Arc::clone(&balancer), Addresses::all_addresses));
    eventually(|| health(&balancer, 0) == DOWN).await;
    let bad = seen.lock().unwrap().iter().filter(|seen| **seen == (false, Health::Up)).count();
    assert_eq!(bad, 3);
    fs::write(scratch.0.join("well"), "").unwrap();
    eventually(|| health(&balancer, 0) == Health::Up).await;
    let good = seen.lock().unwrap().iter().filter(|seen| **seen == (true, DOWN)).count();
    assert_eq!(good, 2);
    task.abort();
}

#[tokio::test]
async fn what_the_application_says_counts_at_once() {
    let (address, _requests) = serve(&[b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nDOWN"], false).await;
    let text = "http=/:fall=5:interval=60";
    let balancer = over(&[address], &spec(text));
    let mut running = Running::new(text, &balancer);
    assert_eq!(running.next().await.reason, "probe: http=/: the application said DOWN");
    eventually(|| health(&balancer, 0) == Health::Down(Cause::Said)).await;
    running.stop().await;
}

/// Says what it is told to say.
#[derive(Debug)]
struct Saying(Arc<Mutex<Answer>>);

#[async_trait::async_trait]
impl Probe for Saying {
    async fn probe(&self, _: &Target) -> Answer {
        self.0.lock().unwrap().clone()
    }
}

/// One backend that has said this, under a monitor that is still running.
fn saying(answer: Answer) -> (Arc<Balancer<SocketAddr>>, Arc<Mutex<Answer>>, Running) {
    let says = Arc::new(Mutex::new(answer));
    let pace = spec("connect:interval=0.02:rise=1:fall=2").policy();
    let balancer = balancer(config(&["127.0.0.1:9".parse().unwrap()]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Saying(Arc::clone(&says))), Duration::from_secs(1));
    let running = Running::of(Monitor::with_checks([check], pace), &balancer);
    (balancer, says, running)
}

#[tokio::test]
async fn each_word_is_what_the_backend_is_and_its_reason_is_told() {
    let (balancer, says, running) = saying(Answer::Passed);
    let maintenance = Health::Down(Cause::Maintenance);
    let forty = Share::percent(40).unwrap();
    let rows = [
        (Said::Down, Some("no database"), Health::Down(Cause::Said), 100, "DOWN: no database"),
        (Said::Down, Some("no disk"), Health::Down(Cause::Said), 100, "DOWN: no disk"),
        (Said::Drain, None, Health::Draining, 100, "DRAIN"),
        (Said::Maintenance, Some("new disks"), maintenance, 100, "MAINT: new disks"),
        (Said::Up(forty), None, Health::Up, 40, "UP 40%"),
        (Said::Up(Share::FULL), None, Health::Up, 100, "UP"),
    ];
    for (word, reason, health, share, told) in rows {
        *says.lock().unwrap() = Answer::Said(word, reason.map(str::to_owned));
        let told = format!("probe: mine: the application said {told}");
        eventually(|| {
            let backend = &balancer.stats().backends[0];
            backend.health == health && backend.share.get() == share && backend.reason == told
        })
        .await;
    }
    running.stop().await;
}

#[tokio::test]
async fn the_next_probe_is_told_and_while_paused_there_is_none() {
    let (balancer, _says, running) = saying(Answer::Passed);
    let next = || balancer.stats().backends[0].next_probe;
    eventually(|| next().is_some()).await;
    let first = next();
    eventually(|| next() > first).await;
    assert!(next().unwrap() <= Instant::now() + Duration::from_secs(1));
    running.switch.set_enabled(false);
    eventually(|| next().is_none()).await;
    running.switch.set_enabled(true);
    eventually(|| next().is_some()).await;
    balancer.set_status(balancer.stats().backends[0].id, Status::Disabled, Instant::now()).unwrap();
    eventually(|| next().is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn of_several_checks_the_smallest_share_counts_and_what_is_no_up_goes_before_it() {
    let up = |percent| Answer::Said(Said::Up(Share::percent(percent).unwrap()), None);
    let rows = [
        (vec![Answer::Passed, up(60), up(30), up(90), Answer::Passed], "probe: 2: the application said UP 30%"),
        (vec![Answer::Passed, up(100), Answer::Passed], "probe: 1: the application said UP"),
        (vec![up(30), Answer::Said(Said::Drain, None), up(10)], "probe: 1: the application said DRAIN"),
        (vec![up(30), Answer::Failed("bad".into())], "probe: 1: bad"),
        (vec![Answer::Passed, Answer::Passed], "probe: passed"),
    ];
    for (answers, reason) in rows {
        let checks = answers.into_iter().enumerate().map(|(at, answer)| {
            let probe = Arc::new(Saying(Arc::new(Mutex::new(answer))));
            Check::new(at.to_string(), probe, Duration::from_secs(1))
        });
        let pace = spec("connect:interval=60").policy();
        let balancer = balancer(config(&["127.0.0.1:9".parse().unwrap()]).with_probes(pace.clone()));
        let mut running = Running::of(Monitor::with_checks(checks.collect::<Vec<_>>(), pace), &balancer);
        assert_eq!(running.next().await.reason, reason);
        running.stop().await;
    }
}

/// Takes a backend down as balance's `-a` does.
fn disable_by_traffic(balancer: &Balancer<SocketAddr>) {
    let lease = balancer.pick(&Request::new(Instant::now()), &mut SmallRng::seed_from_u64(1)).unwrap();
    lease.finish(Outcome::ConnectFailed, Instant::now());
    assert_eq!(health(balancer, 0), DOWN);
}

#[tokio::test]
async fn noenable_looks_after_no_backend_that_is_down() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let text = "connect:noenable:interval=0.05";
    let config = config(&[a.address, b.address]).with_probes(spec(text).policy()).with_autodisable();
    let balancer = balancer(config);
    disable_by_traffic(&balancer);
    let mut running = Running::new(text, &balancer);
    for _ in 0..4 {
        assert_eq!(running.next().await.backend, b.address.to_string());
    }
    assert_eq!((health(&balancer, 0), a.seen.accepted()), (DOWN, 0));
    b.kill().await;
    eventually(|| health(&balancer, 1) == DOWN).await;
    running.stop().await;
    let running = Running::new("connect:interval=60", &balancer);
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
}

/// A backend that says this to whoever connects.
fn saying_over_tcp(text: &'static str) -> (SocketAddr, Arc<Mutex<&'static str>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, says) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(text)));
    let said = Arc::clone(&says);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Who has gone needs to hear nothing.
            let _ = std::io::Write::write_all(&mut stream, said.lock().unwrap().as_bytes());
        }
    });
    (address, says)
}

#[tokio::test]
async fn what_an_application_said_it_may_take_back_whatever_the_monitor_may_do() {
    let text = "connect:expect=UP:noenable:interval=0.05";
    for word in ["DOWN", "DRAIN", "MAINT"] {
        let (address, says) = saying_over_tcp(word);
        let balancer = over(&[address], &spec(text));
        let running = Running::new(text, &balancer);
        eventually(|| health(&balancer, 0) != Health::Up).await;
        *says.lock().unwrap() = "UP 40%";
        eventually(|| health(&balancer, 0) == Health::Up && balancer.stats().backends[0].share.get() == 40).await;
        running.stop().await;
    }
    let text = "connect:expect=UP:nodisable:interval=0.05";
    let (address, says) = saying_over_tcp("UP 10%");
    let balancer = balancer(config(&[address]).with_probes(RiseFall::default()));
    let running = Running::new(text, &balancer);
    eventually(|| balancer.stats().backends[0].share.get() == 10).await;
    *says.lock().unwrap() = "UP";
    eventually(|| balancer.stats().backends[0].share == Share::FULL).await;
    running.stop().await;
}

#[tokio::test]
async fn who_is_looked_after_again_is_looked_at_at_once() {
    let text = "connect:expect=UP:interval=3600";
    let (address, says) = saying_over_tcp("UP");
    let balancer = over(&[address], &spec(text));
    let mut running = Running::new(text, &balancer);
    running.next().await;
    let order = |status| balancer.set_status(balancer.stats().backends[0].id, status, Instant::now()).unwrap();
    order(Status::Disabled);
    eventually(|| balancer.stats().backends[0].next_probe.is_none()).await;
    *says.lock().unwrap() = "DOWN";
    order(Status::Enabled);
    eventually(|| health(&balancer, 0) == Health::Down(Cause::Said)).await;
    running.stop().await;
}

#[tokio::test]
async fn who_is_enabled_is_looked_at_at_once_however_short_it_was_disabled() {
    let text = "connect:expect=UP:interval=3600";
    let (address, says) = saying_over_tcp("UP");
    let balancer = over(&[address], &spec(text));
    let mut running = Running::new(text, &balancer);
    running.next().await;
    let id = balancer.stats().backends[0].id;
    for (word, expected) in [("DOWN", Health::Down(Cause::Said)), ("UP", Health::Up), ("DRAIN", Health::Draining)] {
        *says.lock().unwrap() = word;
        balancer.set_status(id, Status::Disabled, Instant::now()).unwrap();
        balancer.enable(id, Instant::now()).unwrap();
        eventually(|| health(&balancer, 0) == expected).await;
    }
    *says.lock().unwrap() = "UP";
    balancer.enable(id, Instant::now()).unwrap();
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
}

/// Does not answer the first time, and what it is told to say from then on.
#[derive(Debug)]
struct Hanging(Arc<Mutex<Option<Answer>>>, mpsc::UnboundedSender<()>);

#[async_trait::async_trait]
impl Probe for Hanging {
    async fn probe(&self, _: &Target) -> Answer {
        self.1.send(()).unwrap();
        let answer = self.0.lock().unwrap().clone();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn who_is_enabled_waits_for_no_look_from_before() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let says = Arc::new(Mutex::new(None));
    let pace = spec("connect:interval=3600").policy();
    let balancer = balancer(config(&["127.0.0.1:9".parse().unwrap()]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Hanging(Arc::clone(&says), sender)), Duration::from_secs(3600));
    let running = Running::of(Monitor::with_checks([check], pace), &balancer);
    asked.recv().await.unwrap();
    *says.lock().unwrap() = Some(Answer::Said(Said::Down, None));
    balancer.enable(balancer.stats().backends[0].id, Instant::now()).unwrap();
    eventually(|| health(&balancer, 0) == Health::Down(Cause::Said)).await;
    running.stop().await;
}

/// Never answers, and tells whom it was to look at. Each look that is under way has a part of the first.
#[derive(Debug)]
struct Endless(Arc<()>, mpsc::UnboundedSender<SocketAddr>);

#[async_trait::async_trait]
impl Probe for Endless {
    async fn probe(&self, target: &Target) -> Answer {
        let _under_way = Arc::clone(&self.0);
        self.1.send(target.address).unwrap();
        std::future::pending().await
    }
}

#[tokio::test]
async fn who_is_enabled_or_replaced_is_looked_at_at_once_and_only_once_at_a_time() {
    let (sender, mut asked) = mpsc::unbounded_channel();
    let under_way = Arc::new(());
    let [first, second]: [SocketAddr; 2] = ["127.0.0.1:9", "127.0.0.2:9"].map(|address| address.parse().unwrap());
    let pace = spec("connect:interval=3600").policy();
    let balancer = balancer(config(&[first]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Endless(Arc::clone(&under_way), sender)), Duration::from_secs(3600));
    let running = Running::of(Monitor::with_checks([check], pace), &balancer);
    let id = balancer.stats().backends[0].id;
    for _ in 0..20 {
        assert_eq!(asked.recv().await, Some(first));
        balancer.enable(id, Instant::now()).unwrap();
    }
    assert_eq!(asked.recv().await, Some(first));
    balancer.update_replacing(balancer.config(), Instant::now(), |_| true, |_| second);
    assert_eq!(asked.recv().await, Some(second));
    eventually(|| Arc::strong_count(&under_way) == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn nodisable_looks_after_no_backend_that_is_up() {
    let (a, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:nodisable:interval=0.05";
    let config = config(&[a.address, refusing.address]).with_probes(spec(text).policy()).with_autodisable();
    let balancer = balancer(config);
    disable_by_traffic(&balancer);
    let mut running = Running::new(text, &balancer);
    assert_eq!(running.next().await.backend, a.address.to_string());
    eventually(|| health(&balancer, 0) == Health::Up).await;
    assert_eq!(health(&balancer, 1), Health::Up);
    running.stop().await;
}

#[tokio::test]
async fn noenable_holds_for_a_backend_that_went_down_during_its_check() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let go = scratch.file("go");
    let text = format!(
        "command=echo $$ > {}; until test -e {go}; do sleep 0.01; done:noenable:interval=60",
        scratch.file("pids")
    );
    let balancer = balancer(config(&[stub.address]).with_probes(spec(&text).policy()).with_autodisable());
    let mut running = Running::new(&text, &balancer);
    scratch.words("pids", 1).await;
    disable_by_traffic(&balancer);
    fs::write(go, "").unwrap();
    assert_eq!(running.next().await.answer, Answer::Passed);
    running.stop().await;
    assert_eq!(health(&balancer, 0), DOWN);
}

#[tokio::test]
async fn what_people_disabled_is_not_touched_and_what_drains_is_looked_at() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let text = "connect:interval=0.05";
    let balancer = over(&[a.address, b.address], &spec(text));
    let ids = balancer.stats().backends.iter().map(|backend| backend.id).collect::<Vec<_>>();
    balancer.set_status(ids[0], Status::Disabled, Instant::now()).unwrap();
    balancer.set_status(ids[1], Status::Draining, Instant::now()).unwrap();
    let mut running = Running::new(text, &balancer);
    for _ in 0..3 {
        assert_eq!(running.next().await.backend, b.address.to_string());
    }
    assert_eq!((a.seen.accepted(), balancer.stats().backends[0].status), (0, Status::Disabled));
    balancer.enable(ids[0], Instant::now()).unwrap();
    while running.next().await.backend != a.address.to_string() {}
    running.stop().await;
}

#[tokio::test]
async fn backends_of_groups_made_later_are_checked_and_removed_ones_are_not() {
    let (a, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:interval=60";
    let balancer = over(&[a.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    running.next().await;
    let group = GroupConfig::new([BackendConfig::new(refusing.address.to_string())]);
    let both = config(&[a.address]).with_group(group).with_probes(spec(text).policy());
    let make = |backend: &BackendConfig| backend.name.parse().unwrap();
    balancer.update(both.clone(), Instant::now(), make);
    let begin = Instant::now();
    let found = running.next().await;
    assert_eq!(found.backend, refusing.address.to_string());
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    eventually(|| health(&balancer, 1) == DOWN).await;
    // Gone and back again, it is new: its round is at once, not after its old interval.
    balancer.update(config(&[a.address]).with_probes(spec(text).policy()), Instant::now(), make);
    running.switch.set_enabled(false);
    running.switch.set_enabled(true);
    assert_eq!(running.next().await.backend, a.address.to_string(), "the round without it");
    balancer.update(both, Instant::now(), make);
    assert_eq!(running.next().await.backend, refusing.address.to_string());
    running.stop().await;
}

#[tokio::test]
async fn the_switch_stops_checks_and_starts_a_round_at_once() {
    let (stub, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:interval=60";
    let balancer = over(&[stub.address, refusing.address], &spec(text));
    let switch = Switch::default();
    switch.set_enabled(false);
    let monitor = Monitor::new(&spec(text), Duration::from_secs(5), None).with_switch(switch.clone());
    let mut running = Running::of(monitor, &balancer);
    let early = tokio::time::timeout(Duration::from_millis(200), running.findings.recv()).await;
    assert!(early.is_err(), "it is off from the start");
    for _ in 0..3 {
        assert!(switch.set_enabled(true));
        let mut found = [running.next().await.backend, running.next().await.backend];
        let mut all = [stub.address.to_string(), refusing.address.to_string()];
        found.sort();
        all.sort();
        assert_eq!(found, all);
        assert!(switch.set_enabled(false));
    }
    assert_eq!(stub.seen.accepted(), 3);
    running.stop().await;
}

#[tokio::test]
async fn what_is_found_after_the_switch_went_off_changes_nothing() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let (go, ended) = (scratch.file("go"), scratch.file("ended"));
    let text = format!(
        "command=echo $$ > {}; until test -e {go}; do sleep 0.01; done; echo $$ > {ended}; exit 1:interval=60",
        scratch.file("pids")
    );
    let balancer = over(&[stub.address], &spec(&text));
    let mut running = Running::new(&text, &balancer);
    scratch.words("pids", 1).await;
    running.switch.set_enabled(false);
    fs::write(go, "").unwrap();
    let pid = scratch.words("ended", 1).await[0];
    eventually(|| !PathBuf::from(format!("/proc/{pid}")).exists()).await;
    // It was heard of and passed over: the next round is a round of its own.
    assert_eq!(health(&balancer, 0), Health::Up);
    assert!(running.findings.try_recv().is_err());
    running.switch.set_enabled(true);
    assert_eq!(running.next().await.reason, "probe: command: exit status 1");
    running.stop().await;
}

/// Panics for one backend, and trusts the others.
#[derive(Debug)]
struct Panicking(SocketAddr);

#[async_trait::async_trait]
impl Probe for Panicking {
    async fn probe(&self, target: &Target) -> Answer {
        assert!(target.address != self.0, "the probe's own fault");
        Answer::Passed
    }
}

#[tokio::test]
async fn a_probe_that_panics_stops_no_other_and_changes_nothing() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let pace = spec("connect:interval=0.05").policy();
    let balancer = balancer(config(&[a.address, b.address]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Panicking(a.address)), Duration::from_secs(1));
    let mut running = Running::of(Monitor::with_checks([check], pace), &balancer);
    let (mut panics, mut passes) = (0, 0);
    while panics < 3 || passes < 3 {
        match running.next().await {
            found if found.answer == Answer::Passed => passes += 1,
            found => {
                assert_eq!(found.reason, "probe: mine: the probe panicked");
                panics += 1;
            }
        }
    }
    assert_eq!(health(&balancer, 0), Health::Up);
    running.stop().await;
}

#[tokio::test]
async fn of_several_addresses_the_first_that_answers_decides() {
    let (refusing, refusing_too, well) = (Refusing::new(), Refusing::new(), Stub::new(Manner::Echo));
    let (sick, _requests) = serve(&[b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], false).await;
    let (up, _requests) = serve(&[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], false).await;
    let rows: [(&str, Vec<SocketAddr>, &str); 6] = [
        ("connect", vec![refusing.address, well.address], "probe: passed"),
        ("connect", vec![refusing.address, refusing_too.address], "probe: connect: connection refused"),
        ("connect", vec![], "probe: it has no address"),
        ("http=/", vec![refusing.address, sick, up], "probe: http=/: status 500"),
        ("http=/", vec![refusing.address, up, sick], "probe: passed"),
        ("command=test %P = 1", vec![sick, "127.0.0.1:1".parse().unwrap()], "probe: passed"),
    ];
    for (text, addresses, reason) in rows {
        let spec = spec(text);
        let config = "many".parse::<Config>().unwrap().with_probes(spec.policy());
        let rng = &mut SmallRng::seed_from_u64(1);
        let balancer = Arc::new(Balancer::new(config, Instant::now(), rng, |_| addresses.clone()));
        let (heard, mut findings) = mpsc::unbounded_channel();
        let monitor = Monitor::new(&spec, Duration::from_secs(5), None);
        let monitor = monitor.with_trace(move |finding| drop(heard.send(finding.reason.clone())));
        let task = tokio::spawn(monitor.run(balancer, Addresses::all_addresses));
        assert_eq!(soon(findings.recv()).await.unwrap(), reason);
        task.abort();
    }
}

#[tokio::test]
async fn jitter_spreads_rounds_and_the_seed_repeats_them() {
    // In the same simulated time, so that only chance can make a difference.
    let rounds = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let pace = spec("connect:interval=10:jitter=0.5").policy();
            let balancer = balancer(config(&["127.0.0.1:1".parse().unwrap()]).with_probes(pace.clone()));
            let check = Check::new("mine", Arc::new(Panicking(support::loopback())), Duration::from_secs(1));
            let (heard, mut times) = mpsc::unbounded_channel();
            let monitor = Monitor::with_checks([check], pace).with_seed(seed);
            let monitor = monitor.with_trace(move |_| heard.send(tokio::time::Instant::now()).unwrap_or_default());
            tokio::spawn(monitor.run(balancer, Addresses::all_addresses));
            let (mut gaps, mut last) = (Vec::new(), soon(times.recv()).await.unwrap());
            for _ in 0..20 {
                let next = soon(times.recv()).await.unwrap();
                gaps.push((next - last).as_millis());
                last = next;
            }
            gaps
        })
    };
    let [gaps, same, other] = [1, 1, 2].map(|seed| std::thread::spawn(move || rounds(seed)).join().unwrap());
    assert_eq!(gaps, same);
    assert_ne!(gaps, other);
    assert!(gaps.iter().all(|gap| (5_000..=15_020).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max().unwrap() - gaps.iter().min().unwrap() > 3_000, "{gaps:?}");
}

/// The outage that balance.fm's monitoring was written for: the main host is black-holed, and clients have half a second
/// of patience where a connect has an hour.
#[tokio::test]
async fn the_last_fm_outage_ends_with_the_first_check() {
    let (silent, spare) = (Silent::new(), Stub::new(Manner::Named(b'S')));
    let text = "connect:timeout=0.3:interval=60";
    let words = format!("{} ! {}", silent.address, spare.address);
    let balancer = balancer(words.parse::<Config>().unwrap().with_probes(spec(text).policy()));
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    // As balance does it: one backend after the other.
    let settings = lb_net::tcp::Settings::default().with_race(None).with_connect_timeout(Duration::from_secs(3600));
    let front = Front::of(Arc::clone(&balancer), lb_net::TcpProxy::new(Arc::clone(&balancer)).with_settings(settings));
    let patience = Duration::from_millis(500);
    let impatient = tokio::time::timeout(patience, support::ask(front.address)).await;
    assert!(impatient.is_err(), "without a check it waits in vain");
    let begin = Instant::now();
    let running = Running::new(text, &balancer);
    eventually(|| health(&balancer, 0) == DOWN).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_millis(300) && passed < Duration::from_secs(15), "{passed:?}");
    for _ in 0..5 {
        assert_eq!(support::ask(front.address).await.unwrap(), "S", "long before a connect has failed");
    }
    running.stop().await;
}
