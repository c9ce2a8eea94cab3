//! One direction of a session: from one socket to the other, copied or spliced.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::pipe::{self, PIPE_BYTES, Pipe};
use crate::sys;

/// The buffer that all sessions of a thread read into. Larger ones gain nothing: what is larger is spliced.
const SCRATCH_BYTES: usize = 64 * 1024;

/// A read of this size is part of a bulk transfer: the sender is ahead of us.
const LARGE: usize = 32 * 1024;

/// Large reads in a row after which a direction splices. For messages splice costs a call more than a copy.
const STREAK: u8 = 2;

/// A splice that moved less than this was no bulk transfer: back to copying.
const SMALL: usize = 8 * 1024;

/// `Flow::streak` once splicing has failed: this direction copies for the rest of the session.
const NEVER: u8 = u8::MAX;

thread_local! {
    /// Taken out while it is in use, never borrowed: a session polled inside another's poll makes its own.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Which of a flow's two sockets failed, and how.
#[derive(Debug)]
pub(super) enum Fault {
    /// Reading failed.
    Source,
    /// Writing failed. `gone`: the peer is no more, so what it sent before can be read to its end without waiting.
    Sink { gone: bool },
}

/// Bytes that were read and that the sink did not take yet. While there are any, nothing more is read.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Copied(Box<Rest>),
    Piped(Pipe),
}

/// What is left of a read, from `start` on.
#[derive(Debug)]
struct Rest {
    bytes: Box<[u8]>,
    start: usize,
}

/// The state of one direction. It lives as long as the session: every byte counts.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Bytes that the sink's socket has taken.
    pub(super) moved: u64,
    held: Held,
    /// Large reads in a row, or `NEVER`.
    streak: u8,
    /// The source has ended.
    ended: bool,
    /// Try a read before the reactor has said anything of this socket, once.
    eager: bool,
}

impl Flow {
    /// A flow whose first bytes may be there already, although its socket has only just been registered.
    pub(super) fn eager() -> Self {
        Self { eager: true, ..Self::default() }
    }

    /// Moves what can be moved, at most about `quota` bytes. Ready when the source has ended and all of it is written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        quota: &mut usize,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let moved_before = self.moved;
            match &mut self.held {
                Held::Copied(_) => ready!(self.write_rest(cx, to))?,
                Held::Piped(_) => ready!(self.empty_pipe(cx, to))?,
                Held::Nothing if self.ended => return Poll::Ready(Ok(())),
                Held::Nothing if *quota == 0 => return Poll::Pending,
                Held::Nothing if self.streak >= STREAK && self.streak != NEVER => ready!(self.fill_pipe(cx, from))?,
                Held::Nothing => ready!(self.copy(cx, from, to))?,
            }
            let moved = usize::try_from(self.moved - moved_before).unwrap_or(usize::MAX);
            *quota = quota.saturating_sub(moved);
        }
    }

    /// Bytes of memory, ours or a pipe's, that are taken while the sink does not take what was read.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.held {
            Held::Nothing => 0,
            Held::Copied(rest) => rest.bytes.len(),
            Held::Piped(_) => PIPE_BYTES,
        }
    }

    /// One read and one write through the thread's scratch buffer.
    fn copy(&mut self, cx: &mut Context<'_>, from: &mut TcpStream, to: &mut TcpStream) -> Poll<Result<(), Fault>> {
        let pooled = SCRATCH.try_with(Cell::take).ok().flatten();
        let mut scratch = pooled.unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
        let outcome = self.copy_through(&mut scratch, cx, from, to);
        let _ = SCRATCH.try_with(|place| place.set(Some(scratch)));
        outcome
    }

    fn copy_through(
        &mut self,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
    ) -> Poll<Result<(), Fault>> {
        let count = ready!(self.read(cx, from, scratch)).map_err(|_| Fault::Source)?;
        if count == 0 {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        self.note_read(count);
        let written = match Pin::new(to).poll_write(cx, &scratch[..count]) {
            Poll::Ready(outcome) => outcome.map_err(|error| sink_fault(&error))?,
            Poll::Pending => 0,
        };
        self.moved += written as u64;
        if written < count {
            self.held = Held::Copied(Box::new(Rest { bytes: scratch[written..count].into(), start: 0 }));
        }
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, cx: &mut Context<'_>, from: &mut TcpStream, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        let polled = Pin::new(&mut *from).poll_read(cx, &mut buffer);
        if polled.is_pending() && std::mem::take(&mut self.eager) {
            return match sys::receive(from, scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                outcome => Poll::Ready(outcome),
            };
        }
        self.eager = false;
        polled.map_ok(|()| buffer.filled().len())
    }

    fn note_read(&mut self, count: usize) {
        self.streak = match self.streak {
            NEVER => NEVER,
            streak if count >= LARGE => streak + 1,
            _ => 0,
        };
    }

    fn write_rest(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<Result<(), Fault>> {
        let Held::Copied(rest) = &mut self.held else { return Poll::Ready(Ok(())) };
        let written = ready!(Pin::new(to).poll_write(cx, &rest.bytes[rest.start..])).map_err(|e| sink_fault(&e))?;
        rest.start += written;
        self.moved += written as u64;
        if rest.start == rest.bytes.len() {
            self.held = Held::Nothing;
        }
        Poll::Ready(Ok(()))
    }

    /// Fills an empty pipe from the source. Only an empty one: so "would block" can only mean that the source is dry.
    fn fill_pipe(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<Result<(), Fault>> {
        ready!(from.poll_read_ready(cx)).map_err(|_| Fault::Source)?;
        let Some(mut pipe) = pipe::take() else {
            self.streak = NEVER;
            return Poll::Ready(Ok(()));
        };
        match from.try_io(Interest::READABLE, || sys::splice(from, &pipe.writer, PIPE_BYTES)) {
            Ok(count) => {
                pipe.filled = count;
                self.ended = count == 0;
                if count < SMALL {
                    self.streak = 0;
                }
            }
            // The next turn of the loop finds the socket not ready, and waits for it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.streak = NEVER,
            Err(_) => return Poll::Ready(Err(Fault::Source)),
        }
        match pipe.filled {
            0 => pipe::give_back(pipe),
            _ => self.held = Held::Piped(pipe),
        }
        Poll::Ready(Ok(()))
    }

    fn empty_pipe(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Result<(), Fault>> {
        let Held::Piped(pipe) = &mut self.held else { return Poll::Ready(Ok(())) };
        ready!(to.poll_write_ready(cx)).map_err(|error| sink_fault(&error))?;
        let written = match to.try_io(Interest::WRITABLE, || sys::splice(&pipe.reader, to, pipe.filled)) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(sink_fault(&error))),
        };
        pipe.filled = pipe.filled.saturating_sub(written);
        self.moved += written as u64;
        if pipe.filled == 0
            && let Held::Piped(pipe) = std::mem::take(&mut self.held)
        {
            pipe::give_back(pipe);
        }
        Poll::Ready(Ok(()))
    }
}

fn sink_fault(error: &io::Error) -> Fault {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
    Fault::Sink { gone: matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut) }
}
