//! The background: what the one that is started says, and what is left behind.

mod support;

use std::{
    fs,
    io::{PipeWriter, Read as _, pipe},
    net::TcpStream,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    process::{Child, Output, Stdio},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Signal, getsid},
};
use support::{Backend, Daemon, PORT, Running, Session, ask, bare_command, fresh_ip, run, wait_for};

fn text(said: &Output) -> String {
    String::from_utf8(said.stderr.clone()).expect("text")
}

#[test]
fn when_the_one_that_was_started_has_ended_with_0_a_client_is_served() {
    let alpha = Backend::start("alpha");
    for _ in 0..5 {
        let (daemon, said) = Daemon::start(&[], &[&alpha.word()]);
        let first = TcpStream::connect(daemon.front);
        assert_eq!(said.status.code(), Some(0), "{}", text(&said));
        assert_eq!(Session::over(first.expect("at once")).expect("an answer").name, "alpha");
        let line = format!("lb: listening on {}: 1 backend in 1 group\n", daemon.front);
        assert!(text(&said).ends_with(&line) && said.stdout.is_empty(), "{}", text(&said));
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.ended().exit_status(), Some(0));
    }
}

#[test]
fn it_has_left_the_session_the_directory_and_the_terminal() {
    let (daemon, _) = Daemon::start(&[], &["127.0.0.1:1"]);
    let (pid, raw) = (daemon.pid(), daemon.pid().as_raw_nonzero());
    assert_eq!(getsid(Some(pid)).unwrap(), pid);
    assert_eq!(fs::read_link(format!("/proc/{raw}/cwd")).unwrap().to_str(), Some("/"));
    for descriptor in 0..3 {
        let target = fs::read_link(format!("/proc/{raw}/fd/{descriptor}")).unwrap();
        assert_eq!(target.to_str(), Some("/dev/null"), "{descriptor}");
    }
    // tty_nr, the fifth behind the name.
    let stat = fs::read_to_string(format!("/proc/{raw}/stat")).unwrap();
    assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(4), Some("0"));
}

#[test]
fn what_fails_is_said_and_nothing_is_left_behind() {
    let alpha = Backend::start("alpha");
    let (running, _) = Daemon::start(&[], &[&alpha.word()]);
    let (taken, port) = (running.front.ip().to_string(), PORT.to_string());
    for (options, words, status, part) in [
        (&["-z"][..], &[][..], 64, "lb: unknown option '-z'; see lb --help\n"),
        (&["-t", "0"], &[], 64, "lb: -t '0': not a number of seconds above 0, up to 3153600000; see lb --help\n"),
        (&[], &["!", "a"], 69, "lb: group 0 is empty: name a backend before '!'\n"),
        (&[], &["127.0.0.1:99999"], 65, "lb: 127.0.0.1:99999: port '99999' is neither"),
        (&[], &["nowhere.invalid"], 65, "lb: nowhere.invalid: unknown host 'nowhere.invalid': "),
        (&["-B", "192.0.2.1"], &[], 71, "lb: -B: 192.0.2.1: "),
        (&["--user", "no-such-user"], &[], 71, "lb: --user: "),
        (&["-m", "conect"], &["127.0.0.1:1"], 69, "lb: -m: unknown key 'conect'"),
        (&["-k", "1,2"], &[], 64, "lb: -k '1,2': "),
        (&["--control-dir", "/etc/passwd"], &[], 71, "lb: control directory /etc/passwd: it is no directory; "),
    ] {
        let (daemon, said) = Daemon::start(options, words);
        assert_eq!(said.status.code(), Some(status), "{}", text(&said));
        assert!(text(&said).starts_with(part) && text(&said).matches('\n').count() == 1, "{}", text(&said));
        assert!(!daemon.is_there(), "{options:?} {words:?}");
    }
    let said = run(&mut bare_command(&["-b", &taken, &port]));
    assert_eq!(said.status.code(), Some(71));
    let line = format!("lb: another lb serves port {} on {}", running.front.port(), running.front.ip());
    assert!(text(&said).starts_with(&line), "{}", text(&said));
    assert_eq!(ask(running.front), "alpha");
}

