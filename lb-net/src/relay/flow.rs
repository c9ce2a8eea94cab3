//! One direction of a session: from one socket to the other, copied or spliced.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::pipe::{self, PIPE_BYTES, Pipe};
use super::tap::Ear;
use crate::sys;

/// What one direction may move before other sessions of its thread get their turn: a tenth of a millisecond or two.
const QUOTA: usize = 1024 * 1024;

/// The buffer that all sessions of a thread read into. Larger ones gain nothing: what is larger is spliced.
const SCRATCH_BYTES: usize = 64 * 1024;

/// A read of this size is part of a bulk transfer: the sender is ahead of us.
const LARGE: usize = 32 * 1024;

/// Large reads in a row after which a direction splices. For messages splice costs a call more than a copy.
const STREAK: u8 = 2;

/// A splice that moved less than this was no bulk transfer: back to copying.
const SMALL: u32 = 8 * 1024;

/// `Flow::streak` once splicing has failed: this direction copies for the rest of the session.
const NEVER: u8 = u8::MAX;

thread_local! {
    /// Taken out while it is in use, never borrowed: a session polled inside another's poll makes its own.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Which of a flow's two sockets failed, so that the session is over.
#[derive(Debug)]
pub(super) enum Fault {
    Source,
    Sink,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Open,
    /// The source has ended, all is written, the sink has not been told.
    Ended,
    /// The sink has been told.
    Shut,
    /// The sink is gone: the session ends as soon as what it said before is delivered.
    Lost,
}

/// Bytes that were read and that the sink did not take yet. While there are any, nothing more is read.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Copied(Box<Rest>),
    Piped(Pipe),
}

/// Why a direction stopped.
enum Failed {
    Read,
    Write(io::Error),
}

/// What is left of a read, from `start` on.
#[derive(Debug)]
struct Rest {
    bytes: Box<[u8]>,
    start: usize,
    /// How many of those to come the source has not said, so that they do not count.
    preface: usize,
}

/// The thread's buffer, in use; it goes back when this is dropped.
struct Scratch(Box<[u8]>);

impl Scratch {
    fn take() -> Self {
        let pooled = SCRATCH.try_with(Cell::take).ok().flatten();
        Self(pooled.unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = SCRATCH.try_with(|place| place.set(Some(std::mem::take(&mut self.0))));
    }
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
    /// Try to read although the reactor has not said that there is something, once.
    eager_read: bool,
    /// Try to write although the reactor has not said that there is room.
    eager_write: bool,
    pub(super) state: State,
}

impl Flow {
    /// A flow whose first bytes may be there already, although its socket has only just been registered.
    pub(super) fn eager() -> Self {
        Self { eager_read: true, ..Self::default() }
    }

    /// Never splices, so that someone can listen in.
    pub(super) fn copy_always(&mut self) {
        self.streak = NEVER;
    }

    /// Has the sink get these bytes before anything that the source says. They do not count as moved.
    pub(super) fn begin_with(&mut self, preface: &[u8]) {
        let rest = Rest { bytes: preface.into(), start: 0, preface: preface.len() };
        self.held = Held::Copied(Box::new(rest));
    }

    /// Has nothing been tried yet?
    pub(super) fn is_new(&self) -> bool {
        self.eager_read
    }

