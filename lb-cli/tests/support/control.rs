//! A running `lb` with its operator: `-c` as people call it.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{Running, bare_command, command, fresh_address, run};

/// A directory that is gone when the test is.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static USED: AtomicU32 = AtomicU32::new(0);
        let mut paths = std::iter::repeat_with(|| {
            let name = format!("lb-test-{}-{}", std::process::id(), USED.fetch_add(1, Relaxed));
            std::env::temp_dir().join(name)
        });
        // One that is there may be that of a process which was killed, or of one with the same number in another container.
        let is_ours = |path: &PathBuf| match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            made => made.map(|()| true).unwrap(),
        };
        Self(paths.find(is_ours).unwrap())
    }

    pub(crate) fn word(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// A path in it that nothing has made yet.
    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Gives orders to the `lb` at an address.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) front: SocketAddr,
    pub(crate) directory: Directory,
}

/// A row of `show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) group: usize,
    pub(crate) kind: String,
    pub(crate) number: usize,
    pub(crate) status: String,
    pub(crate) address: String,
    pub(crate) sessions: u32,
    pub(crate) total: u64,
    pub(crate) limit: u32,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Control {
    /// An `lb` on an address of its own, in front of these words, and whoever controls it.
    pub(crate) fn start(options: &[&str], words: &[&str]) -> (Running, Self) {
        let control = Self { front: fresh_address(), directory: Directory::new() };
        let lb = Running::at(control.front, &[&["--control-dir", &control.path()], options].concat(), words);
        (lb, control)
    }

    /// Another one at the same place.
    pub(crate) fn next(&self, options: &[&str], words: &[&str]) -> Running {
        Running::at(self.front, &[&["--control-dir", &self.path()], options].concat(), words)
    }

    pub(crate) fn path(&self) -> String {
        self.directory.join("control")
    }

    /// Where its socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        Path::new(&self.path()).join(format!("{}.{}", self.front.port(), self.front.ip())).join("control")
    }

    /// All files, directories and sockets that instances have made.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        everything_in(Path::new(&self.path()))
    }

    /// `lb -i`, with pipes.
    pub(crate) fn shell(&self) -> Command {
        let mut shell = bare_command(&["-i"]);
        shell.args(self.target()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    /// The status of a shell in which this is typed, and what it prints.
    pub(crate) fn typed(&self, lines: &str) -> (Option<i32>, String) {
        let mut shell = self.shell().spawn().unwrap();
        // It may have ended before it has read all of it.
        let _ = shell.stdin.take().unwrap().write_all(lines.as_bytes());
        let output = shell.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    /// The status of a command that may fail, and all that it says.
    pub(crate) fn says(&self, order: &str) -> (i32, String) {
        let output = self.order(order);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// The arguments by which a second `lb` means this one.
    pub(crate) fn target(&self) -> [String; 5] {
        let (ip, port) = (self.front.ip().to_string(), self.front.port().to_string());
        ["-b".to_owned(), ip, "--control-dir".to_owned(), self.path(), port]
    }

    /// `lb -c order`.
    pub(crate) fn order(&self, order: &str) -> Output {
        run(command(&["-c", order]).args(self.target()))
    }

    /// What a command says that must go well.
    pub(crate) fn must(&self, order: &str) -> String {
        let output = self.order(order);
        let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!((output.status.code(), error.as_str()), (Some(0), ""), "{order}: {said}");
        said
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.must("show").lines().skip(1).map(Row::read).collect()
    }

    /// How `show` calls the state of a backend.
    pub(crate) fn status(&self, number: usize) -> String {
        self.rows()[number].status.clone()
    }
}

/// What a shell begins with.
pub(crate) fn banner(pid: u32) -> String {
    format!("\nbalance.fm 1.0.0 interactive command shell\nPID of master process is {pid}\n\n")
}

fn everything_in(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all.extend(everything_in(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}

impl Row {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [group, kind, number, status, address, port, sessions, total, limit, sent, received] = words[..] else {
            panic!("no row of show: {line:?}");
        };
        Self {
            group: group.parse().unwrap(),
            kind: kind.to_owned(),
            number: number.parse().unwrap(),
            status: status.to_owned(),
            address: format!("{address}:{port}"),
            sessions: sessions.parse().unwrap(),
            total: total.parse().unwrap(),
            limit: limit.parse().unwrap(),
            sent: sent.parse().unwrap(),
            received: received.parse().unwrap(),
        }
    }
}
