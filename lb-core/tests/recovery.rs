//! All backends say DOWN because there is too much for them: who comes back first is not flooded, and requests are
//! refused for no other reason.

#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use lb_core::{
    Config, EventKind, NoPick, Request, SelectorKind,
    health::{Probe, RiseFall, Said},
};
use support::{Scene, config, id, numbered};

const DOWN: Probe = Probe::Said(Said::Down);
const SLOW_START: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);

fn probed(config: Config, slow_start: Duration) -> Config {
    let one = NonZeroU32::MIN;
    config.with_probes(RiseFall::new(one, one).assuming_up()).with_slow_start(slow_start)
}

/// Two backends that have just said DOWN because of what they had to do.
fn declined(slow_start: Duration) -> Scene {
    let mut scene = Scene::new(probed(config("a b"), slow_start));
    scene.balancer.record_events();
    ["a", "b"].into_iter().for_each(|name| scene.probe(name, DOWN));
    scene.settle();
    scene
}

/// How many of a thousand requests are let in.
fn let_in(scene: &mut Scene) -> usize {
    let request = scene.plain();
    let picks: Vec<_> = (0..1000).map(|_| scene.pick(&request).map(drop)).collect();
    let odd = |no_pick: &NoPick| !matches!(no_pick, NoPick::Recovering);
    assert!(picks.iter().filter_map(|pick| pick.as_ref().err()).all(|no_pick| !odd(no_pick)), "{picks:?}");
    picks.iter().filter(|pick| pick.is_ok()).count()
}

fn about(share: usize, expected: usize) {
    assert!(share.abs_diff(expected) < 60, "{share} of 1000 instead of {expected}");
}

#[test]
fn the_reason_is_that_they_say_so() {
    let mut scene = declined(Duration::ZERO);
    assert_eq!(scene.pick(&scene.plain()).unwrap_err(), NoPick::Declined);
    assert_eq!(scene.balancer.explain(&scene.plain()).no_pick, Some(NoPick::Declined));
    scene.probe("a", Probe::Passed);
    assert_eq!(let_in(&mut scene), 1000, "without a slow start, at once");
}

#[test]
fn requests_are_let_in_by_degrees_and_backends_that_are_down_leave_their_part_out() {
    let mut scene = declined(SLOW_START);
    assert_eq!(scene.pick(&scene.plain()).unwrap_err(), NoPick::Declined);
    scene.probe("a", Probe::Passed);
    scene.settle();
    about(let_in(&mut scene), 250);
    scene.probe("b", Probe::Passed);
    scene.settle();
    about(let_in(&mut scene), 500);
    assert!((50..=51).contains(&scene.balancer.stats().admitted_percent));
    scene.pass(SLOW_START / 4);
    about(let_in(&mut scene), 790);
    scene.probe("b", DOWN);
    scene.settle();
    about(let_in(&mut scene), 296);
    scene.probe("b", Probe::Passed);
    scene.settle();
    scene.pass(SLOW_START);
    about(let_in(&mut scene), 690);
    scene.pass(SLOW_START * 2);
    assert_eq!(let_in(&mut scene), 1000);
    assert_eq!(scene.balancer.stats().admitted_percent, 100);
}

#[test]
fn one_that_stays_down_is_not_waited_for_for_ever() {
    let mut scene = declined(SLOW_START);
    scene.probe("a", Probe::Passed);
    scene.settle();
    let next = scene.pass(Duration::ZERO).expect("the share grows");
    assert!(next <= scene.now() + SLOW_START / 20, "{:?}", next - scene.now());
    scene.pass(SLOW_START * 5 / 2);
    assert_eq!(let_in(&mut scene), 1000);
    assert_eq!(scene.pass(Duration::ZERO), None, "nothing is due any more");
}

#[test]
fn it_is_told_when_it_begins_and_when_it_is_over() {
    let told = |scene: &Scene| -> Vec<bool> {
        let events = scene.balancer.take_events();
        events
            .iter()
            .filter_map(|event| if let EventKind::Declined { begun } = event.kind { Some(begun) } else { None })
            .collect()
    };
    let mut scene = declined(SLOW_START);
    assert_eq!(told(&scene), [true]);
    for _ in 0..3 {
        scene.probe("a", Probe::Passed);
        scene.settle();
        scene.probe("a", DOWN);
        scene.settle();
    }
    assert_eq!(told(&scene), [], "it is not over");
    scene.probe("a", Probe::Passed);
    scene.settle();
    scene.pass(SLOW_START * 3);
    assert_eq!(told(&scene), [false]);
    let mut scene = declined(Duration::ZERO);
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(told(&scene), [true, false], "without a slow start with the first that is up");
}

#[test]
fn nobody_is_refused_at_a_cold_start_after_silence_or_while_one_is_up() {
    let cold = RiseFall::new(NonZeroU32::MIN, NonZeroU32::MIN);
    let mut scene = Scene::new(config("a b").with_probes(cold).with_slow_start(SLOW_START));
    ["a", "b"].into_iter().for_each(|name| scene.probe(name, DOWN));
    scene.settle();
    assert_eq!(scene.pick(&scene.plain()).unwrap_err(), NoPick::Declined);
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(let_in(&mut scene), 1000, "it has only warmed up");
    for (a, b) in [(Probe::Failed, Probe::Failed), (Probe::Failed, DOWN), (DOWN, Probe::Passed)] {
        let mut scene = Scene::new(probed(config("a b"), SLOW_START));
        [("a", a), ("b", b)].into_iter().for_each(|(name, probe)| scene.probe(name, probe));
        scene.settle();
        assert_eq!(let_in(&mut scene), 1000, "{a:?} {b:?}");
        scene.probe("a", Probe::Passed);
        scene.settle();
        assert_eq!(let_in(&mut scene), 1000, "{a:?} {b:?}");
    }
}

