//! What applications say of themselves, in simulated time: each word, shares of the work, and how it is told.

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use lb_core::{
    Cause, Config, Ejected, Group, Health, Outcome, Request, Selector, SelectorKind, Status,
    health::{Eject, Evidence, HealthPolicy, Probe, RiseFall, Said, Share, Verdict},
    rand::Rng,
    selector::RoundRobin,
};
use proptest::{collection::vec, prelude::*};
use support::{Scene, chosen_by, config, id};

const SECOND: Duration = Duration::from_secs(1);
const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
const DOWN: Health = Health::Down(Cause::Said);
const SILENT: Health = Health::Down(Cause::Silent);
const MAINTENANCE: Health = Health::Down(Cause::Maintenance);

/// Probed, with two to rise and three to fall, so that whatever counts at once shows.
fn probed(config: Config) -> Scene {
    Scene::new(config.with_probes(RiseFall::new(TWO, THREE).assuming_up()))
}

fn share(percent: u8) -> Share {
    Share::percent(percent).expect("1 to 100")
}

fn up(percent: u8) -> Said {
    Said::Up(share(percent))
}

impl Scene {
    fn says(&mut self, name: &str, word: Said) {
        self.probe(name, Probe::Said(word));
    }

    fn falls_silent(&mut self, name: &str) {
        (0..3).for_each(|_| self.probe(name, Probe::Failed));
    }

    fn pinned(&mut self, name: &str) -> String {
        let request = self.plain().with_pin(id(name));
        self.sent(&request)
    }

    /// How many of so many picks each of these gets.
    fn counts<const N: usize>(&mut self, names: [&str; N], picks: usize) -> [usize; N] {
        let order = self.order(picks);
        names.map(|name| order.split(' ').filter(|picked| *picked == name).count())
    }
}

const GONE: &str = "the backend that the request is pinned to is gone";

#[test]
fn each_word_counts_at_once_for_new_and_pinned_requests_and_kept_connections() {
    let rows = [
        (up(100), Health::Up, "a b", "a", true),
        (up(40), Health::Up, "a b", "a", true),
        (Said::Drain, Health::Draining, "b b", "a", true),
        (Said::Down, DOWN, "b b", GONE, false),
        (Said::Maintenance, MAINTENANCE, "b b", GONE, false),
    ];
    for (word, health, order, pinned, kept) in rows {
        let mut scene = probed(config("a b"));
        let running = scene.pick(&scene.plain().with_pin(id("a"))).expect("it is up");
        scene.says("a", word);
        assert_eq!(scene.health("a"), health, "{word}");
        assert_eq!(scene.order(2), order, "{word}: before any snapshot");
        assert_eq!(scene.pinned("a"), pinned, "{word}");
        assert_eq!(scene.balancer.is_wanted(id("a")), kept, "{word}");
        assert_eq!(scene.stats("a").in_flight, 1, "{word}: what runs goes on");
        running.finish(Outcome::Success, scene.now());
        assert_eq!(scene.stats("a").in_flight, 0);
        scene.settle();
        assert_eq!((scene.stats("b").status, scene.pinned("a").as_str()), (Status::Enabled, pinned));
        scene.says("a", up(100));
        scene.settle();
        assert_eq!((scene.health("a"), scene.counts(["a", "b"], 10)), (Health::Up, [5, 5]), "{word}, and up again");
    }
}

#[test]
fn silence_must_fall_and_rise_unless_it_was_announced() {
    for word in [up(100), Said::Drain] {
        let mut scene = probed(config("a b"));
        scene.says("a", word);
        let said = scene.health("a");
        let healths = [(); 3].map(|()| {
            scene.probe("a", Probe::Failed);
            scene.health("a")
        });
        assert_eq!(healths, [said, said, SILENT], "{word}");
        scene.says("a", up(100));
        assert_eq!(scene.health("a"), SILENT, "two to rise");
        scene.says("a", up(100));
        assert_eq!(scene.health("a"), Health::Up);
    }
    for word in [Said::Down, Said::Maintenance] {
        let mut scene = probed(config("a"));
        scene.says("a", word);
        let said = scene.health("a");
        (0..9).for_each(|_| scene.probe("a", Probe::Failed));
        scene.settle();
        assert_eq!(scene.health("a"), said, "who said that it goes is gone");
        assert!(scene.pick(&Request::new(scene.now())).is_err(), "and no last resort");
        scene.says("a", up(100));
        assert_eq!(scene.health("a"), Health::Up, "back with one word");
    }
}

