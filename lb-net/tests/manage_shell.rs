//! balance's commands against a real balancer: their texts, their effects, and what they leave alone.
#![cfg(feature = "manage")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, BackendId, Balancer, Config, Lease, Outcome, Request, Status,
    health::{Eject, Evidence, Probe, RiseFall, Said, Share},
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::{End, Fleet, Managed, Order, Reply, Shell};
use proptest::prelude::*;

type Payload = Option<SocketAddr>;

/// A shell, and the balancer that it works on.
struct Desk {
    balancer: Arc<Balancer<Payload>>,
    fleet: Managed<Payload>,
    shell: Shell,
}

/// Names are numbers here; everything else is unknown.
fn resolve(backend: &BackendConfig) -> Result<Payload, String> {
    let (host, port) = backend.host_and_port();
    let address = host.parse().ok().zip(port.and_then(|port| port.parse().ok()));
    address.map(|(ip, port)| Some(SocketAddr::new(ip, port))).ok_or_else(|| format!("unknown host '{host}'"))
}

impl Desk {
    fn new(words: &str) -> Self {
        Self::of(words.parse().unwrap())
    }

    fn of(config: Config) -> Self {
        let mut rng = SmallRng::seed_from_u64(1);
        let make = |backend: &BackendConfig| resolve(backend).unwrap_or_default();
        let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, make));
        let fleet = Managed::new(Arc::clone(&balancer), resolve, |_| None, |address| *address);
        Self { balancer, fleet, shell: Shell::default() }
    }

    fn run(&mut self, line: &str) -> Reply {
        self.shell.execute(line, &self.fleet)
    }

    /// The text of a line that goes well.
    fn said(&mut self, line: &str) -> String {
        let reply = self.run(line);
        assert!(!reply.failed, "{line}: {}", reply.text);
        reply.text
    }

    /// The text of a line that fails.
    fn refused(&mut self, line: &str) -> String {
        let reply = self.run(line);
        assert!(reply.failed, "{line}: {}", reply.text);
        reply.text
    }

    fn pick(&self) -> Lease<Payload> {
        self.try_pick().unwrap()
    }

    fn try_pick(&self) -> Option<Lease<Payload>> {
        self.balancer.pick(&Request::new(Instant::now()), &mut SmallRng::seed_from_u64(1)).ok()
    }

    /// The ports of the backends that so many clients get.
    fn ports(&self, times: usize) -> Vec<u16> {
        (0..times).map(|_| self.pick().payload().unwrap().port()).collect()
    }

    fn row(&mut self, at: usize) -> String {
        self.said("show").lines().nth(at + 1).unwrap().to_owned()
    }
}

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
fn nobody_is_up_before_the_first_probe() {
    let config: Config = "127.0.0.1:1".parse().unwrap();
    let mut desk = Desk::of(config.with_probes(RiseFall::default()));
    assert_eq!(&desk.row(0)[12..15], "dis");
    assert_eq!(desk.said("enable 0"), "channel 0 enabled\n");
}

#[test]
fn disable_and_enable_say_what_they_did_or_found() {
    let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    assert_eq!(desk.said("enable 1"), "channel 1 already enabled\n");
    assert_eq!(desk.said("disable 1"), "channel 1 disabled\n");
    assert_eq!(desk.ports(3), [1, 1, 1]);
    assert_eq!(desk.said("disable 1"), "channel 1 already disabled\n");
    assert_eq!(desk.said("e 1"), "channel 1 enabled\n");
    assert!(desk.ports(2).contains(&2));
    for word in ["2", "-1", "99999999999999999999"] {
        assert_eq!(desk.refused(&format!("disable {word}")), format!("no such channel {word}\n"));
        assert_eq!(desk.refused(&format!("enable {word}")), format!("no such channel {word}\n"));
        assert_eq!(desk.refused(&format!("reset {word}")), format!("no such channel {word}\n"));
        assert_eq!(desk.refused(&format!("drain {word}")), format!("no such channel {word}\n"));
        assert_eq!(desk.refused(&format!("maxc {word} 1")), "unknown channel\n");
        assert_eq!(desk.refused(&format!("weight {word} 1")), "unknown channel\n");
        assert_eq!(desk.refused(&format!("assign {word} 127.0.0.1 1")), "unknown channel\n");
    }
}

#[test]
fn enable_ends_an_autodisable() {
    let config: Config = "127.0.0.1:1 127.0.0.1:2".parse().unwrap();
    let mut desk = Desk::of(config.with_autodisable());
    desk.pick().finish(Outcome::ConnectFailed, Instant::now());
    assert_eq!(&desk.row(0)[12..15], "dis");
    assert_eq!(desk.said("enable 0"), "channel 0 enabled\n");
    assert_eq!(&desk.row(0)[12..15], "ENA");
}

