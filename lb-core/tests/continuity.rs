//! What a change of the configuration leaves alone.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use lb_core::{
    BackendConfig, BackendId, Balancer, Config, Group, GroupConfig, Health, NoPick, Outcome, Request, Selector,
    SelectorKind, Start, Status,
    health::{Cause, Eject, Evidence, Probe, RiseFall, Said},
    rand::Rng,
    selector::Metric,
    sim::World,
};
use support::{Scene, chosen_by, config, id};

fn probed(text: &str) -> Config {
    let one = std::num::NonZeroU32::MIN;
    config(text).with_probes(RiseFall::new(one, one).assuming_up())
}

#[test]
fn requests_in_flight_are_counted_on_across_updates_and_moves_between_groups() {
    let mut scene = Scene::spec("a::2 b");
    let held = [scene.take(), scene.take(), scene.take()];
    scene.update(config("b ! a::2 c"));
    assert_eq!((scene.stats("a").in_flight, scene.stats("b").in_flight), (2, 1));
    assert_eq!((scene.stats("a").group, scene.stats("b").group), (1, 0));
    drop(held);
    assert_eq!((scene.stats("a").in_flight, scene.stats("a").cancelled), (0, 2));
}

#[test]
fn what_runs_on_a_removed_backend_ends_without_harm() {
    let mut scene = Scene::spec("a b");
    let held = [scene.take(), scene.take()];
    assert_eq!(scene.update(config("b")).removed, ["a"]);
    held.into_iter().for_each(|lease| lease.finish(Outcome::ConnectFailed, scene.now()));
    assert_eq!((scene.stats("b").in_flight, scene.order(2).as_str()), (0, "b b"));
}

#[test]
fn health_survives_an_update_that_does_not_concern_it() {
    let mut scene = Scene::new(probed("a b c"));
    scene.probe("a", Probe::Failed);
    scene.probe("b", Probe::Said(Said::Down));
    scene.update(probed("c::7 b a d"));
    assert_eq!(scene.health("a"), Health::Down(Cause::Silent));
    assert_eq!(scene.health("b"), Health::Down(Cause::Said));
    assert_eq!(scene.order(2), "c d");
    scene.probe("a", Probe::Passed);
    assert_eq!(scene.health("a"), Health::Up);
}

#[test]
fn a_row_of_failed_probes_goes_on_across_updates() {
    let policy = || RiseFall::default().assuming_up();
    let mut scene = Scene::new(config("a b").with_probes(policy()));
    for extra in ["", " c", " d"] {
        assert_eq!(scene.health("a"), Health::Up);
        scene.update(config(&format!("a b{extra}")).with_probes(policy()));
        scene.probe("a", Probe::Failed);
    }
    assert_eq!(scene.health("a"), Health::Down(Cause::Silent));
}

#[test]
fn an_ejection_runs_on_across_updates() {
    let mut scene = Scene::new(config("a b c").with_ejection(Eject::default()));
    scene.refuse("a", 3);
    scene.update(config("d c b a").with_ejection(Eject::default()));
    assert_eq!(scene.health("a"), Health::Ejected);
    assert!(!scene.order(8).contains('a'));
    scene.pass(Duration::from_secs(10));
    assert!(scene.order(4).contains('a'), "one request may try it");
    assert_eq!(scene.health("a"), Health::Up);
}

#[test]
fn averages_survive_an_update() {
    let kind = SelectorKind::LeastLoaded(Metric::PeakEwma);
    let mut scene = Scene::new(chosen_by(kind, "a b"));
    let held = [scene.take(), scene.take()];
    let start = scene.now();
    scene.world.advance(Duration::from_millis(5));
    let [a, b] = held;
    b.finish(Outcome::Success, start + Duration::from_millis(1));
    a.finish(Outcome::Success, scene.now());
    scene.update(chosen_by(kind, "b a::100"));
    assert_eq!(scene.order(2), "b b", "a is known to be slow");
}