#[test]
fn the_first_word_ends_the_unknown_whichever_it_is() {
    for (word, health) in [(up(7), Health::Up), (Said::Drain, Health::Draining), (Said::Maintenance, MAINTENANCE)] {
        let mut scene = Scene::new(config("a").with_probes(RiseFall::default()));
        assert_eq!((scene.health("a"), scene.stats("a").reason.as_str()), (Health::Unknown, "no answer yet"));
        assert_ne!(scene.pinned("a"), "a", "not even what is pinned to it");
        scene.says("a", word);
        assert_eq!(scene.health("a"), health);
    }
}

#[test]
fn the_last_resort_leaves_alone_what_was_said() {
    for (word, pinned) in [(Said::Drain, "a"), (Said::Down, GONE), (Said::Maintenance, GONE)] {
        let mut scene = probed(config("a b"));
        scene.says("a", word);
        scene.falls_silent("b");
        for settled in [false, true] {
            assert_eq!(scene.order(3), "b b b", "{word}, settled {settled}");
            assert_eq!(scene.pinned("a"), pinned, "{word}, settled {settled}");
            scene.settle();
        }
        assert!(scene.stats("b").last_resort > 0 && scene.stats("a").last_resort == 0);
        scene.says("b", word);
        scene.settle();
        let maintained = word == Said::Maintenance;
        let why =
            if maintained { "all backends are in maintenance" } else { "all backends say that they take no work" };
        assert_eq!(scene.order(1), why, "{word}");
    }
}

#[test]
fn a_drain_that_was_said_stands_beside_another_policys_silence() {
    let all = config("a b").with_probes(RiseFall::default().assuming_up()).with_autodisable();
    let mut scene = Scene::new(all);
    scene.says("a", Said::Drain);
    scene.refuse("a", 1);
    scene.refuse("b", 1);
    assert_eq!((scene.health("a"), scene.health("b")), (Health::Draining, SILENT));
    scene.settle();
    assert_eq!(scene.order(2), "b b", "the silent one is the last resort");
}

#[test]
fn the_next_group_takes_over_when_all_of_one_drain_by_their_own_word() {
    let mut scene = probed(config("a b ! c"));
    scene.says("a", Said::Drain);
    scene.says("b", Said::Drain);
    assert_eq!(scene.order(2), "c c");
    assert_eq!((scene.pinned("a").as_str(), scene.pinned("b").as_str()), ("a", "b"));
}

#[test]
fn shares_are_exact_and_in_smooth_order() {
    let mut scene = probed(config("a b c"));
    scene.says("b", up(50));
    scene.says("c", up(25));
    scene.settle();
    assert_eq!(scene.counts(["a", "b", "c"], 700), [400, 200, 100]);
    let order = scene.order(7).replace(' ', "");
    assert_eq!("abacaba".repeat(2).find(&order).map(|_| ()), Some(()), "smooth: {order}");
    scene.says("b", up(100));
    scene.says("c", up(100));
    scene.settle();
    assert_eq!(scene.counts(["a", "b", "c"], 300), [100, 100, 100], "all is restored");
}

#[test]
fn shares_scale_weights_and_never_to_nothing() {
    let mut scene = probed(config("a:80:9:3 b:80:9:1 c:80:9:0"));
    scene.says("a:80", up(33));
    scene.says("b:80", up(1));
    scene.says("c:80", up(50));
    scene.settle();
    assert_eq!(scene.counts(["a:80", "b:80", "c:80"], 1000), [990, 10, 0], "99 to 1, and 0 stays 0");
    assert_eq!((scene.stats("a:80").weight, scene.stats("a:80").share), (3, share(33)));
}

#[test]
fn a_share_counts_for_load_and_chance_too() {
    for kind in [SelectorKind::LeastLoaded(lb_core::selector::Metric::InFlight), SelectorKind::Random] {
        let mut scene = probed(chosen_by(kind, "a b"));
        scene.says("b", up(25));
        scene.settle();
        let held: Vec<_> = (0..1000).map(|_| scene.take()).collect();
        let of_b = held.iter().filter(|lease| lease.name() == "b").count();
        assert!((170..230).contains(&of_b), "{kind}: {of_b} of 1000");
    }
}

