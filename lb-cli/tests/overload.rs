//! Applications that say DOWN when they have too much to do, and twice as many requests as they can answer.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod support;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use support::{File, PATIENCE, fresh_address};

/// How long an application works on a request; it does one at a time.
const WORK: Duration = Duration::from_millis(40);
/// It says DOWN from so many requests on, and UP again below so many.
const MOST: u32 = 20;
const FEW: u32 = 4;
/// Between two requests: twice as many as two applications can answer.
const PAUSE: Duration = Duration::from_millis(10);

/// One application.
#[derive(Debug, Default)]
struct App {
    present: AtomicU32,
    is_down: AtomicBool,
    changes: AtomicU32,
    worker: Mutex<()>,
}

impl App {
    fn start() -> (Arc<Self>, SocketAddr) {
        let (listener, app) = (TcpListener::bind(fresh_address()).unwrap(), Arc::new(Self::default()));
        let (address, own) = (listener.local_addr().unwrap(), Arc::clone(&app));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let app = Arc::clone(&own);
                thread::spawn(move || app.serve(stream));
            }
        });
        (app, address)
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let head = head(&mut stream)?;
        let body = if head.starts_with("GET /lb ") { self.word() } else { self.work() };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).ok()
    }

    fn work(&self) -> &'static str {
        self.present.fetch_add(1, SeqCst);
        let turn = self.worker.lock().unwrap();
        thread::sleep(WORK);
        drop(turn);
        self.present.fetch_sub(1, SeqCst);
        "done"
    }

    /// What it says of itself; it has to become much better before it says something else.
    fn word(&self) -> &'static str {
        let limit = if self.is_down.load(SeqCst) { FEW } else { MOST };
        let is_down = self.present.load(SeqCst) >= limit;
        if self.is_down.swap(is_down, SeqCst) != is_down {
            self.changes.fetch_add(1, SeqCst);
        }
        if is_down { "DOWN" } else { "UP" }
    }
}

fn head(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// Why a request was refused, or in what time it was served.
fn ask(front: SocketAddr) -> Result<Duration, String> {
    let (began, mut stream) = (Instant::now(), TcpStream::connect(front).unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let head = head(&mut stream).unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(began.elapsed());
    }
    assert!(head.starts_with("HTTP/1.1 503 ") && field("Retry-After: ").is_some(), "{head}");
    Err(field("lb-reason: ").unwrap())
}

/// What came of ten seconds of twice too much.
#[derive(Debug, Default)]
struct Story {
    requests: usize,
    /// In a second.
    served: usize,
    refused: BTreeMap<String, usize>,
    changes: u32,
    lines: Vec<String>,
}

fn story(slow_start: &str) -> Story {
    let apps = [App::start(), App::start()];
    let (front, words) = (fresh_address(), apps.each_ref().map(|(_, address)| address.to_string()).join(" "));
    let file = File::new(&format!(
        "[pools.web]\ngroups = \"{words}\"\nslow_start = \"{slow_start}\"\n\
         [pools.web.probes]\ninterval = \"200ms\"\ninitial = \"up\"\nchecks = [{{ http = \"/lb\", expect = \"UP\", timeout = \"150ms\" }}]\nfall = 20\n\
         [services.www]\nrole = \"http\"\nlisten = \"{front}\"\npool = \"web\"\n"
    ));
    let lb = file.run();
    lb.line_with("listening on");
    let mut clients = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        clients.push(thread::spawn(move || ask(front)));
        // An open loop: requests come whatever becomes of those before.
        thread::sleep(PAUSE);
    }
    let mut story = Story { requests: clients.len(), ..Story::default() };
    for client in clients {
        match client.join().unwrap() {
            Ok(time) => story.served += usize::from(time < Duration::from_secs(1)),
            Err(reason) => *story.refused.entry(reason).or_default() += 1,
        }
    }
    story.changes = apps.iter().map(|(app, _)| app.changes.load(SeqCst)).sum();
    lb.signal(Signal::TERM);
    story.lines = lb.ended().1;
    story
}

#[test]
fn with_a_slow_start_backends_that_come_back_are_not_flooded() {
    let [flooded, held_back] = ["off", "10s"].map(story);
    for story in [&flooded, &held_back] {
        let Story { requests, served, refused, changes, lines } = story;
        println!("{requests} requests, {served} served in a second, refused {refused:?}, {changes} changes");
        assert!(*served > 0 && refused.contains_key("backends-decline"), "{story:?}");
        let says = |text: &str| lines.iter().any(|line| line.contains(text));
        assert!(says("all backends say that they take no work: requests are refused until one says UP"), "{lines:?}");
    }
    assert!(!flooded.refused.contains_key("recovering") && held_back.refused.contains_key("recovering"));
    let begun = |story: &Story| story.lines.iter().filter(|line| line.contains("all backends say")).count();
    assert!(begun(&held_back) <= begun(&flooded), "{flooded:?}\n{held_back:?}");
}
