//! Health as probes and traffic make it, in simulated time.

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use lb_core::{
    Cause, Config, Health, Outcome, Request, SelectorKind, Status,
    health::{Eject, Probe, RequestFailures, RiseFall, Said},
    sim::World,
};
use support::{Scene, config, id};

const SILENT: Health = Health::Down(Cause::Silent);
const SAID: Health = Health::Down(Cause::Said);
const SECOND: Duration = Duration::from_secs(1);

fn ejecting(text: &str) -> Scene {
    Scene::new(config(text).with_ejection(Eject::default()))
}

/// Ejects for failed requests of three distinct clients, too.
fn careful(text: &str) -> Scene {
    let eject = Eject::default().with_request_failures(RequestFailures::default());
    Scene::new(config(text).with_ejection(eject))
}

fn probed(text: &str) -> Config {
    let one = NonZeroU32::MIN;
    config(text).with_probes(RiseFall::new(one, one).assuming_up())
}

#[test]
fn status_and_health_leave_each_other_alone() {
    let mut scene = Scene::new(probed("a b"));
    for status in [Status::Disabled, Status::Draining, Status::Enabled] {
        scene.order_status("a", status);
        for (probe, health) in [(Probe::Failed, SILENT), (Probe::Said(Said::Down), SAID), (Probe::Passed, Health::Up)] {
            scene.probe("a", probe);
            assert_eq!((scene.stats("a").status, scene.health("a")), (status, health));
        }
    }
    scene.probe("a", Probe::Failed);
    scene.order_status("a", Status::Disabled);
    scene.order_status("a", Status::Enabled);
    assert_eq!(scene.health("a"), SILENT, "an order says nothing of health");
    assert_eq!(scene.order(2), "b b");
}

#[test]
fn enable_forgets_silence_and_ejection_but_not_what_the_application_said() {
    let mut scene = Scene::new(probed("a b c d").with_ejection(Eject::default()));
    scene.probe("a", Probe::Failed);
    scene.probe("b", Probe::Said(Said::Down));
    scene.refuse("c", 3);
    for name in ["a", "b", "c"] {
        scene.order_status(name, Status::Disabled);
        scene.enable(name);
        assert_eq!(scene.stats(name).status, Status::Enabled);
    }
    assert_eq!(["a", "b", "c"].map(|name| scene.health(name)), [Health::Up, SAID, Health::Up]);
}

#[test]
fn enable_does_not_make_the_unknown_known() {
    let mut scene = Scene::new(config("a b").with_probes(RiseFall::default()).with_autodisable());
    scene.enable("a");
    assert_eq!(scene.health("a"), Health::Unknown);
}

#[test]
fn the_unknown_get_nothing_until_their_first_good_probe() {
    let mut scene = Scene::new(config("a b").with_probes(RiseFall::default()));
    scene.probe("b", Probe::Failed);
    assert_eq!(scene.order(1), "all backends are down or disabled");
    scene.probe("b", Probe::Passed);
    assert_eq!(scene.order(3), "b b b");
    scene.update(config("a b c").with_probes(RiseFall::default()));
    assert_eq!(scene.order(3), "b b b", "a new one is unknown too");
    scene.probe("c", Probe::Passed);
    scene.settle();
    assert_eq!(scene.order(2).matches('c').count(), 1);
}

#[test]
fn probes_move_traffic_only_when_enough_agree() {
    let mut scene = Scene::new(config("a b").with_probes(RiseFall::default().assuming_up()));
    let seen = |scene: &mut Scene, probe| {
        scene.probe("a", probe);
        scene.order(2).contains('a')
    };
    let fails = [Probe::Failed, Probe::Failed, Probe::Passed, Probe::Failed, Probe::Failed, Probe::Failed];
    assert_eq!(fails.map(|probe| seen(&mut scene, probe)), [true, true, true, true, true, false]);
    let passes = [Probe::Passed, Probe::Failed, Probe::Passed, Probe::Passed];
    assert_eq!(passes.map(|probe| seen(&mut scene, probe)), [false, false, false, true]);
    assert!(!seen(&mut scene, Probe::Said(Said::Down)), "the application is believed at once");
    assert!(seen(&mut scene, Probe::Passed), "and at once again");
}

