//! The API of a process, served on a thread of its own, and a client that says what it is told to.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use lb_net::{
    manage::{Process, http},
    serve::{HttpAddress, Limits, Listener},
};
use serde_json::Value;
use tokio::sync::Notify;

pub(crate) const TOKEN: &str = "6f1d0c6a2b7e4d58";

pub(crate) struct Web {
    pub(crate) address: HttpAddress,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Web {
    pub(crate) fn new(process: Arc<dyn Process>) -> Self {
        Self::at(&loopback(), process, None, Limits::default())
    }

    pub(crate) fn at(address: &HttpAddress, process: Arc<dyn Process>, token: Option<&str>, limits: Limits) -> Self {
        let listener = Listener::bind(address).unwrap();
        let address = listener.address().unwrap();
        let stop = Arc::new(Notify::new());
        let (stopped, token) = (Arc::clone(&stop), token.map(|token| token.parse().unwrap()));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(http::serve(listener, process, token, limits, stopped.notified())).unwrap();
        });
        Self { address, stop, thread: Some(thread) }
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        let HttpAddress::Tcp(address) = self.address else { panic!("it is a unix socket") };
        address
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub(crate) fn begin_to_stop(&self) {
        self.stop.notify_one();
    }

    /// What these words are answered, on a connection of their own.
    pub(crate) fn say(&self, words: &str) -> Response {
        match &self.address {
            HttpAddress::Unix(path) => said(UnixStream::connect(path).unwrap(), words),
            _ => said(self.connect(), words),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
        self.say(&format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.notify_one();
        let _ = self.thread.take().unwrap().join();
    }
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The sentence of a refusal.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json["ok"], false);
        json["error"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

pub(crate) fn loopback() -> HttpAddress {
    HttpAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub(crate) fn unix(path: PathBuf) -> HttpAddress {
    HttpAddress::Unix(path)
}

fn said(mut stream: impl Read + Write, words: &str) -> Response {
    // It may be refused before all of it is said.
    let _ = stream.write_all(words.as_bytes());
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it was cut short: {error}");
    }
    response(&bytes)
}

fn response(bytes: &[u8]) -> Response {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    Response { status: status.unwrap_or_else(|| panic!("{head}")), head: head.to_owned(), body: body.to_owned() }
}
