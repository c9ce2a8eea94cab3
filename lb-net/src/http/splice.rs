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
        let Some(mut pipe) = pipe::take() else {
            self.is_off = true;
            return Poll::Ready(Ok(Filled::Off));
        };
        let most = u32::try_from(most).unwrap_or(u32::MAX).min(PIPE_BYTES);
        let polled = poll_when(cx, from, Direction::Read, |from| sys::splice(from, &pipe.writer, most));
        let filled = match polled {
            Poll::Ready(Ok(count @ 1..)) => {
                pipe.filled = count;
                self.pipe = Some(pipe);
                return Poll::Ready(Ok(Filled::Bytes(u64::from(count))));
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Filled::End)),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                self.is_off = true;
                Poll::Ready(Ok(Filled::Off))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        pipe::give_back(pipe);
        filled
    }

    /// Writes what is in the pipe to `to`: so many bytes, and it may be empty then.
    pub(super) fn poll_empty(&mut self, cx: &mut Context<'_>, to: &mut impl Wire) -> Poll<io::Result<u64>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(0)) };
        let splice = |to: &TcpStream| sys::splice(&pipe.reader, to, pipe.filled);
        let written = ready!(poll_when(cx, to, Direction::Write, splice))?;
        pipe.filled = pipe.filled.saturating_sub(written);
        if pipe.filled == 0 {
            self.pipe.take().into_iter().for_each(pipe::give_back);
        }
        Poll::Ready(Ok(u64::from(written)))
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

/// Does it as soon as the reactor says so, or at once where that may have been told to forget something.
fn poll_when(
    cx: &mut Context<'_>,
    wire: &mut impl Wire,
    direction: Direction,
    act: impl Fn(&TcpStream) -> io::Result<u32>,
) -> Poll<io::Result<u32>> {
    loop {
        let is_eager = direction.eager(wire).is_some_and(|eager| *eager);
        let stream = wire.stream()?;
        let (polled, interest) = match direction {
            Direction::Read => (stream.poll_read_ready(cx), Interest::READABLE),
            Direction::Write => (stream.poll_write_ready(cx), Interest::WRITABLE),
        };
        let outcome = match polled {
            Poll::Ready(Ok(())) => stream.try_io(interest, || act(stream)),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending if is_eager => act(stream),
            Poll::Pending => return Poll::Pending,
        };
        if !would_block(&outcome) {
            return Poll::Ready(outcome);
        }
        // From a vain try on the reactor tells of what comes.
        if let Some(eager) = direction.eager(wire) {
            *eager = false;
        }
    }
}

impl Direction {
    fn eager(self, wire: &mut impl Wire) -> Option<&mut bool> {
        match self {
            Self::Read => wire.eager_read(),
            Self::Write => wire.eager_write(),
        }
    }
}

fn would_block(outcome: &io::Result<u32>) -> bool {
    matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