#[test]
fn three_refused_connects_in_a_row_eject() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 2);
    scene.end_at("a", Outcome::Success, 1);
    scene.refuse("a", 2);
    assert_eq!(scene.health("a"), Health::Up, "a success lay between");
    scene.refuse("a", 1);
    assert_eq!((scene.health("a"), scene.order(2).as_str()), (Health::Ejected, "b b"));
}

#[test]
fn periods_double_up_to_the_longest_and_settle_names_their_end() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 3);
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        scene.settle();
        let due = scene.balancer.settle(scene.now()).unwrap();
        let ejected = scene.now() - Duration::from_millis(10);
        assert_eq!(due - ejected, Duration::from_secs(seconds));
        scene.pass(due - scene.now() - Duration::from_nanos(1));
        assert!(!scene.order(4).contains('a'), "{seconds} s are not over");
        scene.pass(Duration::from_nanos(1));
        let trial = scene.pick(&Request::new(scene.now()).with_pin(id("a"))).unwrap();
        trial.finish(Outcome::ConnectFailed, scene.now());
        assert_eq!(scene.health("a"), Health::Ejected);
    }
}

#[test]
fn a_calm_time_begins_the_periods_anew() {
    let mut scene = ejecting("a b");
    let mut ejected_for = |calm: Duration| {
        scene.pass(calm);
        scene.refuse("a", 3);
        let began = scene.now();
        scene.settle();
        let due = scene.balancer.settle(scene.now()).unwrap();
        scene.pass(due - scene.now());
        scene.end_at("a", Outcome::Success, 1);
        scene.settle();
        due - began
    };
    let calm = [1, 1, 299, 301, 1].map(Duration::from_secs);
    assert_eq!(calm.map(|calm| ejected_for(calm).as_secs()), [10, 20, 40, 10, 20]);
}

#[test]
fn half_open_admits_exactly_one() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 3);
    scene.pass(10 * SECOND);
    let held: Vec<_> = (0..10).map(|_| scene.take()).collect();
    let trials: Vec<_> = held.into_iter().filter(|lease| lease.name() == "a").collect();
    assert_eq!(trials.len(), 1);
    assert_eq!(scene.health("a"), Health::Ejected);
    drop(trials);
    let held: Vec<_> = (0..10).map(|_| scene.take()).collect();
    let trials: Vec<_> = held.into_iter().filter(|lease| lease.name() == "a").collect();
    assert_eq!(trials.len(), 1, "a trial of which nobody knows how it went is made again");
    trials.into_iter().for_each(|trial| trial.finish(Outcome::Success, scene.now()));
    assert_eq!(scene.health("a"), Health::Up);
    scene.settle();
    assert_eq!(scene.order(10).matches('a').count(), 5);
}

#[test]
fn a_trial_that_takes_long_keeps_nobody_else_out() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 3);
    scene.pass(10 * SECOND);
    let pinned = |scene: &mut Scene| scene.pick(&Request::new(scene.now()).with_pin(id("a")));
    let held = pinned(&mut scene).unwrap();
    scene.settle();
    scene.pass(9 * SECOND);
    assert!(pinned(&mut scene).is_err(), "one at a time");
    scene.pass(SECOND);
    pinned(&mut scene).unwrap().finish(Outcome::Success, scene.now());
    assert_eq!(scene.health("a"), Health::Up, "the second trial went well");
    held.finish(Outcome::Success, scene.now());
    assert_eq!((scene.health("a"), scene.balancer.stats().backends[0].in_flight), (Health::Up, 0));
}

