//! Orders about groups, and the one that is the current.

use std::{sync::Arc, time::Instant};

use lb_core::{
    Request,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::Managed;

use crate::desk::{Desk, resolve};

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
fn a_session_that_goes_on_may_wait_in_a_group_that_is_not_there() {
    let mut desk = Desk::new("127.0.0.1:1");
    assert_eq!((desk.said("group 9"), desk.shell.group()), (String::new(), 9));
    assert_eq!(desk.said("create 127.0.0.1 2; group 0"), "channel created\n");
    let mut desk = Desk::new("");
    assert_eq!(desk.refused("group 0; show; quit"), "no such group 0: 'create' begins another\n");
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
fn a_change_of_groups_keeps_what_people_have_ordered() {
    let mut desk = Desk::new("127.0.0.1:1:5 127.0.0.1:2");
    let lease = desk.pick();
    desk.said("maxc 0 9; disable 1; drain 0; create 127.0.0.1 3; hash");
    assert_eq!(desk.row(0), "  0 Hash  0 DRN        127.0.0.1     1    1           1    9           0           0");
    assert_eq!(&desk.row(1)[12..15], "DIS");
    drop(lease);
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
