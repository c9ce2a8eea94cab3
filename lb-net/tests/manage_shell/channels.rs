//! Orders about one channel: what they answer, and what they do to its clients.

use std::time::Instant;

use lb_core::{
    Config, Outcome, Status,
    health::{Evidence, Probe, RiseFall, Said},
};

use crate::desk::Desk;

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
fn enable_says_when_the_application_keeps_the_channel_out_behind_balances_text() {
    let mut desk = Desk::of("127.0.0.1:1".parse::<Config>().unwrap().with_probes(RiseFall::default()));
    let id = desk.balancer.stats().backends[0].id;
    let rows = [
        (Probe::Said(Said::Down), "\nit takes no connections yet: no database"),
        (Probe::Said(Said::Maintenance), "\nit takes no connections yet: no database"),
        (Probe::Said(Said::Drain), "\nit takes no new clients yet: no database"),
        (Probe::Passed, ""),
    ];
    for (found, more) in rows {
        desk.balancer.observe_because(id, &Evidence::Probe(found), "no database", Instant::now()).unwrap();
        desk.said("disable 0");
        assert_eq!(desk.said("enable 0"), format!("channel 0 enabled{more}\n"));
    }
}
