//! The same client at the same backend: spread, memory, and how few keys a change moves.

mod support;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use lb_core::{
    Config, NoPick, Request, SelectorKind, Status, WaitFor,
    health::{Probe, RiseFall},
    key,
};
use support::{Scene, chosen_by, config, id, numbered, tried};

const STRICT: SelectorKind = SelectorKind::Hash { spill: false };
const SPILLING: SelectorKind = SelectorKind::Hash { spill: true };

/// So many clients of one /16, as they come.
fn clients(count: u32) -> impl Iterator<Item = u64> {
    (0..count).map(|n| key::of_address(Ipv4Addr::from(0x0A07_0000 + n).into()))
}

fn owner(scene: &mut Scene, key: u64) -> String {
    let request = Request::new(scene.now()).with_key(key);
    scene.sent(&request)
}

fn owners(scene: &mut Scene, keys: impl Iterator<Item = u64>) -> Vec<String> {
    keys.map(|key| owner(scene, key)).collect()
}

fn counts(owners: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    owners.iter().for_each(|name| *counts.entry(name.as_str()).or_default() += 1);
    counts
}

fn assert_even(owners: &[String], backends: usize) {
    let (counts, fair) = (counts(owners), owners.len() as f64 / backends as f64);
    assert_eq!(counts.len(), backends);
    // Five standard deviations of a fair draw, and what 2^20 entries cannot divide better.
    let margin = 5.0 * fair.sqrt() + 0.02 * fair;
    assert!(counts.values().all(|count| (*count as f64 - fair).abs() < margin), "{counts:?}");
}

#[test]
fn clients_spread_evenly_over_three_and_over_twenty() {
    for backends in [3, 20] {
        let mut scene = Scene::new(numbered(backends, STRICT));
        assert_even(&owners(&mut scene, clients(20_000)), backends);
        let v6 = |n: u128| IpAddr::from(Ipv6Addr::from(0x2001_0db8 << 96 | n));
        let near = (0..20_000).map(|n| key::of_address(v6(n)));
        assert_even(&owners(&mut scene, near), backends);
        let networks = (0..20_000).map(|n| key::of_address(v6(n << 64)));
        assert_even(&owners(&mut scene, networks), backends);
        assert_even(&owners(&mut scene, 0..20_000), backends);
    }
}

#[test]
fn weights_are_shares_of_the_clients() {
    let mut scene = Scene::new(chosen_by(STRICT, "a:::1 b:::2 c:::5"));
    let owners = owners(&mut scene, clients(16_000));
    let counts = counts(&owners);
    for (name, fair) in [("a", 2000_usize), ("b", 4000), ("c", 10_000)] {
        assert!(counts[name].abs_diff(fair) < fair / 10, "{counts:?}");
    }
}

#[test]
fn a_v4_address_in_v6_clothing_is_the_same_client() {
    for n in [1, 77, 4000] {
        let v4 = Ipv4Addr::from(0x0A07_0000 + n);
        assert_eq!(key::of_address(v4.into()), key::of_address(v4.to_ipv6_mapped().into()));
    }
}

#[test]
fn a_client_stays_where_it_is_whatever_else_happens() {
    let mut scene = Scene::new(numbered(7, STRICT));
    let before = owners(&mut scene, clients(500));
    scene.order(13);
    scene.pass(Duration::from_secs(3600));
    scene.balancer.set_limit(id("b3"), Some(9), scene.now()).unwrap();
    assert_eq!(owners(&mut scene, clients(500)), before);
}

#[test]
fn the_mapping_is_the_same_after_a_restart_and_on_another_host() {
    for backends in [7, 40] {
        let mut here = Scene::seeded(1, numbered(backends, STRICT));
        let mut there = Scene::seeded(99, numbered(backends, STRICT));
        assert_eq!(owners(&mut here, clients(500)), owners(&mut there, clients(500)));
    }
}

#[test]
fn the_order_in_which_backends_are_written_does_not_matter() {
    for backends in [7, 40] {
        let mut written = Scene::new(numbered(backends, STRICT));
        let mut config = numbered(backends, STRICT);
        config.groups[0].backends.reverse();
        let mut reversed = Scene::new(config);
        assert_eq!(owners(&mut written, clients(500)), owners(&mut reversed, clients(500)));
    }
}

