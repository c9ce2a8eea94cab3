//! A backend and clients that make plain exchanges over HTTP, each on threads that are not the proxy's.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use lb_core::{
    Balancer, Config,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::http::HttpProxy;

/// Longer than anything here takes: who waits that long has hung.
const HUNG: Duration = Duration::from_secs(20);

/// Clients that ask at the same time.
pub(crate) const CLIENTS: usize = 64;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 2\r\nETag: \"5f2b0c7e\"\r\n\r\nok";

/// What is only answered when all clients have asked for it, each on a connection to the backend.
const TOGETHER: &str = "/together/please?fields=name";

/// What is answered at once.
const PLAIN: &str = "/items/4711?fields=name";

/// A request as a browser sends it.
fn request(target: &str, own: &str) -> Vec<u8> {
    let request = "HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
        Accept: */*\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\nReferer: http://shop.test/\r\n\
        Cookie: session=5f2b0c7e; theme=dark\r\n";
    format!("GET {target} {request}{own}\r\n").into_bytes()
}

/// A backend that answers `ok` to everything, with a thread for each connection; it ends with its process.
pub(crate) fn origin() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, all) = (listener.local_addr().unwrap(), Arc::new(Barrier::new(CLIENTS)));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let all = Arc::clone(&all);
            thread::spawn(move || answer_each(stream.unwrap(), &all));
        }
    });
    address
}

fn answer_each(mut stream: TcpStream, all: &Barrier) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    let mut filled = 0;
    while let Ok(bytes @ 1..) = stream.read(&mut buffer[filled..]) {
        filled += bytes;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            if buffer[5..].starts_with(&TOGETHER.as_bytes()[1..]) {
                all.wait();
            }
            filled = 0;
            if stream.write_all(ANSWER).is_err() {
                break;
            }
        }
    }
}

/// A proxy in front of this backend.
pub(crate) fn proxy(backend: SocketAddr) -> HttpProxy<SocketAddr> {
    let config: Config = backend.to_string().parse().unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let balancer = Balancer::new(config, Instant::now(), &mut rng, |backend| backend.name.parse().unwrap());
    HttpProxy::new(Arc::new(balancer))
}

fn connect(front: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&front, HUNG).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(HUNG)).unwrap();
    stream
}

/// Connections that are kept.
pub(crate) struct Kept(Vec<TcpStream>);

impl Kept {
    /// The proxy has as many to its backend, and all that it takes for so many requests at a time.
    pub(crate) fn new(front: SocketAddr) -> Self {
        let mut kept = Self((0..CLIENTS).map(|_| connect(front)).collect());
        kept.ask_for(TOGETHER, 2);
        kept.ask(2);
        kept
    }

    /// All ask at once, so often.
    pub(crate) fn ask(&mut self, times: usize) {
        self.ask_for(PLAIN, times);
    }

    fn ask_for(&mut self, target: &str, times: usize) {
        let (request, mut buffer) = (request(target, ""), [0; 4096]);
        for _ in 0..times {
            self.0.iter_mut().for_each(|stream| stream.write_all(&request).unwrap());
            self.0.iter_mut().for_each(|stream| {
                let mut filled = 0;
                while !buffer[..filled].ends_with(b"\r\n\r\nok") {
                    let bytes = stream.read(&mut buffer[filled..]).unwrap();
                    assert_ne!(bytes, 0, "closed after {:?}", String::from_utf8_lossy(&buffer[..filled]));
                    filled += bytes;
                }
                assert!(buffer.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&buffer[..filled]));
            });
        }
    }
}

/// All ask at once on connections of their own, so often, and close them when all are answered.
pub(crate) fn ask_once(front: SocketAddr, times: usize) {
    for _ in 0..times {
        let mut asking = Kept((0..CLIENTS).map(|_| connect(front)).collect());
        asking.ask(1);
    }
}

/// All ask at once on connections of their own, so often; the proxy closes them.
pub(crate) fn ask_anew(front: SocketAddr, times: usize) {
    let request = request(PLAIN, "Connection: close\r\n");
    for _ in 0..times {
        let asking = |_| {
            let mut stream = connect(front);
            stream.write_all(&request).unwrap();
            stream
        };
        for mut stream in (0..CLIENTS).map(asking).collect::<Vec<_>>() {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let right = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\nok");
            assert!(right, "{:?}", String::from_utf8_lossy(&answer));
        }
    }
}
