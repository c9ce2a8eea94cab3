//! Who controls whom: the socket and its owner, instances beside and after each other, ends of every kind.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{
    Backend, Control, Daemon, Directory, Running, Session, ask, ask_times, banner, bare_command, command,
    fresh_address, run, wait_for,
};

#[test]
fn only_its_owner_can_control_it_and_nothing_is_left_behind() {
    let (lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let directory = PathBuf::from(control.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let before = control.files();
    let sockets: Vec<_> =
        before.iter().filter(|path| fs::metadata(path).unwrap().file_type().is_socket()).cloned().collect();
    assert_eq!(sockets, [control.socket()]);
    assert_eq!((mode(&control.socket()), mode(control.socket().parent().unwrap())), (0o600, 0o700));
    control.must("show");
    assert_eq!(control.files(), before, "a query leaves nothing");
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
    assert_eq!(control.files(), Vec::<PathBuf>::new(), "an orderly end leaves nothing");
}

#[test]
fn without_a_master_process_the_status_says_which_case_it_is() {
    let (lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let before = control.files();
    let path = control.path();
    let nobody =
        |what: &[&str]| run(&mut bare_command(&[what, &["-b", "127.0.0.1", "--control-dir", &path, "9"]].concat()));
    let expected = format!(
        "lb: no master process: there is no control socket {path}/9.127.0.0.1/control; PORT, -b and --control-dir must \
         be those that it was started with\n"
    );
    for what in [&["-c", "show"][..], &["-c", ""], &["-c", "kill"], &["-i"]] {
        let said = nobody(what);
        let text = [said.stdout, said.stderr].concat();
        assert_eq!((said.status.code(), String::from_utf8(text).unwrap()), (Some(70), expected.clone()), "{what:?}");
    }
    assert_eq!(control.files(), before, "a query leaves nothing behind");
    lb.signal(Signal::KILL);
    drop(lb.ended());
    let (status, text) = control.says("show");
    assert_eq!(status, 69);
    assert!(text.starts_with("lb: no master process: nobody listens at the control socket"), "{text}");
}

#[test]
fn a_directory_that_others_can_enter_stops_the_start() {
    let directory = Directory::new();
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).unwrap();
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    for foreground in [&["-f"][..], &[]] {
        let words = [foreground, &["--control-dir", directory.word(), "-b", &ip, &port, "127.0.0.1:9"]].concat();
        let output = run(&mut bare_command(&words));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(71), "{text}");
        assert!(text.contains("it is open to others (mode 0755)"), "{text}");
    }
}

#[test]
fn what_a_killed_instance_leaves_is_in_nobodys_way() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (lb, control) = Control::start(&[], &[&alpha.word(), &alpha.word()]);
    control.must("disable 0");
    lb.signal(Signal::KILL);
    drop(lb.ended());
    let next = control.next(&[], &[&beta.word()]);
    assert_eq!((control.rows().len(), control.status(0).as_str()), (1, "ENA"), "nothing of its state either");
    assert_eq!(ask_times(2, control.front), ["beta", "beta"]);
    // Nor when it is full: there are no backends but its own.
    control.must("maxc 0 1");
    let held = Session::open(control.front);
    assert!(Session::over(TcpStream::connect(control.front).unwrap()).is_none());
    drop(held);
    next.signal(Signal::TERM);
    assert_eq!(next.ended().0.code(), Some(0));
    assert_eq!(control.files(), Vec::<PathBuf>::new());
}

#[test]
fn instances_are_told_apart_by_port_and_address_as_it_was_typed() {
    let (_first, control) = Control::start(&[], &["127.0.0.1:9"]);
    let path = control.path();
    let (_second, other) = Running::balancing(&["--control-dir", &path], &["127.0.0.1:9", "127.0.0.1:10"]);
    assert_eq!(control.rows().len(), 1);
    let other = Control { front: other, directory: control.directory };
    assert_eq!(other.rows().len(), 2);
    let port = other.front.port().to_string();
    let elsewhere = run(&mut bare_command(&["--control-dir", &path, "-c", "show", &port]));
    assert_eq!(elsewhere.status.code(), Some(70), "without the address it is another one");
}

#[test]
fn a_second_instance_for_the_same_port_and_address_does_not_start() {
    let (lb, control) = Control::start(&[], &["127.0.0.1:9"]);
    let [b, ip, option, path, port] = control.target();
    for foreground in [&["-f"][..], &[]] {
        let second = run(bare_command(foreground).args([&b, &ip, &option, &path, &port, "127.0.0.1:10"]));
        assert_eq!(second.status.code(), Some(71));
        let text = String::from_utf8(second.stderr).unwrap();
        assert!(text.contains(&format!("another lb serves port {port} on {ip} (pid {})", lb.id())), "{text}");
    }
    assert_eq!(control.rows().len(), 1, "and the first one is still in control");
}