#[test]
fn a_good_answer_ends_a_trial_however_long_the_rest_of_it_takes() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 3);
    scene.pass(10 * SECOND);
    let mut held = scene.pick(&Request::new(scene.now()).with_pin(id("a"))).unwrap();
    held.went_well();
    assert_eq!(scene.health("a"), Health::Up);
    held.finish(Outcome::Broken, scene.now());
    assert_eq!(scene.health("a"), Health::Up, "a failure like any other");
}

#[test]
fn who_is_set_aside_is_tried_when_whoever_is_up_has_failed_the_request() {
    let probes = RiseFall::default().assuming_up();
    let mut scene = Scene::new(config("a b c").with_ejection(Eject::default()).with_probes(probes));
    scene.refuse("a", 3);
    (0..3).for_each(|_| scene.probe("c", Probe::Failed));
    scene.settle();
    assert_eq!((scene.health("a"), scene.health("b")), (Health::Ejected, Health::Up));
    let tried = support::tried(&["b"]);
    let again = Request::new(scene.now()).with_tried(&tried);
    let lease = scene.pick(&again).unwrap();
    assert_eq!(lease.name(), "a");
    lease.finish(Outcome::Success, scene.now());
    assert_eq!(scene.health("a"), Health::Ejected, "its period goes on");
    let both = support::tried(&["a", "b"]);
    assert_eq!(scene.pick(&again.with_tried(&both)).unwrap_err(), lb_core::NoPick::AllTried, "not who is silent");
}

#[test]
fn a_trial_that_fails_after_people_have_enabled_its_backend_is_a_failure_like_any_other() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 3);
    scene.pass(10 * SECOND);
    let trial = scene.pick(&Request::new(scene.now()).with_pin(id("a"))).unwrap();
    scene.balancer.enable(id("a"), scene.now()).unwrap();
    trial.finish(Outcome::ConnectFailed, scene.now());
    assert_eq!(scene.health("a"), Health::Up, "the first in a row of three");
    scene.refuse("a", 2);
    assert_eq!(scene.health("a"), Health::Ejected);
}

#[test]
fn half_open_admits_exactly_one_of_many_threads() {
    let mut world = World::new(1);
    let balancer = world.balancer(config("a b").with_ejection(Eject::default()));
    for round in 0..20 {
        let now = world.now();
        let pinned = Request::new(now).with_pin(id("a"));
        for _ in 0..3 {
            balancer.pick(&pinned, world.rng()).unwrap().finish(Outcome::ConnectFailed, now);
        }
        world.advance(Duration::from_secs(300));
        balancer.settle(world.now());
        let (now, most, inside) = (world.now(), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let (balancer, most, inside) = (&balancer, &most, &inside);
                scope.spawn(move || {
                    let mut world = World::new(seed);
                    for _ in 0..200 {
                        let lease = balancer.pick(&Request::new(now), world.rng()).unwrap();
                        if lease.name() == "a" {
                            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                            inside.fetch_sub(1, SeqCst);
                        }
                        drop(lease);
                    }
                });
            }
        });
        assert_eq!(most.load(SeqCst), 1, "round {round}");
        balancer.enable(id("a"), now).unwrap();
    }
}

#[test]
fn the_last_backend_of_a_group_is_never_ejected() {
    let mut scene = ejecting("a ! b");
    scene.refuse("a", 50);
    assert_eq!(scene.health("a"), Health::Up);
    let all = Eject::default().with_most_percent(100);
    let mut scene = Scene::new(config("a b c").with_ejection(all));
    scene.refuse("a", 3);
    scene.order_status("b", Status::Disabled);
    scene.refuse("c", 50);
    assert_eq!(scene.health("c"), Health::Up);
    scene.order_status("b", Status::Enabled);
    scene.refuse("c", 1);
    assert_eq!(scene.health("c"), Health::Ejected, "now the group can spare it");
}

