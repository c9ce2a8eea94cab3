//! Groups in order: the first that can take a request does.

mod support;

use lb_core::{
    Config, NoPick, Request, Selector, SelectorKind, Status,
    health::{Probe, RiseFall},
    key,
    selector::{BucketFill, Failover, Hash, RoundRobin},
    sim::{Stub, World},
};
use support::{Scene, config, tried};

fn probed(text: &str) -> Config {
    let one = std::num::NonZeroU32::MIN;
    config(text).with_probes(RiseFall::new(one, one).assuming_up())
}

#[test]
fn later_groups_wait_until_the_earlier_ones_are_gone() {
    let mut scene = Scene::new(probed("a b ! c ! d"));
    assert_eq!(scene.order(3), "a b a");
    for (name, order) in [("a", "b b"), ("b", "c c"), ("c", "d d")] {
        scene.probe(name, Probe::Failed);
        assert_eq!(scene.order(2), order, "before the next snapshot");
        scene.settle();
        assert_eq!(scene.order(2), order);
    }
}

#[test]
fn an_earlier_group_that_is_back_takes_over_at_once() {
    let mut scene = Scene::new(probed("a ! b"));
    for _ in 0..5 {
        scene.probe("a", Probe::Failed);
        scene.settle();
        assert_eq!(scene.order(2), "b b");
        scene.probe("a", Probe::Passed);
        assert_eq!(scene.order(2), "a a");
    }
}

#[test]
fn a_full_group_overflows_into_the_next_and_only_that_much() {
    let mut scene = Scene::spec("a::1 b::1 ! c::1 ! d");
    let held: Vec<_> = (0..5).map(|_| scene.take()).collect();
    let order: Vec<&str> = held.iter().map(lb_core::Lease::name).collect();
    assert_eq!(order, ["a", "b", "c", "d", "d"]);
    drop(held);
    assert_eq!(scene.order(2), "a b");
}

#[test]
fn a_retry_goes_on_in_the_group_before_it_leaves_it() {
    let mut scene = Scene::spec("a b ! c");
    let mut next = |names: &[&str]| {
        let tried = tried(names);
        let request = Request::new(scene.now()).with_tried(&tried);
        scene.pick(&request).map(|lease| lease.name().to_owned())
    };
    assert_eq!(next(&["a"]).unwrap(), "b");
    assert_eq!(next(&["a", "b"]).unwrap(), "c");
    assert_eq!(next(&["a", "b", "c"]).unwrap_err(), NoPick::AllTried);
}

#[test]
fn a_hash_then_a_bucket_then_spares_is_what_balance_writes() {
    let mut scene = Scene::spec("a b % ! c::64 ! d");
    let keyed = |scene: &Scene, n: u64| Request::new(scene.now()).with_key(key::of_bytes(&n.to_le_bytes()));
    let owner = |scene: &mut Scene, n| {
        let request = keyed(scene, n);
        scene.sent(&request)
    };
    let before: Vec<String> = (0..50).map(|n| owner(&mut scene, n)).collect();
    assert!(before.iter().all(|name| name == "a" || name == "b"));
    assert_eq!((0..50).map(|n| owner(&mut scene, n)).collect::<Vec<_>>(), before, "the same client, the same backend");
    scene.order_status("a", Status::Disabled);
    for (n, before) in (0..50).zip(&before) {
        assert_eq!(owner(&mut scene, n), if before == "a" { "c" } else { "b" });
    }
    let of_a = (0..50).zip(&before).find(|(_, name)| *name == "a").map(|(n, _)| n).unwrap();
    let request = keyed(&scene, of_a);
    let held: Vec<_> = (0..66).map(|_| scene.pick(&request).unwrap()).collect();
    let names: Vec<&str> = held.iter().map(lb_core::Lease::name).collect();
    assert_eq!(names, [vec!["c"; 64], vec!["d"; 2]].concat());
    drop(held);
    scene.order_status("a", Status::Enabled);
    assert_eq!(owner(&mut scene, of_a), "a");
}

#[test]
fn the_text_says_the_groups_and_their_selectors() {
    let config = config("a b % ! c::64 ! d");
    let kinds: Vec<_> = config.groups.iter().map(|group| group.selector).collect();
    assert_eq!(kinds, [SelectorKind::Hash { spill: false }, SelectorKind::RoundRobin, SelectorKind::RoundRobin]);
    assert_eq!(config.groups[1].backends[0].limit, Some(64));
}

#[test]
fn an_empty_group_is_passed() {
    let empty = lb_core::GroupConfig::default;
    let mut config = config("a ! b");
    config.groups.insert(0, empty());
    config.groups.insert(2, empty());
    config.groups.push(empty());
    let mut scene = Scene::new(config);
    assert_eq!(scene.order(2), "a a");
    scene.order_status("a", Status::Disabled);
    assert_eq!(scene.order(2), "b b");
}

#[test]
fn turns_in_a_spare_group_go_on_where_they_were() {
    let mut scene = Scene::spec("a ! x y z");
    for order in ["x", "y", "z", "x"] {
        scene.order_status("a", Status::Disabled);
        assert_eq!(scene.order(1), order);
        scene.order_status("a", Status::Enabled);
        assert_eq!(scene.order(1), "a");
    }
}

#[test]
fn a_last_part_may_be_as_long_as_it_likes() {
    let mut world = World::new(1);
    let group = [1, 2, 3].map(|n| Stub::new(n).with_limit(1));
    let parts: Vec<(usize, Box<dyn Selector>)> =
        vec![(1, Box::new(BucketFill)), (usize::MAX, Box::new(RoundRobin::default())), (5, Box::new(Hash::new()))];
    let request = Request::new(world.now());
    let failover = Failover::new(parts).rebuild(&group, &request);
    let mut slots = Vec::new();
    while let Some(slot) = failover.pick(&group, &request, world.rng()) {
        group[slot].enter();
        slots.push(slot);
    }
    assert_eq!(slots, [0, 1, 2]);
}