#[test]
fn where_weights_own_keys_or_say_nothing_a_share_scales_the_limit() {
    for kind in [SelectorKind::Hash { spill: false }, SelectorKind::BucketFill] {
        let mut scene = probed(chosen_by(kind, "a:80:10 b"));
        let keys = |scene: &mut Scene| -> Vec<String> {
            (0..100).map(|key| scene.sent(&scene.plain().with_key(key))).collect()
        };
        let before = keys(&mut scene);
        for (percent, room) in [(40, 4), (1, 1), (100, 10)] {
            scene.says("a:80", up(percent));
            scene.settle();
            assert_eq!(keys(&mut scene), before, "{kind}: nobody's place is another");
            let pinned = scene.plain().with_pin(id("a:80"));
            let held: Vec<_> = (0..50).map_while(|_| scene.pick(&pinned).ok()).collect();
            assert_eq!((held.len(), scene.stats("a:80").limit), (room, Some(10)), "{kind}, {percent} %");
        }
    }
}

#[test]
fn a_share_and_a_slow_start_multiply() {
    let whole = 100 * SECOND;
    let mut scene = probed(config("a b").with_slow_start(whole));
    scene.says("a", Said::Down);
    scene.settle();
    scene.says("a", up(50));
    scene.settle();
    // One tenth of a half beside one whole.
    assert_eq!(scene.counts(["a", "b"], 2100), [100, 2000]);
    scene.pass(4 * whole / 10);
    assert_eq!(scene.counts(["a", "b"], 1000), [200, 800], "five tenths of a half");
    scene.pass(whole);
    assert_eq!(scene.counts(["a", "b"], 300), [100, 200], "the half");
    scene.says("a", up(100));
    scene.settle();
    assert_eq!(scene.counts(["a", "b"], 300), [150, 150], "a share is no reason to start slowly");
}

#[test]
fn a_selector_over_all_groups_compares_weights_of_one_scale() {
    let all = config("a ! b").with_probes(RiseFall::default().assuming_up());
    let mut scene = Scene::new(all);
    scene.balancer = scene.world.balancer(scene.balancer.config()).with_selector(&RoundRobin::starting_at(0));
    scene.says("a", up(50));
    scene.settle();
    assert_eq!(scene.counts(["a", "b"], 300), [100, 200]);
}

/// Takes twice as much with each probe that passes, from so many percent on.
#[derive(Debug)]
struct Warming(u8);

impl HealthPolicy for Warming {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        Box::new(Self(self.0))
    }

    fn observe(&mut self, evidence: &Evidence, _: Instant) -> Verdict {
        let Evidence::Probe(Probe::Passed) = evidence else { return Verdict::default() };
        self.0 = (self.0 * 2).min(100);
        Verdict::health(Health::Up).with_share(share(self.0))
    }
}

#[test]
fn a_policy_of_your_own_gives_shares() {
    let mut scene = Scene::new(config("a b"));
    scene.balancer = scene.world.balancer(config("a b")).with_health_policy(Box::new(Warming(25)));
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(scene.counts(["a", "b"], 300), [100, 200]);
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(scene.counts(["a", "b"], 300), [150, 150]);
}

#[test]
fn a_share_survives_what_does_not_concern_it() {
    let with = |text: &str| config(text).with_probes(RiseFall::new(TWO, THREE).assuming_up());
    let mut scene = Scene::new(with("a b"));
    scene.says("a", up(50));
    scene.update(with("b a c"));
    assert_eq!(scene.counts(["a", "b", "c"], 500), [100, 200, 200]);
    scene.update(config("b a c").with_probes(RiseFall::new(THREE, TWO)));
    assert_eq!(scene.stats("a").share, share(50), "other probes know no better yet");
    scene.falls_silent("a");
    scene.enable("a");
    assert_eq!((scene.health("a"), scene.stats("a").share), (Health::Up, share(50)));
    scene.update(config("b a c"));
    assert_eq!(scene.stats("a").share, Share::FULL, "nobody probes it any more");
    assert_eq!(scene.counts(["a", "b", "c"], 300), [100, 100, 100]);
}

#[test]
fn a_probe_that_says_nothing_takes_back_a_share() {
    let mut scene = probed(config("a b"));
    scene.says("a", up(10));
    scene.probe("a", Probe::Failed);
    assert_eq!(scene.stats("a").share, share(10), "silence says nothing of shares");
    scene.probe("a", Probe::Passed);
    assert_eq!(scene.stats("a").share, Share::FULL);
}

/// Turns, and how often the tables were made.
#[derive(Debug)]
struct Counting(Box<dyn Selector>, Arc<AtomicUsize>);

impl Selector for Counting {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize> {
        self.0.pick(group, request, rng)
    }

    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector> {
        self.1.fetch_add(1, SeqCst);
        Box::new(Self(self.0.rebuild(group, request), Arc::clone(&self.1)))
    }
}

