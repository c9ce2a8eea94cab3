//! What the two ends of an exchange have in common: bytes can be read from them and written to them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
};

use super::client::ClientSocket;

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

impl Wire for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        Pin::new(self).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            // Sending has less to do in the kernel than sending slices.
            [one] => Pin::new(self).poll_write(cx, one),
            several => Pin::new(self).poll_write_vectored(cx, several),
        }
    }

    fn stream(&mut self) -> io::Result<&TcpStream> {
        Ok(self)
    }
}

impl Wire for ClientSocket {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(self, cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, slices)
    }

    fn stream(&mut self) -> io::Result<&TcpStream> {
        self.registered()
    }

    fn eager_read(&mut self) -> Option<&mut bool> {
        Some(&mut self.eager_read)
    }

    fn eager_write(&mut self) -> Option<&mut bool> {
        Some(&mut self.eager_write)
    }
}