#[test]
fn commands_are_about_the_current_group() {
    let mut desk = Desk::new("127.0.0.1:1 ! 127.0.0.1:2 127.0.0.1:3");
    assert_eq!(desk.refused("disable 1"), "no such channel 1\n");
    assert_eq!(desk.said("group 1"), "");
    assert_eq!(desk.shell.group(), 1);
    assert_eq!(desk.said("disable 1"), "channel 1 disabled\n");
    assert_eq!(&desk.row(2)[12..15], "DIS");
}

#[test]
fn any_of_sixteen_groups_can_be_entered_and_more_where_there_are() {
    let mut desk = Desk::new("127.0.0.1:1");
    for group in 0..16 {
        assert_eq!(desk.said(&format!("group {group}")), "");
    }
    for group in ["16", "256", "-1", "18446744073709551616"] {
        assert_eq!(desk.refused(&format!("group {group}")), "value out of range\n", "{group}");
    }
    assert_eq!(desk.shell.group(), 15, "one that is refused is not entered");
    assert_eq!(desk.refused("group 1x"), "'1x' is not the number of a group\n");
    let words: Vec<String> = (1..=18).map(|port| format!("127.0.0.1:{port}")).collect();
    let mut desk = Desk::new(&words.join(" ! "));
    assert_eq!(desk.said("group 17; disable 0"), "channel 0 disabled\n");
    assert_eq!(desk.refused("group 18"), "value out of range\n");
}

#[test]
fn what_is_created_is_disabled_at_first_and_then_serves() {
    let mut desk = Desk::new("127.0.0.1:1");
    assert_eq!(desk.said("create 127.0.0.1 2"), "channel created\n");
    assert_eq!(&desk.row(1)[9..15], " 1 DIS");
    assert_eq!(desk.ports(2), [1, 1]);
    desk.said("enable 1");
    assert!(desk.ports(2).contains(&2));
    // The port that the host carries wins; an IPv6 address needs no brackets.
    desk.said("create 127.0.0.1:3 99; create ::1 4; create [::1]:5 99; create 127.0.0.1: 6");
    let ports: Vec<String> = (2..6).map(|at| desk.row(at)[33..38].trim().to_owned()).collect();
    assert_eq!(ports, ["3", "4", "5", "6"]);
    for line in ["create nowhere 80", "create 127.0.0.1 0", "create 127.0.0.1 70000", "create a:1:5 80", "create ! 80"]
    {
        assert_eq!(desk.refused(line), "invalid address\n", "{line}");
    }
    assert_eq!(desk.said("show").lines().count(), 7, "what is refused leaves nothing behind");
}

#[test]
fn create_makes_the_group_that_it_is_in() {
    let mut desk = Desk::new("127.0.0.1:1");
    desk.said("group 5; create 127.0.0.1 2; enable 0");
    assert_eq!(desk.row(1), "  5   RR  0 ENA        127.0.0.1     2    0           0    0           0           0");
    desk.said("group 0; disable 0");
    assert_eq!(desk.ports(2), [2, 2], "the groups between hold nobody up");
}

#[test]
fn without_any_channel_some_can_be_created() {
    let mut desk = Desk::new("");
    assert!(desk.try_pick().is_none());
    desk.said("create 127.0.0.1 2; enable 0");
    assert_eq!(desk.ports(1), [2]);
}

#[test]
fn assign_gives_a_disabled_channel_another_address() {
    let mut desk = Desk::new("127.0.0.1:1:7 127.0.0.1:2");
    assert_eq!(desk.refused("assign 0 127.0.0.1 3"), "channel must be disabled to assign new address\n");
    desk.said("disable 0");
    assert_eq!(desk.refused("assign 0 nowhere 3"), "invalid address\n");
    assert_eq!(desk.said("assign 0 127.0.0.1 3"), "channel reassigned\n");
    assert_eq!(desk.row(0), "  0   RR  0 DIS        127.0.0.1     3    0           0    7           0           0");
    desk.said("enable 0");
    let mut ports = desk.ports(2);
    ports.sort_unstable();
    assert_eq!(ports, [2, 3]);
}

#[test]
fn assign_leaves_the_status_of_others_with_the_same_name_alone() {
    let mut desk = Desk::new("127.0.0.1:1:5 127.0.0.1:1:6 127.0.0.1:1:7 127.0.0.1:2");
    desk.said("disable 0; disable 2; maxc 1 9; weight 1 3");
    desk.said("assign 0 127.0.0.1 3");
    let seen: Vec<_> = desk.balancer.stats().backends.into_iter().map(|b| (b.status, b.limit, b.weight)).collect();
    let (on, off) = (Status::Enabled, Status::Disabled);
    assert_eq!(seen, [(off, Some(5), 1), (on, Some(9), 3), (off, Some(7), 1), (on, None, 1)]);
}

