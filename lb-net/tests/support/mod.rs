//! Backends that do as they are told, and a proxy in front of them.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lb_core::{
    BackendStats, Balancer, Config,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    connect::{Connect, Dialer},
    listener,
    tcp::{Served, Settings},
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Notify, oneshot},
    task::{JoinHandle, JoinSet},
};

/// Longer than anything here takes: who waits that long has hung.
const HUNG: Duration = Duration::from_secs(20);

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The future's outcome, or a failed test when it hangs.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HUNG, future).await.expect("it hangs")
}

/// Waits for something that has no event of its own.
pub(crate) async fn eventually(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// How a backend treats who connects to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Says its name, then listens until the client ends.
    Named(u8),
    /// Says what it hears, and ends when the client ends.
    Echo,
    /// Accepts and resets.
    Reset,
}

/// What a backend saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) accepted: AtomicUsize,
    pub(crate) open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
    pub(crate) heard: Mutex<Vec<u8>>,
}

impl Seen {
    /// Counts one connection. It ends before its socket does, so that a limit can be watched from here.
    fn begin(self: &Arc<Self>) -> Visit {
        self.accepted.fetch_add(1, SeqCst);
        let open = self.open.fetch_add(1, SeqCst) + 1;
        self.most_open.fetch_max(open, SeqCst);
        Visit(Arc::clone(self))
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    pub(crate) fn most_open(&self) -> usize {
        self.most_open.load(SeqCst)
    }

    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

struct Visit(Arc<Seen>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

/// A backend that accepts.
#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

impl Stub {
    pub(crate) fn new(manner: Manner) -> Self {
        Self::at(loopback(), manner)
    }

    /// On an address that may have been in use before.
    pub(crate) fn at(address: SocketAddr, manner: Manner) -> Self {
        Self::try_at(address, manner).unwrap()
    }

    /// On an address that somebody else may have.
    pub(crate) fn try_at(address: SocketAddr, manner: Manner) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self::on(socket.listen(1024)?, manner))
    }

    fn on(listener: TcpListener, manner: Manner) -> Self {
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Seen>::default());
        let serving = tokio::spawn(serve(listener, manner, Arc::clone(&seen)));
        Self { address, seen, serving }
    }

    /// Ends it as a crash does: its listener and all its connections close at once.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.serving.abort();
        let _ = self.serving.await;
        self.address
    }
}

async fn serve(listener: TcpListener, manner: Manner, seen: Arc<Seen>) {
    let mut visits = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let visit = seen.begin();
        visits.spawn(receive(stream, manner, visit));
        while visits.try_join_next().is_some() {}
    }
}

async fn receive(mut stream: TcpStream, manner: Manner, visit: Visit) {
    match manner {
        Manner::Named(name) => {
            let _ = stream.write_all(&[name]).await;
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
            visit.0.heard.lock().unwrap().append(&mut heard);
        }
        Manner::Echo => {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        }
        Manner::Reset => lb_net::sys::set_reset_on_close(&stream).unwrap(),
    }
    drop(visit);
    drop(stream);
}

/// Backends that say A, B, C.
pub(crate) fn abc() -> [Stub; 3] {
    [b'A', b'B', b'C'].map(|name| Stub::new(Manner::Named(name)))
}

/// A backend that refuses, and whose port is nobody else's.
#[derive(Debug)]
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    socket: Socket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&loopback().into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { address, socket }
    }

    /// Starts it.
    pub(crate) fn revive(self, manner: Manner) -> Stub {
        self.socket.listen(1024).unwrap();
        self.socket.set_nonblocking(true).unwrap();
        Stub::on(TcpListener::from_std(self.socket.into()).unwrap(), manner)
    }
}

/// A backend that does not answer: its accept queue is full, so that the kernel drops whoever knocks.
#[derive(Debug)]
pub(crate) struct Silent {
    pub(crate) address: SocketAddr,
    _full: (Socket, std::net::TcpStream),
}

impl Silent {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&loopback().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let first = std::net::TcpStream::connect(address).unwrap();
        Self { address, _full: (socket, first) }
    }
}

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) balancer: Arc<Balancer<SocketAddr>>,
    stop: oneshot::Sender<()>,
    pub(crate) serving: JoinHandle<io::Result<Served>>,
}

