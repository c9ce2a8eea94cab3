//! The less loaded, where weights differ: in proportion when nobody is busy, and when all are.

mod support;

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use lb_core::{
    Config, Fit, Lease, Outcome, Request, Selector, SelectorKind,
    health::{Probe, RiseFall, Said, Share},
    selector::{LeastLoaded, Metric},
    sim::{Stub, World},
};
use proptest::prelude::*;
use support::{Scene, chosen_by, id};

const IN_FLIGHT: SelectorKind = SelectorKind::LeastLoaded(Metric::InFlight);

fn of(text: &str) -> Config {
    chosen_by(IN_FLIGHT, text)
}

/// How many of so many requests each one gets while so many at a time are in flight.
fn shares(scene: &mut Scene, at_once: usize, requests: usize) -> Vec<u64> {
    let picked = |scene: &Scene| -> Vec<u64> { scene.balancer.stats().backends.iter().map(|b| b.picked()).collect() };
    let before = picked(scene);
    let mut running = VecDeque::new();
    for _ in 0..requests {
        if running.len() == at_once {
            // Whoever ends next has nothing to do with who was first.
            let last: usize = (scene.world.rng().next_u32() as usize) % at_once;
            let ended: Option<Lease<()>> = running.swap_remove_back(last);
            ended.into_iter().for_each(|lease| lease.finish(Outcome::Success, scene.now()));
        }
        running.push_back(scene.take());
    }
    running.into_iter().for_each(|lease| lease.finish(Outcome::Success, scene.now()));
    picked(scene).iter().zip(before).map(|(after, before)| after - before).collect()
}

#[test]
fn who_has_nothing_to_do_gets_what_its_weight_says() {
    let rows: [(&str, &[u64]); 6] = [
        ("a:::3 b", &[750, 250]),
        ("a:::5 b:::3 c:::2", &[500, 300, 200]),
        ("a b:::999", &[1, 999]),
        ("a:::65535 b:::65535 c", &[500, 500, 0]),
        ("a:::100 b:::40 c:::50 d:::10", &[500, 200, 250, 50]),
        ("a b c d e f g h:::3", &[100, 100, 100, 100, 100, 100, 100, 300]),
    ];
    for (text, expected) in rows {
        let mut scene = Scene::new(of(text));
        for round in 0..20 {
            assert_eq!(shares(&mut scene, 1, 1000), expected, "{text}, round {round}");
        }
    }
}

#[test]
fn turns_are_as_smooth_as_those_of_round_robin() {
    for text in ["a:::3 b", "a:::5 b:::3 c:::2", "a:::4 b:::2 c", "a:::3 b:::2", "a b:::2 c:::2", "a:::30 b:::10"] {
        assert_eq!(Scene::new(of(text)).order(20), Scene::spec(text).order(20), "{text}");
    }
    assert_eq!(Scene::new(of("a:::5 b c")).order(7), "a b a a a c a");
}

#[test]
fn above_eight_they_get_it_by_chance() {
    let mut scene = Scene::new(of("a:::3 b c d e f g h i:::3 j:::3"));
    let shares = shares(&mut scene, 1, 16_000);
    // Five standard deviations of a fair draw.
    assert!([0, 8, 9].iter().all(|heavy| (2_750..3_250).contains(&shares[*heavy])), "{shares:?}");
    assert!(shares[1..8].iter().all(|light| (850..1_150).contains(light)), "{shares:?}");
}

#[test]
fn a_share_counts_where_nobody_is_busy() {
    let mut scene = Scene::new(of("a b c").with_probes(RiseFall::new(NonZeroU32::MIN, NonZeroU32::MIN).assuming_up()));
    for (percent, expected) in [(40, [500, 500, 200]), (1, [597, 597, 6]), (100, [400, 400, 400])] {
        scene.probe("c", Probe::Said(Said::Up(Share::percent(percent).unwrap())));
        scene.settle();
        let shares = shares(&mut scene, 1, 1200);
        assert!(shares.iter().zip(expected).all(|(share, fair)| share.abs_diff(fair) <= 1), "{percent} %: {shares:?}");
    }
}

#[test]
fn a_slow_start_is_slow_where_nobody_is_busy() {
    let whole = Duration::from_secs(100);
    let mut scene = Scene::new(of("a b").with_slow_start(whole));
    scene.update(of("a new b").with_slow_start(whole));
    assert_eq!(shares(&mut scene, 1, 210), [100, 10, 100]);
    scene.pass(whole / 2);
    assert_eq!(shares(&mut scene, 1, 260), [100, 60, 100]);
    scene.pass(whole);
    assert_eq!(scene.order(6), "a new b a new b");
}

#[test]
fn under_load_each_gets_what_its_weight_says() {
    for (text, parts) in [("a:::3 b", vec![3, 1]), ("a:::5 b:::3 c:::2", vec![5, 3, 2])] {
        for at_once in [1, 2, 3, 5, 8, 30, 200] {
            let shares = shares(&mut Scene::new(of(text)), at_once, 20_000);
            for (share, part) in shares.iter().zip(&parts) {
                let fair = 20_000 * part / parts.iter().sum::<u64>();
                assert!(share.abs_diff(fair) <= 20_000 / 14, "{text}, {at_once} at once: {shares:?}");
            }
        }
    }
}

