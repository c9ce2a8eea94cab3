//! Keys of pools that are neither groups nor health.

use crate::{
    Tested,
    place::{Place, times},
    support::{Backend, ask_times, wait_for},
};

pub(crate) const TESTED: &[Tested] = &[
    ("pools.NAME.port", a_pool_has_a_port_for_backends_that_have_none),
    ("pools.NAME.start", turns_begin_at_random_or_at_the_first),
    ("pools.NAME.slow_start", who_comes_back_gets_a_growing_share),
    ("pools.NAME.autodisable", one_failed_connect_takes_a_backend_out),
];

#[test]
fn a_pool_has_a_port_for_backends_that_have_none() {
    let place = Place::new();
    let alpha = place.backend("alpha");
    let groups = format!("groups = \"{}\"", place.ip);
    // Without it they are at the port of the service, where nobody but itself is.
    let lb = place.serve_each(&[format!("port = {}\n{groups}", alpha.address.port()), groups]);
    let addresses = [0, 1].map(|service| lb.backend(service, 0)["address"].as_str().unwrap().to_owned());
    assert_eq!(addresses, [alpha.word(), lb.fronts[1].to_string()]);
    assert_eq!(lb.ask(), "alpha");
}

#[test]
fn turns_begin_at_random_or_at_the_first() {
    let place = Place::new();
    let words = place.backends(["alpha", "beta", "gamma"]);
    let groups = format!("groups = \"{}\"", words.each_ref().map(Backend::word).join(" "));
    for (start, all_at_the_first) in [("start = \"first\"", true), ("start = \"random\"", false), ("", false)] {
        let lb = place.serve_each(&vec![format!("{start}\n{groups}"); 24]);
        let first = lb.fronts.iter().all(|front| crate::support::ask(*front) == "alpha");
        assert_eq!(first, all_at_the_first, "{start}");
    }
}

#[test]
fn who_comes_back_gets_a_growing_share() {
    let place = Place::new();
    let [alpha, beta] = place.backends(["alpha", "beta"]);
    let pool = |slow_start: &str| {
        let groups = format!("groups = \"{} {}\"", alpha.word(), beta.word());
        let probes = "probes = { checks = [{ connect = true }], interval = \"20ms\", initial = \"up\" }";
        format!("{groups}\n{probes}\n{slow_start}")
    };
    let lb = place.serve_each(&["", "slow_start = \"1h\"", "slow_start = \"300ms\""].map(pool));
    let address = beta.address;
    let all_find = |health: &str| wait_for(health, || (0..3).all(|service| lb.health(service, 1) == health));
    drop(beta);
    all_find("down: silent");
    let _beta = Backend::at("beta", address);
    all_find("up");
    // What is up has its share a moment later.
    wait_for("its whole share at once", || times("beta", &ask_times(20, lb.fronts[0])) == 10);
    let few = times("beta", &ask_times(40, lb.fronts[1]));
    assert!((1..=8).contains(&few), "{few} of 40 in the first six minutes");
    wait_for("its whole share at last", || times("beta", &ask_times(20, lb.fronts[2])) == 10);
}

#[test]
fn one_failed_connect_takes_a_backend_out() {
    let place = Place::new();
    let (alpha, gone) = (place.backend("alpha"), place.address());
    let groups = format!("groups = \"{} {gone}\"", alpha.word());
    let lb = place.serve_each(&[format!("autodisable = \"until enabled\"\n{groups}"), groups]);
    for front in &lb.fronts {
        assert_eq!(ask_times(2, *front), ["alpha", "alpha"]);
    }
    let _beta = Backend::at("beta", gone);
    wait_for("its turn", || times("beta", &ask_times(2, lb.fronts[1])) > 0);
    assert_eq!((lb.health(0, 1).as_str(), lb.health(1, 1).as_str()), ("down: silent", "up"));
    assert_eq!(times("beta", &ask_times(6, lb.fronts[0])), 0);
    lb.must(0, "enable 1");
    wait_for("it to be back", || times("beta", &ask_times(2, lb.fronts[0])) > 0);
}