#[test]
fn flapping_makes_no_more_tables_than_settle_allows() {
    for words in [[Said::Down, up(100)], [up(30), up(60)], [Said::Drain, Said::Maintenance]] {
        let (made, mut scene) = (Arc::new(AtomicUsize::new(0)), probed(config("a b c")));
        let counting = Counting(Box::new(RoundRobin::starting_at(0)), Arc::clone(&made));
        scene.balancer = scene.world.balancer(scene.balancer.config()).with_selector(&counting);
        scene.settle();
        let before = made.load(SeqCst);
        // For a second a word each millisecond, and whoever drives it settles as often as it can.
        for word in words.into_iter().cycle().take(1000) {
            scene.says("a", word);
            scene.pass(Duration::from_millis(1));
            let order = scene.order(4);
            assert!(order.contains('b') && order.contains('c'), "the others are disturbed by nothing: {order}");
        }
        let tables = made.load(SeqCst) - before;
        assert!((50..=101).contains(&tables), "{tables} tables in a second");
        // And with nothing new to say there is nothing to make.
        scene.pass(SECOND);
        let before = made.load(SeqCst);
        (0..100).for_each(|_| {
            scene.says("a", words[1]);
            scene.pass(Duration::from_millis(10));
        });
        assert_eq!(made.load(SeqCst), before);
    }
}

#[test]
fn stats_say_why_since_when_and_what_comes_next() {
    let mut scene = probed(config("a b").with_ejection(Eject::default()));
    let began = scene.now();
    let a = scene.stats("a");
    assert_eq!((a.reason.as_str(), a.since, a.next_probe, a.ejected), ("assumed at first", None, None, None));
    scene.pass(SECOND);
    let down = Evidence::Probe(Probe::Said(Said::Down));
    let because = |scene: &Scene, reason| scene.balancer.observe_because(id("a"), &down, reason, scene.now()).unwrap();
    because(&scene, "no database");
    scene.pass(SECOND);
    because(&scene, "no disk");
    let a = scene.stats("a");
    assert_eq!((a.reason.as_str(), a.since), ("no disk", Some(began + SECOND)), "the newest reason, the same state");
    scene.probe("a", Probe::Failed);
    assert_eq!(scene.stats("a").reason, "no disk", "one lost probe is no reason yet");
    scene.balancer.set_next_probe(id("a"), Some(began + 9 * SECOND)).unwrap();
    assert_eq!(scene.stats("a").next_probe, Some(began + 9 * SECOND));
    scene.balancer.set_next_probe(id("a"), None).unwrap();
    assert_eq!(scene.stats("a").next_probe, None);
    assert!(scene.balancer.set_next_probe(id("nobody"), None).is_err());
}

#[test]
fn stats_say_until_when_an_ejected_one_is_out_and_when_it_is_tried() {
    let mut scene = Scene::new(config("a b").with_ejection(Eject::default()));
    scene.refuse("a", 3);
    let (ejected, until) = (scene.now(), scene.now() + 10 * SECOND);
    let a = scene.stats("a");
    assert_eq!((a.ejected, a.since), (Some(Ejected::Until(Some(until))), Some(ejected)));
    assert_eq!(a.reason, "connect failed, for 10s");
    scene.pass(10 * SECOND);
    assert_eq!(scene.stats("a").ejected, Some(Ejected::HalfOpen));
    let trial = scene.pick(&scene.plain().with_pin(id("a"))).unwrap();
    assert_eq!(scene.stats("a").ejected, Some(Ejected::Trial));
    trial.finish(Outcome::ConnectFailed, scene.now());
    let a = scene.stats("a");
    assert_eq!((a.reason.as_str(), a.since), ("tried again: connect failed, for 20s", Some(ejected)));
    scene.pass(20 * SECOND);
    scene.end_at("a", Outcome::Success, 1);
    scene.settle();
    let a = scene.stats("a");
    assert_eq!((a.ejected, a.health, a.reason.as_str()), (None, Health::Up, "tried again with success"));
}

#[test]
fn explanations_give_the_health_and_its_reason() {
    let mut scene = probed(config("a b c d e"));
    let because = |scene: &Scene, name, word, reason| {
        let evidence = Evidence::Probe(Probe::Said(word));
        scene.balancer.observe_because(id(name), &evidence, reason, scene.now()).unwrap();
    };
    because(&scene, "a", Said::Down, "the application said DOWN: no database");
    because(&scene, "b", Said::Drain, "the application said DRAIN");
    because(&scene, "c", Said::Maintenance, "the application said MAINT: new disks");
    scene.falls_silent("d");
    scene.settle();
    let text = "a: down: said so (the application said DOWN: no database)\n\
                b: draining: said so (the application said DRAIN)\n\
                c: down: maintenance (the application said MAINT: new disks)\n\
                d: down: silent (probe failed)\n\
                e: chosen\n";
    assert_eq!(scene.balancer.explain(&scene.plain()).to_string(), text);
    let pinned = scene.balancer.explain(&scene.plain().with_pin(id("b"))).to_string();
    assert!(pinned.contains("b: chosen\n"), "{pinned}");
}

