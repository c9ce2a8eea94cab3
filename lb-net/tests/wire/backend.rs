//! A backend that follows a script on each of its connections and remembers every byte.

use std::{
    collections::HashMap,
    io::Write as _,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::{Shutdown as Side, bind, getsockname, shutdown, sockopt::set_socket_linger};

use super::{Broken, End, Message, PATIENCE, Reader, answer, show};

/// What a backend has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that came.
    pub(crate) connections: usize,
    /// Those that are still there.
    pub(crate) open: usize,
    /// All bytes of each connection.
    pub(crate) bytes: Vec<Vec<u8>>,
    /// How each connection ended, as far as its script has looked.
    pub(crate) ends: Vec<Option<End>>,
    /// Requests, with the number of their connection; only heads where the script has not asked for more.
    pub(crate) requests: Vec<(usize, Message)>,
    /// What came and was no request as it has to be.
    pub(crate) malformed: Vec<String>,
}

type Shared = Arc<(Mutex<Seen>, Condvar)>;
type Streams = Arc<Mutex<Open>>;
type Script = dyn Fn(&mut Visit) -> Result<(), Broken> + Send + Sync;

/// Its connections, so that all can be ended.
#[derive(Debug, Default)]
struct Open {
    streams: HashMap<usize, TcpStream>,
    /// Whether each that comes is ended at once.
    is_over: bool,
}

impl Open {
    fn cut(&self) {
        self.streams.values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

/// One connection of a backend.
#[derive(Debug)]
pub(crate) struct Visit {
    /// How many came before it.
    pub(crate) number: usize,
    reader: Reader,
    shared: Shared,
    streams: Streams,
}

/// A backend that follows a script on each of its connections and remembers every byte. What is no strict request fails
/// the test.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Shared,
    streams: Streams,
    listener: Arc<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) fn new(script: impl Fn(&mut Visit) -> Result<(), Broken> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(&mut Visit) -> Result<(), Broken> + Send + Sync + 'static,
    ) -> Self {
        let (listener, shared, streams) = (Arc::new(listener), Shared::default(), Streams::default());
        let (theirs, log, kept) = (Arc::clone(&listener), Arc::clone(&shared), Arc::clone(&streams));
        let script: Arc<Script> = Arc::new(script);
        let accepting = thread::spawn(move || {
            let mut visits = Vec::new();
            while let Ok((stream, _)) = theirs.accept() {
                let (visit, script) = (Visit::begin(stream, &log, &kept), Arc::clone(&script));
                visits.push(thread::spawn(move || visit.follow(&*script)));
            }
            visits.into_iter().for_each(|visit| drop(visit.join()));
        });
        let address = listener.local_addr().unwrap();
        Self { address, shared, streams, listener, accepting: Some(accepting) }
    }

    /// Answers each request with this, as often as it is asked.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |visit| {
            loop {
                visit.request()?;
                visit.say(&answer)?;
            }
        })
    }

    /// Answers each request with its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::saying(answer(name))
    }

    /// The word for the balancer.
    pub(crate) fn word(&self) -> String {
        self.address.to_string()
    }

    /// As soon as it is so.
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let seen = self.shared.0.lock().unwrap();
        let (seen, _) = self.shared.1.wait_timeout_while(seen, PATIENCE, |seen| !is_so(seen)).unwrap();
        let (is_so, bytes) = (is_so(&seen), seen.bytes.iter().map(|all| show(all)).collect::<Vec<_>>());
        drop(seen);
        assert!(is_so, "waited in vain: {what}: {bytes:?}");
    }

    pub(crate) fn look<R>(&self, at: impl FnOnce(&Seen) -> R) -> R {
        at(&self.shared.0.lock().unwrap())
    }

    pub(crate) fn requests(&self) -> Vec<Message> {
        self.look(|seen| seen.requests.iter().map(|(_, request)| request.clone()).collect())
    }

    /// The one request that came.
    pub(crate) fn request(&self) -> Message {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests: {requests:?}");
        requests.remove(0)
    }

    pub(crate) fn connections(&self) -> usize {
        self.look(|seen| seen.connections)
    }

    /// The first lines of all requests.
    pub(crate) fn firsts(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.first).collect()
    }

    /// All bytes of all connections.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.look(|seen| seen.bytes.clone())
    }

    /// From now on it refuses.
    pub(crate) fn refuse(&self) {
        shutdown(&*self.listener, Side::Both).unwrap();
    }

    /// Ends all that is open, as a crash does.
    pub(crate) fn cut(&self) {
        self.streams.lock().unwrap().cut();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = shutdown(&*self.listener, Side::Both);
        let mut open = self.streams.lock().unwrap();
        // It may be accepting one more while it is told to end.
        open.is_over = true;
        open.cut();
        drop(open);
        let _ = self.accepting.take().unwrap().join();
        let malformed = self.look(|seen| seen.malformed.clone());
        assert!(thread::panicking() || malformed.is_empty(), "a backend got: {malformed:#?}");
    }
}

