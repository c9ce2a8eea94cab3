//! Turns in proportion to weight: smooth, exact, and shared by all threads.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
};

use lb_core::{
    Config, NoPick, Outcome, Request, SelectorKind, Start, Status, Tried,
    health::{Probe, RiseFall},
    sim::World,
};
use support::{Scene, config, id, numbered};

fn counts(order: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    order.split(' ').for_each(|name| *counts.entry(name).or_default() += 1);
    counts
}

/// A configuration whose backends one failed probe takes down.
fn probed(text: &str) -> Config {
    let one = std::num::NonZeroU32::MIN;
    config(text).with_probes(RiseFall::new(one, one).assuming_up())
}

#[test]
fn weights_give_the_orders_of_nginx_worked_out_by_hand() {
    let rows = [
        ("a:::5 b c", "a a b a c a a"),
        // Credits after adding 4 2 1: 4 2 1 a, 1 4 2 b, 5 -1 3 a, 2 1 4 c, 6 3 -2 a, 3 5 -1 b, 7 0 0 a.
        ("a:::4 b:::2 c", "a b a c a b a"),
        // 3 2: 3 2 a, 1 4 b, 4 1 a, 2 3 b, 5 0 a.
        ("a:::3 b:::2", "a b a b a"),
        // 1 2 2: 1 2 2 b, 2 -1 4 c, 3 1 1 a, -1 3 3 b, 0 0 5 c.
        ("a b:::2 c:::2", "b c a b c"),
        // 1 1 3: 1 1 3 c, 2 2 1 a, -2 3 4 c, -1 4 2 b, 0 0 5 c.
        ("a b c:::3", "c a c b c"),
        // 7 1 1: 7 1 1 a, 5 2 2 a, 3 3 3 a, 1 4 4 b, 8 -4 5 a, 6 -3 6 a, 4 -2 7 c, 11 -1 -1 a, 9 0 0 a.
        ("a:::700 b:::100 c:::100", "a a a b a a c a a"),
    ];
    for (text, round) in rows {
        let picks = round.split(' ').count();
        let order = Scene::spec(text).order(3 * picks);
        assert_eq!(order, [round; 3].join(" "), "{text}");
    }
}

#[test]
fn equal_backends_come_exactly_in_turn() {
    assert_eq!(Scene::spec("a b c").order(9), "a b c a b c a b c");
    assert_eq!(Scene::spec("a:::7 b:::7 c:::7").order(6), "a b c a b c");
    let mut scene = Scene::new(numbered(100, SelectorKind::RoundRobin));
    let names: Vec<String> = (0..300).map(|turn| format!("b{}", turn % 100)).collect();
    assert_eq!(scene.order(300), names.join(" "));
}

#[test]
fn the_order_is_the_same_when_picks_alternate_between_threads() {
    const THREADS: usize = 4;
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a b c"));
    // A baton goes round: whoever holds it picks once and passes it on.
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel::<Vec<String>>()).unzip();
    let (done, order) = mpsc::channel();
    senders[0].send(Vec::new()).unwrap();
    std::thread::scope(|scope| {
        for (at, baton) in receivers.into_iter().enumerate() {
            let (next, done, balancer) = (senders[(at + 1) % THREADS].clone(), done.clone(), &balancer);
            scope.spawn(move || {
                let mut world = World::new(at as u64);
                while let Ok(mut order) = baton.recv() {
                    if order.len() == 60 {
                        // An end of the line for everyone after us.
                        let _ = done.send(order.clone());
                    }
                    if order.len() >= 60 + THREADS {
                        break;
                    }
                    let lease = balancer.pick(&Request::new(now), world.rng()).unwrap();
                    order.push(lease.name().to_owned());
                    drop(lease);
                    if next.send(order).is_err() {
                        break;
                    }
                }
            });
        }
        drop(senders);
    });
    assert_eq!(order.recv().unwrap(), ["a", "b", "c"].repeat(20));
}

#[test]
fn many_threads_at_once_share_exactly() {
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a:::5 b c"));
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let balancer = &balancer;
            scope.spawn(move || {
                let mut world = World::new(seed);
                (0..7000).for_each(|_| drop(balancer.pick(&Request::new(now), world.rng()).unwrap()));
            });
        }
    });
    let picked: Vec<u64> = balancer.stats().backends.iter().map(lb_core::BackendStats::picked).collect();
    assert_eq!(picked, [20_000, 4000, 4000]);
}

#[test]
fn many_threads_keep_proportions_while_some_are_full() {
    let mut world = World::new(1);
    let now = world.now();
    let balancer = world.balancer(config("a b:::2 c:::4 d e"));
    ["a", "c", "e"].iter().for_each(|full| balancer.set_limit(id(full), Some(0), now).unwrap());
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let balancer = &balancer;
            scope.spawn(move || {
                let mut world = World::new(seed);
                (0..30_000).for_each(|_| drop(balancer.pick(&Request::new(now), world.rng()).unwrap()));
            });
        }
    });
    let picked: Vec<u64> = balancer.stats().backends.iter().map(lb_core::BackendStats::picked).collect();
    let [0, b, 0, d, 0] = picked[..] else { panic!("{picked:?}") };
    assert_eq!(b + d, 120_000);
    assert!((b as f64 / d as f64 - 2.0).abs() < 0.1, "{picked:?}");
}