#[test]
fn the_turn_survives_updates_that_do_not_concern_it() {
    let mut scene = Scene::spec("a:::5 b c ! x y");
    let mut order = Vec::new();
    for round in 0..100_u32 {
        order.push(scene.order(1));
        match round % 5 {
            0 => drop(scene.update(config(&format!("a::{}:5 b c ! x y", 7 + round)))),
            1 => scene.order_status("x", Status::Disabled),
            2 => scene.balancer.set_limit(id("b"), Some(round), scene.now()).unwrap(),
            3 => scene.balancer.set_weight(id("y"), round as u16, scene.now()).unwrap(),
            _ => scene.enable("x"),
        }
    }
    let expected = ["a", "a", "b", "a", "c", "a", "a"].repeat(15);
    assert_eq!(order, expected[..100]);
}

#[test]
fn a_hundred_updates_in_a_row_do_not_move_the_turn() {
    let mut scene = Scene::spec("a b c d");
    assert_eq!(scene.order(2), "a b");
    for round in 0..100 {
        let extra = if round % 2 == 0 { "z a b c d" } else { "a b c d" };
        scene.update(config(extra));
    }
    assert_eq!(scene.order(4), "c d a b");
}

#[test]
fn after_a_change_the_next_is_the_first_survivor_at_or_after_the_turn() {
    let rows = [
        ("a b c d e", 2, "a b d e", "d e a b"),
        ("a b c d e", 2, "a b", "a b a b"),
        ("a b c d e", 2, "c", "c c c c"),
        ("a b c d e", 2, "x a y b z c w d", "c w d x"),
        ("a b c d e", 4, "d c b a", "a d c b"),
        ("a b c d e", 0, "x y", "x y x y"),
        ("a:::5 b c", 2, "a:::5 b c d", "b a c a"),
        ("a:::5 b c", 4, "a:::5 b", "a a a b"),
    ];
    for (before, taken, after, order) in rows {
        let mut scene = Scene::spec(before);
        scene.order(taken);
        scene.update(config(after));
        assert_eq!(scene.order(4), order, "{before}, after {taken}, becomes {after}");
    }
}

#[test]
fn a_backend_that_goes_down_leaves_the_turn_with_the_next() {
    let mut scene = Scene::new(probed("a b c"));
    scene.order(1);
    scene.probe("b", Probe::Failed);
    scene.settle();
    assert_eq!(scene.order(3), "c a c");
    scene.probe("b", Probe::Passed);
    scene.settle();
    assert_eq!(scene.order(4), "a b c a");
}

#[test]
fn the_turn_follows_a_group_that_another_is_put_before() {
    let mut scene = Scene::spec("a b c");
    scene.order(1);
    scene.update(config("x y ! a b c"));
    assert_eq!(scene.order(3), "x y x", "a new group begins at its first");
    scene.update(config("a b c"));
    assert_eq!(scene.order(3), "b c a");
}

#[test]
fn what_people_set_survives_updates_that_say_nothing_else() {
    let mut scene = Scene::spec("a::9 b c");
    scene.balancer.set_weight(id("a"), 4, scene.now()).unwrap();
    scene.balancer.set_limit(id("a"), Some(3), scene.now()).unwrap();
    scene.order_status("b", Status::Disabled);
    let diff = scene.update(config("a::9 b c d"));
    assert_eq!((diff.added, diff.changed), (vec!["d".to_owned()], vec![]));
    let a = scene.stats("a");
    assert_eq!((a.weight, a.limit, scene.stats("b").status), (4, Some(3), Status::Disabled));
    scene.update(config("a::8 b c d"));
    let a = scene.stats("a");
    assert_eq!((a.weight, a.limit), (4, Some(8)), "only what the configurations differ in");
}

#[test]
fn a_backend_that_was_removed_and_comes_back_begins_anew() {
    let mut scene = Scene::new(probed("a b"));
    scene.probe("a", Probe::Failed);
    scene.order_status("a", Status::Disabled);
    let held = scene.take();
    scene.update(probed("c"));
    scene.update(probed("a b"));
    let (a, b) = (scene.stats("a"), scene.stats("b"));
    assert_eq!((a.health, a.status), (Health::Up, Status::Enabled));
    assert_eq!((held.name(), b.in_flight, b.picked()), ("b", 0, 0));
    drop(held);
    assert_eq!(scene.stats("b").picked(), 0, "the lease was of the one before");
}

