//! System calls of the thread that relays, counted by tracing it: noise moves nothing here but the number of waits.
//!
//! A process cannot trace its own threads, so the proxy runs in another one: this binary again, with one ignored test.
//! Which call it is stands in a register, whose name is known here for one kind of processor.
#![cfg(all(feature = "http", target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)]

#[path = "support/exchanges.rs"]
mod exchanges;

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use exchanges::{CLIENTS, Kept, ask_anew, ask_once, origin, proxy};
use lb_net::listener;
use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tokio::runtime::Builder;

/// Tells the other process its backend, and that it is one.
const BACKEND: &str = "LB_TEST_BACKEND";

/// What the other process says when it serves: where, and by which thread.
const SERVING: &str = "serving ";

/// Of so many rounds the one with the fewest calls counts: who is kept from the processor between two requests only has to
/// wait more often.
const ROUNDS: usize = 5;

/// How often all clients ask in a round.
const TIMES: usize = 20;

#[test]
#[ignore = "the proxy of the other tests, which start it"]
fn the_proxy_that_is_counted() {
    let Ok(backend) = env::var(BACKEND) else { return };
    let backend = backend.parse().unwrap();
    let socket = listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let front = socket.local_addr().unwrap();
    thread::spawn(move || {
        println!("\n{SERVING}{front} {}", nix::unistd::gettid());
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(proxy(backend).serve(socket, std::future::pending())).unwrap();
    });
    // Until who has started this ends, however it ends.
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The proxy in its process, traced.
struct Traced {
    child: Child,
    front: SocketAddr,
    calls: Arc<Mutex<Calls>>,
    tracer: Option<JoinHandle<()>>,
}

/// How many there were, by number.
type Calls = BTreeMap<u64, u64>;

impl Traced {
    /// `None`, said aloud, where the system does not let one process trace another.
    fn start() -> Option<Self> {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "the_proxy_that_is_counted", "--ignored", "--nocapture"])
            .env(BACKEND, origin().to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let serving = said.find_map(|line| line.unwrap().strip_prefix(SERVING).map(str::to_owned)).unwrap();
        let (front, thread) = serving.split_once(' ').unwrap();
        let (front, worker) = (front.parse().unwrap(), Pid::from_raw(thread.parse().unwrap()));
        let calls = Arc::new(Mutex::new(Calls::new()));
        let (tell, told) = std::sync::mpsc::channel();
        let counted = Arc::clone(&calls);
        // Only the thread that has begun to trace may go on with it.
        let tracer = thread::spawn(move || {
            let seized = ptrace::seize(worker, Options::PTRACE_O_TRACESYSGOOD);
            tell.send(seized).unwrap();
            if seized.is_ok() {
                count(worker, &counted).unwrap_or_else(|error| assert_eq!(error, Errno::ESRCH));
            }
        });
        let traced = Self { child, front, calls, tracer: Some(tracer) };
        match told.recv().unwrap() {
            Ok(()) => Some(traced),
            Err(error @ (Errno::EPERM | Errno::ENOSYS | Errno::EACCES)) => {
                // Past the harness, which keeps what a passing test prints to itself.
                let skipped = format!("http_calls: SKIPPED, system calls are not counted: ptrace: {error}\n");
                io::stderr().write_all(skipped.as_bytes()).unwrap();
                None
            }
            Err(error) => panic!("ptrace: {error}"),
        }
    }

    /// The fewest calls that each of `TIMES` requests of all clients took in a round.
    fn fewest(&self, mut act: impl FnMut()) -> (f64, String) {
        let round = |_| {
            self.calls.lock().unwrap().clear();
            act();
            let calls = self.calls.lock().unwrap().clone();
            let each = |calls: u64| calls as f64 / (TIMES * CLIENTS) as f64;
            let parts = calls.iter().map(|(number, calls)| format!("{}: {:.2}", name(*number), each(*calls)));
            (each(calls.values().sum()), parts.collect::<Vec<_>>().join(", "))
        };
        (0..ROUNDS).map(round).min_by(|one, other| one.0.total_cmp(&other.0)).unwrap()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let ended = self.tracer.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "counting has failed");
    }
}

/// Lets a thread run from one system call to the next until it is gone.
fn count(worker: Pid, calls: &Mutex<Calls>) -> nix::Result<()> {
    ptrace::interrupt(worker)?;
    let mut entering = true;
    loop {
        match waitpid(worker, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                let number = ptrace::getregs(worker)?.orig_rax;
                if entering && !is_for_debugging(number) {
                    *calls.lock().unwrap().entry(number).or_default() += 1;
                }
                entering = !entering;
                ptrace::syscall(worker, None)?;
            }
            Ok(WaitStatus::PtraceEvent(..)) => ptrace::syscall(worker, None)?,
            Ok(WaitStatus::Stopped(_, signal)) => ptrace::syscall(worker, signal)?,
            Ok(WaitStatus::StillAlive | WaitStatus::Continued(_)) => {}
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether only a build for debugging makes it: std and tokio look at the flags of each socket there.
fn is_for_debugging(number: u64) -> bool {
    cfg!(debug_assertions) && u64::try_from(libc::SYS_fcntl) == Ok(number)
}

fn name(number: u64) -> String {
    let names = [
        (libc::SYS_accept4, "accept4"),
        (libc::SYS_bind, "bind"),
        (libc::SYS_clock_gettime, "clock_gettime"),
        (libc::SYS_close, "close"),
        (libc::SYS_connect, "connect"),
        (libc::SYS_epoll_ctl, "epoll_ctl"),
        (libc::SYS_epoll_wait, "epoll_wait"),
        (libc::SYS_futex, "futex"),
        (libc::SYS_getsockopt, "getsockopt"),
        (libc::SYS_read, "read"),
        (libc::SYS_recvfrom, "recv"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_sendto, "send"),
        (libc::SYS_setsockopt, "setsockopt"),
        (libc::SYS_shutdown, "shutdown"),
        (libc::SYS_socket, "socket"),
        (libc::SYS_write, "write"),
        (libc::SYS_writev, "writev"),
    ];
    let known = names.iter().find(|(known, _)| u64::try_from(*known) == Ok(number));
    known.map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned())
}

#[test]
fn a_request_on_a_kept_connection_takes_four_calls() {
    let Some(traced) = Traced::start() else { return };
    let mut clients = Kept::new(traced.front);
    let (each, parts) = traced.fewest(|| clients.ask(TIMES));
    // Fewer than what cannot be done without would mean that they are not all seen.
    assert!((4.0..=4.2).contains(&each), "{each:.2}: {parts}");
}

#[test]
fn a_request_on_a_new_connection_takes_nine_calls() {
    let Some(traced) = Traced::start() else { return };
    ask_anew(traced.front, 2);
    let (each, parts) = traced.fewest(|| ask_anew(traced.front, TIMES));
    assert!((6.0..=9.2).contains(&each), "{each:.2}: {parts}");
}

/// Its next request is seldom there at once: to look for it before it is waited for would be one more.
#[test]
fn a_request_on_a_new_connection_that_its_client_closes_takes_nine_calls() {
    let Some(traced) = Traced::start() else { return };
    ask_once(traced.front, 2);
    let (each, parts) = traced.fewest(|| ask_once(traced.front, TIMES));
    assert!((8.0..=9.5).contains(&each), "{each:.2}: {parts}");
}
