//! What follows from what was found.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lb_core::{
    Balancer, Cause, Config, EventKind, Health,
    health::{RiseFall, Said, Share},
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    connect::Addresses,
    probe::{Answer, Check, Monitor},
};
use tokio::sync::mpsc;

use crate::{
    Saying,
    checks::*,
    saying, saying_over_tcp,
    support::{Manner, Refusing, Stub, balancer, eventually, soon},
};

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