#[test]
fn backends_of_one_name_have_each_their_own_state() {
    let mut scene = Scene::spec("a::1 a::1 b");
    let twins = [0, 1].map(|k| BackendId::new("a", k));
    scene.balancer.set_status(twins[1], Status::Disabled, scene.now()).unwrap();
    let held = scene.take();
    assert_eq!(held.id(), twins[0]);
    let all = scene.balancer.stats().backends;
    assert_eq!(
        all.iter().map(|b| (b.in_flight, b.status)).collect::<Vec<_>>(),
        [(1, Status::Enabled), (0, Status::Disabled), (0, Status::Enabled),]
    );
    scene.update(config("b a a"));
    let all = scene.balancer.stats().backends;
    assert_eq!((all[1].id, all[1].in_flight, all[2].status), (twins[0], 1, Status::Disabled));
    let alone: Vec<_> = all.iter().filter_map(|backend| scene.balancer.backend_stats(backend.id)).collect();
    assert_eq!(alone, all, "asked one by one");
    assert_eq!(scene.update(config("a b")).removed, ["a"], "the second of the name goes");
    assert_eq!(scene.stats("a").in_flight, 1);
}

#[test]
fn a_payload_is_made_once_for_as_long_as_its_backend_is_configured() {
    let (mut world, mut made) = (World::new(1), 0);
    let mut make = |_: &BackendConfig| {
        made += 1;
        made
    };
    let balancer = Balancer::new(config("a b"), world.now(), world.rng(), &mut make);
    balancer.update(config("b::5 a c"), world.now(), &mut make);
    let mut payloads = Vec::new();
    balancer.for_each(|id, payload| payloads.push((id, *payload)));
    assert_eq!(payloads, [(id("b"), 2), (id("a"), 1), (id("c"), 3)]);
}

#[test]
fn an_update_whose_payload_cannot_be_made_changes_nothing() {
    let mut world = World::new(1);
    let (now, config) = (world.now(), |text: &str| config(text).with_start(Start::First));
    let balancer = Balancer::new(config("a b ! c"), now, world.rng(), |_| 1);
    let before = (balancer.stats(), balancer.config());
    let fails = |text: &str, is_replaced: fn(&BackendConfig) -> bool| {
        let make = |backend: &BackendConfig| if backend.name == "broken" { panic!("no payload") } else { 2 };
        let update = || balancer.update_replacing(config(text), now, is_replaced, make);
        assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
    };
    fails("b new broken ! d ! e", |backend| backend.name == "b");
    fails("b a", |_| panic!("nobody knows"));
    assert_eq!((balancer.stats(), balancer.config()), before);
    balancer.set_status(id("a"), Status::Disabled, now).unwrap();
    let lease = balancer.pick(&Request::new(now), world.rng()).unwrap();
    assert_eq!((lease.name(), *lease.payload()), ("b", 1));
    let diff = balancer.update(config("b a ! d"), now, |_| 2);
    assert_eq!((diff.added, diff.removed), (vec!["d".to_owned()], vec!["c".to_owned()]));
    assert_eq!((balancer.stats().backends[0].in_flight, balancer.stats().backends[2].serial), (1, 4));
}

#[test]
fn evidence_waits_for_nobody_and_an_order_to_nobody_publishes_nothing() {
    let mut world = World::new(1);
    let (now, balancer) = (world.now(), world.balancer(probed("a b")));
    let (judged, verdict) = mpsc::channel();
    let failed = Evidence::Probe(Probe::Failed);
    // Whoever visits them has the lock.
    std::thread::scope(|scope| {
        balancer.for_each(|backend, ()| {
            let (balancer, judged, failed) = (&balancer, judged.clone(), &failed);
            scope.spawn(move || judged.send(balancer.observe(backend, failed, now)));
            assert!(verdict.recv_timeout(Duration::from_secs(10)).is_ok_and(|verdict| verdict.is_ok()));
        });
    });
    let (published, counts) = (Arc::new(AtomicU32::new(0)), AtomicU32::fetch_add);
    let count = Arc::clone(&published);
    balancer.on_publish(move || counts(&count, 1, SeqCst) < u32::MAX);
    assert!(balancer.set_status(id("c"), Status::Disabled, now).is_err());
    assert!(balancer.enable(id("c"), now).is_err() && balancer.set_weight(id("c"), 5, now).is_err());
    assert!(balancer.observe(id("c"), &failed, now).is_err());
    assert_eq!(published.load(SeqCst), 0);
    balancer.set_limit(id("a"), Some(5), now).unwrap();
    assert_eq!(published.load(SeqCst), 1);
}

