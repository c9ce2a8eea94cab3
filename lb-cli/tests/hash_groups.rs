//! `%`: a client's own backend, and where the client goes without it.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use support::{Backend, Control, Running, Session, ask_from, connect_from, fresh_ip, fresh_port, has_ipv6, wait_for};

/// A client for whom this backend is the one, and one for whom it is not.
fn clients_of(name: &str, front: SocketAddr) -> [Ipv4Addr; 2] {
    let mut found = [None; 2];
    while found.iter().any(Option::is_none) {
        let client = fresh_ip();
        found[usize::from(ask_from(client, front).unwrap() != name)] = Some(client);
    }
    found.map(Option::unwrap)
}

#[test]
fn without_a_disabled_draining_full_or_dead_one_clients_go_as_the_flag_says_and_others_stay() {
    for (flags, elsewhere) in [(&[][..], "spare"), (&["-H"], "beta")] {
        let [alpha, beta, spare] = ["alpha", "beta", "spare"].map(Backend::start);
        let (_lb, control) = Control::start(flags, &[&alpha.word(), &beta.word(), "%", &spare.word()]);
        let [own, other] = clients_of("alpha", control.front);
        let served = || (ask_from(own, control.front).unwrap(), ask_from(other, control.front).unwrap());
        let without = (elsewhere.to_owned(), "beta".to_owned());
        let with = ("alpha".to_owned(), "beta".to_owned());
        assert_eq!(served(), with);
        for order in ["disable 0", "drain 0"] {
            control.must(order);
            assert_eq!(served(), without, "{order} with {flags:?}");
            control.must("enable 0");
            assert_eq!(served(), with);
        }
        wait_for("sessions to end", || control.rows()[0].sessions == 0);
        control.must("maxc 0 1");
        let held = from(own, control.front);
        assert_eq!((held.name.as_str(), served()), ("alpha", without.clone()), "full, with {flags:?}");
        drop(held);
        wait_for("the place", || served() == with);
        let (address, _) = (alpha.address, drop(alpha));
        assert_eq!(served(), without, "dead, with {flags:?}");
        let _alpha = Backend::at("alpha", address);
        wait_for("the place of the last one", || served() == with);
    }
}

fn from(client: Ipv4Addr, to: SocketAddr) -> Session {
    Session::over(connect_from(client, to)).unwrap()
}

#[test]
fn when_all_are_dead_every_attempt_is_made_once_and_the_client_is_closed() {
    for flags in [&[][..], &["-H"]] {
        let dead = [(); 5].map(|()| support::fresh_address().to_string());
        // Turns of the first group stand beyond the size of the second.
        let words = [&dead[0], &dead[1], &dead[2], "!", &dead[3], &dead[4], "%"];
        let (_lb, control) = Control::start(flags, &words);
        for client in 1..=10 {
            assert_eq!(ask_from(Ipv4Addr::new(127, 0, 0, client), control.front), None);
        }
        let tried: Vec<u64> = control.rows().iter().map(|row| row.total).collect();
        let of_the_second = if flags.is_empty() { 10 } else { 20 };
        assert_eq!((tried[0] + tried[1] + tried[2], tried[3] + tried[4]), (30, of_the_second), "{flags:?}");
    }
}

#[test]
fn a_client_has_the_same_backend_over_ipv4_and_as_ipv4_over_ipv6() {
    if !has_ipv6() {
        return;
    }
    let [alpha, beta, gamma] = ["alpha", "beta", "gamma"].map(Backend::start);
    let words = [alpha.word(), beta.word(), gamma.word(), "%".to_owned()];
    let words = words.each_ref().map(String::as_str);
    let (_v4, front) = Running::balancing(&[], &words);
    let port = fresh_port();
    let _v6 = Running::lb(&[&["-6", &port.to_string()], &words[..]].concat());
    for client in (1..=20).map(|last| Ipv4Addr::new(127, 0, 7, last)) {
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(ask_from(client, mapped), ask_from(client, front), "{client}");
    }
}