/// What may never change: other hosts and later versions must agree. Few backends are asked, many are in a table.
#[test]
fn the_mapping_is_pinned_for_ever() {
    let mut few = Scene::new(chosen_by(STRICT, "alpha:80 beta:80 gamma:80"));
    let mut many = Scene::new(numbered(20, STRICT));
    for (client, one, other) in GOLDEN {
        let key = key::of_address(client.parse().unwrap());
        assert_eq!((owner(&mut few, key).as_str(), owner(&mut many, key).as_str()), (one, other), "{client}");
    }
}

const GOLDEN: [(&str, &str, &str); 12] = [
    ("10.0.0.1", "alpha:80", "b11"),
    ("10.0.0.2", "beta:80", "b1"),
    ("10.0.0.3", "alpha:80", "b3"),
    ("192.0.2.7", "beta:80", "b3"),
    ("198.51.100.23", "alpha:80", "b4"),
    ("203.0.113.255", "alpha:80", "b6"),
    ("2001:db8::1", "beta:80", "b17"),
    ("2001:db8::ffff:1", "beta:80", "b18"),
    ("10.0.0.4", "alpha:80", "b16"),
    ("10.0.0.5", "gamma:80", "b14"),
    ("10.0.0.6", "gamma:80", "b5"),
    ("172.16.5.4", "gamma:80", "b0"),
];

#[test]
fn one_more_backend_takes_its_share_and_moves_nothing_else() {
    for n in [1, 2, 3, 8, 16, 17, 40, 200] {
        let mut scene = Scene::new(numbered(n, STRICT));
        let before = owners(&mut scene, clients(6000));
        scene.update(numbered(n + 1, STRICT));
        let after = owners(&mut scene, clients(6000));
        let new = format!("b{n}");
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(_, after)| **after == new), "{n} and one more");
        let fair = 6000.0 / (n as f64 + 1.0);
        assert!((moved.len() as f64 - fair).abs() < 5.0 * fair.sqrt() + 0.05 * fair, "{n}: {} moved", moved.len());
        if n < 40 {
            scene.update(numbered(n, STRICT));
            assert_eq!(owners(&mut scene, clients(6000)), before, "one of {n} that goes moves only its own");
        }
    }
}

#[test]
fn a_weight_that_grows_draws_keys_to_itself_alone() {
    for n in [3, 20] {
        let mut scene = Scene::new(numbered(n, STRICT));
        let before = owners(&mut scene, clients(6000));
        scene.balancer.set_weight(id("b1"), 2, scene.now()).unwrap();
        let after = owners(&mut scene, clients(6000));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(!moved.is_empty() && moved.iter().all(|(_, after)| *after == "b1"));
        scene.balancer.set_weight(id("b1"), 1, scene.now()).unwrap();
        assert_eq!(owners(&mut scene, clients(6000)), before);
    }
}

fn probed(config: Config) -> Scene {
    let one = std::num::NonZeroU32::MIN;
    Scene::new(config.with_probes(RiseFall::new(one, one).assuming_up()))
}

#[test]
fn health_and_orders_move_no_key_that_is_not_concerned() {
    let mut scene = probed(numbered(5, SPILLING));
    let before = owners(&mut scene, clients(2000));
    scene.probe("b2", Probe::Failed);
    for settled in [false, true] {
        if settled {
            scene.settle();
        }
        let after = owners(&mut scene, clients(2000));
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || before == "b2"));
        let orphans: Vec<String> =
            before.iter().zip(&after).filter(|(b, _)| *b == "b2").map(|(_, a)| a.clone()).collect();
        assert_even(&orphans, 4);
        assert_eq!(owners(&mut scene, clients(2000)), after, "the one who takes over is always the same");
    }
    scene.probe("b2", Probe::Passed);
    assert_eq!(owners(&mut scene, clients(2000)), before, "keys come back at once");
}

#[test]
fn who_takes_over_does_so_in_proportion_to_weight() {
    let mut scene = Scene::new(chosen_by(SPILLING, "a b:::1 c:::3"));
    let before = owners(&mut scene, clients(20_000));
    scene.order_status("a", Status::Disabled);
    let after = owners(&mut scene, clients(20_000));
    let took = |name: &str| before.iter().zip(&after).filter(|(b, a)| *b == "a" && *a == name).count() as f64;
    let ratio = took("c") / took("b");
    assert!((2.6..3.4).contains(&ratio), "{ratio}");
}

