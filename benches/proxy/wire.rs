//! The socket calls that load and origin are made of.
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The most that is thrown away by one call; the room is never written to, so it costs no memory.
pub(crate) const DISCARD_BYTES: usize = 1 << 20;

/// Client addresses 127.0.1.1 to 127.0.1.64: short connections do not run out of ports.
const CLIENT_ADDRESSES: u8 = 64;

/// How one call on a socket that never blocks ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This many bytes went through.
    Moved(usize),
    /// Nothing now; wait for readiness.
    Blocked,
    /// The connection has ended or failed.
    Over,
}

impl Step {
    fn of(result: rustix::io::Result<usize>) -> Self {
        match result {
            Ok(0) => Self::Over,
            Ok(bytes) => Self::Moved(bytes),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Self::Blocked,
            Err(_) => Self::Over,
        }
    }
}

/// Reads what is there.
pub(crate) fn read(socket: impl AsFd, into: &mut [u8]) -> Step {
    Step::of(rustix::net::recv(socket, into, RecvFlags::empty()).map(|(_, bytes)| bytes))
}

/// Takes bytes off the socket, at most as many as `room` has, without copying them out of the kernel.
pub(crate) fn discard(socket: impl AsFd, room: &mut [u8]) -> Step {
    Step::of(rustix::net::recv(socket, room, RecvFlags::TRUNC).map(|(_, bytes)| bytes))
}

/// Writes what fits.
pub(crate) fn write(socket: impl AsFd, bytes: &[u8]) -> Step {
    Step::of(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL))
}

/// Starts a connection to `port`; the client's address depends on `turn`.
///
/// A port is chosen by `bind`, not left to `connect`: that option has no safe setter, and 64 addresses have ports enough.
pub(crate) fn connect(port: u16, turn: u64) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    let last = 1 + (turn % u64::from(CLIENT_ADDRESSES)) as u8;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, last), 0))?;
    match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
