//! `-i` and `-c` as balance.fm has them, and what lb adds.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    process::{Output, Stdio},
};

use rustix::process::Signal;
use support::{Backend, Control, Running, Session, ask, ask_from, ask_times, command, fresh_ip, wait_for};

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a control shell says to these lines.
fn shell(control: &Control, lines: &str) -> Output {
    let mut shell = command(&["-i"])
        .args(control.target())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    shell.wait_with_output().unwrap()
}

/// A port that is the listener's, so that a row of the table is known to the byte.
fn row(
    group: u8,
    kind: &str,
    number: u8,
    status: &str,
    ip: &str,
    port: u16,
    counts: (u32, u64, u32, u64, u64),
) -> String {
    let (c, total, limit, sent, received) = counts;
    format!(
        "{group:>3} {kind:>4} {number:>2} {status:>3} {ip:>16} {port:>5} {c:>4} {total:>11} {limit:>4} {sent:>11} {received:>11}\n"
    )
}

const HEADER: &str = "GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd\n";

#[test]
fn show_is_balances_table_byte_for_byte() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&[], &[&format!("{}:7", alpha.word()), &beta.word(), "!", &beta.word(), "%"]);
    let mut session = Session::open(control.front);
    assert!(session.echoes());
    let (a, b) = (alpha.address, beta.address);
    let greeting = format!("alpha {}\n", session.seen_as).len() as u64;
    let line = "still there?\n".len() as u64;
    let expected = HEADER.to_owned()
        + &row(0, "RR", 0, "ENA", &a.ip().to_string(), a.port(), (1, 1, 7, line, greeting + line))
        + &row(0, "RR", 1, "ENA", &b.ip().to_string(), b.port(), (0, 0, 0, 0, 0))
        + &row(1, "Hash", 0, "ENA", &b.ip().to_string(), b.port(), (0, 0, 0, 0, 0));
    assert_eq!(control.must("show"), expected);
}

#[test]
fn a_recorded_session_of_balance_fm_is_repeated_word_for_word() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (lb, control) = Control::start(&[], &[&alpha.word(), "!", &beta.word()]);
    let output = shell(&control, "group 1\ndisable 0\nhash\nquit\n");
    let expected = format!(
        "\nbalance.fm 1.0.0 interactive command shell\nPID of master process is {}\n\n\
         balance.fm[0] balance.fm[1] channel 0 disabled\nbalance.fm[1] group 1 set to hash\nbalance.fm[1] ",
        lb.id()
    );
    assert_eq!((text(&output), output.status.code()), (expected, Some(0)));
    // The end of the input ends it too, on a line of its own.
    let output = shell(&control, "");
    assert!(text(&output).ends_with("balance.fm[0] \n"), "{:?}", text(&output));
    assert_eq!(output.status.code(), Some(0));
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
        ("dis 1", "channel 1 disabled\n"),
        ("e 1", "channel 1 enabled\n"),
    ] {
        assert_eq!(control.must(order), answer, "{order}");
    }
    control.must("disable 1");
    assert_eq!(ask_times(3, front), ["alpha", "alpha", "alpha"]);
    control.must("enable 1; disable 0");
    assert_eq!(ask_times(3, front), ["beta", "beta", "beta"]);
    assert_eq!(control.status(0), "DIS");
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
    let create = |backend: &Backend| format!("create {} {}", backend.address.ip(), backend.address.port());
    assert_eq!(control.must(&create(&beta)), "channel created\n");
    assert_eq!(control.rows()[1].status, "DIS", "as balance does: it is enabled when its operator says so");
    assert_eq!(ask_times(2, control.front), ["alpha", "alpha"]);
    control.must("enable 1");
    let mut answers = ask_times(4, control.front);
    answers.sort();
    assert_eq!(answers, ["alpha", "alpha", "beta", "beta"]);
    let assign = format!("assign 0 {} {}", gamma.address.ip(), gamma.address.port());
    let refused = control.order(&assign);
    assert_eq!(text(&refused), "channel must be disabled to assign new address\n");
    assert_ne!(refused.status.code(), Some(0));
    control.must("disable 0");
    assert_eq!(control.must(&assign), "channel reassigned\n");
    control.must("enable 0");
    let mut answers = ask_times(4, control.front);
    answers.sort();
    assert_eq!(answers, ["beta", "beta", "gamma", "gamma"]);
    // A group that nobody has named on the command line.
    control.must(&format!("group 3; {}; enable 0", create(&alpha)));
    assert_eq!(control.rows().last().unwrap().group, 3);
    control.must("disable 0; disable 1");
    assert_eq!(ask(control.front), "alpha");
}

