//! Orders to a running `lb` in balance's words, and what becomes of clients by them.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::net::TcpStream;

use support::{Backend, Control, Session, ask, ask_from, ask_times, fresh_ip, wait_for};

fn create(backend: &Backend) -> String {
    format!("create {} {}", backend.address.ip(), backend.address.port())
}

/// How often each of two names is among so many answers.
fn shares(times: usize, control: &Control, names: [&str; 2]) -> [usize; 2] {
    let answers = ask_times(times, control.front);
    names.map(|name| answers.iter().filter(|answer| *answer == name).count())
}

#[test]
fn orders_have_balances_words_and_take_effect_at_once() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&[], &[&alpha.word(), &beta.word()]);
    let front = control.front;
    for (order, answer) in [
        ("disable 0", "channel 0 disabled\n"),
        ("disable 0", "channel 0 already disabled\n"),
        ("enable 0", "channel 0 enabled\n"),
        ("enable 0", "channel 0 already enabled\n"),
        ("maxc 1 5", "maxc of channel 1 changed to 5\n"),
        ("reset 1", "channel 1 counters reset\n"),
        ("group 0", ""),
        ("hash", "group 0 set to hash\n"),
        ("rr", "group 0 set to round robin\n"),
    ] {
        assert_eq!(control.must(order), answer, "{order}");
    }
    control.must("disable 1");
    assert_eq!(ask_times(3, front), ["alpha", "alpha", "alpha"]);
    assert_eq!(control.must("enable 1; disable 0"), "channel 1 enabled\nchannel 0 disabled\n");
    assert_eq!(ask_times(3, front), ["beta", "beta", "beta"]);
    assert_eq!(control.status(0), "DIS");
}

#[test]
fn another_group_is_reached_in_one_command() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&[], &[&alpha.word(), "!", &beta.word()]);
    assert_eq!(control.must("group 1; disable 0"), "channel 0 disabled\n");
    assert_eq!((control.status(0), control.status(1)), ("ENA".to_owned(), "DIS".to_owned()));
    assert_eq!(ask(control.front), "alpha");
}

#[test]
fn a_disabled_backend_keeps_its_sessions_and_a_limit_counts_at_once() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    let mut session = Session::open(control.front);
    control.must("disable 0");
    assert!(session.echoes());
    control.must("enable 0; maxc 0 1");
    assert!(Session::over(TcpStream::connect(control.front).unwrap()).is_none(), "it is full");
    drop(session);
    wait_for("the place to be free", || control.rows()[0].sessions == 0);
    assert_eq!(ask(control.front), "alpha");
}

#[test]
fn backends_are_created_and_assigned_while_it_runs() {
    let (alpha, beta, gamma) = (Backend::start("alpha"), Backend::start("beta"), Backend::start("gamma"));
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    assert_eq!(control.must(&create(&beta)), "channel created\n");
    assert_eq!(control.rows()[1].status, "DIS", "as balance does: it is enabled when its operator says so");
    assert_eq!(ask_times(2, control.front), ["alpha", "alpha"]);
    control.must("enable 1");
    assert_eq!(shares(4, &control, ["alpha", "beta"]), [2, 2]);
    let assign = format!("assign 0 {} {}", gamma.address.ip(), gamma.address.port());
    let refused = "channel must be disabled to assign new address\n".to_owned();
    assert_eq!(control.says(&assign), (69, refused));
    control.must("disable 0");
    assert_eq!(control.must(&assign), "channel reassigned\n");
    control.must("enable 0");
    assert_eq!(shares(4, &control, ["beta", "gamma"]), [2, 2]);
    // A group that nobody has named on the command line.
    control.must(&format!("group 3; {}; enable 0", create(&alpha)));
    assert_eq!(control.rows().last().unwrap().group, 3);
    control.must("disable 0; disable 1");
    assert_eq!(ask(control.front), "alpha");
}

#[test]
fn a_port_that_the_host_carries_wins_over_the_one_behind_it() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[]);
    control.must(&format!("create {} 80; enable 0", alpha.word()));
    assert_eq!((ask(control.front).as_str(), control.rows()[0].address.clone()), ("alpha", alpha.word()));
    control.must(&format!("disable 0; assign 0 {}:81 80", alpha.address.ip()));
    assert_eq!(control.rows()[0].address, format!("{}:81", alpha.address.ip()));
}

#[test]
fn one_that_was_started_without_backends_serves_those_that_are_created() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[]);
    let is_closed = || Session::over(TcpStream::connect(control.front).unwrap()).is_none();
    assert!(is_closed() && control.rows().is_empty());
    assert_eq!(control.must(&create(&alpha)), "channel created\n");
    assert!(is_closed(), "not before it is enabled");
    assert_eq!(control.must("enable 0"), "channel 0 enabled\n");
    assert_eq!(ask(control.front), "alpha");
}

#[test]
fn groups_that_are_made_while_it_runs_choose_as_the_command_line_says() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&["--select", "bucket-fill"], &[]);
    control.must(&format!("{}; {}; enable 0; enable 1", create(&alpha), create(&beta)));
    assert_eq!(ask_times(4, control.front), ["alpha"; 4]);
    control.must("rr");
    assert_eq!(shares(4, &control, ["alpha", "beta"]), [2, 2]);
}