impl Visit {
    fn begin(stream: TcpStream, shared: &Shared, streams: &Streams) -> Self {
        let mut seen = shared.0.lock().unwrap();
        let number = seen.connections;
        seen.connections += 1;
        seen.open += 1;
        seen.bytes.push(Vec::new());
        seen.ends.push(None);
        shared.1.notify_all();
        let mut open = streams.lock().unwrap();
        open.streams.insert(number, stream.try_clone().unwrap());
        if open.is_over {
            open.cut();
        }
        drop(open);
        Self { number, reader: Reader::new(stream), shared: Arc::clone(shared), streams: Arc::clone(streams) }
    }

    fn follow(mut self, script: &Script) {
        // A script that fails an assertion is a broken one.
        let failed = |_| Err(Broken { end: End::Malformed("the script failed".to_owned()), got: Vec::new() });
        let end = catch_unwind(AssertUnwindSafe(|| script(&mut self))).unwrap_or_else(failed).err();
        let Self { number, reader, shared, streams } = self;
        // Who is the last to close it says how; it is known to be closed when it is.
        drop(streams.lock().unwrap().streams.remove(&number));
        drop(reader);
        let mut seen = shared.0.lock().unwrap();
        if let Some(Broken { end: End::Malformed(why), .. }) = &end {
            seen.malformed.push(why.clone());
        }
        seen.ends[number] = end.map(|broken| broken.end);
        seen.open -= 1;
        shared.1.notify_all();
    }

    fn note(&self, change: impl FnOnce(&mut Seen, usize)) {
        let mut seen = self.shared.0.lock().unwrap();
        let known = &mut seen.bytes[self.number];
        known.extend_from_slice(self.reader.all.get(known.len()..).unwrap_or_default());
        change(&mut seen, self.number);
        self.shared.1.notify_all();
    }

    fn noted<R>(&mut self, read: impl FnOnce(&mut Reader) -> R) -> R {
        let read = read(&mut self.reader);
        self.note(|_, _| {});
        read
    }

    /// A request's head. It is remembered at once.
    pub(crate) fn head(&mut self) -> Result<Message, Broken> {
        let head = self.noted(Reader::request_head)?;
        self.note(|seen, number| seen.requests.push((number, head.clone())));
        Ok(head)
    }

    /// A whole request; it is remembered when it is whole.
    pub(crate) fn request(&mut self) -> Result<Message, Broken> {
        let mut request = self.noted(Reader::request_head)?;
        self.noted(|reader| reader.body(&mut request))?;
        self.note(|seen, number| seen.requests.push((number, request.clone())));
        Ok(request)
    }

    /// The body of this head.
    pub(crate) fn body(&mut self, of: &mut Message) -> Result<(), Broken> {
        self.noted(|reader| reader.body(of))
    }

    /// Exactly so many bytes, whatever they are.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        self.noted(|reader| reader.bytes(count))
    }

    /// So many bytes that nobody keeps.
    pub(crate) fn skip(&mut self, mut count: usize) -> Result<(), Broken> {
        while count > 0 {
            self.reader.skip(&mut count).map_err(|end| Broken { end, got: Vec::new() })?;
        }
        Ok(())
    }

    /// At least one more byte, which is remembered.
    pub(crate) fn more(&mut self) -> Result<(), Broken> {
        self.noted(Reader::more).map_err(|end| Broken { end, got: Vec::new() })
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Broken> {
        self.reader.stream.write_all(bytes.as_ref()).map_err(|_| Broken { end: End::Reset, got: Vec::new() })
    }

    /// In pieces that are likely to be read one by one; nothing depends on it.
    pub(crate) fn say_slowly(&mut self, bytes: impl AsRef<[u8]>, piece: usize) -> Result<(), Broken> {
        for piece in bytes.as_ref().chunks(piece) {
            self.say(piece)?;
            thread::sleep(Duration::from_micros(300));
        }
        Ok(())
    }

    /// Says nothing and listens until the other side ends.
    pub(crate) fn listen(&mut self) -> Result<(), Broken> {
        loop {
            self.more()?;
        }
    }

    /// That nothing more is said.
    pub(crate) fn finish(&mut self) {
        let _ = self.reader.stream.shutdown(Shutdown::Write);
    }

    /// The connection will end with a reset.
    pub(crate) fn reset(&mut self) {
        set_socket_linger(&self.reader.stream, Some(Duration::ZERO)).unwrap();
    }
}

/// A backend that refuses, and whose port is nobody else's.
#[derive(Debug)]
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _socket: OwnedFd,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = super::socket();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = getsockname(&socket).unwrap().try_into().unwrap();
        Self { address, _socket: socket }
    }

    pub(crate) fn word(&self) -> String {
        self.address.to_string()
    }
}