/// A balancer over backends that are named by their addresses, as balance writes them.
pub(crate) fn balancer(config: Config) -> Arc<Balancer<SocketAddr>> {
    let address = |backend: &lb_core::BackendConfig| backend.name.parse().unwrap();
    Arc::new(Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), address))
}

pub(crate) fn bind() -> std::net::TcpListener {
    listener::bind(loopback(), 1).unwrap().remove(0)
}

impl Front {
    pub(crate) fn new(config: &str) -> Self {
        Self::with(config, Settings::default())
    }

    pub(crate) fn with(config: &str, settings: Settings) -> Self {
        let balancer = balancer(config.parse().unwrap());
        Self::of(Arc::clone(&balancer), TcpProxy::new(balancer).with_settings(settings))
    }

    pub(crate) fn connecting(config: &str, connector: &Arc<Scripted>, settings: Settings) -> Self {
        let balancer = balancer(config.parse().unwrap());
        let connector = Arc::clone(connector) as Arc<dyn Connect<SocketAddr>>;
        Self::of(Arc::clone(&balancer), TcpProxy::with_connector(balancer, connector).with_settings(settings))
    }

    pub(crate) fn of(balancer: Arc<Balancer<SocketAddr>>, proxy: TcpProxy<SocketAddr>) -> Self {
        let listener = bind();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move { proxy.serve(listener, async { drop(stopped.await) }).await });
        Self { address, balancer, stop, serving }
    }

    pub(crate) fn stats(&self) -> Vec<BackendStats> {
        self.balancer.stats().backends
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.stats().iter().map(|backend| backend.in_flight).sum()
    }

    /// All leases have come back.
    pub(crate) async fn idle(&self) {
        eventually(|| self.in_flight() == 0).await;
    }

    /// Tells it to end, and returns what ends.
    pub(crate) fn stop(self) -> JoinHandle<io::Result<Served>> {
        self.stop.send(()).unwrap();
        self.serving
    }

    /// What one client after the other is answered.
    pub(crate) async fn ask_often(&self, times: usize) -> String {
        let mut answers = String::new();
        for _ in 0..times {
            answers.push_str(&ask(self.address).await.unwrap());
        }
        answers
    }
}

/// A client that hears the name of its backend, ends, and sees the other end.
pub(crate) async fn ask(front: SocketAddr) -> io::Result<String> {
    ask_from(loopback(), front).await
}

pub(crate) async fn ask_from(source: SocketAddr, front: SocketAddr) -> io::Result<String> {
    soon(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(source)?;
        let mut stream = socket.connect(front).await?;
        let name = stream.read_u8().await?;
        stream.shutdown().await?;
        let mut rest = String::from(char::from(name));
        stream.read_to_string(&mut rest).await?;
        Ok(rest)
    })
    .await
}

/// Whether the proxy has closed this connection without a word, in whatever way.
pub(crate) async fn is_closed(stream: &mut TcpStream) -> bool {
    !matches!(soon(stream.read(&mut [0])).await, Ok(1..))
}

pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// What a scripted connect does.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    Dial,
    Refuse,
    Never,
    Panic,
    /// Panics, but not before it is told to.
    PanicWhen(Arc<Notify>),
    /// Connects, but not before it is told to.
    DialWhen(Arc<Notify>),
    Fail(i32),
}

/// Connects as it is told for each address, and remembers the order.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    scripts: Mutex<HashMap<SocketAddr, Script>>,
    asked: Mutex<Vec<SocketAddr>>,
}

impl Scripted {
    pub(crate) fn set(&self, address: SocketAddr, script: Script) {
        self.scripts.lock().unwrap().insert(address, script);
    }

    pub(crate) fn asked(&self) -> Vec<SocketAddr> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Connect<SocketAddr> for Scripted {
    async fn connect(&self, backend: &SocketAddr) -> io::Result<TcpStream> {
        self.asked.lock().unwrap().push(*backend);
        let script = self.scripts.lock().unwrap().get(backend).cloned();
        match script.unwrap_or(Script::Dial) {
            Script::Dial => {}
            Script::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
            Script::Never => std::future::pending().await,
            Script::Panic => panic!("the connector's own fault"),
            Script::PanicWhen(told) => {
                told.notified().await;
                panic!("the connector's own fault");
            }
            Script::DialWhen(told) => told.notified().await,
            Script::Fail(errno) => return Err(io::Error::from_raw_os_error(errno)),
        }
        Dialer::default().connect(backend).await
    }
}
