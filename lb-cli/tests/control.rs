//! `-i` and `-c` against the running program: balance's texts, statuses and rules for who controls whom.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{Backend, Daemon, Running, Session, ask, ask_times, bare_command, fresh_address, run};

/// A directory for control sockets that is gone when the test is.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static USED: AtomicU32 = AtomicU32::new(0);
        let path = std::env::temp_dir().join(format!("lb-ctl-{}-{}", std::process::id(), USED.fetch_add(1, Relaxed)));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn option(&self) -> String {
        format!("--control-dir={}", self.0.display())
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        fs::read_dir(&self.0).unwrap().map(|entry| name(entry.unwrap())).collect()
    }

    /// `lb` on an address of its own.
    fn serving(&self, options: &[&str], words: &[&str]) -> (Running, SocketAddr) {
        Running::balancing(&[&[self.option().as_str()], options].concat(), words)
    }

    /// One `-c` for the one that listens there.
    fn ask(&self, at: SocketAddr, line: &str) -> Output {
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        run(&mut bare_command(&[&self.option(), "-b", &ip, "-c", line, &port]))
    }

    /// What `-c` prints when all goes well.
    fn said(&self, at: SocketAddr, line: &str) -> String {
        let output = self.ask(at, line);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The status, and the only text.
    fn refused(&self, at: SocketAddr, line: &str) -> (i32, String) {
        let output = self.ask(at, line);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// What `-i` prints when these lines are typed.
    fn typed(&self, at: SocketAddr, lines: &str) -> (Option<i32>, String) {
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        let mut shell = bare_command(&[&self.option(), "-b", &ip, "-i", &port]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn banner(pid: u32) -> String {
    format!("\nbalance.fm 1.0.0 interactive command shell\nPID of master process is {pid}\n\n")
}

/// The place of an instance's socket.
fn socket(directory: &Directory, at: SocketAddr) -> PathBuf {
    directory.0.join(format!("{}.{}", at.port(), at.ip())).join("control")
}

#[test]
fn a_session_reads_as_the_one_recorded_with_balance() {
    let directory = Directory::new();
    let backends = [Backend::start("a"), Backend::start("b")];
    let (running, front) = directory.serving(&[], &[&backends[0].word(), "!", &backends[1].word()]);
    let (status, text) = directory.typed(front, "group 1\ndisable 0\nhash\nquit\n");
    let prompts = "balance.fm[0] balance.fm[1] channel 0 disabled\nbalance.fm[1] group 1 set to hash\nbalance.fm[1] ";
    assert_eq!((status, text), (Some(0), format!("{}{prompts}", banner(running.id()))));
    let (status, text) = directory.typed(front, "\n  \nnonsense\n");
    let prompts = "balance.fm[0] balance.fm[0] balance.fm[0] syntax error\nbalance.fm[0] \n";
    assert_eq!((status, text), (Some(0), format!("{}{prompts}", banner(running.id()))), "EOF is an end");
    for length in [65_535, 65_536, 65_537, 200_000] {
        let (status, text) = directory.typed(front, &format!("{}\nrr\n", "x".repeat(length)));
        let said = if length == 65_535 { "syntax error" } else { "the line is longer than 65536 bytes" };
        let prompts = format!("balance.fm[0] {said}\nbalance.fm[0] group 0 set to round robin\nbalance.fm[0] \n");
        assert_eq!((status, text), (Some(0), format!("{}{prompts}", banner(running.id()))), "{length}");
    }
}

#[test]
fn the_shell_answers_before_the_next_line_is_typed() {
    let directory = Directory::new();
    let (_running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let mut shell = bare_command(&[&directory.option(), "-b", &ip, "-i", &port]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
    let mut text = String::new();
    for _ in 0..4 {
        output.read_line(&mut text).unwrap();
    }
    let mut prompt = [0; 14];
    output.read_exact(&mut prompt).unwrap();
    assert_eq!(&prompt, b"balance.fm[0] ");
    for line in ["disable 0", "enable 0"] {
        writeln!(input, "{line}").unwrap();
        text.clear();
        output.read_line(&mut text).unwrap();
        assert_eq!(text, format!("channel 0 {}d\n", &line[..line.len() - 2]));
        output.read_exact(&mut prompt).unwrap();
    }
    drop(input);
    assert!(shell.wait().unwrap().success());
}

#[test]
fn show_has_balances_columns() {
    let directory = Directory::new();
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let word = format!("{}:7", a.word());
    let (_running, front) = directory.serving(&[], &[&word, &b.word(), "!", "127.0.0.1:9", "%"]);
    let held = Session::open(front);
    assert_eq!((held.name.as_str(), ask(front).as_str()), ("a", "b"));
    directory.said(front, "disable 1");
    // The session of `ask` ends, and its bytes count, when lb has seen them.
    let heard = |name: &str| format!("{name} {}\n", held.seen_as).len();
    let row = |backend: &Backend, rest: &str, heard: usize| {
        format!("{:>16} {:>5} {rest}           0 {heard:>11}\n", backend.address.ip(), backend.address.port())
    };
    let expected = [
        "GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd\n".to_owned(),
        "  0   RR  0 ENA ".to_owned() + &row(&a, "   1           1    7", heard("a")),
        "  0   RR  1 DIS ".to_owned() + &row(&b, "   0           1    0", heard("b")),
        "  1 Hash  0 ENA        127.0.0.1     9    0           0    0           0           0\n".to_owned(),
    ]
    .concat();
    let (began, mut shown) = (Instant::now(), String::new());
    while shown != expected && began.elapsed() < Duration::from_secs(10) {
        shown = directory.said(front, "show");
    }
    assert_eq!(shown, expected);
}

/// Part of a row of the table, the first being 0.
fn column(table: &str, row: usize, columns: std::ops::Range<usize>) -> String {
    table.lines().nth(row + 1).unwrap()[columns].to_owned()
}

#[test]
fn disabled_and_enabled_backends_are_left_out_and_taken_in_at_once() {
    let directory = Directory::new();
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let (_running, front) = directory.serving(&[], &[&a.word(), &b.word()]);
    assert_eq!(directory.said(front, "disable 0"), "channel 0 disabled\n");
    assert_eq!(ask_times(3, front), ["b", "b", "b"]);
    assert_eq!(directory.said(front, "enable 0; disable 1"), "channel 0 enabled\nchannel 1 disabled\n");
    assert_eq!(ask_times(3, front), ["a", "a", "a"]);
}

#[test]
fn another_group_is_reached_in_one_command() {
    let directory = Directory::new();
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let (_running, front) = directory.serving(&[], &[&a.word(), "!", &b.word()]);
    assert_eq!(directory.said(front, "group 1; disable 0"), "channel 0 disabled\n");
    assert_eq!(column(&directory.said(front, "show"), 1, 12..15), "DIS");
    assert_eq!(ask(front), "a");
}

#[test]
fn what_is_created_at_run_time_serves() {
    let directory = Directory::new();
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let (_running, front) = directory.serving(&[], &[]);
    let create = format!("create {} {}; enable 0", a.address.ip(), a.address.port());
    assert_eq!(directory.said(front, &create), "channel created\nchannel 0 enabled\n");
    assert_eq!(ask(front), "a");
    let assign = format!("disable 0; assign 0 {} {}; enable 0", b.address.ip(), b.address.port());
    directory.said(front, &assign);
    assert_eq!(ask(front), "b");
    assert_eq!(directory.refused(front, "create no.such.host.invalid 80"), (69, "invalid address\n".to_owned()));
}

#[test]
fn autodisable_shows_until_the_backend_is_enabled() {
    let directory = Directory::new();
    let (a, b) = (Backend::start("a"), Backend::start("b"));
    let address = a.address;
    let (_running, front) = directory.serving(&["-a"], &[&a.word(), &b.word()]);
    drop(a);
    assert_eq!(ask_times(2, front), ["b", "b"]);
    assert_eq!(column(&directory.said(front, "show"), 0, 12..15), "dis");
    let _a = Backend::at("a", address);
    assert_eq!(ask_times(2, front), ["b", "b"]);
    assert_eq!(directory.said(front, "enable 0"), "channel 0 enabled\n");
    assert!(ask_times(2, front).contains(&"a".to_owned()));
}

#[test]
fn the_exit_status_tells_whether_a_command_failed() {
    let directory = Directory::new();
    let (_running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    assert_eq!(directory.refused(front, "disable 5"), (69, "no such channel 5\n".to_owned()));
    assert_eq!(directory.refused(front, "bogus"), (69, "syntax error\n".to_owned()));
    let (status, text) = directory.refused(front, "disable 5; disable 0; show");
    assert!(status == 69 && text.starts_with("no such channel 5\nchannel 0 disabled\nGRP "), "{text}");
    assert_eq!(directory.said(front, "disable 0; quit; disable 5"), "channel 0 already disabled\n");
    assert_eq!(directory.said(front, ""), "");
    let long = "x".repeat(70_000);
    assert_eq!(directory.refused(front, &long), (64, "lb: -c: the line is longer than 65536 bytes\n".to_owned()));
}

#[test]
fn without_a_master_process_the_status_says_which_case_it_is() {
    let directory = Directory::new();
    let nobody = fresh_address();
    let (status, text) = directory.refused(nobody, "show");
    let expected = format!(
        "lb: no master process: there is no control socket {}; PORT, -b and --control-dir must be those that it was \
         started with\n",
        socket(&directory, nobody).display()
    );
    assert_eq!((status, text), (70, expected));
    assert_eq!(directory.names(), Vec::<String>::new(), "a query leaves nothing behind");
    let (status, text) = directory.typed(nobody, "show\n");
    assert_eq!((status, text.as_str()), (Some(70), ""));
    let (running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    running.signal(Signal::KILL);
    drop(running.ended());
    let (status, text) = directory.refused(front, "show");
    assert_eq!(status, 69);
    assert!(text.starts_with("lb: no master process: nobody listens at the control socket"), "{text}");
}

#[test]
fn the_address_must_be_the_same_text() {
    let directory = Directory::new();
    let (_running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    let port = front.port().to_string();
    let elsewhere = run(&mut bare_command(&[&directory.option(), "-c", "show", &port]));
    assert_eq!(elsewhere.status.code(), Some(70));
    assert_eq!(directory.ask(front, "show").status.code(), Some(0));
}

#[test]
fn only_the_owner_can_reach_the_socket() {
    let directory = Directory::new();
    let (_running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    let path = socket(&directory, front);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_directory_that_others_can_enter_stops_the_start() {
    let directory = Directory::new();
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).unwrap();
    let front = fresh_address();
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let option = directory.option();
    for foreground in [&["-f"][..], &[]] {
        let words = [foreground, &[&option, "-b", &ip, &port, "127.0.0.1:9"]].concat();
        let output = run(&mut bare_command(&words));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(71), "{text}");
        assert!(text.contains("it is open to others (mode 0755)"), "{text}");
    }
}

#[test]
fn what_a_killed_instance_leaves_is_in_nobodys_way() {
    let directory = Directory::new();
    let (running, front) = directory.serving(&[], &["127.0.0.1:9", "127.0.0.1:10"]);
    directory.said(front, "disable 0");
    running.signal(Signal::KILL);
    drop(running.ended());
    let again = Running::at(front, &[&directory.option()], &["127.0.0.1:9"]);
    let table = directory.said(front, "show");
    assert_eq!(
        (table.lines().count(), column(&table, 0, 12..15)),
        (2, "ENA".to_owned()),
        "nothing of its state either"
    );
    again.signal(Signal::TERM);
    assert_eq!(again.ended().0.code(), Some(0));
    assert_eq!(directory.names(), Vec::<String>::new());
}

#[test]
fn a_second_instance_for_the_same_port_and_address_does_not_start() {
    let directory = Directory::new();
    let (running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let second = run(&mut bare_command(&["-f", &directory.option(), "-b", &ip, &port, "127.0.0.1:10"]));
    assert_eq!(second.status.code(), Some(71));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains(&format!("another lb serves port {port} on {ip} (pid {})", running.id())), "{text}");
    assert_eq!(directory.said(front, "show").lines().count(), 2, "and the first one is still in control");
}

#[test]
fn kill_ends_the_instance_and_the_next_one_can_start_at_once() {
    let directory = Directory::new();
    let backend = Backend::start("a");
    let (running, front) = directory.serving(&[], &[&backend.word()]);
    let mut session = Session::open(front);
    assert_eq!(directory.said(front, "kill"), "shutdown complete, exiting.\n");
    let next = Running::at(front, &[&directory.option()], &[&backend.word()]);
    assert!(session.echoes(), "sessions go on");
    assert_eq!(ask(front), "a");
    drop(session);
    assert_eq!(running.ended().0.code(), Some(0));
    assert_eq!(directory.said(front, "enable 0"), "channel 0 already enabled\n", "its socket is its own");
    let (status, text) = directory.typed(front, "kill\n");
    let expected = format!("{}balance.fm[0] shutdown complete, exiting.\n", banner(next.id()));
    assert_eq!((status, text), (Some(0), expected));
    assert_eq!(next.ended().0.code(), Some(0));
    assert_eq!(directory.names(), Vec::<String>::new());
}

#[test]
fn a_restart_that_does_not_wait_succeeds_as_soon_as_the_port_is_closed() {
    let directory = Directory::new();
    let backend = Backend::start("a");
    let (mut running, front) = directory.serving(&[], &[&backend.word()]);
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let words = [&directory.option(), "-b", &ip, &port, &backend.word()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for _ in 0..10 {
        // A session that goes on keeps the old one there.
        let mut session = Session::open(front);
        running.signal(Signal::TERM);
        let began = Instant::now();
        let next = loop {
            let next = Running::start(&words);
            // It serves, or another one still does.
            if next.line_with("lb: ").contains("listening on") {
                break next;
            }
            assert!(began.elapsed() < Duration::from_secs(4), "the old one holds on to its place");
        };
        assert!(session.echoes());
        drop(session);
        assert_eq!(std::mem::replace(&mut running, next).ended().0.code(), Some(0));
        assert_eq!(directory.said(front, "enable 0"), "channel 0 already enabled\n");
    }
}

#[test]
fn a_shell_that_was_idle_goes_on_with_the_next_master() {
    let directory = Directory::new();
    let (first, front) = directory.serving(&[], &["127.0.0.1:9", "!", "127.0.0.1:10"]);
    let (ip, port) = (front.ip().to_string(), front.port().to_string());
    let mut shell = bare_command(&[&directory.option(), "-b", &ip, "-i", &port]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
    writeln!(input, "group 1\ndisable 0").unwrap();
    let mut line = String::new();
    while !line.ends_with("channel 0 disabled\n") {
        assert!(output.read_line(&mut line).unwrap() > 0);
    }
    first.signal(Signal::TERM);
    drop(first.ended());
    let second = Running::at(front, &[&directory.option()], &["127.0.0.1:9", "!", "127.0.0.1:10"]);
    writeln!(input, "disable 0").unwrap();
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let master = format!("PID of master process is {}\n", second.id());
    assert_eq!(rest, format!("balance.fm[1] {master}channel 0 disabled\nbalance.fm[1] \n"));
    assert!(shell.wait().unwrap().success());
    assert_eq!(column(&directory.said(front, "show"), 1, 12..15), "DIS");
}

#[test]
fn a_daemon_is_controlled_through_a_relative_directory_too() {
    let directory = Directory::new();
    let parent = directory.0.parent().unwrap().to_owned();
    let relative = format!("--control-dir={}", directory.0.file_name().unwrap().to_str().unwrap());
    let (daemon, said) = Daemon::start_with(&[&relative], &["127.0.0.1:9"], |command| command.current_dir(&parent));
    assert!(daemon.is_there(), "{said:?}");
    assert_eq!(directory.said(daemon.front, "disable 0"), "channel 0 disabled\n");
    let pid = daemon.pid().as_raw_nonzero().get().unsigned_abs();
    assert!(directory.typed(daemon.front, "").1.starts_with(&banner(pid)));
    assert_eq!(directory.said(daemon.front, "kill"), "shutdown complete, exiting.\n");
    assert_eq!(daemon.ended().exit_status(), Some(0));
    assert_eq!(directory.names(), Vec::<String>::new());
}

#[test]
fn after_root_was_dropped_control_goes_on_and_the_socket_goes_with_its_owner() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can drop it");
        return;
    }
    let directory = Directory::new();
    let (running, front) = directory.serving(&["--user", "65534:65534"], &["127.0.0.1:9"]);
    assert_eq!(fs::metadata(socket(&directory, front)).unwrap().uid(), 65_534);
    assert_eq!(directory.said(front, "disable 0"), "channel 0 disabled\n");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().0.code(), Some(0));
    assert!(!socket(&directory, front).exists());
    drop(Running::at(front, &[&directory.option()], &["127.0.0.1:9"]));
}

#[test]
fn kill_waits_for_the_end_and_not_for_the_time() {
    let directory = Directory::new();
    let (running, front) = directory.serving(&[], &["127.0.0.1:9"]);
    let began = Instant::now();
    assert_eq!(directory.said(front, "kill"), "shutdown complete, exiting.\n");
    assert!(began.elapsed() < Duration::from_secs(4), "it waits for the event, not for the time");
    drop(running.ended());
}