#[test]
fn words_are_told_as_events() {
    let mut scene = probed(config("a b"));
    scene.balancer.record_events();
    for word in [up(40), up(40), Said::Drain, Said::Maintenance, up(100)] {
        scene.says("a", word);
    }
    let lines: Vec<String> = scene.balancer.take_events().iter().map(ToString::to_string).collect();
    let expected = [
        "a takes 40 % of its share (it says UP)",
        "a is draining: said so (it says DRAIN)",
        "a is down: maintenance (it says MAINT)",
        "a takes 100 % of its share (it says UP)",
        "a is up (it says UP)",
    ];
    assert_eq!(lines, expected);
}

/// What may be seen of a backend, what people may order, and a request that comes or goes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Seen(usize, Probe),
    Ordered(usize, Status),
    Taken(Option<usize>),
    Ended(usize, Outcome),
    Passed(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let word = prop_oneof![
        (1..=100_u8).prop_map(|percent| Said::Up(share(percent))),
        Just(Said::Drain),
        Just(Said::Down),
        Just(Said::Maintenance),
    ];
    let probe = prop_oneof![4 => word.prop_map(Probe::Said), 1 => Just(Probe::Passed), 2 => Just(Probe::Failed)];
    let status = prop_oneof![3 => Just(Status::Enabled), 1 => Just(Status::Draining), 1 => Just(Status::Disabled)];
    let outcome = prop_oneof![Just(Outcome::Success), Just(Outcome::ConnectFailed), Just(Outcome::Cancelled)];
    prop_oneof![
        4 => (0..3_usize, probe).prop_map(|(which, probe)| Step::Seen(which, probe)),
        1 => (0..3_usize, status).prop_map(|(which, status)| Step::Ordered(which, status)),
        4 => proptest::option::of(0..3_usize).prop_map(Step::Taken),
        3 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Ended(which, outcome)),
        2 => (0..20_000_u64).prop_map(Step::Passed),
    ]
}

const NAMES: [&str; 3] = ["a:80", "b:80", "c:80"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_evidence_leaves_a_count_or_a_weight_behind(steps in vec(step(), 0..80)) {
        let all = config("a:80:50:4 b:80:50:2 c:80:50:1").with_ejection(Eject::default()).with_slow_start(SECOND);
        let mut scene = probed(all);
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Seen(which, probe) => scene.probe(NAMES[which], probe),
                Step::Ordered(which, status) => scene.order_status(NAMES[which], status),
                Step::Taken(pin) => {
                    let mut request = scene.plain();
                    request.pin = pin.map(|pin| id(NAMES[pin]));
                    let before = NAMES.map(|name| scene.stats(name));
                    if let Ok(lease) = scene.pick(&request) {
                        let at = before.iter().find(|stats| stats.name == lease.name()).unwrap();
                        prop_assert!(at.status != Status::Disabled && !matches!(at.health, DOWN | MAINTENANCE));
                        prop_assert!(pin.is_some() || at.health != Health::Draining, "new work for {at:?}");
                        held.push(lease);
                    }
                }
                Step::Ended(which, outcome) if !held.is_empty() => {
                    held.swap_remove(which % held.len()).finish(outcome, scene.now());
                }
                Step::Ended(..) => {}
                Step::Passed(millis) => _ = scene.pass(Duration::from_millis(millis)),
            }
            let inside = |name: &str| held.iter().filter(|lease| lease.name() == name).count() as u32;
            prop_assert_eq!(NAMES.map(|name| scene.stats(name).in_flight), NAMES.map(inside));
        }
        drop(held);
        for name in NAMES {
            (0..2).for_each(|_| scene.says(name, up(100)));
            scene.enable(name);
        }
        (0..2).for_each(|_| _ = scene.pass(2 * SECOND));
        prop_assert_eq!(NAMES.map(|name| (scene.health(name), scene.stats(name).in_flight)), [(Health::Up, 0); 3]);
        prop_assert_eq!(scene.counts(NAMES, 700), [400, 200, 100]);
    }
}
