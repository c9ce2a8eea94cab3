//! Addresses, backends, clients and running `lb`s for tests that use the real binary on real sockets.
#![allow(dead_code, reason = "no test file uses all of it")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests call it")]

mod app;
mod claim;
mod control;
mod daemon;
mod file;
mod http;
mod load;
mod quick;

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    net::{AddressFamily, Shutdown, SocketFlags, SocketType},
    process::{Pid, Signal, kill_process},
};

#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::app::{App, Mood, Page, long_body};
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::claim::{PORT, fresh_address, fresh_ip, fresh_port};
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::control::{Control, Directory, Row, banner};
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::daemon::{Daemon, Notices};
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::file::File;
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::http::Http;
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::load::{Brief, Load, Visits, clients, visit};
#[allow(unused_imports, reason = "no test file uses all of them")]
pub(crate) use self::quick::{Asked, Quick, ask_all, askers};

/// When a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn has_ipv6() -> bool {
    let there = TcpListener::bind("[::1]:0").is_ok();
    if !there {
        println!("skipped: this machine has no IPv6");
    }
    there
}

/// Tells threads to stop when it is dropped, in a panic too: a scope waits for them.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Until it is so.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    assert!(soon(|| is_so().then_some(())).is_some(), "waited in vain: {what}");
}

/// What there is in the end; `None` when there is nothing for too long.
fn soon<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if began.elapsed() > PATIENCE {
            return None;
        }
        // Whoever is waited for needs a processor, and what is asked may be a connect, whose queue is not to run over.
        thread::sleep(Duration::from_millis(1));
    }
}

/// A child that is gone when the test is.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `lb` with these arguments, in the foreground.
pub(crate) fn command(args: &[&str]) -> Command {
    let has_none = args.first().is_some_and(|first| ["demo", "run", "check", "diff", "schema"].contains(first));
    let in_foreground = if has_none { &[][..] } else { &["-f"] };
    bare_command(&[in_foreground, args].concat())
}

/// `lb` with these arguments and no others.
pub(crate) fn bare_command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command.args(args).stdin(Stdio::null());
    command
}

/// The lines as they come, without the time, and without ever making the writer wait.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.try_for_each(|line| send.send(untimed(&line).to_owned()))
    });
    lines
}

/// `2026-01-01T00:00:00.000Z lb: ...`: lines of events have the time where they go to no terminal.
fn untimed(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, rest)) if rest.starts_with("lb: ") && time.len() == 24 && time.ends_with('Z') => rest,
        _ => line,
    }
}

impl Running {
    /// `lb` with these arguments, as soon as it listens.
    pub(crate) fn lb(args: &[&str]) -> Self {
        let running = Self::start(args);
        running.line_with("listening on");
        running
    }

    /// `lb` with these arguments, whatever it does.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(command(args).stdout(Stdio::null()))
    }

    /// This command, whose lines are those of stderr.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// `lb` on an address of its own, in front of these words.
    pub(crate) fn balancing(options: &[&str], words: &[&str]) -> (Self, SocketAddr) {
        let address = fresh_address();
        (Self::at(address, options, words), address)
    }

    pub(crate) fn at(address: SocketAddr, options: &[&str], words: &[&str]) -> Self {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        Self::lb(&[options, &["-b", &ip, &port], words].concat())
    }

    /// `lb demo`, whose lines are those of stdout.
    pub(crate) fn demo(args: &[&str]) -> Self {
        let mut child = command(&["demo"]).args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that contains this.
    pub(crate) fn line_with(&self, text: &str) -> String {
        self.lines_to(text).pop().unwrap()
    }

    /// The next lines up to one that contains this.
    pub(crate) fn lines_to(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with '{text}' ({error}), but {seen:#?}"),
            }
            if seen.last().is_some_and(|line| line.contains(text)) {
                return seen;
            }
        }
    }

    /// How long processors have worked for it: not longer on a machine that has other things to do.
    pub(crate) fn worked(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // Behind the name, of user and system.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap()).iter().sum();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open. Not pipes: those that splice are kept for the next bulk transfer.
    pub(crate) fn descriptors(&self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let is_pipe = |path: std::path::PathBuf| {
            std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("pipe:"))
        };
        all.filter(|entry| !is_pipe(entry.as_ref().unwrap().path())).count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit status and the lines that nobody has read yet.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = soon(|| self.child.try_wait().unwrap()).expect("its end");
        (status, self.lines.iter().collect())
    }
}

/// What a command that ends by itself has said. It is read while it is said: a pipe does not take much.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (all(child.stdout.take().unwrap()), all(child.stderr.take().unwrap()));
    let Some(status) = soon(|| child.try_wait().unwrap()) else {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("it runs: {command:?}");
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

/// A backend that greets with its name and the client's address, then returns what it gets.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    listener: Arc<TcpListener>,
    visits: Arc<AtomicUsize>,
    serving: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) fn start(name: &'static str) -> Self {
        Self::at(name, fresh_address())
    }

    pub(crate) fn at(name: &'static str, address: SocketAddr) -> Self {
        let listener = Arc::new(TcpListener::bind(address).unwrap());
        let address = listener.local_addr().unwrap();
        let (visits, accepting) = (Arc::<AtomicUsize>::default(), Arc::clone(&listener));
        let count = Arc::clone(&visits);
        let serving = thread::spawn(move || {
            while let Ok((client, peer)) = accepting.accept() {
                count.fetch_add(1, Relaxed);
                thread::spawn(move || greet_and_echo(client, name, peer.ip()));
            }
        });
        Self { address, listener, visits, serving: Some(serving) }
    }

    /// The word for the command line.
    pub(crate) fn word(&self) -> String {
        self.address.to_string()
    }

    /// Until so many more have connected, clients or checks. Checks of one `lb` come one after the other: who has come
    /// once more knows what the one before was told.
    pub(crate) fn wait_for_visits(&self, more: usize) {
        let before = self.visits.load(Relaxed);
        wait_for("visits", || self.visits.load(Relaxed) >= before + more);
    }
}

