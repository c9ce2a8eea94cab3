//! What is shown: balance's table, JSON, explanations, numbers for MRTG.

use std::time::{Duration, Instant};

use lb_core::{
    BackendId, Config, Outcome, Request, Status,
    health::{Eject, Evidence, Probe, RiseFall, Said, Share},
    rand::{SeedableRng, rngs::SmallRng},
};

use crate::desk::Desk;

#[test]
fn show_is_balances_table_byte_for_byte() {
    let mut desk = Desk::new("127.0.0.1:9403:7 127.0.0.1:9402:5 ! 127.0.0.1:9403 %");
    for (to_backend, to_client) in [(4, 5), (6, 7)] {
        let lease = desk.pick();
        lease.add_bytes(to_backend, to_client);
        lease.finish(Outcome::Success, Instant::now());
        // The turn of the other one, with nothing of its own the second time.
        desk.said("disable 1");
    }
    let second = BackendId::new("127.0.0.1:9402", 0);
    desk.said("enable 1; disable 0");
    let lease = desk.pick();
    lease.add_bytes(5, 6);
    lease.finish(Outcome::Success, Instant::now());
    desk.balancer.set_status(second, Status::Disabled, Instant::now()).unwrap();
    desk.said("enable 0");
    let expected = "\
GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd
  0   RR  0 ENA        127.0.0.1  9403    0           2    7          10          12
  0   RR  1 DIS        127.0.0.1  9402    0           1    5           5           6
  1 Hash  0 ENA        127.0.0.1  9403    0           0    0           0           0
";
    assert_eq!(desk.said("show"), expected);
}

#[test]
fn a_column_grows_with_what_is_in_it() {
    let mut desk = Desk::new("[2001:db8:1:2:3:4:5:6]:65535:123456 nowhere:80");
    let lease = desk.pick();
    lease.add_bytes(123_456_789_012, 5);
    assert_eq!(
        desk.said("show").lines().skip(1).collect::<Vec<_>>(),
        [
            "  0   RR  0 ENA 2001:db8:1:2:3:4:5:6 65535    1           1 123456 123456789012           5",
            "  0   RR  1 ENA                -     -    0           0    0           0           0",
        ]
    );
    drop(lease);
}

#[test]
fn the_state_tells_people_from_observation() {
    let config: Config = "127.0.0.1:1 127.0.0.2:1 127.0.0.3:1 127.0.0.4:1".parse().unwrap();
    let mut desk = Desk::of(config.with_probes(RiseFall::default()));
    let ids: Vec<BackendId> = desk.balancer.stats().backends.iter().map(|backend| backend.id).collect();
    for id in &ids {
        desk.balancer.observe(*id, &Evidence::Probe(Probe::Passed), Instant::now()).unwrap();
    }
    desk.balancer.observe(ids[1], &Evidence::Probe(Probe::Said(Said::Down)), Instant::now()).unwrap();
    desk.said("disable 2; drain 3");
    let states: Vec<String> = (0..4).map(|at| desk.row(at)[12..15].to_owned()).collect();
    assert_eq!(states, ["ENA", "dis", "DIS", "DRN"]);
    desk.said("disable 1");
    assert_eq!(&desk.row(1)[12..15], "DIS", "what people say comes first");
}

