//! HTTP at a pace: a backend that answers at once, and clients that come again and again.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::net::Shutdown;

use super::{Load, PATIENCE, fresh_address};

/// A backend that answers every request without a body with its name, at once.
#[derive(Debug)]
pub(crate) struct Quick {
    pub(crate) address: SocketAddr,
    listener: Arc<TcpListener>,
    serving: Option<JoinHandle<()>>,
}

impl Quick {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = Arc::new(TcpListener::bind(fresh_address()).unwrap());
        let (address, accepting) = (listener.local_addr().unwrap(), Arc::clone(&listener));
        let serving = thread::spawn(move || {
            while let Ok((client, _)) = accepting.accept() {
                thread::spawn(move || serve(client, name));
            }
        });
        Self { address, listener, serving: Some(serving) }
    }

    pub(crate) fn word(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        rustix::net::shutdown(&self.listener, Shutdown::Both).unwrap();
        let _ = self.serving.take().unwrap().join();
    }
}

fn serve(mut client: TcpStream, name: &str) -> io::Result<()> {
    client.set_nodelay(true)?;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    let (mut room, mut came) = ([0; 4096], Vec::new());
    loop {
        let count = client.read(&mut room)?;
        if count == 0 {
            return Ok(());
        }
        came.extend_from_slice(&room[..count]);
        while let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") {
            came.drain(..end + 4);
            client.write_all(answer.as_bytes())?;
        }
    }
}

/// What became of requests.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) served: usize,
    pub(crate) times: Vec<Duration>,
    /// What was answered instead, or how it broke.
    pub(crate) failed: Vec<String>,
    /// Connects that were refused.
    pub(crate) refused: usize,
    /// Kept connections that were closed before another request had been answered by a single byte.
    pub(crate) closed: usize,
}

impl Asked {
    fn add(&mut self, other: Self) {
        self.served += other.served;
        self.times.extend(other.times);
        self.failed.extend(other.failed);
        self.refused += other.refused;
        self.closed += other.closed;
    }

    /// In so many of 1000 cases it did not take longer.
    pub(crate) fn within(&mut self, permille: usize) -> Duration {
        self.times.sort();
        self.times[(self.times.len() * permille / 1000).min(self.times.len() - 1)]
    }
}

/// How one request ended that was not answered.
#[derive(Debug)]
enum Failed {
    /// Without a byte of an answer.
    Unheard(io::Error),
    Broken(String),
}

/// The answer's body, and whether the connection goes on.
fn exchange(stream: &mut TcpStream) -> Result<(String, bool), Failed> {
    let unheard = |error| Failed::Unheard(error);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").map_err(unheard)?;
    let (mut room, mut came) = ([0; 4096], String::new());
    loop {
        match stream.read(&mut room) {
            Ok(0) if came.is_empty() => return Err(Failed::Unheard(io::ErrorKind::UnexpectedEof.into())),
            Ok(0) => return Err(Failed::Broken(came)),
            Ok(count) => came.push_str(&String::from_utf8_lossy(&room[..count])),
            Err(error) if came.is_empty() => return Err(unheard(error)),
            Err(error) => return Err(Failed::Broken(format!("{error} after {came}"))),
        }
        let Some((head, body)) = came.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map(str::parse::<usize>);
        let Some(Ok(length)) = length else { return Err(Failed::Broken(came)) };
        if body.len() == length {
            let good = head.starts_with("HTTP/1.1 200 ");
            let goes_on = !head.to_ascii_lowercase().contains("connection: close");
            return if good { Ok((body.to_owned(), goes_on)) } else { Err(Failed::Broken(came)) };
        }
    }
}

/// One client as long as the load goes on, with so many requests on each connection.
fn client(front: SocketAddr, each: usize, pause: Duration, load: &Load) -> Asked {
    let (mut asked, mut kept) = (Asked::default(), None);
    while load.goes_on() {
        let begin = Instant::now();
        let (mut stream, uses) = match kept.take() {
            Some(kept) => kept,
            None => match TcpStream::connect_timeout(&front, PATIENCE) {
                Ok(stream) => (stream, 0),
                Err(_) => {
                    asked.refused += 1;
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
            },
        };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match exchange(&mut stream) {
            Ok((_, goes_on)) => {
                asked.served += 1;
                load.count();
                asked.times.push(begin.elapsed());
                kept = (goes_on && uses + 1 < each).then_some((stream, uses + 1));
            }
            // Anybody may close a connection that is kept; a client comes again then.
            Err(Failed::Unheard(_)) if uses > 0 => asked.closed += 1,
            Err(Failed::Unheard(error)) => asked.failed.push(format!("no answer: {error}")),
            Err(Failed::Broken(came)) => asked.failed.push(came),
        }
        thread::sleep(pause);
    }
    asked
}

/// So many clients until they are told to stop: half of them with ten requests on each connection, the others with one.
pub(crate) fn askers(front: SocketAddr, clients: usize, pause: Duration, load: &Load) -> Asked {
    thread::scope(|scope| {
        let each = |at: usize| if at.is_multiple_of(2) { 10 } else { 1 };
        let all: Vec<_> = (0..clients).map(|at| scope.spawn(move || client(front, each(at), pause, load))).collect();
        let mut asked = Asked::default();
        all.into_iter().for_each(|one| asked.add(one.join().unwrap()));
        asked
    })
}

/// So many requests by so many clients, each on one connection; all must be answered.
pub(crate) fn ask_all(front: SocketAddr, clients: usize, requests: usize) {
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(move || {
                let mut stream = TcpStream::connect_timeout(&front, PATIENCE).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                for _ in 0..requests / clients {
                    exchange(&mut stream).unwrap();
                }
            });
        }
    });
}