#[test]
fn what_fails_says_so_in_words_and_in_the_exit_status() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    for (order, answer) in [
        ("disable 7", "no such channel 7\n"),
        ("enable 7", "no such channel 7\n"),
        ("reset 7", "no such channel 7\n"),
        ("maxc 7 1", "unknown channel\n"),
        ("assign 7 127.0.0.1 80", "unknown channel\n"),
        ("mrtg-bytes 0 7", "unknown channel\n"),
        ("mrtg-bytes 99 0", "unknown group\n"),
        ("create no.such.host.invalid 80", "invalid address\n"),
        ("frobnicate", "syntax error\n"),
        ("disable", "syntax error\n"),
    ] {
        let output = control.order(order);
        assert_eq!((text(&output).as_str(), output.status.code()), (answer, Some(69)), "{order}");
    }
    let output = control.order("disable 7; disable 0");
    assert_eq!(text(&output), "no such channel 7\nchannel 0 disabled\n");
    assert_eq!(output.status.code(), Some(69), "one of them failed");
    assert_eq!(control.must("group 0; enable 0"), "channel 0 enabled\n");
    let output = control.order("group 99");
    assert_eq!((text(&output).as_str(), output.status.code()), ("value out of range\n", Some(69)));
}

#[test]
fn counters_are_for_mrtg_and_can_be_reset() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    assert_eq!(ask_times(3, control.front).len(), 3);
    wait_for("the sessions to end", || control.rows()[0].sessions == 0);
    let received = control.rows()[0].received;
    assert!(received > 0);
    assert_eq!(control.must("mrtg-bytes 0 0"), format!("{received}\n0\nUNKNOWN\ngroup 0 channel 0\n"));
    assert_eq!(control.must("mrtg-conns 0 0"), "3\nUNKNOWN\nUNKNOWN\ngroup 0 channel 0\n");
    control.must("reset 0");
    let row = &control.rows()[0];
    assert_eq!((row.total, row.sent, row.received), (0, 0, 0));
}

#[test]
fn help_and_version_begin_as_balances_do() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    for help in ["help", "?", "h"] {
        let said = control.must(help);
        assert!(said.starts_with("available commands:\n"), "{said}");
        for command in ["assign", "create", "disable", "drain", "explain", "maxc", "monitor", "mrtg-bytes", "weight"] {
            assert!(said.contains(command), "{command}: {said}");
        }
    }
    let version = control.must("version");
    assert!(version.starts_with("  This is balance.fm 1.0.0\n  MAXGROUPS=16\n  MAXCHANNELS=64\n"), "{version}");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn kill_is_an_orderly_stop() {
    let alpha = Backend::start("alpha");
    let (lb, control) = Control::start(&[], &[&alpha.word()]);
    assert_eq!(control.must("kill"), "shutdown complete, exiting.\n");
    assert_eq!(lb.ended().0.code(), Some(0));
}

#[test]
fn a_drained_backend_gets_nobody_new_and_says_how_far_it_is() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (lb, control) = Control::start(&[], &[&alpha.word(), &beta.word()]);
    let mut session = Session::open(control.front);
    assert_eq!(session.name, "alpha");
    let said = control.must("drain 0");
    assert!(said.contains("1 connection"), "{said}");
    assert_eq!(control.status(0), "DRN");
    assert_eq!(ask_times(3, control.front), ["beta", "beta", "beta"]);
    assert!(session.echoes());
    drop(session);
    lb.line_with("drained");
    assert!(control.must("drain 0").contains("drained"));
    control.must("enable 0");
    assert_eq!(control.status(0), "ENA");
}

#[test]
fn weights_change_at_once_and_a_choice_is_explained() {
    let (alpha, beta, spare) = (Backend::start("alpha"), Backend::start("beta"), Backend::start("spare"));
    let (_lb, control) = Control::start(&[], &[&alpha.word(), &beta.word(), "!", &spare.word()]);
    control.must("weight 0 3");
    let answers = ask_times(8, control.front);
    assert_eq!(answers.iter().filter(|name| *name == "alpha").count(), 6, "{answers:?}");
    control.must("disable 0");
    let said = control.must("explain 127.0.0.9");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.iter().any(|line| line.contains(&alpha.word()) && line.contains("disabled")), "{said}");
    assert!(lines.iter().any(|line| line.contains(&beta.word()) && line.contains("chosen")), "{said}");
    assert!(lines.iter().any(|line| line.contains(&spare.word())), "{said}");
    assert_eq!(control.order("explain nonsense").status.code(), Some(69));
}

