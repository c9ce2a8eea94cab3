//! Bodies that are relayed untouched, in bulk: through a pipe, inside the kernel.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, net::TcpStream};

use super::wire::Wire;
use crate::{
    relay::pipe::{self, PIPE_BYTES, Pipe},
    sys,
};

/// From so many bytes on a pipe costs less than a buffer.
pub(super) const LEAST_BYTES: u64 = 64 * 1024;

/// The pipe of one direction of an exchange, while it is needed.
#[derive(Debug, Default)]
pub(super) struct Splice {
    pipe: Option<Pipe>,
    /// There is no pipe to be had, or these sockets cannot be spliced.
    is_off: bool,
}

/// What filling the pipe came to.
pub(super) enum Filled {
    /// So many bytes are in it.
    Bytes(u64),
    /// The source has ended.
    End,
    /// Splicing does not work here: copy.
    Off,
}

impl Splice {
    /// Whether it is worth a try.
    pub(super) fn is_on(&self) -> bool {
        !self.is_off
    }

    /// Whether bytes wait in the pipe.
    pub(super) fn is_filled(&self) -> bool {
        self.pipe.is_some()
    }

    /// Takes up to `most` bytes from `from`. The pipe is empty: so "would block" can only mean that the source is dry.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Wire,
        most: u64,
    ) -> Poll<io::Result<Filled>> {
        let from = from.stream()?;
        loop {
            ready!(from.poll_read_ready(cx))?;
            let Some(mut pipe) = pipe::take() else {
                self.is_off = true;
                return Poll::Ready(Ok(Filled::Off));
            };
            let most = u32::try_from(most).unwrap_or(u32::MAX).min(PIPE_BYTES);
            match from.try_io(Interest::READABLE, || sys::splice(from, &pipe.writer, most)) {
                Ok(0) => {
                    pipe::give_back(pipe);
                    return Poll::Ready(Ok(Filled::End));
                }
                Ok(count) => {
                    pipe.filled = count;
                    self.pipe = Some(pipe);
                    return Poll::Ready(Ok(Filled::Bytes(u64::from(count))));
                }
                // The next turn finds the socket not ready, and waits for it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pipe::give_back(pipe),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    pipe::give_back(pipe);
                    self.is_off = true;
                    return Poll::Ready(Ok(Filled::Off));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes what is in the pipe to `to`: so many bytes, and it may be empty then.
    pub(super) fn poll_empty(&mut self, cx: &mut Context<'_>, to: &mut impl Wire) -> Poll<io::Result<u64>> {
        let to = to.stream()?;
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(0)) };
        let written = ready!(poll_write(cx, pipe, to))?;
        pipe.filled = pipe.filled.saturating_sub(written);
        if pipe.filled == 0 {
            self.pipe.take().into_iter().for_each(pipe::give_back);
        }
        Poll::Ready(Ok(u64::from(written)))
    }
}

fn poll_write(cx: &mut Context<'_>, pipe: &Pipe, to: &TcpStream) -> Poll<io::Result<u32>> {
    loop {
        ready!(to.poll_write_ready(cx))?;
        match to.try_io(Interest::WRITABLE, || sys::splice(&pipe.reader, to, pipe.filled)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}