#[test]
fn a_backend_that_refuses_is_passed_and_the_others_alternate() {
    let mut scene = Scene::spec("a b c");
    let mut served = Vec::new();
    for _ in 0..8 {
        let mut tried = Tried::default();
        loop {
            let request = Request::new(scene.now()).with_tried(&tried);
            let lease = scene.pick(&request).unwrap();
            if lease.name() == "a" {
                let id = lease.id();
                lease.finish(Outcome::ConnectFailed, scene.now());
                tried.insert(id);
                continue;
            }
            served.push(lease.name().to_owned());
            lease.finish(Outcome::Success, scene.now());
            break;
        }
    }
    assert_eq!(served.join(" "), "b c b c b c b c");
}

#[test]
fn a_request_that_has_been_everywhere_goes_nowhere() {
    let mut scene = Scene::spec("a b");
    let tried = support::tried(&["a", "b"]);
    let request = Request::new(scene.now()).with_tried(&tried);
    assert_eq!(scene.pick(&request).unwrap_err(), NoPick::AllTried);
}

#[test]
fn survivors_keep_their_own_proportions_when_the_heavy_one_goes() {
    for settled in [false, true] {
        let mut scene = Scene::new(probed("a:::60 b:::4 c:::2 d"));
        scene.probe("a", Probe::Failed);
        if settled {
            scene.settle();
        }
        let order = scene.order(7 * 100);
        let counts = counts(&order);
        for (name, share) in [("b", 400.0), ("c", 200.0), ("d", 100.0)] {
            let off = (counts[name] as f64 / share - 1.0).abs();
            assert!(off < 0.02, "settled {settled}: {counts:?}");
        }
        assert_eq!(counts.get("a"), None);
    }
}

#[test]
fn equal_survivors_alternate_when_one_goes_with_and_without_a_new_snapshot() {
    for settled in [false, true] {
        let mut scene = Scene::new(probed("a b c"));
        scene.probe("a", Probe::Failed);
        if settled {
            scene.settle();
        }
        assert_eq!(scene.order(6), "b c b c b c", "settled {settled}");
    }
}

#[test]
fn a_full_backend_is_passed_and_takes_its_turn_again_when_it_has_room() {
    let mut scene = Scene::spec("a::1 b c");
    let held = scene.take();
    assert_eq!((held.name(), scene.order(6).as_str()), ("a", "b c b c b c"));
    drop(held);
    assert_eq!(scene.order(6), "a b c a b c");
}

#[test]
fn a_weight_set_by_people_counts_from_the_next_pick() {
    let mut scene = Scene::spec("a b");
    scene.balancer.set_weight(id("b"), 0, scene.now()).unwrap();
    assert_eq!(scene.order(3), "a a a");
    scene.balancer.set_weight(id("b"), 2, scene.now()).unwrap();
    assert_eq!(counts(&scene.order(300)), BTreeMap::from([("a", 100), ("b", 200)]));
}

#[test]
fn all_weights_of_zero_are_nobody_to_pick() {
    let mut scene = Scene::spec("a:::0 b:::0");
    assert_eq!(scene.order(1), "all backends are down or disabled");
}

#[test]
fn turns_begin_anywhere_by_default_and_at_the_first_as_balance_does() {
    let first = |seed: u64, config: Config| Scene::seeded(seed, config).order(1);
    let text = || config("a b c d e");
    let random: BTreeSet<String> = (0..60).map(|seed| first(seed, text().with_start(Start::Random))).collect();
    assert_eq!(random.len(), 5, "every backend is somewhere the first");
    let fixed: BTreeSet<String> = (0..60).map(|seed| first(seed, text())).collect();
    assert_eq!(fixed, BTreeSet::from(["a".to_owned()]));
}

#[test]
fn a_random_start_turns_as_any_other() {
    let mut scene = Scene::seeded(5, config("a b c").with_start(Start::Random));
    let order = scene.order(30);
    let first = scene.order(3);
    assert_eq!(order, [first.as_str(); 10].join(" "));
}

#[test]
fn weights_too_large_for_a_table_keep_their_proportions_and_come_in_no_bursts() {
    let mut scene = Scene::spec("a:::65535 b:::65534 c:::32767");
    let order = scene.order(20_000);
    let counts = counts(&order);
    for (name, share) in [("a", 0.4), ("b", 0.4), ("c", 0.2)] {
        let off = (counts[name] as f64 / (share * 20_000.0) - 1.0).abs();
        assert!(off < 0.01, "{counts:?}");
    }
    let names: Vec<&str> = order.split(' ').collect();
    let longest = names.chunk_by(|one, next| one == next).map(<[&str]>::len).max();
    assert!(longest <= Some(3), "{longest:?} in a row");
}

#[test]
fn proportions_hold_on_the_walk_when_one_goes() {
    for settled in [false, true] {
        let mut scene = Scene::new(probed("a:::65535 b:::65534 c:::32767"));
        scene.probe("a", Probe::Failed);
        if settled {
            scene.settle();
        }
        let order = scene.order(20_000);
        let counts = counts(&order);
        let off = (counts["b"] as f64 / counts["c"] as f64 / 2.0 - 1.0).abs();
        assert!(off < 0.02, "settled {settled}: {counts:?}");
    }
}

#[test]
fn a_draining_backend_takes_only_what_is_pinned_to_it() {
    let mut scene = Scene::spec("a b");
    scene.order_status("a", Status::Draining);
    assert_eq!(scene.order(3), "b b b");
    let pinned = scene.plain().with_pin(id("a"));
    assert_eq!(scene.sent(&pinned), "a");
}