    /// Moves what can be moved, within the quota.
    pub(super) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        ear: &mut Ear<'_>,
    ) -> Result<(), Fault> {
        if self.state != State::Open {
            return Ok(());
        }
        let mut quota = QUOTA;
        match self.poll(cx, from, to, ear, &mut quota) {
            Poll::Ready(Ok(())) => self.state = State::Ended,
            Poll::Ready(Err(Failed::Read)) => return Err(Fault::Source),
            // The peer is no more: what it sent before can be read to its end without waiting for it.
            Poll::Ready(Err(Failed::Write(error))) if gone(&error) => self.state = State::Lost,
            Poll::Ready(Err(Failed::Write(_))) => return Err(Fault::Sink),
            Poll::Pending if quota == 0 => yield_to_others(cx),
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Passes the source's end on, once.
    pub(super) fn shut_sink(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) {
        if self.state == State::Ended {
            // It fails only for a peer that is gone, and then reading from it says so.
            let _: Poll<io::Result<()>> = Pin::new(to).poll_shutdown(cx);
            self.state = State::Shut;
        }
    }

    /// Has a sink gone that has ended its own direction? Nobody reads from it any more, so nobody else would notice.
    ///
    /// The reactor tells of a reset as of room to write. So the room that is there is forgotten, and waited for.
    pub(super) fn lost_sink(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> bool {
        if !matches!(self.held, Held::Nothing) {
            return false;
        }
        self.eager_write = true;
        for _ in 0..3 {
            let _ = to.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            if to.poll_write_ready(cx).is_pending() {
                return false;
            }
            if !matches!(to.take_error(), Ok(None)) {
                return true;
            }
        }
        // A socket is ready for ever when it is closed.
        true
    }

    /// Reads and forgets what the source says, as the sink is lost: whoever is kept from speaking may not listen either.
    pub(super) fn discard(&mut self, cx: &mut Context<'_>, from: &mut TcpStream) {
        let mut quota = QUOTA;
        let mut scratch = Scratch::take();
        while !self.ended {
            match self.read(cx, from, &mut scratch.0) {
                // The other direction hears of a source that is gone.
                Poll::Ready(Ok(0) | Err(_)) => self.ended = true,
                Poll::Ready(Ok(count)) if count < quota => quota -= count,
                Poll::Ready(Ok(_)) => return yield_to_others(cx),
                Poll::Pending => return,
            }
        }
    }

    /// Moves at most about `quota` bytes. Ready when the source has ended and all of it is written.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        ear: &mut Ear<'_>,
        quota: &mut usize,
    ) -> Poll<Result<(), Failed>> {
        loop {
            let moved_before = self.moved;
            match &mut self.held {
                Held::Copied(_) => ready!(self.write_rest(cx, to))?,
                Held::Piped(_) => ready!(self.empty_pipe(cx, to))?,
                Held::Nothing if self.ended => return Poll::Ready(Ok(())),
                Held::Nothing if *quota == 0 => return Poll::Pending,
                Held::Nothing if self.streak >= STREAK && self.streak != NEVER => ready!(self.fill_pipe(cx, from))?,
                Held::Nothing => ready!(self.copy(cx, from, to, ear))?,
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
            Held::Piped(_) => PIPE_BYTES as usize,
        }
    }

    /// One read and one write through the thread's scratch buffer.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        ear: &mut Ear<'_>,
    ) -> Poll<Result<(), Failed>> {
        let mut scratch = Scratch::take();
        self.copy_through(&mut scratch.0, cx, from, to, ear)
    }

    fn copy_through(
        &mut self,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        ear: &mut Ear<'_>,
    ) -> Poll<Result<(), Failed>> {
        let count = ready!(self.read(cx, from, scratch)).map_err(|_| Failed::Read)?;
        if count == 0 {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        self.note_read(count);
        ear.hear(&scratch[..count]);
        let written = match self.write(cx, to, &scratch[..count]) {
            Poll::Ready(outcome) => outcome.map_err(Failed::Write)?,
            Poll::Pending => 0,
        };
        self.moved += written as u64;
        if written < count {
            self.held = Held::Copied(Box::new(Rest { bytes: scratch[written..count].into(), start: 0, preface: 0 }));
        }
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, cx: &mut Context<'_>, from: &mut TcpStream, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        let polled = Pin::new(&mut *from).poll_read(cx, &mut buffer);
        if polled.is_pending() && std::mem::take(&mut self.eager_read) {
            return match sys::receive(from, scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                outcome => Poll::Ready(outcome),
            };
        }
        self.eager_read = false;
        polled.map_ok(|()| buffer.filled().len())
    }

    fn note_read(&mut self, count: usize) {
        self.streak = match self.streak {
            NEVER => NEVER,
            streak if count >= LARGE => streak + 1,
            _ => 0,
        };
    }

    fn write(&mut self, cx: &mut Context<'_>, to: &mut TcpStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *to).poll_write(cx, bytes);
        if polled.is_ready() || !self.eager_write {
            return polled;
        }
        self.settle_eager_write(sys::send(to, bytes))
    }

    /// "Would block" ends the eagerness: from here on the kernel tells when there is room, and the waker is in place.
    fn settle_eager_write<T>(&mut self, outcome: io::Result<T>) -> Poll<io::Result<T>> {
        self.eager_write = !would_block(&outcome);
        if self.eager_write { Poll::Ready(outcome) } else { Poll::Pending }
    }

    fn write_rest(&mut self, cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<Result<(), Failed>> {
        let Held::Copied(mut rest) = std::mem::take(&mut self.held) else { return Poll::Ready(Ok(())) };
        let written = match self.write(cx, to, &rest.bytes[rest.start..]) {
            Poll::Ready(outcome) => outcome.map_err(Failed::Write)?,
            Poll::Pending => {
                self.held = Held::Copied(rest);
                return Poll::Pending;
            }
        };
        rest.start += written;
        self.moved += written.saturating_sub(rest.preface) as u64;
        rest.preface = rest.preface.saturating_sub(written);
        if rest.start < rest.bytes.len() {
            self.held = Held::Copied(rest);
        }
        Poll::Ready(Ok(()))
    }

    /// Fills an empty pipe from the source. Only an empty one: so "would block" can only mean that the source is dry.
    fn fill_pipe(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<Result<(), Failed>> {
        ready!(from.poll_read_ready(cx)).map_err(|_| Failed::Read)?;
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
            Err(_) => return Poll::Ready(Err(Failed::Read)),
        }
        match pipe.filled {
            0 => pipe::give_back(pipe),
            _ => self.held = Held::Piped(pipe),
        }
        Poll::Ready(Ok(()))
    }

    fn empty_pipe(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Result<(), Failed>> {
        let Held::Piped(pipe) = &mut self.held else { return Poll::Ready(Ok(())) };
        let splice = || sys::splice(&pipe.reader, to, pipe.filled);
        let outcome = match to.poll_write_ready(cx) {
            Poll::Ready(ready) => ready.and_then(|()| to.try_io(Interest::WRITABLE, splice)),
            Poll::Pending if self.eager_write => {
                let outcome = splice();
                ready!(self.settle_eager_write(outcome))
            }
            Poll::Pending => return Poll::Pending,
        };
        if would_block(&outcome) {
            return Poll::Ready(Ok(()));
        }
        let written = outcome.map_err(Failed::Write)?;
        self.moved += u64::from(written);
        self.take_from_pipe(written);
        Poll::Ready(Ok(()))
    }

    fn take_from_pipe(&mut self, written: u32) {
        let Held::Piped(mut pipe) = std::mem::take(&mut self.held) else { return };
        pipe.filled = pipe.filled.saturating_sub(written);
        match pipe.filled {
            0 => pipe::give_back(pipe),
            _ => self.held = Held::Piped(pipe),
        }
    }
}

fn would_block<T>(outcome: &io::Result<T>) -> bool {
    matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut)
}

/// Wakes this task again after the reactor and the other tasks had their turn.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    // Polled once, `yield_now` hands the waker to the runtime, which keeps it until it has looked at the sockets.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}
