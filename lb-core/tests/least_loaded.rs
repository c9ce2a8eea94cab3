//! The less loaded: in flight or by latency, failures never attract.

mod support;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use lb_core::{Lease, Outcome, Request, SelectorKind, selector::Metric};
use support::{Scene, chosen_by, id, numbered};

const IN_FLIGHT: SelectorKind = SelectorKind::LeastLoaded(Metric::InFlight);
const LATENCY: SelectorKind = SelectorKind::LeastLoaded(Metric::PeakEwma);
const MILLI: Duration = Duration::from_millis(1);

#[test]
fn the_backend_with_fewest_in_flight_is_next() {
    let mut scene = Scene::new(chosen_by(IN_FLIGHT, "a b c"));
    let [a, b, c] = [scene.take(), scene.take(), scene.take()];
    assert_eq!([a.name(), b.name(), c.name()], ["a", "b", "c"]);
    drop(b);
    let again = scene.take();
    assert_eq!(again.name(), "b");
    drop((a, c));
}

#[test]
fn equals_come_in_turn() {
    assert_eq!(Scene::new(chosen_by(IN_FLIGHT, "a b c")).order(6), "a b c a b c");
}

#[test]
fn where_the_time_does_not_matter_any_moment_will_do() {
    let mut scene = Scene::new(chosen_by(IN_FLIGHT, "a b"));
    // Some moment or other, as a program has at hand that has read no clock.
    let any = scene.now();
    scene.pass(30_000 * MILLI);
    scene.refuse("a", 3);
    let order = |scene: &mut Scene, requests: usize| {
        let names = (0..requests).map(|_| {
            let now = scene.balancer.time_if_needed(|| scene.world.now()).unwrap_or(any);
            scene.sent(&Request::new(now))
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(&mut scene, 3), "b b b", "it matters: what has failed is avoided");
    scene.pass(3_600_000 * MILLI);
    order(&mut scene, 1);
    assert_eq!(scene.balancer.time_if_needed(|| scene.world.now()), None);
    let later = order(&mut scene, 100);
    assert_eq!(later.matches('a').count(), 50, "{later}");
    scene.refuse("a", 3);
    assert_eq!(order(&mut scene, 3), "b b b");
}

#[test]
fn load_is_divided_by_weight() {
    for (text, expected) in [("a b:::3", [10, 30]), ("a:::5 b:::3", [25, 15])] {
        let mut scene = Scene::new(chosen_by(IN_FLIGHT, text));
        let held: Vec<_> = (0..40).map(|_| scene.take()).collect();
        assert_eq!(["a", "b"].map(|name| scene.stats(name).in_flight), expected, "{text}");
        drop(held);
    }
}

#[test]
fn two_distinct_draws_keep_a_large_group_level() {
    let mut scene = Scene::new(numbered(50, IN_FLIGHT));
    let held: Vec<_> = (0..5000).map(|_| scene.take()).collect();
    let in_flight = scene.balancer.stats().backends.into_iter().map(|backend| backend.in_flight);
    let (least, most) = in_flight.fold((u32::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
    // One draw alone would leave them some sixty apart.
    assert!(most - least <= 12, "from {least} to {most}");
    drop(held);
}

#[test]
fn of_two_backends_in_a_large_group_the_busy_one_is_never_drawn_twice() {
    // Nine backends, seven of them disabled: every pick must compare the same two.
    let mut config = numbered(9, IN_FLIGHT);
    config.groups[0].backends[2..].iter_mut().for_each(|backend| backend.status = lb_core::Status::Disabled);
    let mut scene = Scene::new(config);
    let mut held = Vec::new();
    let mut uneven = 0;
    for _ in 0..1000 {
        held.push(scene.take());
        let [one, other] = ["b0", "b1"].map(|name| scene.stats(name).in_flight);
        uneven += usize::from(one.abs_diff(other) > 2);
    }
    // Sixteen draws of one and the same happen once in 32 768 picks.
    assert!(uneven <= 5, "{uneven}");
}

/// Requests one after the other, some in flight at a time; the first backend fails at once, the others take 20 ms.
fn served_by(kind: SelectorKind, count: usize, outcome: Outcome) -> BTreeMap<String, usize> {
    let mut scene = Scene::new(numbered(count, kind));
    let (mut served, mut running) = (BTreeMap::new(), VecDeque::new());
    for _ in 0..6000 {
        scene.world.advance(MILLI);
        while running.front().is_some_and(|(end, _)| *end <= scene.now()) {
            let ended: Option<(Instant, Lease<()>)> = running.pop_front();
            ended.into_iter().for_each(|(_, lease)| lease.finish(Outcome::Success, scene.now()));
        }
        let lease = scene.take();
        *served.entry(lease.name().to_owned()).or_default() += 1;
        if lease.name() == "b0" {
            lease.finish(outcome, scene.now());
        } else {
            running.push_back((scene.now() + 20 * MILLI, lease));
        }
    }
    served
}

#[test]
fn a_backend_that_fails_fast_gets_clearly_less_than_its_share() {
    for outcome in [Outcome::ServerError, Outcome::ConnectFailed, Outcome::Broken] {
        for (kind, count) in [(IN_FLIGHT, 4), (LATENCY, 4), (IN_FLIGHT, 12), (LATENCY, 12)] {
            let served = served_by(kind, count, outcome);
            let failing = served.get("b0").copied().unwrap_or(0);
            assert!(failing < 6000 / count / 2, "{kind:?}, {count} backends: {failing} to the failing one");
        }
    }
}

#[test]
fn a_backend_that_failed_once_long_ago_has_its_share_again() {
    for kind in [IN_FLIGHT, LATENCY] {
        let mut scene = Scene::new(chosen_by(kind, "a b"));
        scene.end_at("a", Outcome::ServerError, 1);
        assert_eq!(scene.order(3), "b b b", "{kind:?}");
        scene.world.advance(Duration::from_secs(120));
        assert_eq!(scene.order(4).matches('a').count(), 2, "{kind:?}");
    }
}

/// How many of so many sequential requests, one every 10 ms, each of two got whose answers take so long.
fn by_latency(fast: Duration, slow: Duration, requests: usize) -> [usize; 2] {
    let mut scene = Scene::new(chosen_by(LATENCY, "slow fast"));
    let mut counts = [0; 2];
    for _ in 0..requests {
        let lease = scene.take();
        let is_slow = lease.name() == "slow";
        counts[usize::from(is_slow)] += 1;
        let end = scene.now() + if is_slow { slow } else { fast };
        lease.finish(Outcome::Success, end);
        scene.world.advance(10 * MILLI);
    }
    counts
}

#[test]
fn the_fast_backend_is_preferred_but_the_slow_one_is_asked_again_from_time_to_time() {
    let [fast, slow] = by_latency(MILLI, 500 * MILLI, 60_000);
    assert!(fast > 100 * slow, "{fast} to {slow}");
    // Ten minutes: the memory of half a second fades within one.
    assert!((8..300).contains(&slow), "{fast} to {slow}");
}

#[test]
fn latency_is_the_time_to_the_answer_not_to_the_end_of_the_body() {
    let mut scene = Scene::new(chosen_by(LATENCY, "a b"));
    let [mut a, b] = [scene.take(), scene.take()];
    scene.world.advance(MILLI);
    a.answered(scene.now());
    scene.world.advance(MILLI);
    b.finish(Outcome::Success, scene.now());
    scene.world.advance(Duration::from_millis(800));
    a.finish(Outcome::Success, scene.now());
    assert_eq!(scene.order(3), "a a a");
}

#[test]
fn a_request_whose_clock_was_read_a_moment_earlier_sees_the_latest_all_the_same() {
    for kind in [IN_FLIGHT, LATENCY] {
        let mut scene = Scene::new(chosen_by(kind, "a b"));
        let before = scene.plain();
        scene.end_at("b", Outcome::Success, 1);
        scene.world.advance(5 * MILLI);
        scene.end_at("a", Outcome::ServerError, 1);
        assert_eq!([0; 3].map(|_| scene.sent(&before)), ["b", "b", "b"], "{kind:?}");
    }
}

#[test]
fn a_dropped_lease_gives_no_latency() {
    let mut scene = Scene::new(chosen_by(LATENCY, "a b"));
    let a = scene.take();
    scene.world.advance(Duration::from_secs(5));
    drop(a);
    let b = scene.pick(&Request::new(scene.now()).with_pin(id("b"))).unwrap();
    b.finish(Outcome::Success, scene.now() + MILLI);
    assert_eq!(scene.order(3), "a a a", "a is as good as unknown");
}

/// The names from the first on, in turn.
fn in_turn(count: usize, requests: usize) -> String {
    let names: Vec<String> = (0..requests).map(|k| format!("b{}", k % count)).collect();
    names.join(" ")
}

#[test]
fn one_who_refreshes_a_page_sees_all_in_turn() {
    for kind in [IN_FLIGHT, LATENCY] {
        for count in 2..=8 {
            // Each request has ended before the next one begins.
            assert_eq!(Scene::new(numbered(count, kind)).order(5 * count), in_turn(count, 5 * count), "{kind:?}");
        }
    }
}

#[test]
fn requests_that_stay_are_dealt_in_turn_as_well() {
    for count in 2..=8 {
        let mut scene = Scene::new(numbered(count, IN_FLIGHT));
        let held: Vec<_> = (0..5 * count).map(|_| scene.take()).collect();
        let names: Vec<&str> = held.iter().map(Lease::name).collect();
        assert_eq!(names.join(" "), in_turn(count, 5 * count));
    }
}

#[test]
fn the_turn_goes_on_after_slow_answers() {
    for count in 2..=8 {
        let mut scene = Scene::new(numbered(count, IN_FLIGHT));
        for (slow, after) in [(1, 40), (3, 900), (2 * count, 30_000)] {
            let held: Vec<Lease<()>> = (0..slow).map(|_| scene.take()).collect();
            scene.world.advance(after * MILLI);
            let now = scene.now();
            held.into_iter().for_each(|lease| lease.finish(Outcome::Success, now));
            let order = scene.order(3 * count);
            let turns: Vec<&str> = order.split(' ').collect();
            for round in turns.windows(count) {
                let distinct: std::collections::BTreeSet<&str> = round.iter().copied().collect();
                assert_eq!(distinct.len(), count, "{order}");
            }
        }
    }
}

#[test]
fn the_turn_goes_on_while_one_is_busy_with_something_slow() {
    let mut scene = Scene::new(numbered(3, IN_FLIGHT));
    let slow = scene.take();
    assert_eq!((slow.name(), scene.order(5).as_str()), ("b0", "b1 b2 b1 b2 b1"));
    slow.finish(Outcome::Success, scene.now());
    assert_eq!(scene.order(4), "b2 b0 b1 b2");
}

#[test]
fn above_eight_sequential_requests_spread_evenly() {
    for count in [9, 20, 100] {
        let mut scene = Scene::new(numbered(count, IN_FLIGHT));
        scene.order(1000 * count);
        let served = scene.balancer.stats().backends.into_iter().map(|backend| backend.picked());
        let (least, most) = served.fold((u64::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
        // Five standard deviations of a fair draw.
        assert!(least > 840 && most < 1160, "{count} backends: from {least} to {most}");
    }
}