#[test]
fn who_was_let_in_stays_so_and_pins_are_no_way_around() {
    let mut scene = declined(SLOW_START);
    scene.probe("a", Probe::Passed);
    scene.settle();
    let tried = support::tried(&["b"]);
    let plain = scene.plain();
    for request in [plain.admitted_before(), plain.with_tried(&tried)] {
        assert!((0..200).all(|_| scene.pick(&request).is_ok()));
    }
    let pinned = Request::new(scene.now()).with_pin(id("a"));
    let shed = (0..1000).filter(|_| matches!(scene.pick(&pinned), Err(NoPick::Recovering))).count();
    about(shed, 750);
}

#[test]
fn who_changes_the_slow_start_meanwhile_gets_what_it_says() {
    let mut scene = declined(SLOW_START);
    scene.probe("a", Probe::Passed);
    scene.settle();
    scene.update(probed(config("a b"), Duration::ZERO));
    assert_eq!(let_in(&mut scene), 1000);
}

/// An application with one worker that says DOWN above so many seconds of work, and UP again below a fifth of that.
struct App {
    queue: VecDeque<Duration>,
    says_up: bool,
    budget: f64,
}

/// What came of ten seconds, or so, of too much.
#[derive(Debug, Default)]
struct Story {
    requests: u32,
    /// Answered within a second.
    served: u32,
    /// How often one said something else than before.
    changes: u32,
    /// Hundredths of a second in which none was up.
    dark: u32,
}

/// `count` backends that do 100 requests a second each, asked `factor` times as much, probed each half second.
fn overload(count: usize, factor: f64, slow_start: Duration, time: Duration) -> Story {
    let mut scene = Scene::new(probed(numbered(count, SelectorKind::RoundRobin), slow_start));
    let mut apps: Vec<App> = (0..count).map(|_| App { queue: VecDeque::new(), says_up: true, budget: 0.0 }).collect();
    let (mut story, mut owed, mut leases) = (Story::default(), 0.0, VecDeque::new());
    leases.resize_with(count, VecDeque::new);
    for tick in 0..u32::try_from(time.as_millis() / TICK.as_millis()).unwrap() {
        let now = TICK * tick;
        owed += count as f64 * factor;
        while owed >= 1.0 {
            owed -= 1.0;
            story.requests += 1;
            let request = scene.plain();
            if let Ok(lease) = scene.pick(&request) {
                let at: usize = lease.name()[1..].parse().unwrap();
                apps[at].queue.push_back(now);
                leases[at].push_back(lease);
            }
        }
        for (at, app) in apps.iter_mut().enumerate() {
            app.budget = (app.budget + 1.0).min(1.0);
            while app.budget >= 1.0 && !app.queue.is_empty() {
                let came = app.queue.pop_front().unwrap();
                app.budget -= 1.0;
                story.served += u32::from(now - came <= Duration::from_secs(1));
                leases[at].pop_front().unwrap().finish(lb_core::Outcome::Success, scene.now());
            }
            if (tick as usize + at * 17).is_multiple_of(50) {
                let most = if app.says_up { 80 } else { 16 };
                let says_up = app.queue.len() < most;
                story.changes += u32::from(says_up != std::mem::replace(&mut app.says_up, says_up));
                scene.probe(&format!("b{at}"), if says_up { Probe::Passed } else { DOWN });
            }
        }
        story.dark += u32::from(apps.iter().all(|app| !app.says_up));
        scene.pass(TICK);
    }
    story
}

#[test]
fn under_too_much_for_a_minute_backends_do_nearly_what_they_can_instead_of_falling_over_in_turn() {
    let minute = Duration::from_secs(60);
    for (count, factor) in [(2, 2.0), (3, 2.0), (3, 4.0), (10, 2.0)] {
        let [flooded, held_back] = [Duration::ZERO, SLOW_START].map(|time| overload(count, factor, time, minute));
        let could = f64::from(held_back.requests) / factor;
        let [before, after] = [&flooded, &held_back].map(|story| f64::from(story.served) / could);
        assert!(after > 0.9 && after > before + 0.2, "{before} {after}");
        assert!(
            held_back.dark * 5 < flooded.dark && held_back.changes * 2 < flooded.changes,
            "{flooded:?} {held_back:?}"
        );
    }
}

#[test]
fn maintenance_is_a_reason_of_its_own_and_no_overload() {
    let mut scene = Scene::new(probed(config("a b"), SLOW_START));
    ["a", "b"].into_iter().for_each(|name| scene.probe(name, Probe::Said(Said::Maintenance)));
    scene.settle();
    assert_eq!(scene.pick(&scene.plain()).unwrap_err(), NoPick::Maintenance);
    assert_eq!(scene.balancer.explain(&scene.plain()).no_pick, Some(NoPick::Maintenance));
    scene.probe("b", Probe::Said(Said::Drain));
    scene.settle();
    assert_eq!(scene.pick(&scene.plain()).unwrap_err(), NoPick::Declined);
    scene.probe("a", Probe::Passed);
    scene.settle();
    assert_eq!(let_in(&mut scene), 1000);
}
