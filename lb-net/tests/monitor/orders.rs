//! Whom the monitor looks after: what people order, the switch, `noenable` and `nodisable`.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lb_core::{
    Balancer, Cause, Health, Outcome, Request, Status,
    health::Said,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::probe::{Answer, Check, Monitor, Probe, Switch, Target};
use tokio::sync::mpsc;

use crate::{
    checks::*,
    saying_over_tcp,
    support::{Manner, Refusing, Stub, balancer, eventually},
};

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
