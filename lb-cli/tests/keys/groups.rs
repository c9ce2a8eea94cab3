//! Keys of groups and backends.

use std::net::Ipv4Addr;

use crate::{
    Tested,
    place::{Lb, Place, times},
    support::{Session, ask, ask_from, ask_times, wait_for},
};

pub(crate) const TESTED: &[Tested] = &[
    ("pools.NAME.groups", groups_in_words_and_at_length),
    ("pools.NAME.groups.backends", groups_in_words_and_at_length),
    ("pools.NAME.groups.backends.name", groups_in_words_and_at_length),
    ("pools.NAME.groups.backends.limit", a_backend_has_a_limit_a_weight_and_a_status),
    ("pools.NAME.groups.backends.weight", a_backend_has_a_limit_a_weight_and_a_status),
    ("pools.NAME.groups.backends.status", a_backend_has_a_limit_a_weight_and_a_status),
    ("pools.NAME.selector", each_selector_chooses_in_its_own_way),
    ("pools.NAME.groups.selector", each_selector_chooses_in_its_own_way),
    ("pools.NAME.spill", a_group_that_hashes_spills_over_when_told_to),
    ("pools.NAME.groups.spill", a_group_that_hashes_spills_over_when_told_to),
];

#[test]
fn groups_in_words_and_at_length() {
    let place = Place::new();
    let [alpha, beta] = place.backends(["alpha", "beta"]);
    let words = format!("groups = \"{}:1 ! {}\"", alpha.word(), beta.word());
    let long = format!(
        "[[groups]]\nbackends = [\"{}:1\"]\n[[groups]]\nbackends = [{{ name = \"{}\" }}]",
        alpha.word(),
        beta.word()
    );
    let lb = place.serve_each(&[&words, &long, &"".to_owned()]);
    for service in [0, 1] {
        let [first, second] = [(); 2].map(|()| lb.session(service).unwrap());
        assert_eq!((first.name.as_str(), second.name.as_str()), ("alpha", "beta"));
    }
    assert!(lb.session(2).is_none(), "without groups there is nobody to serve");
}

#[test]
fn a_backend_has_a_limit_a_weight_and_a_status() {
    let place = Place::new();
    let [alpha, beta] = place.backends(["alpha", "beta"]);
    let pool = |keys: &str| {
        format!(
            "start = \"first\"\n[[groups]]\nbackends = [{{ name = \"{}\"{keys} }}, {{ name = \"{}\" }}]",
            alpha.word(),
            beta.word()
        )
    };
    let keys = ["", ", limit = 1", ", weight = 3", ", status = \"disabled\"", ", status = \"draining\""];
    let lb = place.serve_each(&keys.map(pool));
    let of_8 = |service: usize| {
        let sessions: Vec<Session> = (0..8).map(|_| lb.session(service).unwrap()).collect();
        sessions.iter().filter(|session| session.name == "alpha").count()
    };
    assert_eq!([0, 1, 2, 3, 4].map(of_8), [4, 1, 6, 0, 0]);
    let states = [0, 3, 4].map(|service| lb.backend(service, 0)["status"].as_str().unwrap().to_owned());
    assert_eq!(states, ["enabled", "disabled", "draining"]);
}

/// Sessions that stay, one after the other.
fn crowd(count: usize, lb: &Lb, service: usize) -> Vec<Session> {
    (0..count).map(|_| lb.session(service).unwrap()).collect()
}

fn names(sessions: &[Session]) -> Vec<&str> {
    sessions.iter().map(|session| session.name.as_str()).collect()
}

/// Clients of 24 addresses, and who served each the first time and the second time.
fn clients(lb: &Lb, service: usize) -> Vec<[String; 2]> {
    let client = |n| [(); 2].map(|()| ask_from(Ipv4Addr::new(127, 99, 0, n), lb.fronts[service]).unwrap());
    (1..=24).map(client).collect()
}

