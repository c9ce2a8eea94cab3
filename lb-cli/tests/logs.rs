//! What is said of events, to people, to machines and to systemd.

mod support;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::MetadataExt as _,
    process::Stdio,
    sync::mpsc,
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;
use support::{
    Backend, Daemon, Directory, Notices, PORT, Running, ask, ask_times, command, fresh_address, run, wait_for,
};

#[test]
fn json_is_one_object_a_line_and_says_what_is_known() {
    let (lb, front) = {
        let front = fresh_address();
        let (ip, port) = (front.ip().to_string(), PORT.to_string());
        (Running::start(&["--log-format", "json", "-b", &ip, &port, "127.0.0.1:1"]), front)
    };
    let ready: Value = serde_json::from_str(&lb.line_with("ready")).unwrap();
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["level"], "notice");
    assert_eq!(ready["address"], front.to_string());
    assert_eq!((ready["backends"].as_u64(), ready["groups"].as_u64()), (Some(1), Some(1)));
    assert_eq!(ready["pid"].as_u64(), Some(u64::from(lb.id())));
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
    assert!(humantime::parse_rfc3339(ready["time"].as_str().unwrap()).is_ok(), "{ready}");
    lb.signal(Signal::TERM);
    let (_, lines) = lb.ended();
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!((&last["event"], last["grace_seconds"].as_f64()), (&Value::from("stopping"), Some(30.0)));
}

#[test]
fn a_failure_is_an_object_too() {
    let said = run(&mut command(&["--log-format=json", "9000", "no\"where.invalid"]));
    assert_eq!(said.status.code(), Some(65));
    let failed: Value = serde_json::from_slice(&said.stderr).unwrap();
    assert_eq!((failed["event"].as_str(), failed["status"].as_u64()), (Some("failed"), Some(65)));
    assert!(failed["message"].as_str().unwrap().starts_with("no\"where.invalid: unknown host"), "{failed}");
    let human = run(&mut command(&["--log-format", "human", "9000", "no\"where.invalid"]));
    assert!(human.stderr.starts_with(b"lb: no\"where.invalid: unknown host"));
}

#[test]
fn events_have_the_time_unless_a_journal_adds_it() {
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), PORT.to_string());
    let directory = Directory::new();
    let path = directory.join("log");
    for is_journal in [false, true] {
        let file = File::create(&path).unwrap();
        let there = file.metadata().unwrap();
        let inode = if is_journal { there.ino() } else { there.ino() + 1 };
        let mut lb = command(&["-b", &ip, &port, "127.0.0.1:1"]);
        let lb = lb.env("JOURNAL_STREAM", format!("{}:{inode}", there.dev())).stderr(file).stdout(Stdio::null());
        let mut lb = Child(lb.spawn().unwrap());
        let said = || fs::read_to_string(&path).unwrap();
        wait_for("the first line", || said().ends_with('\n'));
        let line = format!("listening on {front}: 1 backend in 1 group\n");
        if is_journal {
            assert_eq!(said(), format!("<5>{line}"));
        } else {
            let (time, rest) = said().split_once(' ').map(|(time, rest)| (time.to_owned(), rest.to_owned())).unwrap();
            assert!(humantime::parse_rfc3339(&time).is_ok(), "{time}");
            assert_eq!(rest, format!("lb: {line}"));
        }
        lb.0.kill().unwrap();
        lb.0.wait().unwrap();
    }
}

#[test]
fn a_terminal_that_nobody_reads_keeps_no_client_waiting() {
    let alpha = Backend::start("alpha");
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), PORT.to_string());
    let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&reader).unwrap();
    unlockpt(&reader).unwrap();
    let name = ptsname(&reader, Vec::new()).unwrap();
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut lb = command(&["-d", "-b", &ip, &port, &alpha.word()]);
    let _lb = Child(lb.stdout(Stdio::null()).stderr(terminal).spawn().unwrap());
    let mut reader = BufReader::new(File::from(reader));
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    while !next().contains("listening on") {}
    // Some hundred bytes each: far more than a terminal keeps.
    ask_times(500, front);
    // What was kept is in order, and what was lost is counted once there is room again.
    let (send, lines) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            while let line = next()
                && !line.contains("lost, because nobody")
            {
                assert!(line.starts_with("lb: "), "{line:?}");
            }
            drop(send);
        });
        while lines.try_recv() == Err(mpsc::TryRecvError::Empty) {
            ask(front);
        }
        let _: mpsc::Receiver<()> = lines;
    });
}