#[test]
fn a_change_of_groups_keeps_what_people_have_ordered() {
    let mut desk = Desk::new("127.0.0.1:1:5 127.0.0.1:2");
    let lease = desk.pick();
    desk.said("maxc 0 9; disable 1; drain 0; create 127.0.0.1 3; hash");
    assert_eq!(desk.row(0), "  0 Hash  0 DRN        127.0.0.1     1    1           1    9           0           0");
    assert_eq!(&desk.row(1)[12..15], "DIS");
    drop(lease);
}

#[test]
fn maxc_is_in_force_at_once_and_0_is_no_limit() {
    let mut desk = Desk::new("127.0.0.1:1");
    assert_eq!(desk.said("maxc 0 2"), "maxc of channel 0 changed to 2\n");
    let leases: Vec<_> = (0..3).map_while(|_| desk.try_pick()).collect();
    assert_eq!(leases.len(), 2);
    assert_eq!(desk.said("ma 0 0"), "maxc of channel 0 changed to 0\n");
    assert!(desk.try_pick().is_some());
    assert_eq!(desk.refused("maxc 0 -1"), "'-1' is not a number from 0 to 4294967295\n");
}

#[test]
fn reset_lets_the_counters_begin_again() {
    let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    for _ in 0..4 {
        desk.pick().add_bytes(3, 5);
    }
    let running = desk.pick();
    assert_eq!(desk.said("reset 0"), "channel 0 counters reset\n");
    assert_eq!(&desk.row(1)[44..], "          2    0           6          10", "those of others go on");
    drop(running);
    assert_eq!(&desk.row(0)[60..], "           0           0");
}

#[test]
fn groups_change_their_type() {
    let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    assert_eq!(desk.said("hash"), "group 0 set to hash\n");
    assert_eq!(&desk.row(0)[4..8], "Hash");
    let explained = desk.said("explain 192.0.2.7");
    assert!((0..9).all(|_| desk.said("explain 192.0.2.7") == explained));
    assert_eq!(desk.said("rr"), "group 0 set to round robin\n");
    assert_eq!(desk.ports(4), [1, 2, 1, 2]);
    assert_eq!(desk.said("group 3; hash"), "group 3 set to hash\n", "before it has channels");
    desk.said("create 127.0.0.1 3");
    assert_eq!(&desk.row(2)[..8], "  3 Hash");
}

#[test]
fn a_group_set_to_hash_spills_as_the_command_line_says() {
    for spill in [false, true] {
        let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
        desk.fleet =
            Managed::new(Arc::clone(&desk.balancer), resolve, |_| None, |address| *address).with_hash_failover(spill);
        desk.said("hash; disable 0");
        let served = (0..32_u64).filter(|key| {
            let request = Request::new(Instant::now()).with_key(lb_core::key::of_bytes(&key.to_le_bytes()));
            desk.balancer.pick(&request, &mut SmallRng::seed_from_u64(1)).is_ok()
        });
        assert_eq!(served.count() == 32, spill);
    }
}

