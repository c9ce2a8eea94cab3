//! Commands about the process as a whole, and what is said of how long orders last.
#![cfg(feature = "manage")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/controlled.rs"]
mod controlled;
#[path = "support/process.rs"]
mod process;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use controlled::{Running, Scratch};
use lb_net::manage::{ControlSocket, Fleet, Reply, Settings, Shell};
use process::{PERMANENCE, Staged};
use tokio::sync::Notify;

fn run(staged: &Staged, line: &str) -> Reply {
    Shell::default().execute(line, &*staged.fleet("web"))
}

fn said(staged: &Staged, line: &str) -> String {
    let reply = run(staged, line);
    assert!(!reply.failed, "{line}: {}", reply.text);
    reply.text
}

#[test]
fn the_process_answers_in_any_session() {
    let staged = Staged::new(&[("web", "alpha beta"), ("mail", "gamma")]);
    assert_eq!(said(&staged, "reload"), "pool 'web': backend 'gamma' added\n");
    assert_eq!(said(&staged, "diff"), "pool 'web': backend 'delta' would be added\n");
    assert_eq!(said(&staged, "dump"), "[log]\nto = \"auto\"\n");
    assert_eq!(said(&staged, "dump loaded"), "[log]\nto = \"syslog\"\n");
    let table = "\
service   pool  listens on
internal  web   127.0.0.1:8088
www       web   0.0.0.0:80, [::1]:8443
";
    assert_eq!(said(&staged, "se"), table);
    for line in ["reload", "diff", "dump", "services", "enable <N>"] {
        assert!(said(&staged, "help").contains(line), "{line}");
    }
}

#[test]
fn where_nothing_has_changed_that_is_said() {
    let staged = Staged::new(&[("web", "alpha")]);
    *staged.reload.lock().unwrap() = Ok(String::new());
    *staged.difference.lock().unwrap() = Ok(String::new());
    assert_eq!(said(&staged, "reload"), "reloaded, nothing has changed\n");
    assert_eq!(said(&staged, "diff"), "a reload would change nothing\n");
}

#[test]
fn a_bad_file_makes_the_command_fail_with_its_reason() {
    let staged = Staged::new(&[("web", "alpha")]);
    let why = "/etc/lb/lb.toml:3:1: unknown key 'gruops': did you mean 'groups'?";
    *staged.reload.lock().unwrap() = Err(why.to_owned());
    *staged.difference.lock().unwrap() = Err(why.to_owned());
    for line in ["reload", "diff"] {
        let reply = run(&staged, line);
        assert!(reply.failed);
        assert_eq!(reply.text, format!("{why}\n"));
    }
}

#[test]
fn without_a_process_there_is_nothing_to_reload() {
    let fleet = controlled::fleet("alpha");
    for line in ["reload", "diff", "dump", "dump loaded", "services"] {
        let reply = Shell::default().execute(line, &fleet);
        assert!(reply.failed && reply.text.contains("no configuration behind this balancer"), "{}", reply.text);
    }
}

#[test]
fn every_order_is_followed_by_how_long_it_lasts() {
    let staged = Staged::new(&[("web", "alpha beta")]);
    let orders = [
        ("disable 0", "channel 0 disabled"),
        ("assign 0 10.0.0.9 80", "channel reassigned"),
        ("enable 0", "channel 0 enabled"),
        ("drain 1", "channel 1 drained"),
        ("create 10.0.0.1 80", "channel created"),
        ("maxc 1 5", "maxc of channel 1 changed to 5"),
        ("weight 1 5", "weight of channel 1 changed to 5"),
        ("hash", "group 0 set to hash"),
        ("rr", "group 0 set to round robin"),
        ("monitor disable", "monitor is now disabled"),
        ("monitor enable", "monitor is now enabled"),
        ("enable 1; disable 0; disable 9", "channel 1 enabled\nchannel 0 disabled\nno such channel 9"),
    ];
    for (line, text) in orders {
        assert_eq!(run(&staged, line).text, format!("{text}\n{PERMANENCE}\n"), "{line}");
    }
}

#[test]
fn what_changes_nothing_says_nothing_of_it() {
    let staged = Staged::new(&[("web", "alpha")]);
    said(&staged, "disable 0; create 10.0.0.1 80; drain 0; enable 1; drain 1");
    for line in ["show", "show json", "group 0", "reset 0", "disable 0", "drain 0", "drain 1", "monitor enable"] {
        assert!(!said(&staged, line).contains(PERMANENCE), "{line}");
    }
    for line in ["disable 9", "assign 7 alpha 80", "create unknown 80", "weight 9 1", "nonsense"] {
        let reply = run(&staged, line);
        assert!(reply.failed && !reply.text.contains(PERMANENCE), "{line}: {}", reply.text);
    }
    *staged.permanence.lock().unwrap() = None;
    assert_eq!(said(&staged, "enable 0"), "channel 0 enabled\n", "where nothing can be reloaded");
}

#[test]
fn a_session_goes_on_with_the_fleet_that_is_there_now() {
    let staged = Staged::new(&[("web", "alpha beta")]);
    let scratch = Scratch::new();
    let place = scratch.place(80);
    let socket = ControlSocket::claim(&place).unwrap();
    let source = Arc::clone(&staged);
    let ends = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let running = Running::serving(&place, socket, move || source.fleet("web"), Settings::default(), ends);
    let mut client = running.client();
    assert_eq!(client.execute("show").unwrap().text.lines().count(), 3);
    staged.put("web", "gamma");
    assert_eq!(client.execute("show").unwrap().text.lines().count(), 2);
    client.execute("disable 0").unwrap();
    assert_eq!(staged.fleet("web").stats().backends[0].status, lb_core::Status::Disabled);
}

#[test]
fn kill_ends_the_fleet_that_is_there_now() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    let socket = ControlSocket::claim(&place).unwrap();
    let (stop, killed) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (stopping, seen) = (Arc::clone(&stop), Arc::clone(&killed));
    let fleet: Arc<dyn Fleet> = Arc::new(controlled::fleet("alpha").with_kill(move || {
        seen.store(true, SeqCst);
        stopping.notify_one();
    }));
    let running =
        Running::serving(&place, socket, move || Arc::clone(&fleet), Settings::default(), (stop, Arc::default()));
    let mut client = running.client();
    client.execute("kill").unwrap();
    running.closed.notify_one();
    assert!(client.wait_for_end(controlled::HUNG).unwrap() && killed.load(SeqCst));
}
