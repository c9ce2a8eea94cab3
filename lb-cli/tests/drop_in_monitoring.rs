//! `-m` as balance.fm has it, with its defects mended.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{Backend, Control, Daemon, Directory, Session, Silent, ask, ask_times, fresh_address, wait_for};

/// Fast enough for a test, slow enough for a busy machine.
const CONNECT: &str = "connect:timeout=1:interval=0.2";

#[test]
fn a_dead_backend_is_found_by_the_first_round_and_is_back_by_itself() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let (lb, control) = Control::start(&["-m", CONNECT], &[&dead.to_string(), &alpha.word()]);
    let line = lb.line_with("down");
    assert!(line.contains(&dead.to_string()) && line.contains("refused"), "the line names backend and reason: {line}");
    assert_eq!((control.status(0), control.status(1)), ("dis".to_owned(), "ENA".to_owned()));
    let tried = control.rows()[0].total;
    assert_eq!(ask_times(4, control.front), ["alpha"; 4]);
    assert_eq!(control.rows()[0].total, tried, "nobody is sent there any more");
    let _back = Backend::at("back", dead);
    lb.line_with("up");
    assert!(ask_times(2, control.front).contains(&"back".to_owned()));
}

#[test]
fn what_people_disabled_is_not_touched() {
    let (alpha, beta) = (Backend::start("alpha"), Backend::start("beta"));
    let (_lb, control) = Control::start(&["-m", CONNECT], &[&alpha.word(), &beta.word()]);
    control.must("disable 0");
    // Rounds of the other one, so that there was time for ours.
    for _ in 0..3 {
        beta.wait_for_visits(1);
        assert_eq!(control.status(0), "DIS");
    }
    assert_eq!(ask_times(3, control.front), ["beta"; 3]);
}

#[test]
fn one_that_autodisable_took_out_is_brought_back_by_monitoring() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let (_lb, control) = Control::start(&["-a", "-m", CONNECT], &[&dead.to_string(), &alpha.word()]);
    wait_for("it to be out", || control.status(0) == "dis");
    let _back = Backend::at("back", dead);
    wait_for("it to be in again", || control.status(0) == "ENA");
    assert!(ask_times(2, control.front).contains(&"back".to_owned()));
}

#[test]
fn noenable_and_nodisable_do_one_half_each() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let words: [&str; 2] = [&dead.to_string(), &alpha.word()];
    let (_lb, nodisable) = Control::start(&["-m", &format!("{CONNECT}:nodisable")], &words);
    let (lb, noenable) = Control::start(&["-m", &format!("{CONNECT}:noenable")], &words);
    lb.line_with("down");
    // Rounds of the one that is there, so that there was time for the other: who could change nothing is not checked.
    alpha.wait_for_visits(3);
    let _back = Backend::at("back", dead);
    for _ in 0..3 {
        alpha.wait_for_visits(1);
        assert_eq!((noenable.status(0), nodisable.status(0)), ("dis".to_owned(), "ENA".to_owned()));
    }
    noenable.must("enable 0");
    assert_eq!(noenable.status(0), "ENA");
}

#[test]
fn a_command_judges_by_its_exit_status_and_knows_whom() {
    let (alpha, beta, files) = (Backend::start("alpha"), Backend::start("beta"), Directory::new());
    // The command fails for whoever has a file of this name.
    let command = format!("test ! -e {}/%H.%P", files.word());
    let monitoring = format!("command={}:pass=0:timeout=5:interval=0.2", command.replace(':', "\\:"));
    let (_lb, control) = Control::start(&["-m", &monitoring], &[&alpha.word(), &beta.word()]);
    assert_eq!(control.status(0), "ENA");
    let file = files.join(&format!("{}.{}", alpha.address.ip(), alpha.address.port()));
    fs::write(&file, "").unwrap();
    wait_for("the command to take it out", || control.status(0) == "dis");
    assert_eq!((ask(control.front), control.status(1)), ("beta".to_owned(), "ENA".to_owned()));
    fs::remove_file(&file).unwrap();
    wait_for("the command to bring it back", || control.status(0) == "ENA");
}

