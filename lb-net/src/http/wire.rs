//! What the two ends of an exchange have in common: bytes can be read from them and written to them.

use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, net::TcpStream};

use crate::sys;

/// One end of an exchange.
pub(super) trait Wire {
    /// Reads what is there: 0 bytes are the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes what fits.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// The socket itself, known to the reactor.
    fn stream(&mut self) -> io::Result<&TcpStream>;

    /// Where it is noted that there may be bytes of which the reactor does not tell.
    fn eager_read(&mut self) -> Option<&mut bool> {
        None
    }

    /// The same of room.
    fn eager_write(&mut self) -> Option<&mut bool> {
        None
    }
}

/// Reads what is there. As tokio's own read it learns from a short one that there is no more, and asks no second time;
/// that one makes more of each call.
pub(super) fn poll_receive(cx: &mut Context<'_>, stream: &TcpStream, into: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut read = 0;
        let outcome = stream.try_io(Interest::READABLE, || {
            read = sys::receive(stream, into)?;
            if read > 0 && read < into.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
            Err(_) if read == 0 => {}
            _ => return Poll::Ready(Ok(read)),
        }
    }
}

/// Writes what fits of these.
pub(super) fn poll_send(cx: &mut Context<'_>, stream: &TcpStream, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    loop {
        // There is room nearly always. Only where there is none it is asked in a way that has this task woken.
        match stream.try_io(Interest::WRITABLE, || send(stream, slices)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
            outcome => return Poll::Ready(outcome),
        }
    }
}

/// Writes what fits of these, whatever the reactor knows.
pub(super) fn send(stream: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match slices {
        // Sending has less to do in the kernel than sending slices.
        [bytes] => sys::send(stream, bytes),
        several => sys::send_slices(stream, several),
    }
}

impl Wire for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        poll_receive(cx, self, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        poll_send(cx, self, slices)
    }

    fn stream(&mut self) -> io::Result<&TcpStream> {
        Ok(self)
    }
}
