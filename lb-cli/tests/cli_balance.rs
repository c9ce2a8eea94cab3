//! What balance's flags and words do, seen from a client.

mod support;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use support::{Backend, PORT, Running, Session, Silent, ask, ask_from, ask_times, fresh_address, fresh_port, wait_for};

#[test]
fn options_cluster_touch_their_values_and_follow_operands() {
    let (alpha, address) = (Backend::start("alpha"), fresh_address());
    let (ip, port) = (address.ip().to_string(), PORT.to_string());
    for args in [
        vec!["-fHat2", "-b", &ip, &port, &alpha.word()],
        vec!["-t0.5", &format!("-b{ip}"), &port, &alpha.word()],
        vec![&port, &alpha.word(), "-T", "7", "-b", &ip],
        vec![&port, "-fb", &ip, "--", &alpha.word()],
        vec!["-t1", "-t2", "-b", &ip, "--race=off", "--", &port, &alpha.word()],
    ] {
        let _lb = Running::lb(&args);
        assert_eq!(ask(address), "alpha", "{args:?}");
    }
}

#[test]
fn a_separator_may_be_last() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    for last in ["!", "%"] {
        let (_lb, front) = Running::balancing(&[], &[&alpha.word(), &beta.word(), last]);
        assert!(["alpha", "beta"].contains(&ask(front).as_str()), "{last}");
    }
}

#[test]
fn backends_have_their_turns_exactly_whoever_accepts() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::start);
    for workers in ["1", "4"] {
        let (_lb, front) = Running::balancing(&["--workers", workers], &[&a.word(), &b.word(), &c.word()]);
        assert_eq!(ask_times(7, front), ["a", "b", "c", "a", "b", "c", "a"], "with {workers} workers");
    }
}

#[test]
fn turns_go_on_behind_the_backend_that_stood_in_for_a_dead_one() {
    let [b, c] = ["b", "c"].map(Backend::start);
    for workers in ["1", "4"] {
        let dead = fresh_address().to_string();
        let (_lb, front) = Running::balancing(&["--workers", workers], &[&dead, &b.word(), &c.word()]);
        assert_eq!(ask_times(6, front), ["b", "c", "b", "c", "b", "c"], "with {workers} workers");
        let _back = Backend::at("a", dead.parse().expect("an address"));
        let mut answers = ask_times(3, front);
        answers.sort();
        assert_eq!(answers, ["a", "b", "c"], "at once when it is back");
    }
}

#[test]
fn clients_that_come_at_once_are_shared_out_to_the_last_one() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::start);
    let (_lb, front) = Running::balancing(&["--workers", "4"], &[&a.word(), &b.word(), &c.word()]);
    let visitors: Vec<_> = (0..8).map(|_| std::thread::spawn(move || ask_times(30, front))).collect();
    let answers: Vec<_> = visitors.into_iter().flat_map(|visitor| visitor.join().expect("answers")).collect();
    for name in ["a", "b", "c"] {
        assert_eq!(answers.iter().filter(|answer| *answer == name).count(), 80, "{name}");
    }
}

#[test]
fn a_repeated_backend_and_a_weight_are_a_greater_share() {
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let weighted = format!("{}::3", a.word());
    for words in [vec![a.word(), a.word(), a.word(), b.word()], vec![weighted, b.word()]] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (_lb, front) = Running::balancing(&[], &words);
        let answers = ask_times(8, front);
        assert_eq!(answers.iter().filter(|name| *name == "a").count(), 6, "{words:?}: {answers:?}");
    }
}

#[test]
fn a_full_backend_gets_no_more_until_one_of_its_sessions_ends() {
    let (a, spare) = (Backend::start("a"), Backend::start("spare"));
    let (_lb, front) = Running::balancing(&[], &[&format!("{}:2", a.word()), "!", &spare.word()]);
    let mut held: Vec<_> = (0..4).map(|_| Session::open(front)).collect();
    let names: Vec<_> = held.iter().map(|session| session.name.as_str()).collect();
    assert_eq!(names, ["a", "a", "spare", "spare"]);
    held.remove(0);
    wait_for("its place", || ask(front) == "a");
}

