//! When nobody is up, those that are only silent or ejected are tried anyway; orders and words are never overridden.

mod support;

use std::{num::NonZeroU32, time::Duration};

use lb_core::{
    BackendId, Config, NoPick, Outcome, Request, SelectorKind, Status,
    health::{Eject, Evidence, Probe, RiseFall, Said},
};
use support::{Scene, config, id, tried};

fn probed(text: &str) -> Config {
    let one = NonZeroU32::MIN;
    config(text).with_probes(RiseFall::new(one, one).assuming_up())
}

/// Backends whose names say what became of them: silent, said, disabled, draining, nought, up; settled or not.
fn became(text: &str, settled: bool) -> Scene {
    let mut scene = Scene::new(probed(text));
    for word in text.split(' ').filter(|word| *word != "!") {
        let name = word.split(':').next().unwrap_or(word);
        match name.trim_end_matches(char::is_numeric) {
            "silent" => scene.probe(name, Probe::Failed),
            "said" => scene.probe(name, Probe::Said(Said::Down)),
            "disabled" => scene.order_status(name, Status::Disabled),
            "draining" => scene.order_status(name, Status::Draining),
            "nought" => scene.balancer.set_weight(id(name), 0, scene.now()).expect("it is configured"),
            _ => {}
        }
    }
    if settled {
        scene.settle();
    }
    scene
}

#[test]
fn who_is_tried_when_nobody_is_up() {
    const NOBODY: &str = "all backends say that they take no work";
    let rows = [
        ("silent1 silent2 silent3", "silent1 silent2 silent3"),
        ("silent1 ! silent2", "silent1 silent1 silent1"),
        ("said1 silent1", "silent1 silent1 silent1"),
        ("disabled1 ! said1 ! silent1", "silent1 silent1 silent1"),
        ("disabled1 draining1 silent1 silent2", "silent1 silent2 silent1"),
        ("nought1 silent1", "silent1 silent1 silent1"),
        ("silent1 up1", "up1 up1 up1"),
        ("silent1 silent2 ! up1", "up1 up1 up1"),
        ("said1", NOBODY),
        ("disabled1 said1 draining1 nought1", NOBODY),
    ];
    for (text, who) in rows {
        for settled in [false, true] {
            let order = became(text, settled).order(3);
            let who = if who == NOBODY { [NOBODY; 3].join(" ") } else { who.to_owned() };
            assert_eq!(order, who, "{text}, settled {settled}");
        }
    }
}

#[test]
fn the_unknown_are_never_the_last_resort() {
    let mut scene = Scene::new(config("a b").with_probes(RiseFall::default()));
    assert_eq!(scene.order(1), "all backends are down or disabled");
    assert!(!scene.balancer.explain(&Request::new(scene.now())).last_resort, "nobody is tried");
    scene.probe("a", Probe::Passed);
    (0..3).for_each(|_| scene.probe("a", Probe::Failed));
    assert_eq!(scene.order(2), "a a", "a is silent, b unknown");
}

#[test]
fn a_disabled_backend_that_is_silent_too_is_not_tried() {
    let mut scene = became("silent1 silent2", true);
    scene.order_status("silent1", Status::Disabled);
    assert_eq!(scene.order(2), "silent2 silent2");
}

#[test]
fn the_ejected_are_tried_when_the_others_go() {
    let mut scene = Scene::new(probed("a b").with_ejection(Eject::default()));
    scene.refuse("a", 3);
    scene.settle();
    assert_eq!(scene.order(2), "b b");
    scene.probe("b", Probe::Failed);
    scene.settle();
    let order = scene.order(4);
    assert!(order.contains('a') && order.contains('b'), "{order}");
    scene.probe("b", Probe::Passed);
    assert_eq!(scene.order(2), "b b", "at once");
}

#[test]
fn the_first_that_comes_back_ends_it_at_once() {
    let mut scene = became("silent1 silent2 ! silent3", true);
    assert!(scene.balancer.explain(&Request::new(scene.now())).last_resort);
    scene.probe("silent3", Probe::Passed);
    assert_eq!(scene.order(3), "silent3 silent3 silent3");
    assert!(!scene.balancer.explain(&Request::new(scene.now())).last_resort);
}

#[test]
fn a_full_backend_is_up_and_no_reason_for_a_last_resort() {
    let mut scene = became("up::1 silent1", true);
    let held = scene.take();
    assert_eq!(scene.pick(&Request::new(scene.now())).unwrap_err(), NoPick::AllFull);
    drop(held);
}

