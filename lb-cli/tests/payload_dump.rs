//! `-p`: what passes is printed as balance prints it, and whoever reads it keeps nobody waiting.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod support;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _, pipe},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Backend, Directory, PATIENCE, Session, ask, command, fresh_address, wait_for};

/// An `lb -p` that serves, and its stderr. It is gone when the test is.
struct Dumping {
    child: Child,
    front: SocketAddr,
    said: BufReader<std::process::ChildStderr>,
}

impl Dumping {
    fn start(options: &[&str], word: &str, stdout: impl Into<Stdio>) -> Self {
        let front = fresh_address();
        let (ip, port) = (front.ip().to_string(), front.port().to_string());
        Self::spawn(&[options, &["-p", "-b", &ip, &port, word]].concat(), front, stdout)
    }

    fn spawn(args: &[&str], front: SocketAddr, stdout: impl Into<Stdio>) -> Self {
        let mut child = command(args).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut dumping = Self { child, front, said };
        dumping.line_with("listening on");
        dumping
    }

    fn line_with(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "no line with {text}");
        }
    }

    fn terminated(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut status = None;
        wait_for("its end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Dumping {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bytes of each way that a dump tells of: its headers' lengths, and what its text says.
fn read_back(dump: &str) -> [(usize, Vec<u8>); 2] {
    let mut ways = [(0, Vec::new()), (0, Vec::new())];
    let mut way = 0;
    for line in dump.lines() {
        let header = line.split_once(' ').filter(|(mark, length)| {
            ["->", "-<"].contains(mark) && !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit())
        });
        if let Some((mark, length)) = header {
            way = usize::from(mark == "-<");
            ways[way].0 += length.parse::<usize>().unwrap();
            continue;
        }
        assert!(line.len() <= 82 && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
        let mut rest = line.as_bytes();
        while let [first, tail @ ..] = rest {
            let (byte, length) = match (first, tail) {
                (b'\\', [b'\\', ..]) => (b'\\', 2),
                (b'\\', [high, low, ..]) => {
                    let digits = [*high, *low];
                    (u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(), 3)
                }
                (byte, _) => (*byte, 1),
            };
            ways[way].1.push(byte);
            rest = &rest[length..];
        }
    }
    ways
}

#[test]
fn payload_is_dumped_as_balance_does_while_it_passes() {
    let alpha = Backend::start("alpha");
    dumps_what_passes(Dumping::start(&[], &alpha.word(), Stdio::piped()));
}

#[test]
fn a_file_can_ask_for_the_same() {
    let (alpha, directory, front) = (Backend::start("alpha"), Directory::new(), fresh_address());
    let (path, control) = (directory.join("lb.toml"), directory.join("control"));
    let text = format!(
        "log.dump = true\ncontrol.directory = \"{control}\"\n[pools.web]\ngroups = \"{}\"\n[services.www]\n\
         listen = \"{front}\"\npool = \"web\"\n",
        alpha.word()
    );
    fs::write(&path, text).unwrap();
    dumps_what_passes(Dumping::spawn(&["run", "--config", &path], front, Stdio::piped()));
}

fn dumps_what_passes(mut lb: Dumping) {
    let mut session = Session::open(lb.front);
    assert!(session.echoes());
    let expected = [
        format!("-< {}", format!("alpha {}\n", session.seen_as).len()),
        format!("alpha {}\\0A", session.seen_as),
        "-> 13".to_owned(),
        "still there?\\0A".to_owned(),
        "-< 13".to_owned(),
        "still there?\\0A".to_owned(),
    ];
    let out = lb.child.stdout.take().unwrap();
    let lines: Vec<String> = BufReader::new(out).lines().take(6).map(Result::unwrap).collect();
    assert_eq!(lines, expected);
}

#[test]
fn all_bytes_of_two_busy_directions_can_be_read_back() {
    let (alpha, directory) = (Backend::start("alpha"), Directory::new());
    let path = directory.join("dump");
    let mut lb = Dumping::start(&["--workers", "1"], &alpha.word(), File::create(&path).unwrap());
    // Every byte value, and lines that are not broken where they are in the payload.
    let payload: Vec<u8> = (0..300_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect();
    let mut client = TcpStream::connect(lb.front).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = client.try_clone().unwrap();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&payload).and_then(|()| writer.shutdown(Shutdown::Write)).unwrap());
        client.read_to_end(&mut received).unwrap();
    });
    assert!(received.ends_with(&payload));
    assert_eq!(lb.terminated(), Some(0));
    let [up, down] = read_back(&fs::read_to_string(&path).unwrap());
    assert!(up == (payload.len(), payload) && down == (received.len(), received), "{} {}", up.0, down.0);
}

#[test]
fn a_dump_that_nobody_wants_any_more_ends_no_session() {
    let alpha = Backend::start("alpha");
    let mut lb = Dumping::start(&[], &alpha.word(), Stdio::piped());
    drop(lb.child.stdout.take());
    let mut session = Session::open(lb.front);
    assert!(session.echoes() && session.echoes());
    drop(session);
    assert_eq!(ask(lb.front), "alpha");
    assert_eq!(lb.terminated(), Some(0));
}

#[test]
fn a_dump_that_nobody_reads_stops_neither_sessions_nor_the_end() {
    let alpha = Backend::start("alpha");
    let (reader, writer) = pipe().unwrap();
    let mut lb = Dumping::start(&["--grace", "0.5"], &alpha.word(), writer);
    let mut client = TcpStream::connect(lb.front).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = client.try_clone().unwrap();
    // More than a pipe and all buffers hold.
    let payload = vec![b'x'; 1_000_000];
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&payload).unwrap());
        let mut received = vec![0; payload.len()];
        client.read_exact(&mut received).unwrap();
    });
    assert_eq!(ask(lb.front), "alpha");
    assert_eq!(lb.terminated(), Some(0), "the session is cut after its grace period");
    drop(reader);
}