/// The port refuses from then on; connections that are there go on.
impl Drop for Backend {
    fn drop(&mut self) {
        rustix::net::shutdown(&self.listener, Shutdown::Both).unwrap();
        let _ = self.serving.take().unwrap().join();
    }
}

fn greet_and_echo(mut client: TcpStream, name: &str, peer: IpAddr) {
    if client.write_all(format!("{name} {peer}\n").as_bytes()).is_ok() {
        let mut reader = client.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut client);
    }
}

/// An address that neither takes nor refuses: its queue is full.
#[derive(Debug)]
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _queue: (TcpListener, Vec<TcpStream>),
}

impl Silent {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(fresh_address()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
        let filler = (0..8).map_while(connect).collect();
        Self { address, _queue: (listener, filler) }
    }
}

/// A client that has been greeted.
#[derive(Debug)]
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
    /// Who answered.
    pub(crate) name: String,
    /// Who the backend takes us for.
    pub(crate) seen_as: String,
}

impl Session {
    pub(crate) fn open(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&to, PATIENCE).unwrap()).unwrap_or_else(|| panic!("{to}: no answer"))
    }

    /// Reads the greeting; `None` when the connection ends before.
    pub(crate) fn over(stream: TcpStream) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::greeted(stream).expect("it is neither served nor closed")
    }

    /// The same for as long as the stream's read timeout says: `None` after that too.
    pub(crate) fn over_patiently(stream: TcpStream) -> Option<Self> {
        Self::greeted(stream).ok().flatten()
    }

    /// An error is that nothing comes.
    fn greeted(stream: TcpStream) -> io::Result<Option<Self>> {
        let (mut stream, mut line) = (BufReader::new(stream), String::new());
        match stream.read_line(&mut line) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            // A reset is an end like any other.
            _ => {}
        }
        let greeting = line.trim_end().split_once(' ');
        let named = |(name, peer): (&str, &str)| (name.to_owned(), peer.to_owned());
        Ok(greeting.map(named).map(|(name, seen_as)| Self { name, seen_as, stream }))
    }

    /// Whether what we send comes back.
    pub(crate) fn echoes(&mut self) -> bool {
        let mut line = String::new();
        self.stream.get_mut().write_all(b"still there?\n").is_ok()
            && self.stream.read_line(&mut line).is_ok()
            && line == "still there?\n"
    }

    /// Whether so many bytes that we send come back.
    pub(crate) fn moves(&mut self, count: usize) -> bool {
        let mut writer = self.stream.get_ref().try_clone().unwrap();
        thread::scope(|scope| {
            let sent = scope.spawn(move || writer.write_all(&vec![b'x'; count]).is_ok());
            let came = self.stream.read_exact(&mut vec![0; count]).is_ok();
            sent.join().unwrap() && came
        })
    }

    /// Waits for the end from the other side, in order or not.
    pub(crate) fn sees_the_end(&mut self) -> bool {
        !matches!(self.stream.read_to_end(&mut Vec::new()), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// The name of who answers.
pub(crate) fn ask(to: SocketAddr) -> String {
    Session::open(to).name
}

/// The name of who answers a client of this address; nothing when its connection is closed.
pub(crate) fn ask_from(from: Ipv4Addr, to: SocketAddr) -> Option<String> {
    Session::over(connect_from(from, to)).map(|session| session.name)
}

/// The connection of a client of this address. No `lb` that another test starts inherits it.
pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let family = AddressFamily::INET;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

pub(crate) fn ask_times(times: usize, to: SocketAddr) -> Vec<String> {
    (0..times).map(|_| ask(to)).collect()
}

/// Seconds until the kernel asks the peer of this connection whether it is there; `None` when it never will.
pub(crate) fn keepalive_in(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hex = |address: SocketAddr| {
        let SocketAddr::V4(v4) = address else { panic!("{address} is no IPv4 address") };
        format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port())
    };
    let (local, remote) = (hex(local), hex(remote));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Other tests may have thousands of connections: to look at each of them word by word takes seconds.
    let connection = format!(" {local} {remote} ");
    let line = table.lines().find(|line| line.contains(&connection));
    let timer = line.unwrap_or_else(|| panic!("no connection {local} {remote}")).split_whitespace().nth(5).unwrap();
    let (kind, ticks) = timer.split_once(':').unwrap();
    // 2 is the keepalive timer, in hundredths of a second.
    (kind == "02").then(|| u64::from_str_radix(ticks, 16).unwrap() / 100)
}
