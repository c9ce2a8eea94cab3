//! Bind and accept, patient when descriptors run out.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::sys;

/// Connections that may wait for us. The kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// How long accept rests when descriptors have run out. Nothing is lost: connections wait in the queue.
const REST: Duration = Duration::from_millis(50);

/// How long a client may be silent before it is handed out without a word. Whole seconds, as the kernel has it.
#[cfg(feature = "http")]
const SILENCE: Duration = Duration::from_secs(1);

/// Why an address cannot be listened on.
/// ```
/// let other = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let taken = other.local_addr()?;
/// let error = lb_net::listener::bind(taken, 1).unwrap_err();
/// assert_eq!((error.to_string(), error.address), (format!("cannot listen on {taken}"), taken));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
#[non_exhaustive]
pub struct BindError {
    /// The address as it was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Listens on `address` with `count` sockets, one for each worker; the kernel spreads connections over them. A count of
/// 0 is no socket at all.
///
/// Port 0 takes a free port, the same for all. An IPv6 listener takes IPv4 clients too. It fails if anything else
/// listens there, another `lb` included.
///
/// ```
/// let workers = lb_net::listener::bind("127.0.0.1:0".parse().unwrap(), 4)?;
/// assert!(lb_net::listener::bind(workers[0].local_addr().unwrap(), 4).is_err());
/// # Ok::<(), lb_net::listener::BindError>(())
/// ```
///
/// # Errors
/// [`BindError`] names the address; its source says why.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    bind_all(address, count).map_err(|source| BindError { address, source })
}

/// As [`bind`], beside sockets of this process's user that listen there already and have `SO_REUSEPORT`: a wider address
/// is to be replaced by a narrower one, say, and nobody turned away meanwhile.
///
/// # Errors
/// As [`bind`].
pub fn bind_beside(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let address = listeners.first().map_or(Ok(address), TcpListener::local_addr).map_err(failed)?;
        listeners.push(listen(address, true).map_err(failed)?.into());
    }
    Ok(listeners)
}

