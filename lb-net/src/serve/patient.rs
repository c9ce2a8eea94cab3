//! A connection whose client may take so long and no longer: to say something, to end its head, to take its answer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::Limits;

/// How far a request is. The service tells of its own part, the connection sees the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage(Arc<AtomicU8>);

/// Between requests.
const IDLE: u8 = 0;
/// A head has begun.
const HEAD: u8 = 1;
/// The service works on it, and has its own patience.
const RUNNING: u8 = 2;
/// It has answered.
const ANSWERED: u8 = 3;
/// The answer is on its way.
const WRITING: u8 = 4;

impl Stage {
    pub(super) fn running(&self) {
        self.0.store(RUNNING, Relaxed);
    }

    pub(super) fn answered(&self) {
        self.0.store(ANSWERED, Relaxed);
    }

    fn get(&self) -> u8 {
        // One task has both ends.
        self.0.load(Relaxed)
    }

    fn set(&self, stage: u8) {
        self.0.store(stage, Relaxed);
    }
}

/// A stream that fails with [`TimedOut`](io::ErrorKind::TimedOut) when its client takes too long.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    stage: Stage,
    /// Until when the client may take for what it is about.
    patience: Pin<Box<Sleep>>,
    limits: Limits,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, stage: Stage, limits: Limits) -> Self {
        Self { stream, stage, patience: Box::pin(sleep(limits.idle_timeout)), limits }
    }

    fn enter(&mut self, stage: u8, patience: Duration) {
        self.stage.set(stage);
        let now = Instant::now();
        // What is beyond the clock is far enough.
        self.patience.as_mut().reset(now.checked_add(patience).unwrap_or(now + Duration::from_secs(86_400)));
    }

    fn poll_late<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.stage.get() == RUNNING {
            // "100 Continue": the request goes on.
            return written;
        }
        if self.stage.get() == ANSWERED || matches!(written, Poll::Ready(Ok(1..))) {
            // What is written without the service is written for a head that is none.
            self.enter(WRITING, self.limits.write_timeout);
        }
        if written.is_pending() { self.poll_late(cx) } else { written }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let stage = this.stage.get();
        if read.is_pending() && (stage == IDLE || stage == HEAD) {
            return this.poll_late(cx);
        }
        if stage == IDLE && buffer.filled().len() > before {
            this.enter(HEAD, this.limits.head_timeout);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        if this.stage.get() == WRITING {
            this.enter(IDLE, this.limits.idle_timeout);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