#[test]
fn a_group_without_backends_may_hash_and_its_clients_go_on_to_the_next() {
    let alpha = Backend::start("alpha");
    for options in [&[][..], &["-H"]] {
        let (_lb, control) = Control::start(options, &[]);
        assert_eq!(control.must("hash; group 2; hash"), "group 0 set to hash\ngroup 2 set to hash\n");
        assert!(Session::over(TcpStream::connect(control.front).unwrap()).is_none());
        control.must(&format!("group 1; {}; enable 0", create(&alpha)));
        assert_eq!(ask_times(3, control.front), ["alpha"; 3]);
    }
}

#[test]
fn what_autodisable_took_out_shows_as_dis_until_it_is_enabled() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&["-a"], &[&alpha.word(), &beta.word()]);
    let (address, _) = (alpha.address, drop(alpha));
    assert_eq!(ask_times(2, control.front), ["beta", "beta"]);
    assert_eq!(control.status(0), "dis");
    let _alpha = Backend::at("alpha", address);
    assert_eq!(ask_times(4, control.front), ["beta"; 4]);
    assert_eq!(control.must("enable 0"), "channel 0 enabled\n");
    assert_eq!(shares(4, &control, ["alpha", "beta"]), [2, 2]);
}

#[test]
fn what_autodisable_took_out_for_a_time_comes_back_by_itself() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (lb, control) = Control::start(&["--autodisable-for", "0.3"], &[&alpha.word(), &beta.word()]);
    let (address, _) = (alpha.address, drop(alpha));
    assert_eq!(ask_times(2, control.front), ["beta", "beta"]);
    lb.line_with(&format!("{address} is ejected (connect failed, for 300ms)"));
    assert_eq!(control.status(0), "dis");
    let _alpha = Backend::at("alpha", address);
    wait_for("it to be tried again", || ask(control.front) == "alpha");
    wait_for("it to be up", || control.status(0) == "ENA");
}

#[test]
fn a_drained_backend_gets_nobody_new_and_says_how_far_it_is() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (lb, control) = Control::start(&[], &[&alpha.word(), &beta.word()]);
    control.must("disable 1");
    let [mut first, second] = [(); 2].map(|()| Session::open(control.front));
    control.must("enable 1");
    assert_eq!(control.must("drain 0"), "channel 0 draining, 2 connections left\n");
    assert_eq!(control.status(0), "DRN");
    assert_eq!(ask_times(3, control.front), ["beta"; 3]);
    drop(second);
    wait_for("one to be left", || control.must("drain 0") == "channel 0 draining, 1 connection left\n");
    assert!(first.echoes());
    drop(first);
    lb.line_with("is drained");
    assert_eq!(control.must("drain 0"), "channel 0 drained\n");
    control.must("enable 0");
    assert_eq!(control.status(0), "ENA");
}

#[test]
fn weights_change_at_once_and_a_choice_is_explained() {
    let (alpha, beta, spare) = (Backend::start("alpha"), Backend::start("beta"), Backend::start("spare"));
    let (_lb, control) = Control::start(&[], &[&alpha.word(), &beta.word(), "!", &spare.word()]);
    assert_eq!(control.must("weight 0 3"), "weight of channel 0 changed to 3\n");
    assert_eq!(shares(8, &control, ["alpha", "beta"]), [6, 2]);
    control.must("disable 0; group 1; maxc 0 1");
    let explained = |first: &str, reasons: [&str; 3]| {
        let mut lines = vec![first.to_owned()];
        for ((backend, place), reason) in
            [(&alpha, "0 channel 0"), (&beta, "0 channel 1"), (&spare, "1 channel 0")].into_iter().zip(reasons)
        {
            lines.push(format!("  group {place}, {}: {reason}", backend.word()));
        }
        assert_eq!(control.must("explain 127.0.0.9").lines().collect::<Vec<_>>(), lines);
    };
    let gets = |place: &str, backend: &Backend| format!("client 127.0.0.9 gets group {place}, {}", backend.word());
    explained(&gets("0 channel 1", &beta), ["disabled", "chosen", "has room"]);
    control.must("disable 1");
    let held = Session::open(control.front);
    assert_eq!(held.name, "spare");
    explained("client 127.0.0.9 gets no channel: all backends are full", ["disabled", "disabled", "full: 1 of 1"]);
    control.must("group 1; disable 0");
    let nothing = "client 127.0.0.9 gets no channel: all backends are down or disabled";
    explained(nothing, ["disabled", "disabled", "disabled"]);
    assert_eq!(control.says("explain nonsense").0, 69);
}

#[test]
fn explain_tells_a_client_of_a_hash_group_its_backend() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&[], &[&alpha.word(), &beta.word(), "%"]);
    for _ in 0..8 {
        let client = fresh_ip();
        let served = ask_from(client, control.front).unwrap();
        let owner = if served == "alpha" { &alpha } else { &beta };
        let said = control.must(&format!("explain {client}"));
        assert!(said.contains(&format!("{}: chosen\n", owner.word())), "{client} was served by {served}, but: {said}");
        // Who comes over IPv6 with the same address is the same client.
        let rows = |said: &str| said.split_once('\n').unwrap().1.to_owned();
        assert_eq!(rows(&control.must(&format!("explain ::ffff:{client}"))), rows(&said));
    }
}
