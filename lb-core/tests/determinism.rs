//! One seed, one sequence: time and chance are arguments.

mod support;

use lb_core::{Outcome, Request, SelectorKind, Start, key, selector::Metric};
use std::time::Duration;
use support::{Scene, numbered};

/// What a little traffic with failures, keys and time comes to.
fn story(seed: u64, kind: SelectorKind, count: usize) -> Vec<String> {
    let mut scene = Scene::seeded(seed, numbered(count, kind).with_start(Start::Random));
    let mut held = Vec::new();
    let step = |turn: u64| {
        scene.world.advance(Duration::from_millis(turn % 7));
        let plain = Request::new(scene.now());
        let request = if turn.is_multiple_of(3) { plain.with_key(key::of_bytes(&turn.to_le_bytes())) } else { plain };
        let lease = scene.pick(&request).expect("it is as the scenario says");
        let name = lease.name().to_owned();
        match turn % 5 {
            0 => held.push(lease),
            1 => lease.finish(Outcome::ServerError, scene.now()),
            _ => lease.finish(Outcome::Success, scene.now()),
        }
        name
    };
    (0..300).map(step).collect()
}

#[test]
fn the_same_seed_gives_the_same_picks() {
    for kind in SelectorKind::ALL {
        for count in [3, 12] {
            assert_eq!(story(7, kind, count), story(7, kind, count), "{kind:?}");
        }
    }
}

#[test]
fn another_seed_gives_other_picks_where_chance_has_a_say() {
    for kind in [SelectorKind::LeastLoaded(Metric::InFlight), SelectorKind::Random, SelectorKind::Hash { spill: true }]
    {
        assert_ne!(story(7, kind, 12), story(8, kind, 12), "{kind:?}");
    }
}
