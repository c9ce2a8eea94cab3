//! Everything at once, by chance: backends are killed, stopped, rude and slow while an operator gives orders. It prints
//! its seed; `LB_CHAOS_SEED` repeats the same orders, `LB_CHAOS_SECONDS` goes on for longer than 30 s.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lb_core::rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rustix::process::Signal;
use support::{Control, PATIENCE, Running, Stop, fresh_address, wait_for};

const KIND: u8 = 0;
const RUDE: u8 = 1;
const SLOW: u8 = 2;

/// A backend with moods, behind an `lb` of its own that can be killed and stopped.
struct Moody {
    name: &'static str,
    process: Option<Running>,
    address: SocketAddr,
    own: SocketAddr,
    mood: Arc<AtomicU8>,
}

impl Moody {
    fn start(name: &'static str) -> Self {
        let (mood, listener) = (Arc::new(AtomicU8::new(KIND)), TcpListener::bind(fresh_address()).unwrap());
        let own = listener.local_addr().unwrap();
        let theirs = Arc::clone(&mood);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mood = Arc::clone(&theirs);
                thread::spawn(move || serve(stream, name, &mood));
            }
        });
        let address = fresh_address();
        let mut moody = Self { name, process: None, address, own, mood };
        moody.revive();
        moody
    }

    fn revive(&mut self) {
        self.process = Some(Running::at(self.address, &["--workers", "1"], &[&self.own.to_string()]));
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }
}

/// Says its name, then returns what it gets.
fn serve(mut stream: TcpStream, name: &str, mood: &AtomicU8) {
    match mood.load(Relaxed) {
        RUDE => {
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            return;
        }
        SLOW => thread::sleep(Duration::from_millis(300)),
        _ => {}
    }
    if stream.write_all(name.as_bytes()).is_ok() {
        let mut reader = stream.try_clone().unwrap();
        let _ = io::copy(&mut reader, &mut stream);
    }
}

/// What became of a client.
enum Visit {
    Served(char),
    /// The connection was closed or reset.
    Broken,
}

/// Hears who answers, sends so many bytes and gets them back. What comes back must be what was sent, and nothing may
/// hang: that is an assertion, not an outcome.
fn visit(front: SocketAddr, bytes: usize, seed: u64) -> Visit {
    let inner = || -> io::Result<char> {
        let mut stream = TcpStream::connect_timeout(&front, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut name = [0];
        stream.read_exact(&mut name)?;
        let sent: Vec<u8> = (0..bytes).map(|at| (at as u64 ^ seed) as u8).collect();
        let mut writer = stream.try_clone()?;
        let writing = thread::scope(|scope| {
            let writing =
                scope.spawn(|| writer.write_all(&sent).and_then(|()| writer.shutdown(std::net::Shutdown::Write)));
            let mut received = Vec::new();
            let read = stream.read_to_end(&mut received);
            assert!(sent.starts_with(&received), "what came back is not what was sent");
            read?;
            let written = writing.join().unwrap();
            if received.len() < sent.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { written }
        });
        writing.map(|()| char::from(name[0]))
    };
    match inner() {
        Ok(name) => Visit::Served(name),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            panic!("a client hung for {PATIENCE:?}")
        }
        Err(_) => Visit::Broken,
    }
}

/// From when to when something was done that may break sessions; the last one may go on.
#[derive(Default)]
struct Disturbances(Mutex<Vec<(Instant, Option<Instant>)>>);

impl Disturbances {
    /// Whoever comes once this has been done is not concerned.
    fn during(&self, what: impl FnOnce()) {
        self.0.lock().unwrap().push((Instant::now(), None));
        what();
        self.0.lock().unwrap().last_mut().unwrap().1 = Some(Instant::now());
    }