#[test]
fn the_next_group_is_used_when_all_of_the_first_refuse_and_no_longer_than_that() {
    let [a, b, spare] = ["a", "b", "spare"].map(Backend::start);
    let (_lb, front) = Running::balancing(&[], &[&a.word(), &b.word(), "!", &spare.word()]);
    let (at, _) = (a.address, drop(a));
    assert_eq!(ask_times(3, front), ["b", "b", "b"]);
    drop(b);
    assert_eq!(ask_times(3, front), ["spare", "spare", "spare"]);
    let _a = Backend::at("a", at);
    assert_eq!(ask_times(3, front), ["a", "a", "a"]);
}

#[test]
fn a_client_is_closed_when_nobody_answers_and_when_there_are_no_backends() {
    let a = Backend::start("a");
    let (_lb, front) = Running::balancing(&[], &[&a.word()]);
    drop(a);
    assert_eq!(ask_from(Ipv4Addr::LOCALHOST, front), None);
    let (_none, front) = Running::balancing(&[], &[]);
    assert_eq!(ask_from(Ipv4Addr::LOCALHOST, front), None);
}

/// Clients by their address.
fn clients() -> impl Iterator<Item = Ipv4Addr> {
    (1..=60).map(|last| Ipv4Addr::new(127, 0, 0, last))
}

#[test]
fn a_client_of_a_hash_group_always_meets_the_same_backend() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::start);
    let words = [a.word(), b.word(), c.word(), "%".to_owned()];
    let words = words.each_ref().map(String::as_str);
    let (lb, front) = Running::balancing(&[], &words);
    let asked = |front| clients().map(|client| ask_from(client, front).expect("an answer")).collect::<Vec<_>>();
    let first = asked(front);
    assert_eq!(asked(front), first);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "60 clients over 3 backends: {first:?}");
    drop(lb);
    let _again = Running::at(front, &["--workers", "1"], &words);
    assert_eq!(asked(front), first, "after another start");
}

#[test]
fn without_its_backend_a_client_goes_to_the_next_group_or_with_the_flag_to_the_next_backend() {
    for (flags, others) in [(&[][..], &["spare"][..]), (&["-H"], &["b", "c"])] {
        let [a, b, c, spare] = ["a", "b", "c", "spare"].map(Backend::start);
        let (_lb, front) = Running::balancing(flags, &[&a.word(), &b.word(), &c.word(), "%", &spare.word()]);
        let before: Vec<_> = clients().map(|client| ask_from(client, front).expect("an answer")).collect();
        drop(a);
        for (client, before) in clients().zip(before) {
            let now = ask_from(client, front).expect("an answer");
            let right = if before == "a" { others.contains(&now.as_str()) } else { now == before };
            assert!(right, "{client} with {flags:?}: {before}, then {now}");
        }
    }
}

#[test]
fn without_a_port_a_backend_has_the_one_that_is_listened_on() {
    let a = Backend::start("a");
    for word in [a.address.ip().to_string(), format!("{}:", a.address.ip()), format!("{}::5", a.address.ip())] {
        let (_lb, front) = Running::balancing(&[], &[&word]);
        assert_eq!(ask(front), "a", "{word}");
    }
}

#[test]
fn names_of_services_are_ports() {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let knows = |name: &str, port: &str| services.lines().any(|line| line.starts_with(name) && line.contains(port));
    if !knows("mysql", "3306/tcp") || !knows("postgresql", "5432/tcp") {
        return println!("skipped: this system does not know the services mysql and postgresql");
    }
    let (front, back) = (support::fresh_ip(), support::fresh_ip());
    let _a = Backend::at("a", SocketAddr::from((back, 5432)));
    let _lb = Running::lb(&["-b", &front.to_string(), "mysql", &format!("{back}:postgresql")]);
    assert_eq!(ask(SocketAddr::from((front, 3306))), "a");
}

#[test]
fn backends_see_the_source_address() {
    let (a, source) = (Backend::start("a"), support::fresh_ip().to_string());
    let (_lb, front) = Running::balancing(&["-B", &source], &[&a.word()]);
    assert_eq!(Session::open(front).seen_as, source);
}

