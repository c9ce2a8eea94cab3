//! What is told of each change, and what is not.

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use lb_core::{
    BackendConfig, BackendId, Balancer, Config, Event, EventKind, Health, Lease, Outcome, Request, Status,
    health::{Cause, Eject, Evidence, Probe, RiseFall, Said},
    rand::{SeedableRng as _, rngs::SmallRng},
    sim::World,
};
use support::{Scene, config, id, numbered};

const SILENT: Health = Health::Down(Cause::Silent);

/// A scene whose changes are recorded.
fn recorded(config: Config) -> Scene {
    let scene = Scene::new(config);
    scene.balancer.record_events();
    scene
}

fn probed(text: &str) -> Config {
    config(text).with_probes(RiseFall::new(NonZeroU32::MIN, NonZeroU32::MIN).assuming_up())
}

/// Three connects that fail in a row eject, for 10 s, then for 20 s.
fn ejecting(text: &str) -> Config {
    config(text).with_ejection(Eject::default())
}

fn told(scene: &Scene) -> Vec<String> {
    scene.balancer.take_events().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_kept_before_somebody_wants_it() {
    let mut scene = Scene::spec("a b");
    scene.order_status("a", Status::Disabled);
    assert_eq!(scene.balancer.take_events(), []);
    scene.balancer.record_events();
    scene.settle();
    assert_eq!(scene.balancer.take_events(), [], "what was before is not made up for");
    scene.enable("a");
    assert_eq!(told(&scene), ["a is enabled"]);
    assert_eq!(scene.balancer.take_events(), [], "each event once");
}

#[test]
fn an_event_says_when_who_and_why() {
    let mut scene = recorded(config("a ! b").with_autodisable());
    scene.world.advance(Duration::from_secs(3));
    scene.end_at("b", Outcome::ConnectFailed, 1);
    let events = scene.balancer.take_events();
    let [Event { at, kind: EventKind::Health { backend, from, to, reason }, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((*at, backend.id, backend.name.as_str(), backend.group), (scene.now(), id("b"), "b", 1));
    assert_eq!((*from, *to, reason.as_str()), (Health::Up, SILENT, "connect failed"));
}

#[test]
fn only_a_change_of_health_is_told() {
    let mut scene = recorded(probed("a b"));
    (0..100).for_each(|_| scene.probe("a", Probe::Failed));
    (0..100).for_each(|_| scene.probe("a", Probe::Passed));
    scene.refuse("a", 100);
    scene.settle();
    assert_eq!(told(&scene), ["a is down: silent (probe failed)", "a is up (probe passed)"]);
}

#[test]
fn whoever_observes_may_say_why() {
    let scene = recorded(probed("a b"));
    let failed = Evidence::Probe(Probe::Failed);
    let verdict = scene.balancer.observe_because(id("a"), &failed, "probe: no answer within 1s", scene.now());
    assert_eq!(verdict.unwrap().health, Some(SILENT));
    assert_eq!(told(&scene), ["a is down: silent (probe: no answer within 1s)"]);
    assert!(scene.balancer.observe_because(id("nobody"), &failed, "", scene.now()).is_err());
}

#[test]
fn enabling_by_hand_tells_the_order_and_the_health() {
    let mut scene = recorded(config("a b").with_autodisable());
    scene.refuse("a", 1);
    scene.order_status("a", Status::Disabled);
    assert_eq!(told(&scene), ["a is down: silent (connect failed)", "a is disabled", "a is drained"]);
    scene.enable("a");
    assert_eq!(told(&scene), ["a is enabled", "a is up (enabled by hand)"]);
    scene.enable("a");
    assert_eq!(told(&scene), [""; 0], "it was");
}

#[test]
fn an_ejection_is_told_with_its_period_and_so_is_its_end() {
    let mut scene = recorded(ejecting("a b c"));
    scene.refuse("a", 3);
    assert_eq!(told(&scene), ["a is ejected (connect failed, for 10s)"]);
    scene.pass(Duration::from_secs(10));
    assert_eq!(told(&scene), [""; 0], "half open is not back");
    scene.end_at("a", Outcome::ConnectFailed, 1);
    assert_eq!(told(&scene), ["a is still ejected (tried again: connect failed, for 20s)"]);
    scene.pass(Duration::from_secs(20));
    scene.end_at("a", Outcome::Success, 1);
    scene.settle();
    assert_eq!(told(&scene), ["a is up (tried again with success)"]);
}

#[test]
fn enabling_an_ejected_backend_is_told() {
    let mut scene = recorded(ejecting("a b c"));
    scene.refuse("a", 3);
    scene.enable("a");
    scene.settle();
    assert_eq!(told(&scene), ["a is ejected (connect failed, for 10s)", "a is up (enabled by hand)"]);
}

#[test]
fn what_is_told_is_a_chain_whatever_comes_together() {
    let mut scene = recorded(probed("a b c").with_ejection(Eject::default()));
    scene.refuse("a", 3);
    scene.probe("a", Probe::Failed);
    scene.pass(Duration::from_secs(10));
    scene.probe("a", Probe::Passed);
    scene.end_at("a", Outcome::Success, 1);
    scene.probe("a", Probe::Said(Said::Down));
    scene.settle();
    let mut last = Health::Up;
    for event in scene.balancer.take_events() {
        let EventKind::Health { from, to, .. } = event.kind else { panic!("{event}") };
        assert_eq!(from, last);
        last = to;
    }
    assert_eq!(last, Health::Down(Cause::Said));
}

#[test]
fn a_drain_ends_with_the_last_request() {
    for status in [Status::Draining, Status::Disabled] {
        let mut scene = recorded(config("a ! b"));
        let [first, second] = [scene.take(), scene.take()];
        scene.order_status("a", status);
        first.finish(Outcome::Success, scene.now());
        scene.settle();
        assert_eq!(told(&scene), [format!("a is {status}")]);
        drop(second);
        scene.settle();
        assert_eq!(told(&scene), ["a is drained"], "however it ended");
        scene.settle();
        assert_eq!(told(&scene), [""; 0]);
    }
}

#[test]
fn a_backend_without_requests_is_drained_at_once_and_only_once() {
    let mut scene = recorded(config("a b"));
    scene.order_status("a", Status::Draining);
    assert_eq!(told(&scene), ["a is draining", "a is drained"]);
    scene.end_at("a", Outcome::Success, 1);
    scene.order_status("a", Status::Disabled);
    scene.settle();
    assert_eq!(told(&scene), ["a is disabled"], "it has not been enabled since");
    scene.enable("a");
    scene.order_status("a", Status::Disabled);
    assert_eq!(told(&scene), ["a is enabled", "a is disabled", "a is drained"]);
}

#[test]
fn disabling_a_drained_backend_with_a_pinned_request_is_another_drain() {
    let mut scene = recorded(config("a b"));
    scene.order_status("a", Status::Draining);
    let pinned = scene.plain().with_pin(id("a"));
    let lease = scene.pick(&pinned).unwrap();
    scene.order_status("a", Status::Disabled);
    told(&scene);
    lease.finish(Outcome::Success, scene.now());
    scene.settle();
    assert_eq!(told(&scene), ["a is drained"]);
}

#[test]
fn a_backend_enabled_again_before_its_last_request_ended_was_never_drained() {
    let mut scene = recorded(config("a b"));
    let lease = scene.take();
    scene.order_status("a", Status::Draining);
    drop(lease);
    scene.enable("a");
    scene.settle();
    assert_eq!(told(&scene), ["a is draining", "a is enabled"]);
}

#[test]
fn the_last_resort_begins_and_is_over() {
    let mut scene = recorded(probed("a ! b"));
    scene.probe("a", Probe::Failed);
    scene.settle();
    told(&scene);
    scene.probe("b", Probe::Failed);
    scene.settle();
    let lines = told(&scene);
    assert_eq!(
        lines[1..],
        ["last resort: no backend is up, those that are silent or ejected are tried anyway"],
        "{lines:?}"
    );
    (0..3).for_each(|_| scene.refuse("a", 1));
    scene.settle();
    assert_eq!(told(&scene), [""; 0], "once, however much traffic fails");
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(told(&scene), ["a is up (probe passed)", "the last resort is over"]);
}

#[test]
fn nobody_to_be_tried_is_no_last_resort() {
    let mut scene = recorded(probed("a b"));
    scene.order_status("a", Status::Disabled);
    scene.probe("b", Probe::Said(Said::Down));
    scene.settle();
    let refused = "all backends say that they take no work: requests are refused until one says UP";
    let down = "b is down: said so (it says DOWN)";
    assert_eq!(told(&scene), ["a is disabled", "a is drained", down, refused]);
    let mut unknown = recorded(config("a").with_probes(RiseFall::default()));
    unknown.settle();
    unknown.probe("a", Probe::Passed);
    unknown.settle();
    assert_eq!(told(&unknown), ["a is up (probe passed)"]);
}

#[test]
fn picks_at_last_resort_are_counted() {
    let mut scene = recorded(probed("a b"));
    assert_eq!(scene.order(2), "a b");
    scene.probe("a", Probe::Failed);
    scene.probe("b", Probe::Failed);
    assert_eq!(scene.order(2), "a b", "not settled");
    scene.settle();
    scene.order(2);
    scene.end_at("a", Outcome::ConnectFailed, 1);
    scene.probe("a", Probe::Passed);
    assert_eq!(scene.order(3), "a a a");
    assert_eq!(scene.stats("a").last_resort + scene.stats("b").last_resort, 5);
    assert!(scene.stats("a").last_resort >= 2);
}

#[test]
fn an_update_is_told_with_the_names() {
    let mut scene = recorded(config("a b c"));
    let mut next = config("a::5 b d");
    next.groups[0].backends[1].status = Status::Draining;
    scene.update(next.clone());
    let changed = "configuration changed: added d; removed c; changed a, b";
    assert_eq!(told(&scene), ["b is draining", changed, "b is drained"]);
    scene.update(next);
    assert_eq!(told(&scene), [""; 0], "nothing changed");
}

#[test]
fn other_rules_that_judge_otherwise_are_told() {
    let mut scene = recorded(probed("a b"));
    scene.probe("a", Probe::Failed);
    told(&scene);
    scene.update(config("a b"));
    assert_eq!(told(&scene), ["a is up (judged by other rules)"]);
}

#[test]
fn a_removed_backend_is_no_longer_told_of() {
    let mut scene = recorded(config("a b").with_autodisable());
    let held = [scene.take(), scene.take()];
    scene.order_status("a", Status::Draining);
    scene.update(config("b").with_autodisable());
    told(&scene);
    let [a, b] = held;
    a.finish(Outcome::ConnectFailed, scene.now());
    b.finish(Outcome::Success, scene.now());
    scene.settle();
    assert_eq!(told(&scene), [""; 0]);
}

#[test]
fn what_nobody_takes_does_not_pile_up() {
    let mut scene = recorded(probed("a b"));
    for _ in 0..1000 {
        scene.probe("a", Probe::Failed);
        scene.probe("a", Probe::Passed);
    }
    let events = scene.balancer.take_events();
    assert_eq!(events.len(), 1025);
    assert_eq!(events[1024].to_string(), "976 events were not kept");
    scene.probe("a", Probe::Failed);
    assert_eq!(told(&scene), ["a is down: silent (probe failed)"]);
}

#[test]
fn whoever_drives_is_called_for_the_first_event_and_for_an_ended_drain() {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut scene = recorded(config("a b"));
    let counted = Arc::clone(&calls);
    scene.balancer.on_change(move || {
        counted.fetch_add(1, SeqCst);
    });
    let lease = scene.take();
    scene.order_status("a", Status::Draining);
    scene.order_status("b", Status::Draining);
    assert_eq!(calls.swap(0, SeqCst), 1, "the others wait with it");
    told(&scene);
    lease.finish(Outcome::Success, scene.now());
    assert_eq!(calls.swap(0, SeqCst), 1);
    scene.balancer.settle(scene.now());
    assert_eq!(told(&scene), ["a is drained"], "without waiting for the next snapshot");
}

#[test]
fn pinned_requests_of_a_drained_backend_call_nobody() {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut scene = recorded(config("a b"));
    scene.order_status("a", Status::Draining);
    let counted = Arc::clone(&calls);
    scene.balancer.on_change(move || {
        counted.fetch_add(1, SeqCst);
    });
    (0..10).for_each(|client| scene.end_at("a", Outcome::Success, client));
    assert_eq!(calls.load(SeqCst), 0);
}

/// How often it was told that a backend is drained.
fn drained<T: Send + Sync>(balancer: &Balancer<T>) -> usize {
    let events = balancer.take_events().into_iter();
    events.filter(|event| matches!(event.kind, EventKind::Drained { .. })).count()
}

#[test]
fn threads_that_leave_while_it_is_disabled_make_one_drain() {
    const THREADS: u64 = 4;
    let mut world = World::new(1);
    let now = world.now();
    for round in 0..500_u64 {
        let balancer = world.balancer(config("a ! b"));
        balancer.record_events();
        let (start, told) = (Barrier::new(THREADS as usize + 1), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (balancer, start) = (&balancer, &start);
                scope.spawn(move || {
                    let mut rng = SmallRng::seed_from_u64(round * THREADS + thread);
                    let pick = |rng: &mut SmallRng| balancer.pick(&Request::new(now), rng).unwrap();
                    let held = pick(&mut rng);
                    start.wait();
                    // Some leave before the order, some after it, and some come in between.
                    (0..round % 7).for_each(|_| pick(&mut rng).finish(Outcome::Success, now));
                    held.finish(Outcome::Success, now);
                });
            }
            start.wait();
            balancer.set_status(id("a"), Status::Disabled, now).unwrap();
            balancer.settle(now);
            told.fetch_add(drained(&balancer), SeqCst);
        });
        balancer.settle(now);
        assert_eq!(told.into_inner() + drained(&balancer), 1, "round {round}");
    }
}

#[test]
fn bytes_are_counted_for_each_backend_and_outlive_the_lease() {
    let mut scene = Scene::spec("a b");
    let [a, b] = [scene.take(), scene.take()];
    a.add_bytes(1, 2);
    a.add_bytes(10, 20);
    b.add_bytes(100, u64::from(u32::MAX) + 1);
    drop((a, b));
    let bytes = |name: &str| (scene.stats(name).to_backend_bytes, scene.stats(name).to_client_bytes);
    assert_eq!((bytes("a"), bytes("b")), ((11, 22), (100, 1 << 32)));
}

#[test]
fn a_reset_counts_from_nothing_and_leaves_what_runs() {
    let mut scene = Scene::new(probed("a"));
    for outcome in [Outcome::Success, Outcome::ServerError, Outcome::ConnectFailed, Outcome::Cancelled] {
        scene.end_at("a", outcome, 1);
    }
    let held: Vec<Lease<()>> = (0..3).map(|_| scene.take()).collect();
    held.iter().for_each(|lease| lease.add_bytes(5, 7));
    scene.balancer.reset_counters(id("a")).unwrap();
    let a = scene.stats("a");
    let counts = [a.succeeded, a.failed, a.connect_failed, a.cancelled, a.to_backend_bytes, a.to_client_bytes];
    assert_eq!((counts, a.picked(), a.in_flight), ([0; 6], 0, 3));
    let later = scene.take();
    assert_eq!((scene.stats("a").picked(), scene.stats("a").in_flight), (1, 4));
    held.into_iter().for_each(|lease| lease.finish(Outcome::Success, scene.now()));
    assert_eq!((scene.stats("a").picked(), scene.stats("a").in_flight), (1, 1), "those ran before");
    later.finish(Outcome::Success, scene.now());
    assert_eq!((scene.stats("a").picked(), scene.stats("a").succeeded), (1, 4));
    scene.balancer.reset_counters(id("a")).unwrap();
    assert_eq!((scene.stats("a").picked(), scene.stats("a").in_flight_at_reset), (0, 0));
    assert!(scene.balancer.reset_counters(id("nobody")).is_err());
}

#[test]
fn a_reset_outlives_an_update_and_changes_no_judgement() {
    let mut scene = Scene::new(ejecting("a b c"));
    scene.refuse("a", 2);
    scene.balancer.reset_counters(id("a")).unwrap();
    scene.update(ejecting("a b c d"));
    assert_eq!(scene.stats("a").picked(), 0);
    scene.refuse("a", 1);
    assert_eq!((scene.health("a"), scene.stats("a").connect_failed), (Health::Ejected, 1), "the third in a row");
}

#[test]
fn the_configuration_in_force_given_back_changes_nothing() {
    let mut scene = recorded(numbered(4, lb_core::SelectorKind::RoundRobin).with_slow_start(Duration::from_secs(9)));
    let now = scene.now();
    scene.balancer.set_weight(id("b0"), 7, now).unwrap();
    scene.balancer.set_limit(id("b1"), Some(0), now).unwrap();
    scene.order_status("b2", Status::Draining);
    told(&scene);
    let before = scene.balancer.stats();
    let same = scene.balancer.config();
    let words: Vec<_> = same.groups[0].backends.iter().map(|b| (b.weight, b.limit, b.status)).collect();
    let enabled = Status::Enabled;
    assert_eq!(words, [(7, None, enabled), (1, Some(0), enabled), (1, None, Status::Draining), (1, None, enabled)]);
    assert_eq!(scene.update(same.clone()), lb_core::Diff::default());
    assert_eq!((scene.balancer.stats(), scene.balancer.config()), (before, same));
    assert_eq!(told(&scene), [""; 0]);
}

#[test]
fn a_backend_added_to_the_configuration_in_force_is_all_that_changes() {
    let mut scene = recorded(config("a b"));
    scene.order_status("b", Status::Disabled);
    let mut next = scene.balancer.config();
    next.groups[0].backends.push(BackendConfig::new("c").with_status(Status::Disabled));
    let diff = scene.update(next);
    assert_eq!((diff.added, diff.changed, diff.removed), (vec!["c".to_owned()], vec![], vec![]));
    assert_eq!(scene.order(2), "a a");
    scene.enable("c");
    let order = scene.order(2);
    assert!(order == "a c" || order == "c a", "{order}");
    let ids: Vec<BackendId> = scene.balancer.stats().backends.iter().map(|backend| backend.id).collect();
    assert_eq!(ids, ["a", "b", "c"].map(id));
}