#[test]
fn a_group_with_another_selector_begins_its_turns_where_the_configuration_says() {
    let mut scene = Scene::spec("a b c");
    scene.order(1);
    let group = GroupConfig::new(["a", "b", "c"].map(BackendConfig::new)).with_selector(SelectorKind::BucketFill);
    scene.update(Config::default().with_start(Start::First).with_group(group));
    assert_eq!(scene.order(2), "a a");
}

#[test]
fn taking_probes_away_takes_away_what_they_said() {
    let one = std::num::NonZeroU32::MIN;
    let mut scene = Scene::new(config("a b c d").with_probes(RiseFall::new(one, one)));
    scene.probe("a", Probe::Passed);
    scene.probe("b", Probe::Failed);
    scene.probe("c", Probe::Said(Said::Down));
    scene.update(config("a b c d"));
    assert_eq!(["a", "b", "c", "d"].map(|name| scene.health(name)), [Health::Up; 4]);
}

#[test]
fn other_probe_settings_find_a_backend_as_it_was_and_can_bring_it_back() {
    let mut scene = Scene::new(probed("a b"));
    scene.probe("a", Probe::Failed);
    let slower = RiseFall::default().assuming_up();
    scene.update(config("a b").with_probes(slower));
    assert_eq!((scene.health("a"), scene.health("b")), (Health::Down(Cause::Silent), Health::Up));
    scene.probe("a", Probe::Passed);
    assert_eq!(scene.health("a"), Health::Down(Cause::Silent), "it takes two to rise now");
    scene.probe("a", Probe::Passed);
    assert_eq!(scene.health("a"), Health::Up);
}

#[test]
fn probes_that_come_in_leave_running_traffic_alone() {
    let mut scene = Scene::spec("a b");
    scene.update(config("a b c").with_probes(RiseFall::default()));
    assert_eq!(["a", "b", "c"].map(|name| scene.health(name)), [Health::Up, Health::Up, Health::Unknown]);
}

#[test]
fn ejections_go_on_growing_when_the_probes_change() {
    let with = |fall: u32| {
        let fall = std::num::NonZeroU32::new(fall).unwrap();
        config("a b").with_probes(RiseFall::new(fall, fall).assuming_up()).with_ejection(Eject::default())
    };
    let mut scene = Scene::new(with(2));
    scene.refuse("a", 3);
    scene.pass(Duration::from_secs(10));
    scene.update(with(3));
    scene.end_at("a", Outcome::ConnectFailed, 1);
    scene.pass(Duration::from_secs(19));
    assert!(!scene.order(4).contains('a'), "the second period is twice the first");
    scene.pass(Duration::from_secs(1));
    assert!(scene.order(4).contains('a'));
}

#[test]
fn an_ejection_ends_as_it_would_have_when_the_rule_is_taken_away() {
    let mut scene = Scene::new(config("a b").with_ejection(Eject::default()));
    scene.refuse("a", 3);
    scene.update(config("a b"));
    assert_eq!((scene.health("a"), scene.order(2).as_str()), (Health::Ejected, "b b"));
    scene.pass(Duration::from_secs(10));
    assert!(scene.order(2).contains('a'));
    assert_eq!(scene.health("a"), Health::Up);
}

/// Picks while the next snapshot is made of it.
#[derive(Debug, Default)]
struct Curious {
    balancer: Arc<OnceLock<Balancer<u32>>>,
    seen: Arc<Mutex<Vec<Result<u32, NoPick>>>>,
}