#[test]
fn explain_tells_a_client_of_a_hash_group_its_backend() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&[], &[&alpha.word(), &beta.word(), "%"]);
    for _ in 0..8 {
        let client = fresh_ip();
        let served = ask_from(client, control.front).unwrap();
        let said = control.must(&format!("explain {client}"));
        let chosen = said.lines().find(|line| line.contains("chosen")).unwrap();
        let owner = if served == "alpha" { &alpha } else { &beta };
        assert!(chosen.contains(&owner.word()), "{client} was served by {served}, but: {said}");
    }
}

#[test]
fn show_json_has_all_counters_for_machines() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&[], &[&format!("{}:9:2", alpha.word()), "!", &beta.word(), "%"]);
    assert_eq!(ask(control.front), "alpha");
    wait_for("the session to end", || control.rows()[0].sessions == 0);
    let said: serde_json::Value = serde_json::from_str(&control.must("show json")).unwrap();
    let text = said.to_string();
    for word in ["alpha", "succeeded", "connect_failed", "in_flight", "last_resort", "limit", "weight", "health"] {
        let known = word != "alpha" || text.contains(&alpha.word());
        assert!(known && (word == "alpha" || text.contains(word)), "{word}: {text}");
    }
}

/// All files, directories and sockets.
fn everything_in(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all.extend(everything_in(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

#[test]
fn only_its_owner_can_control_it_and_nothing_is_left_behind() {
    let alpha = Backend::start("alpha");
    let (lb, control) = Control::start(&[], &[&alpha.word()]);
    let directory = control.directory.0.join("control");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let entries = || everything_in(&directory);
    let before = entries();
    let is_socket = |path: &&std::path::PathBuf| fs::metadata(path).unwrap().file_type().is_socket();
    let sockets: Vec<_> = before.iter().filter(is_socket).collect();
    assert!(!sockets.is_empty() && sockets.iter().all(|path| mode(path) == 0o600), "{before:?}");
    control.must("show");
    assert_eq!(entries(), before, "a query leaves nothing");
    // A port that nobody serves: said so, and nothing made.
    let nobody =
        command(&["-c", "show", "-b", "127.0.0.1", "--control-dir", directory.to_str().unwrap(), "9"]).output();
    let nobody = nobody.unwrap();
    assert_eq!(nobody.status.code(), Some(70), "{nobody:?}");
    assert!(!nobody.stderr.is_empty() && entries() == before);
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
    assert_eq!(entries(), Vec::<std::path::PathBuf>::new(), "an orderly end leaves nothing");
}

#[test]
fn after_sigkill_the_next_instance_starts_with_its_own_backends_only() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (lb, control) = Control::start(&[], &[&alpha.word(), &alpha.word()]);
    lb.signal(Signal::KILL);
    drop(lb.ended());
    let stale = control.order("show");
    assert!(matches!(stale.status.code(), Some(69 | 70)), "{stale:?}");
    let [_, _, _, path, _] = control.target();
    let _next = Running::at(control.front, &["--control-dir", &path], &[&beta.word()]);
    assert_eq!(control.rows().len(), 1);
    assert_eq!(ask_times(2, control.front), ["beta", "beta"]);
}

#[test]
fn instances_are_told_apart_by_port_and_address_as_it_was_typed() {
    let alpha = Backend::start("alpha");
    let (_first, control) = Control::start(&[], &[&alpha.word()]);
    let [_, _, _, path, _] = control.target();
    let (_second, other) = Running::balancing(&["--control-dir", &path], &[&alpha.word(), &alpha.word()]);
    assert_eq!(control.rows().len(), 1);
    let shown =
        command(&["-c", "show", "-b", &other.ip().to_string(), "--control-dir", &path, &other.port().to_string()]);
    let mut shown = shown;
    assert_eq!(text(&shown.output().unwrap()).lines().count(), 3);
    // The same port and address cannot be served twice.
    let twice = command(&[
        "-f",
        "-b",
        &other.ip().to_string(),
        "--control-dir",
        &path,
        &other.port().to_string(),
        &alpha.word(),
    ])
    .output();
    assert_eq!(twice.unwrap().status.code(), Some(71));
}

#[test]
fn a_new_instance_can_be_controlled_while_the_old_one_finishes_its_sessions() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (old, control) = Control::start(&[], &[&alpha.word()]);
    let mut session = Session::open(control.front);
    old.signal(Signal::TERM);
    old.line_with("stopping");
    wait_for("the old one to close its port", || TcpStream::connect(control.front).is_err());
    let [_, _, _, path, _] = control.target();
    let new = Running::at(control.front, &["--control-dir", &path], &[&beta.word(), &alpha.word()]);
    assert_eq!(control.rows().len(), 2);
    assert!(session.echoes());
    drop(session);
    assert_eq!(old.ended().0.code(), Some(0));
    assert_eq!(control.rows().len(), 2, "the old one's end is not the end of the new one's socket");
    drop(new);
}