#[test]
fn kill_ends_the_instance_and_the_next_one_can_start_at_once() {
    let backend = Backend::start("a");
    let (lb, control) = Control::start(&[], &[&backend.word()]);
    let mut session = Session::open(control.front);
    let began = Instant::now();
    assert_eq!(control.must("kill"), "shutdown complete, exiting.\n");
    assert!(began.elapsed() < Duration::from_secs(4), "it waits for the event, not for the time");
    let next = control.next(&[], &[&backend.word()]);
    assert!(session.echoes(), "sessions go on");
    assert_eq!(ask(control.front), "a");
    drop(session);
    assert_eq!(lb.ended().0.code(), Some(0));
    assert_eq!(control.must("enable 0"), "channel 0 already enabled\n", "its socket is its own");
    let expected = banner(next.id()) + "balance.fm[0] shutdown complete, exiting.\n";
    assert_eq!(control.typed("kill\nshow\n"), (Some(0), expected));
    assert_eq!(next.ended().0.code(), Some(0));
    assert_eq!(control.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_restart_that_does_not_wait_succeeds_as_soon_as_the_port_is_closed() {
    let backend = Backend::start("a");
    let (mut lb, control) = Control::start(&[], &[&backend.word()]);
    let [b, ip, option, path, port] = control.target();
    let word = backend.word();
    for _ in 0..10 {
        // A session that goes on keeps the old one there.
        let mut session = Session::open(control.front);
        lb.signal(Signal::TERM);
        let began = Instant::now();
        let next = loop {
            let next = Running::start(&[&option, &path, &b, &ip, &port, &word]);
            // It serves, or another one still does.
            if next.line_with("lb: ").contains("listening on") {
                break next;
            }
            assert!(began.elapsed() < Duration::from_secs(4), "the old one holds on to its place");
        };
        assert!(session.echoes());
        drop(session);
        assert_eq!(std::mem::replace(&mut lb, next).ended().0.code(), Some(0));
        assert_eq!(control.must("enable 0"), "channel 0 already enabled\n");
    }
}

#[test]
fn a_new_instance_can_be_controlled_while_the_old_one_finishes_its_sessions() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (old, control) = Control::start(&[], &[&alpha.word()]);
    let mut session = Session::open(control.front);
    old.signal(Signal::TERM);
    old.line_with("stopping");
    wait_for("the old one to close its port", || TcpStream::connect(control.front).is_err());
    let _new = control.next(&[], &[&beta.word(), &alpha.word()]);
    assert_eq!(control.rows().len(), 2);
    assert!(session.echoes());
    drop(session);
    assert_eq!(old.ended().0.code(), Some(0));
    assert_eq!(control.rows().len(), 2, "the old one's end is not the end of the new one's socket");
}

#[test]
fn a_daemon_is_controlled_through_a_relative_directory_too() {
    let directory = Directory::new();
    let (daemon, said) =
        Daemon::start_with(&["--control-dir=control"], &["127.0.0.1:9"], |command| command.current_dir(&directory.0));
    assert!(daemon.is_there(), "{said:?}");
    let control = Control { front: daemon.front, directory };
    assert_eq!(control.must("disable 0"), "channel 0 disabled\n");
    let pid = daemon.pid().as_raw_nonzero().get().unsigned_abs();
    assert!(control.typed("").1.starts_with(&banner(pid)));
    assert_eq!(control.must("kill"), "shutdown complete, exiting.\n");
    assert_eq!(daemon.ended().exit_status(), Some(0));
    assert_eq!(control.files(), Vec::<PathBuf>::new());
}

#[test]
fn after_root_was_dropped_control_goes_on_and_the_socket_goes_with_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can drop it");
    }
    let (lb, control) = Control::start(&["--user", "65534:65534"], &["127.0.0.1:9"]);
    assert_eq!(fs::metadata(control.socket()).unwrap().uid(), 65_534);
    assert_eq!(control.must("disable 0"), "channel 0 disabled\n");
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(0));
    assert!(!control.socket().exists());
    drop(control.next(&[], &["127.0.0.1:9"]));
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_the_remedy() {
    for (directory, line) in [
        ("/etc/passwd", "lb: control directory /etc/passwd: it is no directory; --control-dir names another"),
        ("/proc/nothing", "lb: cannot use /proc/nothing: "),
    ] {
        let said = run(&mut command(&["--control-dir", directory, "9000", "127.0.0.1:9"]));
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.code() == Some(71) && text.starts_with(line), "{text}");
    }
}