/// The first socket listens before it has SO_REUSEPORT: a listening socket without it refuses every other one, so of
/// two processes that start at the same time one fails. The option is set afterwards, for its siblings to join.
fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(count);
    if count == 0 {
        return Ok(listeners);
    }
    let first = listen(address, false)?;
    if count > 1 {
        first.set_reuse_port(true)?;
    }
    let first = TcpListener::from(first);
    let address = first.local_addr()?;
    listeners.push(first);
    for _ in 1..count {
        listeners.push(listen(address, true)?.into());
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Old sessions and those in TIME_WAIT do not keep us from starting again.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    sys::set_session_options(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Has a listener hand out clients when their first bytes are there, where the client is the one to speak first: who can
/// be answered at once need not be waited for. Those that say nothing come a second or so later.
///
/// Clients that have not said anything are no part of the queue: they are reset if the listener is closed meanwhile.
#[cfg(feature = "http")]
pub(crate) fn await_bytes(listener: &TcpListener, awaits: bool) -> io::Result<()> {
    sys::defer_accept(listener, if awaits { SILENCE } else { Duration::ZERO })
}

/// One worker's listener, on the runtime that it was made on.
///
/// Accepted sockets are non-blocking, have TCP_NODELAY and SO_KEEPALIVE, and belong to no runtime yet:
/// `tokio::net::TcpStream::from_std` makes them do so.
///
/// ```
/// # use lb_net::listener::{Listener, bind};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// for socket in bind("127.0.0.1:0".parse()?, 1)? {
///     let mut listener = Listener::new(socket)?;
///     let client = std::net::TcpStream::connect(listener.local_address()?)?;
///     let (_stream, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<TcpListener>,
    #[cfg(feature = "instance")]
    gate: Option<Gate>,
}

/// Whether it is our turn to accept.
#[cfg(feature = "instance")]
#[derive(Debug)]
struct Gate {
    is_open: bool,
    latest: tokio::sync::watch::Receiver<bool>,
}

#[cfg(feature = "instance")]
impl Gate {
    fn is_open(&mut self) -> bool {
        // A look at a number; an error is the end of the sender, which sends nothing more.
        if self.latest.has_changed().unwrap_or(false) {
            self.is_open = *self.latest.borrow_and_update();
        }
        self.is_open
    }

    async fn opened(&mut self) {
        if !self.is_open() {
            if self.latest.wait_for(|is_open| *is_open).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.is_open = true;
        }
    }
}

impl Listener {
    /// Registers a listener with the current runtime.
    ///
    /// # Errors
    /// What the system said.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: sys::watch(socket)?,
            #[cfg(feature = "instance")]
            gate: None,
        })
    }

    /// As [`await_bytes`]. Those who have connected meanwhile come with their first bytes all the same.
    #[cfg(feature = "http")]
    pub(crate) fn await_bytes(&self, awaits: bool) -> io::Result<()> {
        await_bytes(self.socket.get_ref(), awaits)
    }

    /// Only those who have begun to connect come from now on.
    #[cfg(any(feature = "tcp", feature = "http"))]
    pub(crate) fn ignore_new(&self) -> io::Result<()> {
        sys::ignore_new(self.socket.get_ref())
    }

    /// The same, but it accepts only while this is true: somebody else has the same socket, and accepts meanwhile.
    #[cfg(feature = "instance")]
    pub(crate) fn while_open(self, latest: tokio::sync::watch::Receiver<bool>) -> Self {
        let is_open = *latest.borrow();
        Self { gate: Some(Gate { is_open, latest }), ..self }
    }

    /// Whether it is our turn to accept.
    #[cfg(feature = "instance")]
    pub(crate) fn is_open(&mut self) -> bool {
        self.gate.as_mut().is_none_or(Gate::is_open)
    }

    /// Whether it is our turn to accept: nobody else has the socket.
    #[cfg(not(feature = "instance"))]
    pub(crate) fn is_open(&mut self) -> bool {
        true
    }

    #[cfg(feature = "instance")]
    async fn opened(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.opened().await;
        }
    }

    #[cfg(not(feature = "instance"))]
    async fn opened(&mut self) {}

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system said.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// The next client. Called in a loop, it empties the queue before it waits, and lets other tasks run in between.
    ///
    /// When descriptors have run out it rests, without losing who waits in the queue. Cancel safe.
    ///
    /// # Errors
    /// Only such as make this listener useless.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            self.opened().await;
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Err(error) if sys::ran_out(&error) => tokio::time::sleep(REST).await,
                Err(error) if passes(&error) => {}
                Ok(None) => {}
                Ok(Some(accepted)) => return Ok(accepted),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next client that is in the queue already; `None` when it is empty. For a graceful stop: accept until
    /// `None`, then drop the listener, and nobody is lost who was there.
    ///
    /// # Errors
    /// Only such as make this listener useless.
    pub async fn accept_queued(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        while self.is_open() {
            match sys::accept(self.socket.get_ref()) {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if sys::ran_out(&error) => tokio::time::sleep(REST).await,
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// `None` when it is somebody else's turn.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<(TcpStream, SocketAddr)>>> {
        loop {
            if !self.is_open() {
                return Poll::Ready(Ok(None));
            }
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            if let Ok(outcome) = ready.try_io(|socket| sys::accept(socket.get_ref())) {
                return Poll::Ready(outcome.map(Some));
            }
        }
    }
}

/// Errors of one connection, not of the listener: accept(2) also reports what befell a connection in the queue.
fn passes(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    !matches!(errno, Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT) | None)
}

#[cfg(all(test, any(feature = "tcp", feature = "http")))]
mod tests {
    use std::io::Write as _;

    #[cfg(feature = "http")]
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn before_a_listener_is_closed_only_those_come_who_had_begun() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let mut listener = Listener::new(socket).unwrap();
        let address = listener.local_address().unwrap();
        let mut before = TcpStream::connect(address).unwrap();
        listener.ignore_new().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        before.write_all(b"request").unwrap();
        let (accepted, peer) = listener.accept_queued().await.unwrap().unwrap();
        assert_eq!((sys::receive(&accepted, &mut [0; 100]).unwrap(), peer), (7, before.local_addr().unwrap()));
        assert!(listener.accept_queued().await.unwrap().is_none());
        drop(listener);
        let later = TcpStream::connect(address).unwrap_err();
        assert_eq!(later.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[cfg(feature = "http")]
    #[tokio::test]
    async fn a_client_comes_with_its_first_bytes_or_when_it_was_silent_for_a_while() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        await_bytes(&socket, true).unwrap();
        let mut listener = Listener::new(socket).unwrap();
        let address = listener.local_address().unwrap();
        let silent = TcpStream::connect(address).unwrap();
        let mut speaking = TcpStream::connect(address).unwrap();
        assert!(listener.accept_queued().await.unwrap().is_none());
        speaking.write_all(b"request").unwrap();
        for (client, bytes) in [(speaking, 7), (silent, 0)] {
            let (accepted, peer) = timeout(Duration::from_secs(20), listener.accept()).await.unwrap().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(sys::receive(accepted, &mut [0; 100]).unwrap_or(0), bytes);
        }
    }
}