/// Whether a process with this number is alive and no zombie.
fn is_alive(id: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[test]
fn a_hung_command_stops_neither_the_other_checks_nor_the_end_and_dies_with_its_children() {
    let (alpha, dead, files) = (Backend::start("alpha"), fresh_address(), Directory::new());
    let pids = files.join("pids");
    // It hangs for alpha only, with a child of its own.
    let script = format!(
        "case %P in {}) sleep 300 & echo $! >>{pids}; echo $$ >>{pids}; wait;; *) exit 1;; esac",
        alpha.address.port()
    );
    // Both listen on the same port of different addresses, so the dead one is given another.
    let dead = SocketAddr::new(dead.ip(), dead.port() + 1);
    let monitoring = format!("command={}:timeout=0.5:interval=1", script.replace(':', "\\:"));
    let (lb, control) = Control::start(&["-m", &monitoring], &[&alpha.word(), &dead.to_string()]);
    wait_for("the other check to have ended", || control.status(1) == "dis");
    wait_for("the hung one to be given up", || control.status(0) == "dis");
    lb.signal(Signal::TERM);
    let began = Instant::now();
    assert_eq!(lb.ended().0.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "a command does not hold up the end");
    let pids = fs::read_to_string(&pids).unwrap();
    assert!(pids.lines().count() >= 2, "{pids:?}");
    wait_for("all of its processes to be gone", || !pids.lines().any(is_alive));
}

#[test]
fn a_second_signal_ends_it_at_once_and_commands_with_it() {
    let (alpha, files) = (Backend::start("alpha"), Directory::new());
    let pids = files.join("pids");
    let monitoring = format!("command=sleep 40 & echo $! >>{pids}; echo $$ >>{pids}; wait:timeout=40");
    let (lb, control) = Control::start(&["-m", &monitoring], &[&alpha.word()]);
    wait_for("the command to run", || fs::read_to_string(&pids).is_ok_and(|pids| pids.lines().count() == 2));
    let _session = Session::open(control.front);
    lb.signal(Signal::TERM);
    lb.line_with("stopping");
    wait_for("the listener to close", || TcpStream::connect(control.front).is_err());
    lb.signal(Signal::TERM);
    assert_eq!(lb.ended().0.code(), Some(1));
    let pids = fs::read_to_string(&pids).unwrap();
    wait_for("all of its processes to be gone", || !pids.lines().any(is_alive));
}

/// A small web server whose answer can be changed, and what it was asked for.
struct Web {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<String>>,
}

impl Web {
    fn start(answer: &str) -> Self {
        let listener = TcpListener::bind(fresh_address()).unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer.to_owned())), Arc::new(Mutex::new(String::new())));
        let (theirs, heard) = (Arc::clone(&answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut head) = (stream.unwrap(), [0; 1024]);
                let count = stream.read(&mut head).unwrap_or(0);
                *heard.lock().unwrap() = String::from_utf8_lossy(&head[..count]).into_owned();
                let answer = theirs.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, answer, asked }
    }

    fn says(&self, status: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    }
}