#[test]
fn without_an_address_it_listens_on_all_of_both_families() {
    let a = Backend::start("a");
    if !support::has_ipv6() {
        return;
    }
    for flags in [&[][..], &["-6"]] {
        let port = fresh_port();
        let _lb = Running::lb(&[flags, &[&port.to_string(), &a.word()]].concat());
        for front in [format!("127.0.0.1:{port}"), format!("127.0.0.9:{port}"), format!("[::1]:{port}")] {
            assert_eq!(ask(front.parse().expect("an address")), "a", "{front} with {flags:?}");
        }
    }
}

#[test]
fn an_address_may_be_ipv6_on_either_side() {
    if !support::has_ipv6() {
        return;
    }
    let a = Backend::at("a", "[::1]:0".parse().expect("an address"));
    for address in ["::1", "[::1]"] {
        let port = fresh_port();
        let _lb = Running::lb(&["-6", "-b", address, &port.to_string(), &a.word()]);
        assert_eq!(ask(format!("[::1]:{port}").parse().expect("an address")), "a");
    }
}

#[test]
fn a_silent_backend_is_raced_by_the_next() {
    let (silent, a) = (Silent::start(), Backend::start("a"));
    let (_lb, front) = Running::balancing(&["-t", "15"], &[&silent.address.to_string(), "!", &a.word()]);
    let began = Instant::now();
    assert_eq!(ask(front), "a");
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

#[test]
fn without_the_race_a_silent_backend_costs_the_connect_timeout() {
    let (silent, a) = (Silent::start(), Backend::start("a"));
    let words = [silent.address.to_string(), "!".to_owned(), a.word()];
    let words = words.each_ref().map(String::as_str);
    let (_lb, front) = Running::balancing(&["--race", "off", "-t", "0.7"], &words);
    let began = Instant::now();
    assert_eq!(ask(front), "a");
    assert!(began.elapsed() >= Duration::from_millis(700), "it took {:?}", began.elapsed());
}

#[test]
fn an_idle_session_is_closed_after_its_time_and_never_without_one() {
    let a = Backend::start("a");
    let (_never, never) = Running::balancing(&["-T", "0"], &[&a.word()]);
    let (_default, default) = Running::balancing(&[], &[&a.word()]);
    let (lb, soon) = Running::balancing(&["-T", "0.3"], &[&a.word()]);
    let mut sessions = [never, default].map(Session::open);
    let began = Instant::now();
    assert!(Session::open(soon).sees_the_end());
    assert!(began.elapsed() >= Duration::from_millis(300), "it took {:?}", began.elapsed());
    lb.line_with("timed out after 0.3 seconds");
    assert!(sessions.iter_mut().all(Session::echoes));
}

#[test]
fn with_autodisable_one_failed_connect_is_the_end_of_a_backend() {
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let (_lb, front) = Running::balancing(&["-a"], &[&a.word(), &b.word()]);
    let (at, _) = (a.address, drop(a));
    assert_eq!(ask_times(2, front), ["b", "b"]);
    let _a = Backend::at("a", at);
    assert_eq!(ask_times(4, front), ["b", "b", "b", "b"]);
}

#[test]
fn every_selector_has_its_way() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::start);
    let words = [a.word(), b.word(), c.word()];
    let words = words.each_ref().map(String::as_str);
    let asked = |selector, times| {
        let (_lb, front) = Running::balancing(&["--select", selector], &words);
        let held: Vec<_> = (0..times).map(|_| Session::open(front)).collect();
        held.into_iter().map(|session| session.name).collect::<Vec<_>>()
    };
    let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(asked("round-robin", 4), ["a", "b", "c", "a"]);
    assert_eq!(asked("bucket-fill", 4), ["a", "a", "a", "a"]);
    // Nine that stay: three each.
    let held = asked("least-loaded", 9);
    assert!(["a", "b", "c"].iter().all(|name| held.iter().filter(|held| held == name).count() == 3), "{held:?}");
    assert_eq!(distinct(&asked("hash", 6)), 1, "one client");
    // Of 60 drawn, one of three is missing once in ten thousand million times.
    assert_eq!(distinct(&asked("random", 60)), 3);
    assert_eq!(asked("peak-ewma", 6).len(), 6);
}