#[test]
fn the_monitor_is_told_of_and_switched() {
    let mut desk = Desk::new("127.0.0.1:1");
    assert_eq!(desk.said("monitor show"), "no monitor process running\n");
    assert_eq!(desk.refused("monitor enable"), "no monitor process running\n");
    let switch = Arc::new(AtomicBool::new(true));
    let fleet = Managed::new(Arc::clone(&desk.balancer), resolve, |_| None, |address| *address);
    let (is, set) = (Arc::clone(&switch), Arc::clone(&switch));
    desk.fleet = fleet.with_monitor(move || is.load(SeqCst), move |wanted| set.swap(wanted, SeqCst) != wanted);
    let running = format!("monitor process running as pid {} and is ", std::process::id());
    assert_eq!(desk.said("m s"), format!("{running}enabled\n"));
    assert_eq!(desk.said("monitor enable"), "monitor is already enabled\n");
    assert_eq!(desk.said("monitor disable"), "monitor is now disabled\n");
    assert!(!switch.load(SeqCst));
    assert_eq!(desk.said("monitor show"), format!("{running}disabled\n"));
    assert_eq!(desk.said("monitor disable"), "monitor is already disabled\n");
    assert_eq!(desk.said("monitor enable"), "monitor is now enabled\n");
    assert!(switch.load(SeqCst));
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
fn drain_tells_how_far_it_is() {
    let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    let leases = [desk.pick(), desk.pick(), desk.pick()];
    assert_eq!(desk.said("drain 0"), "channel 0 draining, 2 connections left\n");
    assert_eq!(desk.ports(2), [2, 2]);
    let [first, _second, third] = leases;
    drop(first);
    assert_eq!(desk.said("dr 0"), "channel 0 draining, 1 connection left\n");
    drop(third);
    assert_eq!(desk.said("drain 0"), "channel 0 drained\n");
    assert_eq!(&desk.row(0)[12..15], "DRN");
    assert_eq!(desk.said("enable 0"), "channel 0 enabled\n");
    desk.said("disable 1");
    assert_eq!(desk.said("drain 1"), "channel 1 already disabled, 1 connection left\n");
    assert_eq!(&desk.row(1)[12..15], "DIS", "which is stricter");
}

#[test]
fn weight_changes_the_share() {
    let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    assert_eq!(desk.said("weight 0 3"), "weight of channel 0 changed to 3\n");
    assert_eq!(desk.ports(8).into_iter().filter(|port| *port == 1).count(), 6);
    assert_eq!(desk.said("w 0 0"), "weight of channel 0 changed to 0\n");
    assert_eq!(desk.ports(3), [2, 2, 2]);
    assert_eq!(desk.refused("weight 0 65536"), "'65536' is not a number from 0 to 65535\n");
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
fn one_line_holds_several_commands_and_fails_when_one_does() {
    let mut desk = Desk::new("127.0.0.1:1 ! 127.0.0.1:2");
    let reply = desk.run("group 1; disable 7;; disable 0 ;nonsense;enable 0");
    assert_eq!(reply.text, "no such channel 7\nchannel 0 disabled\nsyntax error\nchannel 0 enabled\n");
    assert!(reply.failed && reply.end.is_none());
    assert_eq!(desk.run(" ; ;"), Reply::default());
}

#[test]
fn quit_and_kill_end_the_session_and_what_follows_is_not_done() {
    let mut desk = Desk::new("127.0.0.1:1");
    for (line, end) in [("disable 3; q; disable 0", End::Quit), ("disable 3; k; disable 0", End::Kill)] {
        let reply = desk.run(line);
        assert_eq!((reply.text.as_str(), reply.failed, reply.end), ("no such channel 3\n", true, Some(end)));
    }
    assert_eq!(&desk.row(0)[12..15], "ENA");
}

#[test]
fn what_is_ordered_while_groups_are_changed_stays_ordered() {
    let desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    let alpha = BackendId::new("127.0.0.1:1", 0);
    thread::scope(|scope| {
        let (ordered, orders) = mpsc::channel();
        let fleet = &desk.fleet;
        let mut edit = |config: &mut Config| {
            let ordered = ordered.clone();
            scope.spawn(move || {
                fleet.order(alpha, Order::Status(Status::Disabled)).unwrap();
                fleet.order(alpha, Order::Limit(Some(5))).unwrap();
                // Nobody waits any more for one that had to wait itself.
                let _ = ordered.send(());
            });
            // An order that does not wait for the change has been carried out by then.
            let _ = orders.recv_timeout(Duration::from_millis(200));
            config.groups[0].backends.pop();
            Ok(())
        };
        desk.fleet.change(None, &mut edit).unwrap();
    });
    let alpha = &desk.balancer.stats().backends[0];
    assert_eq!((alpha.status, alpha.limit), (Status::Disabled, Some(5)));
}

#[test]
fn two_that_create_at_once_both_do() {
    let desk = Desk::new("127.0.0.1:1");
    let fleet = &desk.fleet;
    thread::scope(|scope| {
        for part in 0..4_u16 {
            scope.spawn(move || {
                for port in 0..8 {
                    let reply = Shell::default().execute(&format!("create 127.0.0.1 {}", 100 + part * 8 + port), fleet);
                    assert!(!reply.failed);
                }
            });
        }
    });
    assert_eq!(desk.balancer.stats().backends.len(), 33);
    let addresses = fleet.addresses();
    for (id, _, backend) in desk.balancer.config().backends() {
        assert_eq!(addresses[&id].to_string(), backend.name, "each has its own address");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_line_panics_the_shell_or_breaks_the_balancer(
        lines in proptest::collection::vec("(show|group|disable|enable|create|assign|maxc|reset|hash|rr|drain|weight|\
            explain|mrtg-bytes|mrtg-conns|monitor|kill|quit|help|version|;|[a-z]) ?([0-9]{1,2}|-1|::1|127.0.0.1|.{0,6})? \
            ?([0-9]{1,5}|127.0.0.1|.{0,4})? ?[0-9]{0,5}", 1..20),
    ) {
        let mut desk = Desk::new("127.0.0.1:1 127.0.0.1:1 ! 127.0.0.1:2 %");
        for line in lines {
            let reply = desk.run(&line);
            prop_assert!(reply.text.is_empty() || reply.text.ends_with('\n'));
            prop_assert!(!reply.text.contains(|c: char| c.is_control() && c != '\n'));
        }
        let _ = desk.try_pick();
        prop_assert_eq!(desk.said("show").lines().count(), desk.balancer.stats().backends.len() + 1);
    }
}
