//! Clients at a pace, and backends that are as quick as they come.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::net::Shutdown;

use super::{PATIENCE, Stop, wait_for};

/// A backend that says its name and closes.
#[derive(Debug)]
pub(crate) struct Brief {
    pub(crate) address: SocketAddr,
    listener: Arc<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl Brief {
    pub(crate) fn start(name: &'static str, address: SocketAddr) -> Self {
        let listener = Arc::new(TcpListener::bind(address).unwrap());
        let accepting = Arc::clone(&listener);
        let serving = thread::spawn(move || {
            while let Ok((mut client, _)) = accepting.accept() {
                // A client that has gone is its own affair.
                let _ = client.write_all(name.as_bytes());
            }
        });
        Self { address, listener, serving: Some(serving) }
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        rustix::net::shutdown(&self.listener, Shutdown::Both).unwrap();
        let _ = self.serving.take().unwrap().join();
    }
}

/// Clients that come until they are told to stop.
#[derive(Debug, Default)]
pub(crate) struct Load {
    stop: AtomicBool,
    served: AtomicUsize,
}

impl Load {
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// One more has been answered.
    pub(crate) fn count(&self) {
        self.served.fetch_add(1, Relaxed);
    }

    /// Until so many more have been answered.
    pub(crate) fn wait_for(&self, more: usize) {
        let before = self.served.load(Relaxed);
        wait_for("more clients to be answered", || self.served.load(Relaxed) >= before + more);
    }

    /// What comes of clients who come while this is done.
    pub(crate) fn meanwhile<R: Send>(come: impl FnOnce(&Self) -> R + Send, what: impl FnOnce(&Self)) -> R {
        let load = Self::default();
        thread::scope(|scope| {
            let clients = scope.spawn(|| come(&load));
            {
                let _end_of_all = Stop(&load.stop);
                what(&load);
            }
            clients.join().unwrap()
        })
    }
}

/// What became of clients.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// Who answered, and how long after the client had begun to connect.
    pub(crate) served: Vec<(String, Duration)>,
    pub(crate) failed: Vec<String>,
}

impl Visits {
    /// How many a backend answered.
    pub(crate) fn of(&self, name: &str) -> usize {
        self.served.iter().filter(|(who, _)| who == name).count()
    }

    /// In so many of 1000 cases it did not take longer.
    pub(crate) fn within(&self, permille: usize) -> Duration {
        let mut times: Vec<Duration> = self.served.iter().map(|(_, time)| *time).collect();
        times.sort();
        times[(times.len() * permille / 1000).min(times.len() - 1)]
    }
}

/// Who answers a client, who listens to the end.
pub(crate) fn visit(front: SocketAddr) -> io::Result<(String, Duration)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect_timeout(&front, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut first = [0; 16];
    let length = stream.read(&mut first)?;
    let took = began.elapsed();
    let mut name = String::from_utf8_lossy(&first[..length]).into_owned();
    stream.read_to_string(&mut name)?;
    if name.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((name, took)) }
}

/// Clients from so many threads, so many each second if there is time for so many, until they are told to stop.
pub(crate) fn clients(front: SocketAddr, threads: u32, each_second: u32, load: &Load) -> Visits {
    let pause = Duration::from_secs(1) * threads / each_second;
    let one = || {
        let (mut visits, mut next) = (Visits::default(), Instant::now());
        while load.goes_on() {
            match visit(front) {
                Ok(served) => {
                    visits.served.push(served);
                    load.count();
                }
                Err(error) => visits.failed.push(error.to_string()),
            }
            next += pause;
            let now = Instant::now();
            // Who is late does not make up for it with a burst.
            next = next.max(now);
            thread::sleep(next - now);
        }
        visits
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().fold(Visits::default(), |mut all, visits| {
            let visits = visits.join().unwrap();
            all.served.extend(visits.served);
            all.failed.extend(visits.failed);
            all
        })
    })
}
