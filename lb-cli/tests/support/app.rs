//! An application that says on a page of its own how it is, and misbehaves where it is told to.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::net::{Shutdown as Side, sockopt::set_socket_linger};

use super::{fresh_address, wait_for};

/// How its page about itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Says(&'static str),
    Missing,
    Hangs,
}

/// What it does with requests for all other pages that have nothing special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Errors,
    Resets,
    Hangs,
}

/// Bytes of `/long`, in so many pieces.
const LONG: usize = 400_000;
const PIECES: usize = 40;

/// An application. `/up` is about itself; `/500` fails, `/hang` is never answered and `/kill` ends its connection
/// with a reset, here and everywhere; `/long` and `/chunks` stop in the middle until they are told to go on; all else is
/// answered with its name.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    listener: Arc<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

/// What it has been told to do.
#[derive(Clone, Copy, Debug)]
struct Orders {
    page: Page,
    long_goes_on: bool,
    ended: bool,
}

#[derive(Debug)]
struct Desk {
    name: &'static str,
    orders: Mutex<Orders>,
    /// There are other orders.
    ordered: Condvar,
    mood: Mutex<Mood>,
    /// Requests for other pages than `/up`: that came, and that are under way.
    came: AtomicUsize,
    running: AtomicUsize,
    /// Requests for `/up`: that came, and that were answered.
    asked: AtomicUsize,
    probes: AtomicUsize,
    /// When it first said UP.
    up_since: Mutex<Option<Instant>>,
    open: Mutex<HashMap<usize, TcpStream>>,
    numbers: AtomicUsize,
}

impl App {
    pub(crate) fn start(name: &'static str) -> Self {
        Self::at(fresh_address(), name, Page::Says("UP"))
    }

    pub(crate) fn at(address: SocketAddr, name: &'static str, page: Page) -> Self {
        let listener = Arc::new(TcpListener::bind(address).unwrap());
        let desk = Arc::new(Desk {
            name,
            orders: Mutex::new(Orders { page, long_goes_on: false, ended: false }),
            ordered: Condvar::new(),
            mood: Mutex::new(Mood::Good),
            came: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            up_since: Mutex::new(None),
            open: Mutex::default(),
            numbers: AtomicUsize::new(0),
        });
        let (theirs, at_desk) = (Arc::clone(&listener), Arc::clone(&desk));
        let accepting = thread::spawn(move || {
            while let Ok((stream, _)) = theirs.accept() {
                let desk = Arc::clone(&at_desk);
                thread::spawn(move || desk.receive(stream));
            }
        });
        Self { address, desk, listener, accepting: Some(accepting) }
    }

    pub(crate) fn word(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.desk.name
    }

    /// What its page says from now on.
    pub(crate) fn says(&self, page: Page) {
        self.desk.order(|orders| orders.page = page);
    }

    /// Long answers go on and end.
    pub(crate) fn goes_on(&self) {
        self.desk.order(|orders| orders.long_goes_on = true);
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.desk.mood.lock().unwrap() = mood;
    }

    /// Requests so far that were none of probes.
    pub(crate) fn came(&self) -> usize {
        self.desk.came.load(SeqCst)
    }

    /// Until so many more requests have come that were none of probes.
    pub(crate) fn wait_for_work(&self, more: usize) {
        let before = self.came();
        wait_for("requests", || self.came() >= before + more);
    }

    /// Until so many more have asked for its page.
    pub(crate) fn wait_until_asked(&self, more: usize) {
        let before = self.desk.asked.load(SeqCst);
        wait_for("probes to come", || self.desk.asked.load(SeqCst) >= before + more);
    }

    /// Until its page has been answered so many times more.
    pub(crate) fn wait_for_probes(&self, more: usize) {
        let before = self.desk.probes.load(SeqCst);
        wait_for("probes", || self.desk.probes.load(SeqCst) >= before + more);
    }

    /// When it first said UP.
    pub(crate) fn up_since(&self) -> Option<Instant> {
        *self.desk.up_since.lock().unwrap()
    }

