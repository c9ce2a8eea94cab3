//! Ejection for failures that clients can provoke, played with whole fleets of clients in simulated time: who is bad goes
//! soon and comes back, and no single client takes anybody down.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use lb_core::{
    Config, Health, Lease, Outcome, SelectorKind,
    health::{Eject, RequestFailures},
    rand::RngExt as _,
};
use support::{Scene, chosen_by, id};

const SECOND: Duration = Duration::from_secs(1);

/// Where a request is answered, and chance.
struct Asked<'a> {
    backend: &'a str,
    /// 0 to 999.
    dice: u32,
}

/// Clients who come one after the other, so many a second.
struct Fleet {
    scene: Scene,
    clients: u64,
    per_second: u32,
    /// Requests that are under way at a time.
    at_once: usize,
    under_way: VecDeque<(Lease<()>, Outcome)>,
    come: u64,
    /// Who was seen to be ejected, and in which second.
    ejected: Vec<(String, u64)>,
    out: Vec<String>,
    failed: u64,
}

fn careful() -> Eject {
    Eject::default().with_request_failures(RequestFailures::default())
}

fn selectors() -> [SelectorKind; 3] {
    ["round-robin", "least-loaded", "hash"].map(|word| word.parse().unwrap())
}

impl Fleet {
    fn new(config: Config, clients: u64, per_second: u32) -> Self {
        let (scene, under_way, ejected, out) = (Scene::new(config), VecDeque::new(), Vec::new(), Vec::new());
        Self { scene, clients, per_second, at_once: 1, under_way, come: 0, ejected, out, failed: 0 }
    }

    /// Three backends, chosen so.
    fn of_three(selector: SelectorKind, clients: u64, per_second: u32) -> Self {
        Self::new(chosen_by(selector, "a b c").with_ejection(careful()), clients, per_second)
    }