/// Gone when the test is.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backend_that_goes_down_is_told_with_the_reason() {
    let alpha = Backend::start("alpha");
    for format in ["human", "json"] {
        let gone = Backend::start("gone").word();
        let front = fresh_address();
        let (ip, port) = (front.ip().to_string(), PORT.to_string());
        let lb = Running::start(&["-a", "--log-format", format, "-b", &ip, &port, &gone, &alpha.word()]);
        lb.line_with("listening on");
        assert_eq!(ask(front), "alpha");
        let line = lb.line_with("is down");
        if format == "human" {
            assert_eq!(line, format!("lb: {gone} is down: silent (connect failed)"));
            continue;
        }
        let down: Value = serde_json::from_str(&line).unwrap();
        let parts = ["event", "level", "backend", "from", "reason"].map(|part| down[part].as_str().unwrap_or_default());
        assert_eq!(parts, ["backend-down", "warning", &gone, "up", "connect failed"], "{line}");
        assert_eq!(down["group"].as_u64(), Some(0));
    }
}

#[test]
fn a_dead_backend_under_load_is_a_dozen_lines() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let words = [dead.to_string(), alpha.word()];
    let (lb, front) = Running::balancing(&["--log-format", "json"], &[&words[0], &words[1]]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| assert_eq!(ask(front), "alpha")));
        }
    });
    lb.signal(Signal::TERM);
    let lines: Vec<Value> = lb.ended().1.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<&Value> = lines.iter().filter(|line| line["event"] == "connect-failed").collect();
    // Ten for each ten seconds and how many more there were, however slow this machine is.
    assert!((11..=36).contains(&failed.len()), "{lines:#?}");
    let single = failed.iter().filter(|line| line["more"].is_null()).count() as u64;
    let more: u64 = failed.iter().filter_map(|line| line["more"].as_u64()).sum();
    // About every second client had its turn there first.
    assert!(single + more >= 900, "{single} and {more} more");
    assert_eq!(lines.last().unwrap()["event"], failed.last().unwrap()["event"], "the rest is summed up at the end");
}

#[test]
fn a_log_that_nobody_reads_stops_no_traffic() {
    let alpha = Backend::start("alpha");
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), PORT.to_string());
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    // Full before it starts.
    rustix::io::write(&writer, &[b'x'; 4096]).unwrap();
    let mut lb = Child(command(&["-b", &ip, &port, &alpha.word()]).stderr(writer).spawn().unwrap());
    wait_for("it to listen", || std::net::TcpStream::connect(front).is_ok());
    assert_eq!(ask(front), "alpha");
    // From here on it is read.
    reader.read_exact(&mut [0; 4096]).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&lb.0), Signal::TERM).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(lb.0.wait().unwrap().code(), Some(0));
    assert!(rest.contains(" lb: 1 line was lost, because nobody has read those before\n"), "{rest}");
    assert!(rest.contains(" lb: stopping: "), "{rest}");
}

#[test]
fn systemd_hears_when_it_is_ready_and_when_it_stops() {
    let notices = Notices::new();
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), PORT.to_string());
    let mut lb = command(&["-b", &ip, &port, "127.0.0.1:1"]);
    let lb = lb.env("NOTIFY_SOCKET", &notices.path).stderr(Stdio::null()).stdout(Stdio::null());
    let mut lb = Child(lb.spawn().unwrap());
    let status = format!("STATUS=listening on {front}: 1 backend in 1 group");
    assert_eq!(notices.next(), ["READY=1".to_owned(), status]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&lb.0), Signal::TERM).unwrap();
    assert_eq!(notices.next()[0], "STOPPING=1");
    assert_eq!(lb.0.wait().unwrap().code(), Some(0));
}

#[test]
fn systemd_hears_which_process_is_in_the_background() {
    let notices = Notices::new();
    let (daemon, _) = Daemon::start_with(&[], &["127.0.0.1:1"], |command| command.env("NOTIFY_SOCKET", &notices.path));
    let ready = notices.next();
    assert_eq!(ready[..2], [format!("MAINPID={}", daemon.pid().as_raw_nonzero()), "READY=1".to_owned()]);
    daemon.signal(Signal::TERM);
    assert_eq!(notices.next()[0], "STOPPING=1", "from it, and no second READY");
    assert_eq!(daemon.ended().exit_status(), Some(0));
}

#[test]
fn what_a_reload_comes_to_is_never_left_out() {
    let front = fresh_address();
    let text = |backends: &str| {
        format!("[pools.web]\ngroups = \"{backends}\"\n[services.www]\nlisten = \"{front}\"\npool = \"web\"\n")
    };
    let file = support::File::new(&text("127.0.0.1:1"));
    let lb = file.run();
    lb.line_with("listening on");
    // Who mends a file step by step asks often.
    for at in 0..12 {
        file.rewrite(&text(&format!("127.0.0.1:{}", 70_000 + at)));
        lb.signal(Signal::HUP);
        let line = lb.line_with(&format!("port '{}'", 70_000 + at));
        assert!(line.contains(&file.path), "{line}");
    }
    let words: Vec<String> = (1..=15).map(|port| format!("127.0.0.1:{port}")).collect();
    file.rewrite(&text(&words.join(" ")));
    lb.signal(Signal::HUP);
    lb.line_with("reloaded: 14 changes");
    words[1..].iter().for_each(|word| drop(lb.line_with(&format!("+ backend {word} "))));
}