#[test]
fn limits_hold_at_the_last_resort_and_the_reason_is_true() {
    for settled in [false, true] {
        let mut scene = became("silent1::1 silent2::1 said", settled);
        let held = [scene.take(), scene.take()];
        let request = Request::new(scene.now());
        assert_eq!(scene.pick(&request).unwrap_err(), NoPick::AllFull, "settled {settled}");
        assert_eq!(scene.balancer.explain(&request).no_pick, Some(NoPick::AllFull));
        drop(held);
    }
}

#[test]
fn a_request_tries_each_once_and_then_has_tried_all() {
    let mut scene = became("silent1 silent2 said", true);
    let first = tried(&["silent1"]);
    assert_eq!(scene.sent(&Request::new(scene.now()).with_tried(&first)), "silent2");
    let both = tried(&["silent1", "silent2"]);
    assert_eq!(scene.pick(&Request::new(scene.now()).with_tried(&both)).unwrap_err(), NoPick::AllTried);
}

#[test]
fn who_tried_one_where_nobody_may_be_picked_hears_what_they_say() {
    let mut scene = became("said disabled", true);
    let tried = tried(&["said"]);
    assert_eq!(scene.pick(&Request::new(scene.now()).with_tried(&tried)).unwrap_err(), NoPick::Declined);
}

#[test]
fn a_pinned_request_meets_its_silent_backend_when_nobody_is_up() {
    for settled in [false, true] {
        let mut scene = became("silent1 silent2 said disabled", settled);
        let pinned = |name| Request::new(support::Scene::spec("").now()).with_pin(id(name));
        for (name, answer) in
            [("silent2", Ok("silent2")), ("said", Err(NoPick::PinGone)), ("disabled", Err(NoPick::PinGone))]
        {
            let explained = scene.balancer.explain(&pinned(name)).no_pick;
            let picked = scene.pick(&pinned(name)).map(|lease| lease.name().to_owned());
            assert_eq!(picked, answer.map(ToOwned::to_owned), "{name}, settled {settled}");
            assert_eq!(picked.err(), explained, "{name}, settled {settled}");
        }
    }
}

#[test]
fn why_a_pinned_request_goes_nowhere_is_explained_as_its_pick_says() {
    let mut scene = Scene::spec("idle full::1 off");
    scene.order_status("off", Status::Disabled);
    let held = scene.pick(&scene.plain().with_pin(id("full"))).unwrap();
    let been = tried(&["idle"]);
    for (name, expected) in
        [("full", NoPick::AllFull), ("off", NoPick::PinGone), ("nobody", NoPick::PinGone), ("idle", NoPick::PinGone)]
    {
        let request = Request::new(scene.now()).with_pin(id(name)).with_tried(&been);
        assert_eq!(scene.pick(&request).unwrap_err(), expected, "{name}");
        assert_eq!(scene.balancer.explain(&request).no_pick, Some(expected), "{name}");
    }
    drop(held);
}

#[test]
fn a_pinned_request_does_not_meet_a_silent_backend_while_another_is_up() {
    let mut scene = became("silent up", true);
    let pinned = Request::new(scene.now()).with_pin(id("silent"));
    assert_eq!(scene.pick(&pinned).unwrap_err(), NoPick::PinGone);
}

#[test]
fn every_selector_knows_the_last_resort() {
    for kind in SelectorKind::ALL {
        for count in [3, 20] {
            let one = NonZeroU32::MIN;
            let mut scene =
                Scene::new(support::numbered(count, kind).with_probes(RiseFall::new(one, one).assuming_up()));
            let all = || (0..count).map(|k| BackendId::new(&format!("b{k}"), 0));
            let fail = |id| scene.balancer.observe(id, &Evidence::Probe(Probe::Failed), scene.now()).unwrap();
            all().for_each(|id| assert!(fail(id).health.is_some()));
            assert!(scene.order(1).starts_with('b'), "{kind:?}");
            scene.settle();
            let plain = scene.plain();
            assert!(scene.sent(&plain.with_key(5)).starts_with('b'), "{kind:?}");
        }
    }
}

#[test]
fn a_good_answer_at_the_last_resort_says_nothing_against_the_probes() {
    let mut scene = became("silent", true);
    scene.take().finish(Outcome::Success, scene.now());
    assert_eq!(scene.health("silent").to_string(), "down: silent");
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.order(1), "silent");
}