    /// So many seconds of traffic, in which requests end so.
    fn play(&mut self, seconds: u64, ends: impl Fn(&Asked<'_>) -> Outcome) {
        for _ in 0..seconds * u64::from(self.per_second) {
            let client = self.scene.world.rng().next_u64() % self.clients;
            self.ask(client, false, &ends);
            self.pass();
        }
    }

    /// One request of this client, which may have been at a before.
    fn ask(&mut self, client: u64, is_pinned: bool, ends: &impl Fn(&Asked<'_>) -> Outcome) {
        let plain = self.scene.plain();
        let request = if is_pinned { plain.with_pin(id("a")) } else { plain };
        let key = client.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let Ok(lease) = self.scene.pick(&request.with_client(client).with_key(key)) else { return };
        let dice = self.scene.world.rng().random_range(0..1000);
        let outcome = ends(&Asked { backend: lease.name(), dice });
        self.failed += u64::from(outcome.is_failure());
        self.under_way.push_back((lease, outcome));
        while self.under_way.len() >= self.at_once {
            let (lease, outcome) = self.under_way.pop_front().unwrap();
            lease.finish(outcome, self.scene.now());
        }
    }

    fn pass(&mut self) {
        self.scene.pass(SECOND / self.per_second);
        self.come += 1;
        for backend in self.scene.balancer.stats().backends {
            let was_out = self.out.contains(&backend.name);
            match backend.health == Health::Ejected {
                true if !was_out => {
                    self.ejected.push((backend.name.clone(), self.come / u64::from(self.per_second)));
                    self.out.push(backend.name);
                }
                false if was_out => self.out.retain(|name| *name != backend.name),
                _ => {}
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.ejected.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn fails(is_so: bool) -> Outcome {
    if is_so { Outcome::ServerError } else { Outcome::Success }
}

#[test]
fn one_bad_backend_is_ejected_soon_and_no_other_at_any_pace() {
    for (selector, per_second, within) in [
        ("round-robin", 1, 60),
        ("round-robin", 16, 5),
        ("round-robin", 200, 1),
        ("hash", 2, 60),
        ("hash", 16, 5),
        ("least-loaded", 200, 10),
    ] {
        let mut fleet = Fleet::of_three(selector.parse().unwrap(), 16, per_second);
        fleet.at_once = if selector == "least-loaded" { 20 } else { 1 };
        fleet.play(within, |asked| fails(asked.backend == "b"));
        assert_eq!(fleet.names(), ["b"], "{selector} at {per_second} a second: {:?}", fleet.ejected);
    }
}

#[test]
fn least_loaded_spares_clients_a_bad_backend_with_too_few_of_them_to_eject_it() {
    let mut fleet = Fleet::of_three("least-loaded".parse().unwrap(), 16, 1);
    fleet.play(600, |asked| fails(asked.backend == "b"));
    assert!(fleet.failed < 40 && !fleet.names().contains(&"a"), "{} failed", fleet.failed);
}

#[test]
fn a_long_good_time_is_no_excuse() {
    let mut fleet = Fleet::of_three("round-robin".parse().unwrap(), 16, 50);
    fleet.play(1800, |_| Outcome::Success);
    fleet.play(3, |asked| fails(asked.backend == "b"));
    assert_eq!(fleet.names(), ["b"]);
    let mut noisy = Fleet::of_three("round-robin".parse().unwrap(), 16, 50);
    noisy.play(600, |asked| fails(asked.dice < 20));
    assert!(noisy.names().is_empty());
    noisy.play(12, |asked| fails(asked.dice < 20 || asked.backend == "b"));
    assert_eq!(noisy.names(), ["b"]);
}

#[test]
fn one_that_fails_every_second_time_is_ejected() {
    for selector in selectors() {
        let mut fleet = Fleet::of_three(selector, 16, 30);
        // Where nobody is busy the least loaded one is hardly ever one that fails.
        fleet.at_once = 10;
        fleet.play(20, |asked| fails(asked.backend == "b" && asked.dice < 500));
        assert_eq!(fleet.names(), ["b"], "{selector}");
    }
}

#[test]
fn pages_that_fail_everywhere_eject_nobody_at_any_pace() {
    for selector in selectors() {
        for (per_second, seconds) in [(1, 3600), (10, 300), (100, 20)] {
            for permille in [10, 100, 300, 700, 1000] {
                let mut fleet = Fleet::of_three(selector, 100, per_second);
                fleet.play(seconds, |asked| fails(asked.dice < permille));
                let name = format!("{selector}, {per_second} a second, {permille} of 1000 fail");
                assert!(fleet.names().is_empty(), "{name}: {:?}", fleet.ejected);
            }
        }
    }
}

/// Where there are too many to be compared at each failure.
#[test]
fn one_bad_backend_of_many_is_ejected_soon_among_failures_everywhere() {
    let names: Vec<String> = (0..300).map(|number| format!("b{number}")).collect();
    let config = chosen_by("round-robin".parse().unwrap(), &names.join(" ")).with_ejection(careful());
    let mut fleet = Fleet::new(config, 100, 3_000);
    fleet.play(6, |asked| fails(asked.dice < 300 || asked.backend == "b7"));
    assert_eq!(fleet.names(), ["b7"], "{:?}", fleet.ejected);
}

#[test]
fn one_client_who_always_comes_back_to_one_backend_ejects_it_not_even_among_the_failures_of_others() {
    for nasty_per_second in [5, 50] {
        let mut fleet = Fleet::of_three("round-robin".parse().unwrap(), 100, 30);
        for _ in 0..30 * 120 {
            for _ in 0..nasty_per_second / 5 {
                fleet.ask(1000, true, &|_| Outcome::ServerError);
            }
            let client = fleet.scene.world.rng().next_u64() % 100;
            fleet.ask(client, false, &|asked| fails(asked.dice < 20));
            fleet.pass();
        }
        assert!(fleet.names().is_empty(), "{nasty_per_second}: {:?}", fleet.ejected);
    }
}

#[test]
fn one_client_who_fails_everywhere_hides_no_bad_backend() {
    // Nine of ten requests are those of one.
    let mut one = Fleet::of_three("round-robin".parse().unwrap(), 16, 20);
    for _ in 0..20 * 15 {
        for _ in 0..9 {
            one.ask(1000, false, &|_| Outcome::Broken);
        }
        let client = one.scene.world.rng().next_u64() % 16;
        one.ask(client, false, &|asked| fails(asked.backend == "b"));
        one.pass();
    }
    assert_eq!(one.names(), ["b"], "{:?}", one.ejected);
}

#[test]
fn one_client_whose_requests_fail_everywhere_keeps_nobody_out() {
    let mut fleet = Fleet::of_three("round-robin".parse().unwrap(), 16, 20);
    fleet.play(5, |asked| fails(asked.backend == "b"));
    assert_eq!(fleet.scene.health("b"), Health::Ejected);
    // It is well again, and nine of ten requests are those of one who asks for what fails.
    for _ in 0..20 * 12 {
        for _ in 0..9 {
            fleet.ask(1000, false, &|_| Outcome::ServerError);
        }
        let client = fleet.scene.world.rng().next_u64() % 16;
        fleet.ask(client, false, &|_| Outcome::Success);
        fleet.pass();
    }
    assert_eq!((fleet.scene.health("b"), fleet.ejected.len()), (Health::Up, 1), "{:?}", fleet.ejected);
}

#[test]
fn a_rule_with_a_long_window_is_for_those_with_few_clients() {
    let rule = RequestFailures::new(NonZeroU32::new(3).unwrap(), 600 * SECOND);
    let config = chosen_by("round-robin".parse().unwrap(), "a b c");
    let mut scene = Scene::new(config.with_ejection(Eject::default().with_request_failures(rule)));
    for n in 0..60_u64 {
        let lease = scene.pick(&scene.plain().with_client(n % 16)).unwrap();
        let bad = lease.name() == "b";
        lease.finish(fails(bad), scene.now());
        scene.pass(10 * SECOND);
        if scene.health("b") == Health::Ejected {
            return assert!(n < 40, "{n}");
        }
    }
    panic!("it is never ejected");
}

#[test]
fn two_bad_backends_of_five_go_one_after_the_other() {
    let config = chosen_by("round-robin".parse().unwrap(), "a b c d e");
    let mut fleet = Fleet::new(config.with_ejection(careful()), 16, 50);
    fleet.play(8, |asked| fails(["b", "d"].contains(&asked.backend)));
    assert_eq!(fleet.names(), ["b", "d"]);
}

#[test]
fn what_was_before_an_ejection_is_not_held_against_it_afterwards() {
    let mut fleet = Fleet::of_three("round-robin".parse().unwrap(), 16, 20);
    fleet.play(5, |asked| fails(asked.backend == "b"));
    assert_eq!(fleet.names(), ["b"]);
    // Well again, with a few failures like everybody else.
    fleet.play(10, |_| Outcome::Success);
    let before = fleet.ejected.len();
    fleet.play(60, |asked| fails(asked.dice < 50));
    assert_eq!(fleet.ejected.len(), before, "{:?}", fleet.ejected);
}