#[test]
fn a_half_open_backend_is_no_reason_to_spare_the_only_other() {
    let mut scene = Scene::new(config("a b").with_ejection(Eject::default().with_most_percent(100)));
    scene.refuse("a", 3);
    scene.pass(10 * SECOND);
    scene.refuse("b", 3);
    assert_eq!(scene.health("b"), Health::Up);
}

#[test]
fn the_cap_counts_the_new_ejection() {
    for (percent, ejected) in [(0, 0), (19, 0), (20, 1), (39, 1), (50, 2), (79, 3), (100, 4)] {
        let eject = Eject::default().with_most_percent(percent);
        let mut scene = Scene::new(config("a b c d e").with_ejection(eject));
        ["a", "b", "c", "d", "e"].into_iter().for_each(|name| {
            if scene.health(name) == Health::Up {
                scene.refuse(name, 3);
            }
        });
        let out = scene.balancer.stats().backends.iter().filter(|b| b.health == Health::Ejected).count();
        assert_eq!(out, ejected, "{percent} %");
    }
}

#[test]
fn failed_requests_eject_nobody_unless_that_is_switched_on() {
    for outcome in [Outcome::ServerError, Outcome::Broken, Outcome::TimedOut] {
        let (mut plain, mut switched_on) = (ejecting("a b c"), careful("a b c"));
        for scene in [&mut plain, &mut switched_on] {
            for client in 0..8 {
                ["b", "c"].into_iter().for_each(|name| scene.end_at(name, Outcome::Success, client));
                if scene.health("a") == Health::Up {
                    scene.end_at("a", outcome, client);
                }
            }
        }
        assert_eq!((plain.health("a"), switched_on.health("a")), (Health::Up, Health::Ejected), "{outcome:?}");
    }
}

#[test]
fn one_user_who_reloads_a_broken_page_ejects_nobody() {
    let mut scene = careful("a b c");
    for _ in 0..500 {
        ["b", "c"].into_iter().for_each(|name| scene.end_at(name, Outcome::Success, 1));
        scene.end_at("a", Outcome::ServerError, 7);
        scene.pass(SECOND / 10);
    }
    assert_eq!(scene.health("a"), Health::Up);
}

#[test]
fn a_page_that_fails_everywhere_ejects_nobody() {
    let mut scene = careful("a b c");
    for client in 0..2000 {
        let name = ["a", "b", "c"][client as usize % 3];
        let outcome = if client % 7 < 3 { Outcome::ServerError } else { Outcome::Success };
        scene.end_at(name, outcome, client);
        scene.pass(SECOND / 100);
        let ejected = scene.balancer.stats().backends.iter().any(|b| b.health == Health::Ejected);
        assert!(!ejected, "client {client}");
    }
}

#[test]
fn one_bad_backend_of_three_is_ejected_and_comes_back_when_it_is_well() {
    let mut scene = careful("a b c");
    let mut ejected_after = None;
    for client in 0..300_u64 {
        let request = Request::new(scene.now()).with_client(client);
        let lease = scene.pick(&request).unwrap();
        let bad = lease.name() == "b" && client < 150;
        lease.finish(if bad { Outcome::ServerError } else { Outcome::Success }, scene.now());
        if scene.health("b") == Health::Ejected {
            ejected_after.get_or_insert(client);
        }
        assert_eq!((scene.health("a"), scene.health("c")), (Health::Up, Health::Up));
        scene.pass(SECOND);
    }
    assert!(ejected_after.is_some_and(|client| client < 40), "{ejected_after:?}");
    assert_eq!(scene.health("b"), Health::Up);
    assert_eq!(scene.order(6).matches('b').count(), 2);
}

#[test]
fn failures_of_clients_nobody_knows_eject_nobody() {
    let mut scene = careful("a b");
    scene.end_at("b", Outcome::Success, 1);
    for _ in 0..100 {
        let lease = scene.pick(&Request::new(scene.now()).with_pin(id("a"))).unwrap();
        lease.finish(Outcome::ServerError, scene.now());
    }
    assert_eq!(scene.health("a"), Health::Up);
}