impl Selector for Curious {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, _: &mut dyn Rng) -> Option<usize> {
        group.first_fit(0..group.len(), request)
    }

    fn rebuild(&self, _: &dyn Group, request: &Request<'_>) -> Box<dyn Selector> {
        if let Some(balancer) = self.balancer.get() {
            let picked = balancer.pick(request, World::new(1).rng());
            self.seen.lock().unwrap().push(picked.map(|lease| *lease.payload()));
        }
        Box::new(Self { balancer: Arc::clone(&self.balancer), seen: Arc::clone(&self.seen) })
    }
}

#[test]
fn those_that_leave_take_work_until_those_that_come_do() {
    let (mut world, curious) = (World::new(1), Curious::default());
    let now = world.now();
    let balancer = Balancer::new(config("a"), now, world.rng(), |_| 1).with_selector(&curious);
    curious.balancer.set(balancer).unwrap();
    let balancer = curious.balancer.get().unwrap();
    balancer.update(config("b"), now, |_| 2);
    balancer.update_replacing(config("b"), now, |_| true, |_| 3);
    assert_eq!(*curious.seen.lock().unwrap(), [Ok(1), Ok(2)]);
    assert_eq!(*balancer.pick(&Request::new(now), world.rng()).unwrap().payload(), 3);
}

#[test]
fn a_backend_that_is_replaced_begins_anew_with_what_is_configured() {
    let mut world = World::new(1);
    let now = world.now();
    let balancer = Balancer::new(config("a::2 b"), now, world.rng(), |_| 1);
    let request = Request::new(now).with_pin(id("a"));
    balancer.pick(&request, world.rng()).unwrap().finish(Outcome::Broken, now);
    let old = balancer.pick(&request, world.rng()).unwrap();
    let diff = balancer.update_replacing(balancer.config(), now, |backend| backend.name == "a", |_| 2);
    assert_eq!((diff.added, diff.removed, diff.changed), (vec!["a".to_owned()], vec!["a".to_owned()], vec![]));
    old.finish(Outcome::Broken, now);
    let stats = &balancer.stats().backends[0];
    assert_eq!((stats.failed, stats.in_flight, stats.limit), (0, 0, Some(2)));
    let payloads =
        ["a", "b"].map(|name| *balancer.pick(&Request::new(now).with_pin(id(name)), world.rng()).unwrap().payload());
    assert_eq!(payloads, [2, 1]);
}

#[test]
fn what_becomes_of_requests_at_a_replaced_backend_says_nothing_of_the_new_one() {
    let ejecting = |text: &str| config(text).with_ejection(Eject::default());
    let mut scene = Scene::new(ejecting("a b c"));
    let plain = scene.plain();
    let held: Vec<_> = (0..30).map(|_| scene.pick(&plain).unwrap()).collect();
    scene.balancer.update_replacing(ejecting("a b c"), scene.world.now(), |backend| backend.name == "a", |_| ());
    for lease in held {
        let outcome = if lease.name() == "a" { Outcome::ConnectFailed } else { Outcome::Success };
        lease.finish(outcome, scene.world.now());
    }
    let new = scene.stats("a");
    assert_eq!((new.connect_failed, new.ejected.is_some(), new.health), (0, false, Health::Up));
}

#[test]
fn an_order_that_comes_while_a_backend_is_being_replaced_holds_for_the_new_one() {
    let scene = Scene::spec("a b");
    let read = scene.balancer.config();
    let now = scene.world.now();
    scene.balancer.set_status(id("a"), Status::Disabled, now).unwrap();
    scene.balancer.set_weight(id("a"), 7, now).unwrap();
    let before = scene.stats("a").serial;
    scene.balancer.update_replacing(read, now, |backend| backend.name == "a", |_| ());
    let new = scene.stats("a");
    assert_eq!((new.status, new.weight, new.serial != before), (Status::Disabled, 7, true));
    let read = scene.balancer.config();
    assert_eq!((read.groups[0].backends[0].status, read.groups[0].backends[0].weight), (Status::Disabled, 7));
}