    /// Requests that are under way.
    pub(crate) fn running(&self) -> usize {
        self.desk.running.load(SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.desk.open.lock().unwrap().len()
    }
}

/// Nobody gets in any more, and all connections end, as those of a process do.
impl Drop for App {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, Side::Both);
        let _ = self.accepting.take().unwrap().join();
        self.desk.order(|orders| orders.ended = true);
        self.desk.open.lock().unwrap().values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

impl Desk {
    fn receive(&self, stream: TcpStream) {
        let number = self.numbers.fetch_add(1, SeqCst);
        self.open.lock().unwrap().insert(number, stream.try_clone().unwrap());
        let _ = self.serve(stream);
        self.open.lock().unwrap().remove(&number);
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(target) = target(&mut reader)? {
            if target == "/up" {
                self.asked.fetch_add(1, SeqCst);
                let told = self.tell(&mut stream);
                self.probes.fetch_add(1, SeqCst);
                told?;
                continue;
            }
            self.came.fetch_add(1, SeqCst);
            self.running.fetch_add(1, SeqCst);
            let answered = self.answer(&target, &mut stream);
            self.running.fetch_sub(1, SeqCst);
            answered?;
        }
        Ok(())
    }

    fn tell(&self, stream: &mut TcpStream) -> io::Result<()> {
        match self.when(|orders| orders.page != Page::Hangs).page {
            Page::Says("UP") => {
                self.up_since.lock().unwrap().get_or_insert_with(Instant::now);
                say(stream, "200 OK", "UP")
            }
            Page::Says(word) => say(stream, "200 OK", word),
            _ => say(stream, "404 Not Found", "who?"),
        }
    }

    fn answer(&self, target: &str, stream: &mut TcpStream) -> io::Result<()> {
        let mood = match target {
            "/500" => Mood::Errors,
            "/hang" => Mood::Hangs,
            "/kill" => Mood::Resets,
            _ => *self.mood.lock().unwrap(),
        };
        match mood {
            Mood::Good if target == "/long" => self.long(stream, false),
            Mood::Good if target == "/chunks" => self.long(stream, true),
            Mood::Good => say(stream, "200 OK", self.name),
            Mood::Errors => say(stream, "500 Internal Server Error", "sorry"),
            Mood::Resets => {
                set_socket_linger(&*stream, Some(Duration::ZERO))?;
                // The other handles of it are no hindrance then.
                stream.shutdown(Shutdown::Read)?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            // Until the other side has enough of it.
            Mood::Hangs => io::copy(stream, &mut io::sink()).map(drop),
        }
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        // The test may have failed in the middle of one.
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.ordered.notify_all();
    }

    /// The orders, as soon as they are so; or it has ended.
    fn when(&self, are_so: impl Fn(&Orders) -> bool) -> Orders {
        let orders = self.orders.lock().unwrap();
        *self.ordered.wait_while(orders, |orders| !orders.ended && !are_so(orders)).unwrap()
    }

    fn long(&self, stream: &mut TcpStream, chunked: bool) -> io::Result<()> {
        let head = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {LONG}") };
        write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n")?;
        for (at, piece) in long_body().chunks(LONG / PIECES).enumerate() {
            if at == PIECES / 2 {
                self.when(|orders| orders.long_goes_on);
            }
            if chunked {
                write!(stream, "{:x}\r\n", piece.len())?;
            }
            stream.write_all(piece)?;
            stream.write_all(if chunked { b"\r\n" } else { b"" })?;
        }
        stream.write_all(if chunked { b"0\r\n\r\n" } else { b"" })
    }
}

/// The body of `/long` and `/chunks`.
pub(crate) fn long_body() -> Vec<u8> {
    (0..LONG).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn say(stream: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())
}

/// What the next request is for; its body is read, too. `None` at the end.
fn target(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let (mut target, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if target.is_empty() {
            target = line.split(' ').nth(1).unwrap_or("/").to_owned();
        }
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim_end().is_empty() {
            io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            return Ok(Some(target));
        }
    }
}
