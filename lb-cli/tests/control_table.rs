//! What is shown of a running `lb`: balance's table byte for byte, counters, numbers for mrtg, JSON.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{Backend, Control, Session, ask, ask_times, fresh_address, wait_for};

const HEADER: &str = "GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd\n";

/// A row as balance prints it: group, type, number, state, address; c, totalc, maxc, sent, rcvd.
fn row(group: u8, kind: &str, number: u8, state: &str, at: SocketAddr, counts: (u32, u64, u32, u64, u64)) -> String {
    let (ip, port) = (at.ip().to_string(), at.port());
    let (c, total, limit, sent, received) = counts;
    format!(
        "{group:>3} {kind:>4} {number:>2} {state:>3} {ip:>16} {port:>5} {c:>4} {total:>11} {limit:>4} {sent:>11} {received:>11}\n"
    )
}

/// What a backend says to a client before anything else, and what a client's question is.
fn greeting(name: &str, session: &Session) -> u64 {
    format!("{name} {}\n", session.seen_as).len() as u64
}

const QUESTION: u64 = "still there?\n".len() as u64;

#[test]
fn show_is_balances_table_byte_for_byte() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let words = [&format!("{}:7", alpha.word()), &beta.word(), "!", "127.0.0.1:9", "%"];
    let (_lb, control) = Control::start(&[], &words);
    let mut session = Session::open(control.front);
    assert!(session.echoes());
    assert_eq!(ask(control.front), "beta");
    control.must("disable 1");
    let (sent, received) = (QUESTION, greeting("alpha", &session) + QUESTION);
    let expected = HEADER.to_owned()
        + &row(0, "RR", 0, "ENA", alpha.address, (1, 1, 7, sent, received))
        + &row(0, "RR", 1, "DIS", beta.address, (0, 1, 0, 0, greeting("beta", &session)))
        + "  1 Hash  0 ENA        127.0.0.1     9    0           0    0           0           0\n";
    // A session has ended when lb has seen its end.
    wait_for("the session of beta to end", || control.rows()[1].sessions == 0);
    assert_eq!(control.must("show"), expected);
}

#[test]
fn what_is_longer_than_its_column_is_shown_whole() {
    let (_lb, control) = Control::start(&[], &["[::1]:80", "[2001:db8:1:2:3:4:5:6]:8080:12345", "localhost:10"]);
    let table = control.must("show");
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[1], "  0   RR  0 ENA              ::1    80    0           0    0           0           0");
    assert_eq!(rows[2], "  0   RR  1 ENA 2001:db8:1:2:3:4:5:6  8080    0           0 12345           0           0");
    assert_eq!(rows[3].split_whitespace().nth(5), Some("10"), "a name stands as its address: {}", rows[3]);
}

#[test]
fn counters_have_failed_attempts_and_live_sessions_and_can_be_reset() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let (_lb, control) = Control::start(&[], &[&alpha.word(), &dead.to_string()]);
    let counts = |number: usize| {
        let row = control.rows().swap_remove(number);
        (row.sessions, row.total, row.sent, row.received)
    };
    let mut session = Session::open(control.front);
    assert!(session.echoes());
    let hello = greeting("alpha", &session);
    assert_eq!(counts(0), (1, 1, QUESTION, hello + QUESTION), "what a session has moved counts while it lasts");
    // To the dead one first, which counts, and then to the other.
    assert_eq!(ask(control.front), "alpha");
    wait_for("it to end", || control.rows()[0].sessions == 1);
    assert_eq!((counts(0), counts(1)), ((1, 2, QUESTION, 2 * hello + QUESTION), (0, 1, 0, 0)));
    control.must("reset 0; reset 1");
    assert_eq!((counts(0), counts(1)), ((1, 0, 0, 0), (0, 0, 0, 0)), "the session is there still");
    assert!(session.echoes());
    assert_eq!(counts(0), (1, 0, QUESTION, QUESTION));
    drop(session);
    wait_for("its place to be free", || counts(0) == (0, 0, QUESTION, QUESTION));
}

#[test]
fn an_order_to_a_group_leaves_the_counters_of_its_channels() {
    let alpha = Backend::start("alpha");
    let (_lb, control) = Control::start(&[], &[&alpha.word()]);
    assert_eq!(ask_times(3, control.front).len(), 3);
    wait_for("the sessions to end", || control.rows()[0].sessions == 0);
    let before = control.rows().swap_remove(0);
    control.must("hash; rr; create 127.0.0.1 9; disable 0; enable 0; maxc 0 0");
    assert_eq!(control.rows()[0], before);
}

#[test]
fn mrtg_gets_four_lines_of_any_group() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    // The second group has more channels than the first, which is the current one.
    let (_lb, control) = Control::start(&[], &[&alpha.word(), "!", "127.0.0.1:9", &beta.word()]);
    control.must("disable 0; group 1; disable 0");
    let mut session = Session::open(control.front);
    assert!(session.name == "beta" && session.echoes());
    let received = greeting("beta", &session) + QUESTION;
    assert_eq!(control.must("mrtg-bytes 1 1"), format!("{received}\n{QUESTION}\nUNKNOWN\ngroup 1 channel 1\n"));
    assert_eq!(control.must("mrtg-conns 1 1"), "1\nUNKNOWN\nUNKNOWN\ngroup 1 channel 1\n");
    assert_eq!(control.must("mrtg-conns 0 0"), "0\nUNKNOWN\nUNKNOWN\ngroup 0 channel 0\n");
    assert_eq!(control.says("mrtg-conns 0 1"), (69, "unknown channel\n".to_owned()));
    assert_eq!(control.says("group 1; mrtg-conns 0 1"), (69, "unknown channel\n".to_owned()));
}

#[test]
fn show_json_has_all_counters_for_machines() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let words = [&format!("{}:9:2", alpha.word()), "!", &beta.word(), "%"];
    let (lb, control) = Control::start(&["-m", "connect:interval=1"], &words);
    assert_eq!(ask(control.front), "alpha");
    wait_for("the session to end", || control.rows()[0].sessions == 0);
    let said: Value = serde_json::from_str(&control.must("show json")).unwrap();
    assert_eq!((said["pid"].as_u64(), said["monitor"].as_bool()), (Some(u64::from(lb.id())), Some(true)));
    let [first, second] = [0, 1].map(|group| &said["groups"][group]);
    assert_eq!((first["type"].as_str(), second["type"].as_str()), (Some("RR"), Some("Hash")));
    let channel = &first["channels"][0];
    let expected = json!({
        "name": alpha.word(), "address": alpha.word(), "channel": 0, "weight": 2, "limit": 9,
        "state": "ENA", "status": "enabled", "health": "up", "reason": channel["reason"], "since_seconds": null,
        "next_probe_seconds": channel["next_probe_seconds"], "ejected": null, "ejected_seconds": null,
        "share_percent": 100,
        "in_flight": 0, "picked": 1, "succeeded": 1, "failed": 0, "connect_failed": 0, "cancelled": 0,
        "last_resort": 0, "to_backend_bytes": 0, "to_client_bytes": channel["to_client_bytes"],
    });
    assert_eq!(channel, &expected);
    assert!(channel["to_client_bytes"].as_u64().unwrap() > 0);
    wait_for("a probe to have passed", || {
        let said: Value = serde_json::from_str(&control.must("show json")).unwrap();
        let channel = &said["groups"][0]["channels"][0];
        channel["reason"] == "probe: passed" && channel["next_probe_seconds"].as_f64().is_some_and(|next| next <= 1.1)
    });
    assert_eq!(second["channels"][0]["limit"], Value::Null, "no limit");
}