fn chooses_as(selector: &str, lb: &Lb, service: usize) {
    let front = lb.fronts[service];
    let no_work = |number| lb.count(service, number, "in_flight") == 0;
    match selector {
        "round-robin" | "least-loaded" => {
            let mut held = crowd(3, lb, service);
            assert_eq!(names(&held), ["alpha", "beta", "gamma"], "{selector}");
            held.remove(1);
            wait_for("beta's session to end", || no_work(1));
            // The turn is alpha's, but beta has nothing to do.
            assert_eq!(ask(front), if selector == "round-robin" { "alpha" } else { "beta" });
        }
        "random" => {
            let all = ask_times(60, front);
            assert!(["alpha", "beta", "gamma"].iter().all(|name| times(name, &all) > 0), "{all:?}");
            assert!(all.windows(2).any(|two| two[0] == two[1]), "not in turn: {all:?}");
        }
        "hash" => {
            let clients = clients(lb, service);
            assert!(clients.iter().all(|[first, again]| first == again), "{clients:?}");
            assert!(clients.iter().any(|[first, _]| *first != clients[0][0]), "{clients:?}");
        }
        "bucket-fill" => assert_eq!(names(&crowd(4, lb, service)), ["alpha"; 4]),
        other => panic!("{other} is not looked at here"),
    }
}

#[test]
fn each_selector_chooses_in_its_own_way() {
    let place = Place::new();
    let all = place.backends(["alpha", "beta", "gamma"]);
    let words = all.each_ref().map(|backend| format!("{:?}", backend.word())).join(", ");
    let line = words.replace(['"', ','], "");
    let selectors = ["round-robin", "least-loaded", "random", "hash", "bucket-fill"];
    // That of the pool; that of the group, and another one of the pool.
    let in_pool = |own: &str| format!("start = \"first\"\nselector = \"{own}\"\ngroups = \"{line}\"");
    let in_group = |own: &str| {
        let other = if own == "hash" { "bucket-fill" } else { "hash" };
        let pool = format!("start = \"first\"\nselector = \"{other}\"");
        format!("{pool}\n[[groups]]\nselector = \"{own}\"\nbackends = [{words}]")
    };
    let pools: Vec<String> = selectors.iter().flat_map(|own| [in_pool(own), in_group(own)]).collect();
    let lb = place.serve_each(&pools);
    for (service, selector) in selectors.iter().flat_map(|own| [own, own]).enumerate() {
        chooses_as(selector, &lb, service);
    }
    // In groups that are made at run time it is the pool's.
    for (service, expected) in [(2, "least-loaded"), (3, "hash")] {
        lb.must(service, &format!("group 1; create {} 9", place.ip));
        assert_eq!(lb.show(service)["groups"][1]["selector"], expected);
    }
}

#[test]
fn who_answers_slowly_is_avoided_by_peak_ewma_and_not_by_others() {
    let place = Place::new();
    let ([alpha, beta], gone) = (place.backends(["alpha", "beta"]), place.address());
    let pool = |selector| {
        let words = format!("{} {} {gone}", alpha.word(), beta.word());
        format!("start = \"first\"\nselector = \"{selector}\"\ngroups = \"{words}\"")
    };
    let lb = place.serve_each(&["peak-ewma", "least-loaded", "round-robin"].map(pool));
    // It fails once, which counts as a long time.
    for service in 0..3 {
        wait_for("the turn of the one that refuses", || {
            drop(lb.session(service));
            lb.count(service, 2, "connect_failed") == 1
        });
    }
    let _gamma = crate::support::Backend::at("gamma", gone);
    let of_12 = |service| names(&crowd(12, &lb, service)).iter().filter(|name| **name == "gamma").count();
    assert_eq!(of_12(0), 0);
    assert!(of_12(1) > 0);
    assert_eq!(of_12(2), 4);
}

#[test]
fn a_group_that_hashes_spills_over_when_told_to() {
    let place = Place::new();
    let all = place.backends(["alpha", "beta"]);
    let words = all.each_ref().map(|backend| format!("\"{}:1\"", backend.word())).join(", ");
    let line = words.replace(['"', ','], "");
    let in_pool = |key: &str| format!("selector = \"hash\"\n{key}\ngroups = \"{line}\"");
    let in_group = |key: &str| format!("[[groups]]\nselector = \"hash\"\n{key}\nbackends = [{words}]");
    let over = format!("selector = \"hash\"\nspill = true\n[[groups]]\nspill = false\nbackends = [{words}]");
    let spill = ["", "spill = true"];
    let lb = place.serve_each(&[spill.map(in_pool).to_vec(), spill.map(in_group).to_vec(), vec![over]].concat());
    for (service, spills) in [false, true, false, true, false].into_iter().enumerate() {
        let first = lb.session(service).unwrap();
        let second = lb.session(service);
        assert_eq!(second.is_some(), spills, "service {service}");
        assert!(second.is_none_or(|second| second.name != first.name));
    }
}
