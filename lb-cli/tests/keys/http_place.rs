//! Backends and clients of HTTP that know as much of it as they have to.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::{
    place::{Lb, Place},
    support::{PATIENCE, connect_from},
};

/// A backend that answers with its name, the number of the connection, and the head that it got. `/wait/MS` begins that
/// late, `/held` when it is told to, `/pause/MS` stops in the middle, `/upgrade` becomes a tunnel that echoes.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    /// Connections that have ended, by number.
    closed: Arc<Mutex<Vec<usize>>>,
    held: Arc<Held>,
}

/// How many requests that are held may be answered.
#[derive(Default)]
struct Held(Mutex<usize>, Condvar);

impl Held {
    fn wait(&self) {
        let free = self.0.lock().unwrap();
        *self.1.wait_while(free, |free| *free == 0).unwrap() -= 1;
    }
}

impl Web {
    pub(crate) fn start(place: &Place, name: &'static str) -> Self {
        let held = Arc::<Held>::default();
        let own = Arc::clone(&held);
        Self::with(place.listener(), held, move |stream, number| serve(stream, name, number, &own))
    }

    /// One that breaks each request off once it has come.
    pub(crate) fn breaking(place: &Place) -> Self {
        Self::with(place.listener(), Arc::default(), |stream, _| drop(head(&mut BufReader::new(stream))))
    }

    fn with(listener: TcpListener, held: Arc<Held>, serve: impl Fn(TcpStream, usize) + Clone + Send + 'static) -> Self {
        let (address, closed) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<usize>>>::default());
        let counted = Arc::clone(&closed);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map(Result::unwrap).enumerate() {
                // Otherwise the second half of an answer waits 40 ms for lb to acknowledge the first.
                stream.set_nodelay(true).unwrap();
                let (serve, counted) = (serve.clone(), Arc::clone(&counted));
                thread::spawn(move || {
                    serve(stream, number);
                    counted.lock().unwrap().push(number);
                });
            }
        });
        Self { address, closed, held }
    }

    /// Answers one request that is held, or the next one.
    pub(crate) fn release(&self) {
        *self.held.0.lock().unwrap() += 1;
        self.held.1.notify_one();
    }

    /// Whether a connection has ended.
    pub(crate) fn has_lost(&self, connection: &str) -> bool {
        self.closed.lock().unwrap().iter().any(|number| number.to_string() == connection)
    }
}

/// A head with its last empty line; nothing at the end.
fn head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn length(head: &str) -> usize {
    let lower = head.to_lowercase();
    let value = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

fn serve(stream: TcpStream, name: &str, number: usize, held: &Held) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(head) = head(&mut reader) {
        if reader.read_exact(&mut vec![0; length(&head)]).is_err() {
            return;
        }
        let target = head.split(' ').nth(1).unwrap_or_default();
        let wait =
            |kind: &str| target.strip_prefix(kind).and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
        if target == "/upgrade" {
            let _ =
                writer.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            let _ = std::io::copy(&mut reader, &mut writer);
            return;
        }
        if target == "/held" {
            held.wait();
        }
        wait("/wait/").into_iter().for_each(thread::sleep);
        let body = format!("{name}\n{number}\n{head}");
        let (first, rest) = body.split_at(body.len() / 2);
        let begin = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nServer: web\r\n\r\n{first}", body.len());
        if writer.write_all(begin.as_bytes()).is_err() {
            return;
        }
        wait("/pause/").into_iter().for_each(thread::sleep);
        if writer.write_all(rest.as_bytes()).is_err() {
            return;
        }
    }
}

/// A connection to a service.
pub(crate) struct Client(BufReader<TcpStream>);

/// An answer, whole or not.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) is_whole: bool,
}

impl Client {
    pub(crate) fn new(front: SocketAddr) -> Self {
        Self::over(TcpStream::connect(front).unwrap())
    }

    pub(crate) fn from(ip: Ipv4Addr, front: SocketAddr) -> Self {
        Self::over(connect_from(ip, front))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// An error is the end of the other side, which shows when it is read.
    pub(crate) fn send(&mut self, text: &str) {
        let _ = self.0.get_mut().write_all(text.as_bytes());
    }

    /// `GET` of this with these fields, each with its end of line.
    pub(crate) fn get(&mut self, target: &str, fields: &str) -> Answer {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n"));
        self.answer().unwrap()
    }

    /// The next answer; nothing at the end.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let head = head(&mut self.0)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = vec![0; if status == 101 { 0 } else { length(&head) }];
        let mut filled = 0;
        while filled < body.len() {
            match self.0.read(&mut body[filled..]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it neither goes on nor ends"),
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        let is_whole = filled == body.len();
        body.truncate(filled);
        Some(Answer { status, head, body: String::from_utf8(body).unwrap(), is_whole })
    }

    /// Whether nothing comes within this time.
    pub(crate) fn waits(&mut self, time: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(time)).unwrap();
        let waits = self.0.fill_buf().is_err();
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        waits
    }

    /// Whether the other side ends, in order or not, and says nothing before.
    pub(crate) fn sees_the_end(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Whether a tunnel gives back what goes in.
    pub(crate) fn echoes(&mut self) -> bool {
        let mut line = String::new();
        self.send("still there?\n");
        self.0.read_line(&mut line).is_ok() && line == "still there?\n"
    }
}

impl Answer {
    /// Who has answered.
    pub(crate) fn name(&self) -> &str {
        self.body.lines().next().unwrap_or_default()
    }

    /// On which of its connections.
    pub(crate) fn connection(&self) -> &str {
        self.body.lines().nth(1).unwrap_or_default()
    }

    /// What a field of the answer says.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        value(&self.head, name)
    }

    /// What a field of the request said that the backend got.
    pub(crate) fn sent(&self, name: &str) -> Option<String> {
        value(&self.body, name)
    }
}

fn value(text: &str, name: &str) -> Option<String> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// `lb`s with this of two services of role http: its own, and inherited by it but not by the other one, which has
/// `otherwise`. The service that it holds for is the first.
pub(crate) fn both_ways(place: &Place, pool: &str, line: &str, otherwise: &str) -> [Lb; 2] {
    let with = |line: &str| format!("role = \"http\"\nhttp.{line}");
    let (top, other) = ("[process]\nworkers = 1\n", with(otherwise));
    [
        place.serve_as(top, &[(pool, &with(line)), (pool, &other)]),
        place.serve_as(&format!("{top}[defaults.http]\n{line}\n"), &[(pool, "role = \"http\""), (pool, &other)]),
    ]
}

/// A pool of these in turn.
pub(crate) fn pool(backends: &[&Web]) -> String {
    let words: Vec<String> = backends.iter().map(|web| web.address.to_string()).collect();
    format!("selector = \"round-robin\"\nstart = \"first\"\ngroups = \"{}\"", words.join(" "))
}