#[test]
fn json_says_why_a_backend_is_what_it_is_and_since_when() {
    let config: Config = "127.0.0.1:1 127.0.0.2:1 127.0.0.3:1".parse().unwrap();
    let mut desk = Desk::of(config.with_probes(RiseFall::default()));
    let ids: Vec<BackendId> = desk.balancer.stats().backends.iter().map(|backend| backend.id).collect();
    let say = |at: usize, word, reason| {
        let evidence = Evidence::Probe(Probe::Said(word));
        desk.balancer.observe_because(ids[at], &evidence, reason, Instant::now()).unwrap();
    };
    say(0, Said::Up(Share::percent(40).unwrap()), "the application said UP 40%");
    say(1, Said::Drain, "the application said DRAIN");
    let soon = Instant::now() + Duration::from_secs(1000);
    desk.balancer.set_next_probe(ids[1], Some(soon)).unwrap();
    desk.balancer.set_next_probe(ids[2], Some(Instant::now())).unwrap();
    assert_eq!(&desk.row(1)[12..15], "drn", "observed, not ordered");
    let json: serde_json::Value = serde_json::from_str(&desk.said("show json")).unwrap();
    let channel = |at: usize, key: &str| json["groups"][0]["channels"][at][key].clone();
    assert_eq!((channel(0, "share_percent"), channel(0, "health")), (40.into(), "up".into()));
    assert_eq!(channel(0, "reason"), "the application said UP 40%");
    assert_eq!((channel(1, "health"), channel(1, "state")), ("draining: said so".into(), "drn".into()));
    assert!(channel(1, "since_seconds").as_f64().is_some_and(|since| since < 100.0));
    assert!(channel(1, "next_probe_seconds").as_f64().is_some_and(|next| (900.0..=1000.0).contains(&next)));
    assert_eq!((channel(2, "health"), channel(2, "reason")), ("unknown".into(), "no answer yet".into()));
    let nothing = serde_json::Value::Null;
    assert_eq!((channel(2, "since_seconds"), channel(2, "next_probe_seconds")), (nothing.clone(), nothing));
    let explained = desk.said("explain 192.0.2.7");
    assert!(explained.contains("draining: said so (the application said DRAIN)"), "{explained}");
    assert!(explained.contains(": chosen, takes 40% of its share\n"), "{explained}");
    assert!(explained.lines().next().unwrap().ends_with(":1"), "all are let in: {explained}");
}

#[test]
fn json_says_until_when_an_ejected_one_is_out() {
    let config: Config = "127.0.0.1:1 127.0.0.2:1".parse().unwrap();
    let mut desk = Desk::of(config.with_ejection(Eject::default()));
    let id = desk.balancer.stats().backends[0].id;
    for _ in 0..3 {
        let pinned = Request::new(Instant::now()).with_pin(id);
        let lease = desk.balancer.pick(&pinned, &mut SmallRng::seed_from_u64(1)).unwrap();
        lease.finish(Outcome::ConnectFailed, Instant::now());
    }
    let json: serde_json::Value = serde_json::from_str(&desk.said("show json")).unwrap();
    let first = &json["groups"][0]["channels"][0];
    assert_eq!((&first["health"], &first["ejected"]), (&"ejected".into(), &"out".into()));
    assert_eq!(first["reason"], "connect failed, for 10s");
    assert!(first["ejected_seconds"].as_f64().is_some_and(|left| left <= 10.0), "{first}");
}

#[test]
fn machines_get_every_counter_as_json() {
    let mut desk = Desk::new("127.0.0.1:1:5 nowhere:2 % 127.0.0.1:3");
    desk.said("disable 1; weight 0 3");
    let failed = desk.pick();
    failed.add_bytes(7, 9);
    failed.finish(Outcome::ConnectFailed, Instant::now());
    let text = desk.said("show json");
    assert_eq!(text.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["pid"], std::process::id());
    assert_eq!(json["monitor"], serde_json::Value::Null);
    assert_eq!(json["admitted_percent"], 100);
    let [hash, turns] = json["groups"].as_array().unwrap().as_slice() else { panic!("{json}") };
    assert_eq!((&hash["type"], &hash["selector"], &turns["type"]), (&"Hash".into(), &"hash".into(), &"RR".into()));
    let [first, second] = hash["channels"].as_array().unwrap().as_slice() else { panic!("{json}") };
    for (key, value) in [("limit", 5), ("weight", 3), ("picked", 1), ("connect_failed", 1), ("to_backend_bytes", 7)] {
        assert_eq!(first[key], value, "{key}");
    }
    assert_eq!((&first["address"], &first["state"]), (&"127.0.0.1:1".into(), &"ENA".into()));
    assert_eq!((&second["name"], &second["address"]), (&"nowhere:2".into(), &serde_json::Value::Null));
    assert_eq!((&second["status"], &second["limit"]), (&"disabled".into(), &serde_json::Value::Null));
    assert_eq!(desk.said("s j"), desk.said("show json"));
}

