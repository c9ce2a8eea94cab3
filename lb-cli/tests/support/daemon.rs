//! `lb`s in the background, and a stand-in for systemd. None is left behind, whatever becomes of the test.

use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Command, Output},
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, waitpid};

use super::{Directory, PATIENCE, PORT, bare_command, fresh_address, run, wait_for};

/// An `lb` that has gone to the background. It becomes a child of the test when the one that was started ends, so that
/// its number is nobody else's until the test has seen its end.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) front: SocketAddr,
    /// An argument that no other has.
    mark: String,
    pid: Option<Pid>,
}

impl Daemon {
    /// On an address of its own, in front of these words; with what its parent said.
    pub(crate) fn start(options: &[&str], words: &[&str]) -> (Self, Output) {
        Self::start_with(options, words, |command| command)
    }

    /// The same, with something set before.
    pub(crate) fn start_with(
        options: &[&str],
        words: &[&str],
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> (Self, Output) {
        set_child_subreaper(Some(getpid())).unwrap();
        let front = fresh_address();
        let (ip, port) = (front.ip().to_string(), PORT.to_string());
        let mut command = bare_command(&[options, &["-b", &ip, &port], words].concat());
        // There before the first line that may panic.
        let mut daemon = Self { front, mark: ip, pid: None };
        let said = run(set(&mut command));
        daemon.pid = daemon.find();
        (daemon, said)
    }

    /// `lb run` of a file in the background, which says that it listens there.
    pub(crate) fn of_file(file: &str, front: SocketAddr) -> (Self, Output) {
        set_child_subreaper(Some(getpid())).unwrap();
        let mut daemon = Self { front, mark: file.to_owned(), pid: None };
        let said = run(&mut bare_command(&["run", "--daemon", "--config", file]));
        daemon.pid = daemon.find();
        (daemon, said)
    }

    /// The child of ours that has our mark, which nobody else has, among its arguments.
    fn find(&self) -> Option<Pid> {
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_it = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name: state, parent.
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            parent == Some(getpid().as_raw_nonzero().get())
                && fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == self.mark.as_bytes()))
        };
        pids.into_iter().find(is_it).and_then(Pid::from_raw)
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid.expect("it is in the background")
    }

    pub(crate) fn is_there(&self) -> bool {
        self.pid.is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> WaitStatus {
        let pid = self.pid();
        let mut status = None;
        wait_for("its end", || {
            status = waitpid(Some(pid), WaitOptions::NOHANG).unwrap();
            status.is_some()
        });
        self.pid = None;
        status.unwrap().1
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.or_else(|| self.find()) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// Hears what systemd would hear.
#[derive(Debug)]
pub(crate) struct Notices {
    pub(crate) path: PathBuf,
    socket: UnixDatagram,
    _directory: Directory,
}

impl Notices {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let path = directory.0.join("notices");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { path, socket, _directory: directory }
    }

    /// The assignments of the next notice.
    pub(crate) fn next(&self) -> Vec<String> {
        let mut notice = [0; 4096];
        let length = self.socket.recv(&mut notice).expect("a notice");
        String::from_utf8_lossy(&notice[..length]).lines().map(str::to_owned).collect()
    }
}
