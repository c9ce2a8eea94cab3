//! Buckets fill in order, and the first is refilled first.

mod support;

use std::{num::NonZeroU32, time::Duration};

use lb_core::{
    NoPick, Request, SelectorKind,
    health::{Probe, RiseFall},
};
use support::{Scene, chosen_by, id, numbered};

fn buckets(text: &str) -> Scene {
    Scene::new(chosen_by(SelectorKind::BucketFill, text))
}

#[test]
fn buckets_fill_in_the_order_they_are_written() {
    let mut scene = buckets("a::2 b::1 c::3");
    let held: Vec<_> = (0..6).map(|_| scene.take()).collect();
    let order: Vec<&str> = held.iter().map(lb_core::Lease::name).collect();
    assert_eq!(order.join(" "), "a a b c c c");
    assert_eq!(scene.pick(&Request::new(scene.now())).unwrap_err(), NoPick::AllFull);
}

#[test]
fn room_in_an_early_bucket_is_used_before_any_later_one() {
    let mut scene = buckets("a::2 b::1 c::3");
    let mut held: Vec<_> = (0..5).map(|_| scene.take()).collect();
    drop(held.remove(2));
    drop(held.remove(0));
    held.extend([scene.take(), scene.take(), scene.take()]);
    let order: Vec<&str> = held[3..].iter().map(lb_core::Lease::name).collect();
    assert_eq!(order, ["a", "b", "c"]);
}

#[test]
fn one_backend_does_all_the_work_that_it_can() {
    assert_eq!(buckets("a::1 b::1 c").order(5), "a a a a a");
    assert_eq!(buckets("a b c").order(3), "a a a");
}

#[test]
fn weight_says_nothing_but_that_zero_is_left_out() {
    let mut scene = buckets("a:::7 b");
    assert_eq!(scene.order(2), "a a");
    scene.balancer.set_weight(id("a"), 0, scene.now()).unwrap();
    assert_eq!(scene.order(2), "b b");
}

#[test]
fn a_thousand_buckets_fill_in_order_too() {
    let mut config = numbered(1000, SelectorKind::BucketFill);
    config.groups[0].backends.iter_mut().for_each(|backend| backend.limit = Some(1));
    let mut scene = Scene::new(config);
    let mut held: Vec<_> = (0..1000).map(|_| scene.take()).collect();
    assert!(held.iter().enumerate().all(|(at, lease)| lease.name() == format!("b{at}")));
    for at in [700, 64, 63] {
        drop(held.swap_remove(at));
    }
    let refilled = [scene.take(), scene.take(), scene.take()];
    let order: Vec<&str> = refilled.iter().map(lb_core::Lease::name).collect();
    assert_eq!(order, ["b63", "b64", "b700"]);
}

#[test]
fn a_limit_that_grows_is_used_at_once() {
    let mut scene = buckets("a::1 b");
    let _held = scene.take();
    assert_eq!(scene.order(1), "b");
    scene.balancer.set_limit(id("a"), Some(2), scene.now()).unwrap();
    assert_eq!(scene.order(1), "a");
}

#[test]
fn a_bucket_that_comes_back_grows_to_its_size() {
    let (one, whole) = (NonZeroU32::MIN, Duration::from_secs(100));
    let config = chosen_by(SelectorKind::BucketFill, "a::20 b").with_probes(RiseFall::new(one, one).assuming_up());
    let mut scene = Scene::new(config.with_slow_start(whole));
    scene.probe("a", Probe::Failed);
    scene.settle();
    scene.probe("a", Probe::Passed);
    for tenths in 1..=10 {
        scene.settle();
        let held: Vec<_> = (0..30).map(|_| scene.take()).collect();
        assert_eq!(held.iter().filter(|lease| lease.name() == "a").count(), 2 * tenths);
        drop(held);
        scene.pass(whole / 10);
    }
}