#[test]
fn explain_says_who_and_why_no_other() {
    let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2:1 ! 127.0.0.1:3");
    desk.said("disable 0");
    assert_eq!(
        desk.said("explain 192.0.2.7"),
        "client 192.0.2.7 gets group 0 channel 1, 127.0.0.1:2\n  group 0 channel 0, 127.0.0.1:1: disabled\n  \
         group 0 channel 1, 127.0.0.1:2: chosen\n  group 1 channel 0, 127.0.0.1:3: has room\n"
    );
    let _full = desk.pick();
    let explained = desk.said("explain ::1");
    assert!(explained.starts_with("client ::1 gets group 1 channel 0, 127.0.0.1:3\n"), "{explained}");
    assert!(explained.contains("group 0 channel 1, 127.0.0.1:2: full: 1 of 1\n"), "{explained}");
    desk.said("disable 1; group 1; disable 0");
    assert!(desk.said("ex 192.0.2.7").starts_with("client 192.0.2.7 gets no channel: all backends are down"));
}

#[test]
fn explain_tells_of_the_last_resort() {
    let config: Config = "127.0.0.1:1".parse().unwrap();
    let mut desk = Desk::of(config.with_autodisable());
    desk.pick().finish(Outcome::ConnectFailed, Instant::now());
    desk.balancer.settle(Instant::now() + std::time::Duration::from_secs(1));
    let explained = desk.said("explain 192.0.2.7");
    assert!(explained.starts_with("client 192.0.2.7 gets group 0 channel 0, 127.0.0.1:1, as a last resort"));
}

#[test]
fn mrtg_gets_four_lines_of_any_group() {
    let mut desk = Desk::new("127.0.0.1:1 ! 127.0.0.1:2 127.0.0.1:3");
    desk.said("disable 0; group 1");
    desk.pick().add_bytes(10, 12);
    desk.said("group 0");
    assert_eq!(desk.said("mrtg-bytes 1 0"), "12\n10\nUNKNOWN\ngroup 1 channel 0\n");
    assert_eq!(desk.said("mrtg-conns 1 0"), "1\nUNKNOWN\nUNKNOWN\ngroup 1 channel 0\n");
    assert_eq!(desk.said("mrtg-conns 1 1"), "0\nUNKNOWN\nUNKNOWN\ngroup 1 channel 1\n", "the last one of its group");
    for command in ["mrtg-bytes", "mrtg-conns"] {
        assert_eq!(desk.refused(&format!("{command} 16 0")), "unknown group\n");
        assert_eq!(
            desk.refused(&format!("{command} 0 1")),
            "unknown channel\n",
            "group 0 has one channel, group 1 two"
        );
        assert_eq!(desk.refused(&format!("{command} 9 0")), "unknown channel\n");
        assert_eq!(desk.refused(&format!("{command} 0 -1")), "unknown channel\n");
    }
}

#[test]
fn version_and_help_begin_as_balances() {
    let mut desk = Desk::new("");
    let version = desk.said("version");
    let ours = format!("  served by lb {}, without those limits", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        version.lines().collect::<Vec<_>>(),
        ["  This is balance.fm 1.0.0", "  MAXGROUPS=16", "  MAXCHANNELS=64", ours.as_str()]
    );
    let help = desk.said("help");
    let lines: Vec<&str> = help.lines().collect();
    let next = lines.iter().skip(1).position(|line| !line.starts_with("  ")).unwrap();
    assert_eq!((lines[0], next), ("available commands:", 17));
    assert_eq!(desk.said("?"), help);
    for command in ["drain", "weight", "explain", "show json"] {
        assert!(lines[next + 2..].iter().any(|line| line.starts_with(&format!("  {command}"))), "{command}");
    }
}

#[test]
fn explain_says_that_only_a_share_is_let_in_while_backends_recover() {
    let config: Config = "127.0.0.1:1".parse().unwrap();
    let mut desk =
        Desk::of(config.with_probes(RiseFall::default().assuming_up()).with_slow_start(Duration::from_secs(3600)));
    let id = desk.balancer.stats().backends[0].id;
    let begin = Instant::now();
    for (found, second) in [(Probe::Said(Said::Down), 1), (Probe::Passed, 2)] {
        let now = begin + Duration::from_secs(second);
        desk.balancer.observe(id, &Evidence::Probe(found), now).unwrap();
        desk.balancer.settle(now);
    }
    let explained = desk.said("explain 192.0.2.7");
    let first = "client 192.0.2.7 gets group 0 channel 0, 127.0.0.1:1, if it is let in: ";
    assert!(explained.starts_with(first) && explained.contains("% of all are while backends recover\n"), "{explained}");
}
