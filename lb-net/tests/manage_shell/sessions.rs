//! Lines of any kind, the end of a session, the monitor, and several sessions at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use lb_core::{BackendId, Config, Status};
use lb_net::manage::{End, Fleet, Managed, Order, Reply, Shell};
use proptest::prelude::*;

use crate::desk::{Desk, resolve};

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
fn what_is_ordered_while_groups_are_changed_stays_ordered() {
    let desk = Desk::new("127.0.0.1:1 127.0.0.1:2");
    let alpha = BackendId::new("127.0.0.1:1", 0);
    thread::scope(|scope| {
        let (ordered, orders) = mpsc::channel();
        let fleet = &desk.fleet;
        let mut edit = |config: &mut Config| {
            let ordered = ordered.clone();
            let (begin, begun) = mpsc::channel();
            scope.spawn(move || {
                begin.send(()).unwrap();
                fleet.order(alpha, Order::Status(Status::Disabled)).unwrap();
                fleet.order(alpha, Order::Limit(Some(5))).unwrap();
                // Nobody waits any more for one that had to wait itself.
                let _ = ordered.send(());
            });
            begun.recv().unwrap();
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
