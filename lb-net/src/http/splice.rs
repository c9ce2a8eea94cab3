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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (far, listener.accept().await.unwrap().0)
    }

    fn body(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect()
    }

    /// Moves so many bytes, or what there is until the end; how many it were.
    async fn relay(splice: &mut Splice, from: &mut TcpStream, to: &mut TcpStream, most: u64) -> io::Result<u64> {
        let (mut taken, mut moved) = (0, 0);
        while moved < most {
            if !splice.is_filled() {
                match poll_fn(|cx| splice.poll_fill(cx, from, most - taken)).await? {
                    Filled::Bytes(count) => taken += count,
                    Filled::End => break,
                    Filled::Off => panic!("it can be spliced"),
                }
            }
            moved += poll_fn(|cx| splice.poll_empty(cx, to)).await?;
        }
        Ok(moved)
    }

    // A test has its own thread, and so its own pool of pipes.
    #[tokio::test]
    async fn it_moves_so_many_bytes_and_leaves_the_rest_where_it_is() {
        let ((mut user, mut from), (mut server, mut to)) = (pair().await, pair().await);
        for bytes in [0, 1, 100_000, 8 << 20] {
            let (sent, mut received) = (body(bytes + 4), vec![0; bytes]);
            let mut splice = Splice::default();
            let (written, moved, read) = tokio::join!(
                user.write_all(&sent),
                relay(&mut splice, &mut from, &mut to, bytes as u64),
                server.read_exact(&mut received),
            );
            written.and(read.map(drop)).unwrap();
            assert_eq!((moved.unwrap(), splice.is_filled()), (bytes as u64, false));
            assert!(received == sent[..bytes]);
            let mut rest = [0; 4];
            from.read_exact(&mut rest).await.unwrap();
            assert_eq!(rest, sent[bytes..]);
        }
    }

    #[tokio::test]
    async fn the_end_is_told_after_what_was_said_before_it() {
        let ((mut user, mut from), (mut server, mut to)) = (pair().await, pair().await);
        user.write_all(&body(1000)).await.unwrap();
        drop(user);
        assert_eq!(relay(&mut Splice::default(), &mut from, &mut to, 2000).await.unwrap(), 1000);
        let mut received = vec![0; 1000];
        server.read_exact(&mut received).await.unwrap();
        assert!(received == body(1000));
    }

    #[tokio::test]
    async fn a_reset_is_told_of_the_side_that_it_came_from() {
        for source_resets in [true, false] {
            let ((mut user, mut from), (server, mut to)) = (pair().await, pair().await);
            user.write_all(&body(if source_resets { 0 } else { 1000 })).await.unwrap();
            let (_kept, gone) = if source_resets { (server, user) } else { (user, server) };
            sys::set_reset_on_close(&gone).unwrap();
            drop(gone);
            let (mut splice, mut outcomes) = (Splice::default(), Vec::new());
            // What is written first after a reset may still be taken by the system.
            for _ in 0..2 {
                let filled = poll_fn(|cx| splice.poll_fill(cx, &mut from, 500)).await;
                outcomes.push(filled.is_err());
                if filled.is_err() {
                    break;
                }
                let written = poll_fn(|cx| splice.poll_empty(cx, &mut to)).await;
                if written.is_err() {
                    break;
                }
            }
            assert_eq!(outcomes.last(), Some(&source_resets));
        }
    }
}
