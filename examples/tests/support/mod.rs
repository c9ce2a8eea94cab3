//! Examples as processes of their own: they end, or serve until they are ended.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

/// More than any of them needs, on however busy a machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running example; it ends with this value.
pub(crate) struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    /// Starts `program`, which is `env!("CARGO_BIN_EXE_name")`.
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let lines = lines_of(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Starts it with a free port to listen on; it says which one that is.
    pub(crate) fn serving(program: &str) -> (Self, SocketAddr) {
        let example = Self::start(program, &["127.0.0.1:0"]);
        let line = example.line();
        let address = line.strip_prefix("serving at ").unwrap_or_else(|| panic!("{program} said: {line}"));
        let address = address.parse().unwrap();
        (example, address)
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("it prints another line")
    }

    /// All that it prints until it ends well.
    pub(crate) fn ended(mut self) -> Vec<String> {
        let mut printed = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => printed.push(line),
                // Its output ends with the process.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end after {printed:#?}"),
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status} after {printed:#?}");
        printed
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Read as they come, so that nobody waits for room in the pipe.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (said, lines) = channel();
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
    lines
}

/// All that it prints until it ends well.
pub(crate) fn run(program: &str) -> Vec<String> {
    Example::start(program, &[]).ended()
}

/// Says `words` to a server and returns all that it answers until it hangs up.
pub(crate) fn exchange(server: SocketAddr, words: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(words.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks for a page on a connection of its own.
pub(crate) fn get(server: SocketAddr, page: &str) -> String {
    exchange(server, &format!("GET {page} HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n"))
}