#[test]
fn without_spill_the_keys_of_a_lost_owner_go_to_the_next_group() {
    let mut scene = Scene::spec("a b c % d");
    let before = owners(&mut scene, clients(1000));
    scene.order_status("b", Status::Disabled);
    let after = owners(&mut scene, clients(1000));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after, if before == "b" { "d" } else { before });
    }
    scene.order_status("b", Status::Enabled);
    assert_eq!(owners(&mut scene, clients(1000)), before);
}

#[test]
fn without_spill_and_without_another_group_the_reason_names_the_owner() {
    let mut scene = Scene::spec("a::1 b::1 %");
    let key = clients(100).find(|key| owner(&mut scene, *key) == "a").unwrap();
    let request = Request::new(scene.now()).with_key(key);
    let held = scene.pick(&request).unwrap();
    assert_eq!(scene.pick(&request).unwrap_err(), NoPick::OwnerUnavailable);
    drop(held);
    let been_there = tried(&["a"]);
    assert_eq!(scene.pick(&request.with_tried(&been_there)).unwrap_err(), NoPick::OwnerUnavailable);
    assert_eq!(scene.sent(&request), "a");
}

#[test]
fn a_full_owner_spills_and_takes_its_keys_again() {
    let mut scene = Scene::new(chosen_by(SPILLING, "a::1 b::1 c::1"));
    let key = clients(100).find(|key| owner(&mut scene, *key) == "a").unwrap();
    let request = Request::new(scene.now()).with_key(key);
    let held: Vec<_> = (0..3).map(|_| scene.pick(&request).unwrap()).collect();
    let mut names: Vec<&str> = held.iter().map(lb_core::Lease::name).collect();
    assert_eq!(names[0], "a");
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(scene.pick(&request).unwrap_err(), NoPick::AllFull);
    drop(held);
    assert_eq!(scene.sent(&request), "a");
}

#[test]
fn requests_without_a_key_go_anywhere_open() {
    let mut scene = Scene::new(chosen_by(STRICT, "a b c"));
    let all: Vec<String> = (0..3000).map(|_| scene.order(1)).collect();
    assert_even(&all, 3);
    scene.order_status("a", Status::Disabled);
    let rest: Vec<String> = (0..3000).map(|_| scene.order(1)).collect();
    assert_even(&rest, 2);
}

#[test]
fn a_request_waits_for_the_owner_of_its_key_and_for_nobody_where_that_is_down() {
    let mut scene = Scene::spec("a::1 b::1 %");
    let key = (0..1000).find(|key| owner(&mut scene, *key) == "a").unwrap();
    let request = Request::new(scene.now()).with_key(key);
    let held = scene.pick(&request).unwrap();
    assert_eq!(scene.pick(&request).unwrap_err(), NoPick::OwnerUnavailable);
    assert_eq!(scene.balancer.wait_for(&request), WaitFor::One(id("a")));
    let been = tried(&["a"]);
    assert_eq!(scene.balancer.wait_for(&request.with_tried(&been)), WaitFor::Nothing);
    scene.order_status("a", Status::Disabled);
    assert_eq!(scene.balancer.wait_for(&request), WaitFor::Nothing);
    drop(held);
}

#[test]
fn with_spares_or_spilling_a_request_waits_for_any() {
    for config in [config("a::1 b::1 % ! c::1"), chosen_by(SPILLING, "a::1 b::1")] {
        let scene = Scene::new(config);
        assert_eq!(scene.balancer.wait_for(&scene.plain().with_key(7)), WaitFor::Any);
    }
    let scene = Scene::spec("a b ! c");
    for name in ["a", "b", "c"] {
        scene.balancer.set_status(id(name), Status::Disabled, scene.now()).unwrap();
    }
    assert_eq!(scene.balancer.wait_for(&scene.plain()), WaitFor::Nothing);
}

#[test]
fn who_is_pinned_waits_for_a_full_or_draining_backend_and_not_for_one_that_is_gone() {
    let mut scene = Scene::spec("a::1 b");
    let request = scene.plain().with_pin(id("a"));
    let _held = scene.pick(&request).unwrap();
    assert_eq!(scene.balancer.wait_for(&request), WaitFor::One(id("a")));
    scene.order_status("a", Status::Draining);
    assert_eq!(scene.balancer.wait_for(&request), WaitFor::One(id("a")));
    scene.order_status("a", Status::Disabled);
    assert_eq!(scene.balancer.wait_for(&request), WaitFor::Nothing);
    assert_eq!(scene.balancer.wait_for(&scene.plain().with_pin(id("x"))), WaitFor::Nothing);
}