#[test]
fn autodisable_takes_down_until_enabled() {
    let mut scene = Scene::new(config("a b").with_autodisable());
    scene.refuse("a", 1);
    assert_eq!((scene.health("a"), scene.stats("a").status), (SILENT, Status::Enabled));
    scene.pass(10_000 * SECOND);
    assert_eq!(scene.order(3), "b b b");
    scene.enable("a");
    assert_eq!(scene.order(2).matches('a').count(), 1);
    scene.refuse("a", 1);
    assert_eq!(scene.health("a"), SILENT, "and again");
}

#[test]
fn autodisable_takes_nothing_from_probes() {
    let mut scene = Scene::new(config("a b").with_probes(RiseFall::default().assuming_up()).with_autodisable());
    scene.probe("a", Probe::Said(Said::Down));
    scene.refuse("b", 1);
    scene.enable("a");
    assert_eq!(scene.health("a"), SAID, "the application's word stands");
    scene.probe("b", Probe::Passed);
    assert_eq!(scene.health("b"), Health::Up);
    (0..3).for_each(|_| scene.probe("b", Probe::Failed));
    scene.probe("b", Probe::Passed);
    assert_eq!(scene.health("b"), SILENT, "it takes two to rise");
    scene.probe("b", Probe::Passed);
    assert_eq!(scene.health("b"), Health::Up);
}

#[test]
fn taking_autodisable_away_takes_away_what_it_did() {
    let mut scene = Scene::new(config("a b").with_autodisable());
    scene.refuse("a", 1);
    scene.update(config("a b"));
    assert_eq!(scene.health("a"), Health::Up);
}

/// In each of ten steps the share of `a` in so many picks.
fn shares_while_ramping(scene: &mut Scene, whole: Duration) -> Vec<usize> {
    let step = |_| {
        let picked = scene.order(110).split(' ').filter(|name| *name == "a").count();
        scene.pass(whole / 10);
        picked
    };
    (0..11).map(step).collect()
}

#[test]
fn slow_start_ramps_in_ten_steps_and_settle_says_when() {
    let whole = 100 * SECOND;
    let mut scene = Scene::new(probed("a b").with_slow_start(whole));
    assert_eq!(scene.order(4), "a b a b", "a whole fleet starts at once");
    scene.probe("a", Probe::Failed);
    scene.settle();
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(scene.balancer.settle(scene.now()), Some(scene.now() + whole / 10));
    let shares = shares_while_ramping(&mut scene, whole);
    // A weight of s tenths beside one of ten.
    let expected: Vec<usize> = (1..=10).chain([10]).map(|steps| 110 * steps / (steps + 10)).collect();
    let near = shares.iter().zip(&expected).all(|(share, expected)| share.abs_diff(*expected) <= 3);
    assert!(near, "{shares:?}, expected {expected:?}");
    assert_eq!(scene.balancer.settle(scene.now()), None, "nothing more is due");
}

#[test]
fn a_backend_that_joins_ramps_up_and_one_that_is_moved_does_not() {
    let ramped = |text: &str| config(text).with_slow_start(100 * SECOND);
    let mut scene = Scene::new(ramped("a b"));
    scene.update(ramped("a b c"));
    let order = scene.order(210);
    assert_eq!(["a", "b", "c"].map(|name| order.matches(name).count()), [100, 100, 10]);
    scene.pass(100 * SECOND);
    scene.update(ramped("b c a"));
    assert_eq!(scene.order(30).matches('a').count(), 10);
}

