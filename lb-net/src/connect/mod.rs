//! From a backend to a connection.

mod addresses;
#[cfg(any(feature = "tcp", feature = "http"))]
pub(crate) mod race;
mod several;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{io::Interest, net::TcpStream};

pub use self::addresses::Addresses;
use crate::sys::{self, Keepalive};

/// Makes a connection to a backend. [`Dialer`] does so over TCP; a test, or a transport of yours, may do otherwise.
/// ```
/// use lb_net::connect::Connect;
/// use tokio::net::TcpStream;
/// struct Refuse;
/// #[async_trait::async_trait]
/// impl<T: Send + Sync> Connect<T> for Refuse {
///     async fn connect(&self, _: &T) -> std::io::Result<TcpStream> {
///         Err(std::io::ErrorKind::ConnectionRefused.into())
///     }
/// }
/// ```
#[async_trait]
pub trait Connect<T>: Send + Sync {
    /// A connection, or why there is none. It may take its time: the caller has a deadline and drops it then.
    async fn connect(&self, backend: &T) -> io::Result<TcpStream>;
}

/// Connects over TCP.
///
/// Of several addresses one that refuses is followed by the next at once; one that is silent is raced by the next after
/// 250 ms (Happy Eyeballs, RFC 8305 section 5), for as long as the caller waits.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use lb_net::connect::{Connect, Dialer};
/// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let dialer = Dialer::default().with_source("127.0.0.2".parse().unwrap());
/// let connection = dialer.connect(&server.local_addr()?).await?;
/// assert_eq!(connection.local_addr()?.ip().to_string(), "127.0.0.2");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialer {
    source: Option<IpAddr>,
    keepalive: Option<Keepalive>,
    late_acknowledgement: bool,
}

impl Dialer {
    /// With connections that come from this address of ours (balance's `-B`).
    #[must_use]
    pub fn with_source(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// With connections whose backends are asked in this rhythm whether they are there (balance.fm's `-K`), in place of
    /// the system's.
    #[must_use]
    pub fn with_keepalive(self, keepalive: Keepalive) -> Self {
        Self { keepalive: Some(keepalive), ..self }
    }

    /// With handshakes whose last acknowledgement goes out with the first bytes: a packet less for each connection. For
    /// [`Relay`](crate::relay::Relay), which has everything acknowledged as usual from then on. Elsewhere the server would
    /// hear of the connection up to 0.2 s late where it is to speak first, and where it answers in pieces wait 0.04 s
    /// before the second (Nagle's algorithm).
    #[must_use]
    pub fn with_late_acknowledgement(self) -> Self {
        Self { late_acknowledgement: true, ..self }
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        sys::set_session_options(&socket)?;
        if let Some(keepalive) = self.keepalive {
            keepalive.set(&socket)?;
        }
        if self.late_acknowledgement {
            sys::delay_acknowledgement(&socket)?;
        }
        if let Some(source) = self.source {
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        establish(socket, address).await
    }
}

/// Whether any backend has refused a connect yet. A connect can only meet itself where nobody listens, and there it is
/// refused thousands of times for once that it does: until the first time there is nothing to look for.
static REFUSED: AtomicBool = AtomicBool::new(false);

async fn establish(socket: Socket, address: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if sys::is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from_std(socket.into())?;
    let ready = stream.ready(Interest::WRITABLE | Interest::ERROR).await?;
    if ready.is_error() || ready.is_write_closed() {
        REFUSED.store(true, Relaxed);
        stream.take_error()?.map_or(Ok(()), Err)?;
    }
    // TCP's simultaneous open: with nobody there, the kernel may choose the very port that we connect to.
    if REFUSED.load(Relaxed) && sys::is_ephemeral(address.port()) && stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[async_trait]
impl<T: Addresses> Connect<T> for Dialer {
    async fn connect(&self, backend: &T) -> io::Result<TcpStream> {
        let Some(first) = backend.address(0) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
        };
        match backend.address(1) {
            None => self.dial(first).await,
            // In a box of its own, so that the usual connect is no larger for it.
            Some(_) => Box::pin(several::dial(*self, backend.all_addresses(), backend.turn())).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connect_that_meets_itself_is_refused() {
        // Bound, so that nobody else listens there.
        let bound = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP)).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            (socket, address)
        };
        let (_dead, address) = bound();
        assert!(Dialer::default().connect(&address).await.is_err());
        let (socket, address) = bound();
        let error = establish(socket, address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