    /// Whether a session of this time may have been broken by one.
    fn explain(&self, begin: Instant, end: Instant) -> bool {
        let all = self.0.lock().unwrap();
        all.iter().any(|(from, to)| *from <= end && to.is_none_or(|to| begin <= to))
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// One thing that happens to a backend, and how it is put right again.
fn disturb(moody: &mut Moody, rng: &mut SmallRng, disturbances: &Disturbances) {
    let pause = Duration::from_millis(u64::from(50 + rng.next_u32() % 500));
    match rng.next_u32() % 4 {
        0 => {
            // Killed, and waited for.
            disturbances.during(|| drop(moody.process.take()));
            thread::sleep(pause);
            moody.revive();
        }
        1 => {
            moody.signal(Signal::STOP);
            thread::sleep(pause);
            moody.signal(Signal::CONT);
        }
        2 => disturbances.during(|| {
            moody.mood.store(RUDE, Relaxed);
            thread::sleep(pause);
            moody.mood.store(KIND, Relaxed);
        }),
        _ => {
            moody.mood.store(SLOW, Relaxed);
            thread::sleep(pause);
            moody.mood.store(KIND, Relaxed);
        }
    }
}

/// An order that an operator may give; it concerns the moody backends, never the steady one, which is number 0.
fn order(control: &Control, rng: &mut SmallRng) {
    let backend = 1 + rng.next_u32() % 2;
    let order = match rng.next_u32() % 12 {
        0 | 1 => format!("disable {backend}"),
        2 | 3 => format!("enable {backend}"),
        4 => format!("maxc {backend} {}", rng.next_u32() % 5),
        5 => format!("weight {backend} {}", rng.next_u32() % 4),
        6 => format!("drain {backend}"),
        7 => format!("reset {}", rng.next_u32() % 3),
        8 => "hash".to_owned(),
        9 => "rr".to_owned(),
        10 => "show".to_owned(),
        _ => "show json".to_owned(),
    };
    control.must(&order);
}

/// Clients who come again and again.
#[derive(Clone, Copy)]
struct Crowd<'a> {
    front: SocketAddr,
    stop: &'a AtomicBool,
    served: &'a AtomicUsize,
    disturbances: &'a Disturbances,
}

impl Crowd<'_> {
    fn keep_visiting(self, mut rng: SmallRng) {
        while !self.stop.load(Relaxed) {
            let (begin, bytes) = (Instant::now(), rng.next_u32() as usize % 50_000);
            match visit(self.front, bytes, rng.next_u64()) {
                Visit::Served(_) => drop(self.served.fetch_add(1, Relaxed)),
                Visit::Broken => {
                    assert!(self.disturbances.explain(begin, Instant::now()), "broken, and nothing explains it");
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn whatever_happens_clients_are_served_and_nothing_is_left_behind() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("LB_CHAOS_SEED").unwrap_or(now.as_millis() as u64);
    let seconds = number("LB_CHAOS_SECONDS").unwrap_or(30);
    println!("LB_CHAOS_SEED={seed} LB_CHAOS_SECONDS={seconds}");

    let (steady, spare) = (Moody::start("s"), Moody::start("r"));
    let mut moodies = [Moody::start("a"), Moody::start("b")];
    let words = [steady.address, moodies[0].address, moodies[1].address].map(|address| address.to_string());
    let monitoring = ["-m", "connect:timeout=0.2:interval=0.2", "-t", "2"];
    let (lb, control) =
        Control::start(&monitoring, &[&words[0], &words[1], &words[2], "!", &spare.address.to_string()]);
    let front = control.front;
    // Once it answers it has all that it keeps; a check that is under way has one more for a moment.
    control.must("show");
    let descriptors = (0..100).map(|_| lb.descriptors()).min().unwrap();

    let (stop, served, disturbances) = (AtomicBool::new(false), AtomicUsize::new(0), Disturbances::default());
    let crowd = Crowd { front, stop: &stop, served: &served, disturbances: &disturbances };
    thread::scope(|scope| {
        for client in 0..8 {
            scope.spawn(move || crowd.keep_visiting(SmallRng::seed_from_u64(seed ^ client)));
        }
        let end_of_all = Stop(&stop);
        let operator = scope.spawn(|| {
            let mut rng = SmallRng::seed_from_u64(seed);
            while !stop.load(Relaxed) {
                order(&control, &mut rng);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut rng = SmallRng::seed_from_u64(seed.rotate_left(32));
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let at = rng.next_u32() as usize % moodies.len();
            disturb(&mut moodies[at], &mut rng, &disturbances);
        }
        drop(end_of_all);
        operator.join().unwrap();
    });

    println!("{} clients were served", served.load(Relaxed));
    assert!(served.into_inner() as u64 > 20 * seconds);
    control.must("rr; enable 1; enable 2; maxc 1 0; maxc 2 0; weight 1 1; weight 2 1");
    wait_for("all backends to be up and without sessions", || {
        control.rows().iter().all(|row| row.status == "ENA" && row.sessions == 0)
    });
    let mut seen = String::new();
    wait_for("all backends to serve", || {
        if let Visit::Served(name) = visit(front, 10, seed) {
            seen.push(name);
        }
        moodies.iter().chain([&steady]).all(|moody| seen.contains(moody.name))
    });
    wait_for("descriptors to be as before", || lb.descriptors() <= descriptors);
    lb.signal(Signal::TERM);
    let (status, lines) = lb.ended();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:#?}");
}