#[test]
fn the_time_that_settle_names_is_never_too_early() {
    for nanos in [1, 7, 999, 333_333_333, 1_234_567_891] {
        let mut scene = Scene::new(probed("a b").with_slow_start(Duration::from_nanos(nanos)));
        scene.probe("a", Probe::Failed);
        scene.settle();
        scene.probe("a", Probe::Passed);
        scene.settle();
        let mut calls = 0;
        while let Some(next) = scene.balancer.settle(scene.now()) {
            assert!(next > scene.now(), "{nanos} ns: it would be called again and again");
            scene.world.advance(next - scene.now());
            calls += 1;
            assert!(calls < 100, "{nanos} ns");
        }
    }
}

#[test]
fn hash_groups_ramp_their_limit_alone() {
    let whole = 100 * SECOND;
    let mut with = probed("a:80:20 b:80:20").with_slow_start(whole);
    with.groups[0].selector = SelectorKind::Hash { spill: false };
    let mut scene = Scene::new(with);
    let owner = |scene: &mut Scene, key| scene.sent(&Request::new(scene.now()).with_key(key));
    let before: Vec<_> = (0..200).map(|key| owner(&mut scene, key)).collect();
    scene.probe("a:80", Probe::Failed);
    scene.settle();
    scene.probe("a:80", Probe::Passed);
    for tenths in 1..=10 {
        scene.settle();
        let after: Vec<_> = (0..200).map(|key| owner(&mut scene, key)).collect();
        assert_eq!(after, before, "no key moves");
        let pinned = Request::new(scene.now()).with_pin(id("a:80"));
        let held: Vec<_> = (0..50).map_while(|_| scene.pick(&pinned).ok()).collect();
        assert_eq!((held.len(), scene.stats("a:80").limit), (2 * tenths, Some(20)));
        drop(held);
        scene.pass(whole / 10);
    }
}

#[test]
fn on_change_is_called_once_for_what_settle_then_puts_into_force() {
    let mut scene = Scene::new(probed("a b").with_ejection(Eject::default()));
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    scene.balancer.on_change(move || {
        counted.fetch_add(1, SeqCst);
    });
    scene.balancer.on_change(|| panic!("only the first call counts"));
    scene.probe("a", Probe::Passed);
    assert_eq!(calls.load(SeqCst), 0, "nothing has changed");
    scene.probe("a", Probe::Failed);
    scene.probe("a", Probe::Passed);
    assert_eq!(calls.load(SeqCst), 1, "settle has not been called yet");
    scene.settle();
    scene.refuse("b", 3);
    assert_eq!(calls.load(SeqCst), 2);
    scene.settle();
    scene.pass(10 * SECOND);
    scene.end_at("b", Outcome::Success, 1);
    assert_eq!(calls.load(SeqCst), 3, "readmitted");
}

#[test]
fn settle_publishes_at_most_every_ten_milliseconds() {
    let mut scene = Scene::new(probed("a b"));
    scene.settle();
    scene.probe("a", Probe::Failed);
    assert_eq!(scene.balancer.settle(scene.now()), None, "the first at once");
    let published = scene.now();
    scene.world.advance(Duration::from_millis(3));
    scene.probe("a", Probe::Passed);
    assert_eq!(scene.order(2), "b b", "turns wait for the next snapshot");
    let due = Some(published + Duration::from_millis(10));
    assert_eq!(scene.balancer.settle(scene.now()), due);
    assert_eq!(scene.pass(Duration::from_millis(6)), due);
    assert_eq!(scene.pass(Duration::from_millis(1)), None);
}

#[test]
fn a_trial_lost_in_an_update_does_not_keep_its_backend_out() {
    let mut scene = ejecting("a b");
    scene.refuse("a", 3);
    scene.pass(10 * SECOND);
    let trial = scene.pick(&Request::new(scene.now()).with_pin(id("a"))).unwrap();
    scene.update(config("b a c").with_ejection(Eject::default()));
    trial.finish(Outcome::Success, scene.now());
    assert_eq!(scene.health("a"), Health::Up);
}
