//! Any backend, each as likely as its weight says.

mod support;

use lb_core::{NoPick, Request, SelectorKind, Status};
use support::{Scene, chosen_by, id, numbered};

fn random(text: &str) -> Scene {
    Scene::new(chosen_by(SelectorKind::Random, text))
}

fn counts<const N: usize>(scene: &mut Scene, names: [&str; N], picks: usize) -> [usize; N] {
    let order = scene.order(picks);
    names.map(|name| order.split(' ').filter(|picked| *picked == name).count())
}

#[test]
fn weights_are_likelihoods() {
    let mut scene = random("a b:::2 c:::5");
    let seen = counts(&mut scene, ["a", "b", "c"], 16_000);
    for (seen, fair) in seen.into_iter().zip([2000_usize, 4000, 10_000]) {
        assert!(seen.abs_diff(fair) < 300, "{seen} for {fair}");
    }
}

#[test]
fn survivors_keep_their_proportions() {
    let mut scene = random("a:::60 b:::4 c:::2");
    scene.order_status("a", Status::Disabled);
    let [b, c] = counts(&mut scene, ["b", "c"], 6000);
    assert!(b + c == 6000 && b.abs_diff(4000) < 250, "{b} and {c}");
}

#[test]
fn the_only_open_backend_of_many_is_found() {
    let mut config = numbered(1000, SelectorKind::Random);
    config.groups[0].backends.iter_mut().for_each(|backend| backend.limit = Some(0));
    let mut scene = Scene::new(config);
    assert_eq!(scene.pick(&Request::new(scene.now())).unwrap_err(), NoPick::AllFull);
    scene.balancer.set_limit(id("b777"), None, scene.now()).unwrap();
    assert_eq!(scene.order(3), "b777 b777 b777");
}