#[test]
fn an_application_is_asked_over_http_whether_it_is_up() {
    let web = Web::start("");
    web.says("200 OK", "UP\n");
    let monitoring = "http=/health:expect=UP:timeout=1:interval=0.2:fall=2";
    let (lb, control) = Control::start(&["-m", monitoring], &[&web.address.to_string()]);
    wait_for("it to be asked", || web.asked.lock().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    assert!(web.asked.lock().unwrap().to_lowercase().contains("\r\nhost: "));
    assert_eq!(control.status(0), "ENA");
    web.says("200 OK", "BUSY");
    let line = lb.line_with("down");
    assert!(line.contains(&web.address.to_string()), "{line}");
    assert_eq!(control.status(0), "dis");
    web.says("200 OK", "UP");
    wait_for("it to be back", || control.status(0) == "ENA");
    web.says("503 Service Unavailable", "UP");
    wait_for("the status to count too", || control.status(0) == "dis");
}

#[test]
fn when_all_are_down_by_observation_they_are_tried_anyway_and_it_is_said_and_counted() {
    let (alpha, files) = (Backend::start("alpha"), Directory::new());
    let file = files.join("up");
    let monitoring = format!("command=test -e {file}:timeout=5:interval=0.2");
    let (lb, control) = Control::start(&["-m", &monitoring], &[&alpha.word()]);
    lb.line_with("last resort");
    assert_eq!(control.status(0), "dis");
    assert_eq!(ask(control.front), "alpha");
    let json: serde_json::Value = serde_json::from_str(&control.must("show json")).unwrap();
    assert!(json.to_string().contains("\"last_resort\":1"), "{json}");
    // What people have disabled is no last resort.
    control.must("disable 0");
    assert!(support::Session::over(std::net::TcpStream::connect(control.front).unwrap()).is_none());
    control.must("enable 0");
    fs::write(Path::new(&file), "").unwrap();
    wait_for("it to be up", || control.status(0) == "ENA");
}

#[test]
fn monitoring_can_be_paused() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let (lb, control) = Control::start(&["-m", CONNECT], &[&alpha.word(), &dead.to_string()]);
    wait_for("the first round", || control.status(1) == "dis");
    let running = format!("monitor process running as pid {} and is ", lb.id());
    assert_eq!(control.must("monitor show"), format!("{running}enabled\n"));
    assert_eq!(control.must("monitor disable"), "monitor is now disabled\n");
    assert_eq!(control.must("monitor disable"), "monitor is already disabled\n");
    assert_eq!(control.must("m show"), format!("{running}disabled\n"));
    let _back = Backend::at("back", dead);
    // So much time that another one, which is not paused, makes its rounds.
    let beta = Backend::start("beta");
    let (_other, _) = Control::start(&["-m", CONNECT], &[&beta.word()]);
    beta.wait_for_visits(4);
    assert_eq!(control.status(1), "dis");
    assert_eq!(control.must("monitor enable"), "monitor is now enabled\n");
    assert_eq!(control.must("monitor enable"), "monitor is already enabled\n");
    wait_for("it to be back", || control.status(1) == "ENA");
}

#[test]
fn backends_of_groups_made_at_run_time_are_checked_too() {
    let (alpha, dead) = (Backend::start("alpha"), fresh_address());
    let (_lb, control) = Control::start(&["-m", CONNECT], &[&alpha.word()]);
    control.must(&format!("group 2; create {} {}; enable 0", dead.ip(), dead.port()));
    wait_for("it to be found dead", || control.rows().last().unwrap().status == "dis");
}

#[test]
fn silent_backends_are_checked_side_by_side() {
    let silent: Vec<Silent> = (0..6).map(|_| Silent::start()).collect();
    let mut words: Vec<String> = silent.iter().map(|silent| silent.address.to_string()).collect();
    let alpha = Backend::start("alpha");
    words.extend(["!".to_owned(), alpha.word()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let began = Instant::now();
    let (_lb, control) = Control::start(&["-m", "connect:timeout=1:interval=60"], &words);
    wait_for("all to be found silent", || control.rows().iter().filter(|row| row.status == "dis").count() == 6);
    assert!(began.elapsed() < Duration::from_secs(4), "one after the other would take six seconds");
}

#[test]
fn a_wrong_specification_is_named_before_anything_is_served() {
    for (spec, named) in [
        ("connect:timeout=soon", "soon"),
        ("conect", "conect"),
        ("interval=5", "interval=5"),
        ("timeout=1", "timeout"),
        ("connect:interval=0", "interval"),
        ("command", "command"),
        ("connect:pass=1", "pass"),
    ] {
        let output = support::run(
            support::command(&["-f", "-m", spec, "-b", "127.0.0.1", "17481", "127.0.0.1:9"]).env("LC_ALL", "C"),
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{spec}: {said}");
        assert!(said.contains(named) && said.lines().count() == 1, "{spec}: {said}");
    }
}

#[test]
fn a_check_of_a_daemon_may_print_and_read() {
    let (alpha, directory) = (Backend::start("alpha"), Directory::new());
    let rounds = directory.join("rounds");
    let command = format!("echo well; echo well >&2; cat; pwd >>{rounds}");
    let monitoring = format!("command={command}:timeout=5:interval=0.2");
    let path = directory.join("control");
    let (daemon, said) = Daemon::start(&["-m", &monitoring, "--control-dir", &path], &[&alpha.word()]);
    assert!(daemon.is_there(), "{said:?}");
    let lines = || fs::read_to_string(&rounds).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    // Three that have begun are two whose outcome is known.
    wait_for("three rounds", || lines().len() >= 3);
    assert!(lines().iter().all(|line| line == "/"));
    let control = Control { front: daemon.front, directory };
    assert_eq!(control.status(0), "ENA");
}