#[test]
fn pipes_of_whoever_started_it_end() {
    let alpha = Backend::start("alpha");
    // Returns at the end of stdout and stderr, as `lb ... 2>&1 | cat` does.
    let (daemon, said) = Daemon::start_with(&[], &[&alpha.word()], |command| command.stdin(Stdio::piped()));
    assert!(said.status.success() && said.stdout.is_empty(), "{}", text(&said));
    assert_eq!(ask(daemon.front), "alpha");
}

#[test]
fn a_pipe_that_it_was_left_is_not_kept() {
    let (_reader, writer) = pipe().unwrap();
    // For every child of this process, this one too.
    fcntl_setfd(&writer, FdFlags::empty()).unwrap();
    let (daemon, _) = Daemon::start(&[], &["127.0.0.1:1"]);
    fcntl_setfd(&writer, FdFlags::CLOEXEC).unwrap();
    let pipe = fs::read_link(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
    let kept = fs::read_dir(format!("/proc/{}/fd", daemon.pid().as_raw_nonzero())).unwrap();
    let kept: Vec<_> = kept.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(kept.len() > 3 && !kept.contains(&pipe), "{kept:?}");
}

#[test]
fn hup_does_not_end_it_and_a_session_survives() {
    let alpha = Backend::start("alpha");
    let (daemon, _) = Daemon::start(&[], &[&alpha.word()]);
    let mut session = Session::open(daemon.front);
    daemon.signal(Signal::HUP);
    assert_eq!(ask(daemon.front), "alpha");
    assert!(session.echoes());
    daemon.signal(Signal::TERM);
    wait_for("the listener to close", || TcpStream::connect(daemon.front).is_err());
    assert!(session.echoes());
    drop(session);
    assert_eq!(daemon.ended().exit_status(), Some(0));
}

#[test]
fn traces_and_dumps_stay_in_the_foreground() {
    for option in ["-f", "-d", "-p"] {
        let ip = fresh_ip().to_string();
        let lb = Running::spawn(bare_command(&[option, "-b", &ip, "9000", "127.0.0.1:1"]).stdout(Stdio::null()));
        lb.line_with("listening on");
        // Who was started is who serves.
        lb.signal(Signal::TERM);
        assert_eq!(lb.ended().0.code(), Some(0), "{option}");
        assert!(TcpStream::connect((ip.as_str(), 9000)).is_err(), "{option}");
    }
}

/// The part in the background of a parent that this test plays.
fn part_in_background(ip: &str, said_to: PipeWriter) -> Child {
    let name = fs::metadata(format!("/proc/self/fd/{}", said_to.as_raw_fd())).expect("a pipe");
    let mut command = bare_command(&["-b", ip, &PORT.to_string(), "127.0.0.1:1"]);
    command.env("LB_STARTED_BY", format!("{}:{}", name.dev(), name.ino())).stdout(said_to).stderr(Stdio::null());
    command.spawn().expect("a child")
}

#[test]
fn the_parent_is_told_once_it_serves() {
    let (mut reader, writer) = pipe().unwrap();
    let ip = fresh_ip().to_string();
    let mut child = part_in_background(&ip, writer);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let is_served = TcpStream::connect((ip.as_str(), PORT)).is_ok();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said, format!("ready: listening on {ip}:{PORT}: 1 backend in 1 group\n"));
    assert!(is_served);
}

#[test]
fn without_its_parent_it_ends_instead_of_serving_unknown_to_anybody() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let ip = fresh_ip().to_string();
    let mut child = part_in_background(&ip, writer);
    let mut status = None;
    wait_for("its end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(71));
    assert!(TcpStream::connect((ip.as_str(), PORT)).is_err());
}

#[test]
fn what_is_inherited_from_a_daemon_makes_no_daemon_of_another_program() {
    // The name of a pipe that is not its stdout.
    let (daemon, said) = Daemon::start_with(&[], &["127.0.0.1:1"], |command| command.env("LB_STARTED_BY", "0:0"));
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert_eq!(getsid(Some(daemon.pid())).unwrap(), daemon.pid());
}