#[test]
fn a_tiny_share_is_neither_forgotten_nor_filled_under_load() {
    for at_once in [1, 2, 4, 16, 64, 300] {
        let shares = shares(&mut Scene::new(of("a:::100 b:::100 tiny")), at_once, 40_200);
        // One in 201.
        assert!((100..=300).contains(&shares[2]), "{at_once} at once: {shares:?}");
    }
}

#[test]
fn requests_that_stay_fill_all_evenly_and_then_the_others_go_on() {
    let mut scene = Scene::new(of("a::6:3 b:::1 c:::2"));
    let held: Vec<_> = (0..12).map(|_| scene.take()).collect();
    assert_eq!(["a", "b", "c"].map(|name| scene.stats(name).in_flight), [6, 2, 4]);
    // Now a is full.
    assert_eq!(shares(&mut scene, 1, 300), [0, 100, 200]);
    let more: Vec<_> = (0..9).map(|_| scene.take()).collect();
    assert_eq!(["a", "b", "c"].map(|name| scene.stats(name).in_flight), [6, 5, 10]);
    drop((held, more));
    assert_eq!(shares(&mut scene, 1, 600), [300, 100, 200]);
}

#[test]
fn who_is_down_leaves_the_others_their_proportions() {
    let probes = RiseFall::new(NonZeroU32::MIN, NonZeroU32::MIN).assuming_up();
    let mut scene = Scene::new(of("a:::5 b:::3 c:::2").with_probes(probes));
    scene.probe("a", Probe::Failed);
    for settled in [false, true] {
        assert_eq!(shares(&mut scene, 1, 500), [0, 300, 200], "settled: {settled}");
        scene.settle();
    }
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(shares(&mut scene, 1, 1000), [500, 300, 200]);
}

#[test]
fn the_turn_goes_on_where_one_is_added_or_taken_away() {
    let rows = [
        ("a b c", 1, "a x b c", "b c a x"),
        ("a b c", 2, "x a b c", "c x a b"),
        ("a b c d", 2, "a b d", "d a b d"),
        ("a b c", 1, "c b a", "b a c b"),
        ("a b c", 1, "x y", "x y x y"),
        ("a b", 1, "a:::2 b", "b a a b"),
        ("a:::2 b", 1, "a b", "b a b a"),
    ];
    for (before, taken, after, order) in rows {
        let mut scene = Scene::new(of(before));
        scene.order(taken);
        // However often.
        (0..5).for_each(|_| drop(scene.update(of(after))));
        assert_eq!(scene.order(4), order, "{before}, after {taken}, becomes {after}");
    }
    let mut scene = Scene::new(of("a:::3 b"));
    scene.order(5);
    scene.update(of("a:::3 x:::4 b"));
    assert_eq!(shares(&mut scene, 1, 800), [300, 400, 100]);
}

#[test]
fn a_failure_that_is_half_forgotten_still_counts() {
    let mut scene = Scene::new(of("a b"));
    scene.end_at("a", Outcome::ServerError, 1);
    scene.world.advance(Duration::from_secs(6));
    assert_eq!(scene.order(3), "b b b");
    let busy = scene.pick(&scene.plain().with_pin(id("b"))).unwrap();
    assert!(scene.order(4).contains('a'), "no more than one request");
    drop(busy);
}

/// Weight, requests in flight and limit of each.
fn backends() -> impl Strategy<Value = Vec<(u32, u32, u32)>> {
    let weight = prop_oneof![Just(1), 1..6_u32, 1..=u32::MAX];
    proptest::collection::vec((weight, 0..12_u32, prop_oneof![Just(u32::MAX), 0..12_u32]), 1..12)
}

proptest! {
    #[test]
    fn nobody_is_picked_than_whom_another_is_less_loaded(backends in backends(), picks in 1..20) {
        let mut world = World::new(1);
        let request = Request::new(world.now());
        let stub = |(weight, in_flight, limit): &(u32, u32, u32)| {
            let stub = Stub::new(u64::from(*weight)).with_weight(*weight).with_limit(*limit);
            (0..*in_flight).for_each(|_| stub.enter());
            stub
        };
        let group: Vec<Stub> = backends.iter().map(stub).collect();
        let selector = LeastLoaded::new(Metric::InFlight).rebuild(&group, &request);
        for _ in 0..picks {
            let open: Vec<&Stub> = group.iter().filter(|stub| lb_core::Backend::fit(*stub, &request) == Fit::Yes).collect();
            let picked = selector.pick(&group, &request, world.rng());
            prop_assert_eq!(picked.is_some(), !open.is_empty());
            let Some(picked) = picked else { break };
            let load = |stub: &Stub, more: u32, other: &Stub| {
                u64::from(lb_core::Backend::in_flight(stub) + more) * u64::from(lb_core::Backend::weight(other))
            };
            let picked = &group[picked];
            prop_assert_eq!(lb_core::Backend::fit(picked, &request), Fit::Yes);
            if group.len() <= 8 {
                let less = open.iter().any(|other| load(other, 1, picked) <= load(picked, 0, other));
                prop_assert!(!less, "{picked:?} of {group:?}");
            }
            picked.enter();
        }
    }
}
