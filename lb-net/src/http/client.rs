//! A client's socket, unknown to the reactor until it must be waited for.
//!
//! A client whose request is there when it is accepted is answered and closed without having been registered: two calls of
//! nine less (measured: 0.75 of the CPU).

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net,
    os::fd::{AsFd, BorrowedFd},
    pin::pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
};

use super::wire::{Wire, poll_receive, poll_send, send};
use crate::{deadline::Deadline, sys};

/// What is read at a time of what nobody wants.
const DISCARDED: usize = 8 * 1024;

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct ClientSocket {
    socket: Socket,
    /// The reactor has been told to forget that there are bytes, so that they are looked for without it.
    eager_read: bool,
    /// The same of room to write, of which a new registration says nothing yet either.
    eager_write: bool,
    /// It was told that the client has ended its direction.
    finished: bool,
}

#[derive(Debug)]
enum Socket {
    Direct(net::TcpStream),
    Registered(TcpStream),
    /// The reactor could not take it.
    Closed,
}

/// How a client left while its request was worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It sends nothing more than what may be there to be read. It may still wait for its answer.
    Finished,
    /// It has reset its connection, or was lost: nobody is there to be answered.
    Reset,
}

impl ClientSocket {
    /// Of a socket that does not block.
    pub(super) fn new(accepted: net::TcpStream) -> Self {
        Self { socket: Socket::Direct(accepted), eager_read: false, eager_write: false, finished: false }
    }

    /// None any more.
    pub(super) fn closed() -> Self {
        Self { socket: Socket::Closed, eager_read: false, eager_write: false, finished: false }
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self.socket, Socket::Registered(_))
    }

    /// Has the reactor tell of it from here on: it is to be waited for, or its end is to be noticed.
    pub(super) fn register(&mut self) -> io::Result<()> {
        if let Socket::Direct(_) = self.socket {
            let Socket::Direct(stream) = std::mem::replace(&mut self.socket, Socket::Closed) else { return Ok(()) };
            // What is there by now is told as if it came later: nothing is lost between a vain read and this.
            self.socket = Socket::Registered(TcpStream::from_std(stream)?);
            self.eager_write = true;
        }
        Ok(())
    }

    /// What is there, 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Socket::Direct(stream) = &self.socket {
            if let done @ Poll::Ready(_) = waits(sys::receive(stream, buffer)) {
                return done;
            }
            self.register()?;
        }
        let Socket::Registered(stream) = &mut self.socket else { return Poll::Ready(Err(closed())) };
        let polled = poll_receive(cx, stream, buffer);
        if polled.is_pending() && self.eager_read {
            let outcome = sys::receive(&*stream, buffer);
            // From a read that leaves room on the kernel tells of what comes.
            self.eager_read = outcome.as_ref().is_ok_and(|count| *count == buffer.len());
            return waits(outcome);
        }
        self.eager_read &= polled.is_pending();
        polled
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Writes what fits of these.
    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Socket::Direct(stream) = &self.socket {
            if let done @ Poll::Ready(_) = waits(send(stream, slices)) {
                return done;
            }
            self.register()?;
            self.eager_write = false;
        }
        let Socket::Registered(stream) = &mut self.socket else { return Poll::Ready(Err(closed())) };
        let polled = poll_send(cx, stream, slices);
        if polled.is_ready() || !self.eager_write {
            self.eager_write = false;
            return polled;
        }
        let outcome = waits(send(&*stream, slices));
        self.eager_write = outcome.is_ready();
        outcome
    }

    /// Ready once when the client has ended its direction, and whenever it has reset: for while its request is worked on.
    /// Whoever goes on after the first has to ask again, to be woken by the second. Bytes that are waiting are no end.
    /// Without registration nothing is noticed. No system call.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let Socket::Registered(stream) = &self.socket else { return Poll::Pending };
        for _ in 0..3 {
            // One that has ended its direction is readable for ever: of its reset the reactor tells as of room to write.
            let polled = if self.finished { stream.poll_write_ready(cx) } else { stream.poll_read_ready(cx) };
            if ready!(polled).is_err() {
                return Poll::Ready(Gone::Reset);
            }
            let known = known(stream);
            if known.is_error() || known.is_write_closed() {
                return Poll::Ready(Gone::Reset);
            }
            if known.is_read_closed() && !self.finished {
                self.finished = true;
                return Poll::Ready(Gone::Finished);
            }
            // To hear of more it is forgotten that there are bytes, or that there is room.
            let (eager, interest) = match self.finished {
                true => (&mut self.eager_write, Interest::WRITABLE),
                false => (&mut self.eager_read, Interest::READABLE),
            };
            *eager = true;
            let _ = stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        // There is news each time: another look, after others had their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the client that nothing more comes.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        sys::shutdown_write(self.descriptor()?)
    }

    /// Has it closed with a reset: what was sent is no whole answer, and must not look like one.
    pub(super) fn set_reset_on_close(&self) -> io::Result<()> {
        sys::set_reset_on_close(self.descriptor()?)
    }

    /// Ends a connection whose client may still be sending: closed with bytes unread it would be reset, and the client
    /// perhaps lose the answer that it was just sent. So it is told, and what it sends is thrown away until it ends, at
    /// most so many bytes and until the deadline, which is set by the caller.
    pub(super) async fn close_gently(mut self, most: usize, deadline: &mut Deadline) {
        let mut left = most;
        if self.shutdown_write().is_ok() {
            poll_fn(|cx| match self.poll_discard(cx, &mut left) {
                Poll::Pending => deadline.poll_due(cx),
                over => over,
            })
            .await;
        }
    }

    /// Ready at the end, or when no more is to be read.
    fn poll_discard(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        let mut bytes = [0; DISCARDED];
        while *left > 0 {
            let wanted = DISCARDED.min(*left);
            match ready!(self.poll_read(cx, &mut bytes[..wanted])) {
                Ok(0) | Err(_) => break,
                Ok(count) => *left -= count,
            }
        }
        Poll::Ready(())
    }

    /// As tokio knows it, to splice with. What the reactor says of it may be out of date: look before you wait.
    pub(super) fn registered(&mut self) -> io::Result<&TcpStream> {
        self.register()?;
        match &self.socket {
            Socket::Registered(stream) => Ok(stream),
            _ => Err(closed()),
        }
    }

    /// As tokio's own, for tunnels: the reactor tells of everything that is there.
    pub(super) fn into_tokio(mut self) -> io::Result<TcpStream> {
        self.register()?;
        match self.socket {
            // It was told to forget something: it learns it again.
            Socket::Registered(stream) if self.eager_read || self.eager_write => {
                TcpStream::from_std(stream.into_std()?)
            }
            Socket::Registered(stream) => Ok(stream),
            _ => Err(closed()),
        }
    }

    fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Direct(stream) => Ok(stream.as_fd()),
            Socket::Registered(stream) => Ok(stream.as_fd()),
            Socket::Closed => Err(closed()),
        }
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

/// What the reactor knows of a socket at the moment.
fn known(stream: &TcpStream) -> Ready {
    let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
    match pin!(stream.ready(interest)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ready)) => ready,
        _ => Ready::EMPTY,
    }
}

fn waits<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream as Far},
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;
    use crate::{deadline::Sweep, driver::now};

    /// A client's end, which blocks, and ours.
    fn pair() -> (Far, ClientSocket) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = Far::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        accepted.set_nonblocking(true).unwrap();
        (far, ClientSocket::new(accepted))
    }

    fn registered_pair() -> (Far, ClientSocket) {
        let (far, mut socket) = pair();
        socket.register().unwrap();
        (far, socket)
    }

    async fn in_time<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(10), future).await.expect("in time")
    }

    async fn read(socket: &mut ClientSocket, most: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; most];
        let count = in_time(poll_fn(|cx| socket.poll_read(cx, &mut buffer))).await?;
        buffer.truncate(count);
        Ok(buffer)
    }

    async fn write_all(socket: &mut ClientSocket, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (first, second) = bytes.split_at(bytes.len() / 2);
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            let count = in_time(poll_fn(|cx| socket.poll_write_vectored(cx, &slices))).await.unwrap();
            bytes = &bytes[count..];
        }
    }

    async fn gone(socket: &mut ClientSocket) -> Gone {
        in_time(poll_fn(|cx| socket.poll_gone(cx))).await
    }

    /// Whether nothing is known of its end after the reactor had many turns.
    async fn stays(socket: &mut ClientSocket) -> bool {
        for _ in 0..100 {
            tokio::task::yield_now().await;
            if poll_fn(|cx| Poll::Ready(socket.poll_gone(cx).is_ready())).await {
                return false;
            }
        }
        true
    }

    fn reset(far: Far) {
        sys::set_reset_on_close(&far).unwrap();
        drop(far);
    }

    #[tokio::test]
    async fn a_request_that_is_there_is_answered_without_the_reactor() {
        let (mut far, mut socket) = pair();
        far.write_all(b"request").unwrap();
        assert_eq!(read(&mut socket, 100).await.unwrap(), b"request");
        write_all(&mut socket, b"answer").await;
        assert!(!socket.is_registered());
        drop(socket);
        let mut answer = String::new();
        far.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn bytes_that_come_between_a_vain_read_and_the_registration_are_not_missed() {
        let (mut far, mut socket) = pair();
        assert!(sys::receive(socket.descriptor().unwrap(), &mut [0]).is_err());
        far.write_all(b"late").unwrap();
        socket.register().unwrap();
        assert_eq!(read(&mut socket, 100).await.unwrap(), b"late");
        drop(far);
        assert_eq!(read(&mut socket, 100).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn bytes_that_come_at_any_moment_are_not_missed() {
        for spins in 0..300 {
            let (mut far, mut socket) = pair();
            let writer = std::thread::spawn(move || {
                (0..spins * 20).for_each(|_| std::hint::spin_loop());
                far.write_all(b"now").unwrap();
                far
            });
            assert_eq!(read(&mut socket, 100).await.unwrap(), b"now");
            drop(writer.join().unwrap());
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_written_when_there_is_room() {
        for register in [false, true] {
            let (mut far, mut socket) = pair();
            if register {
                socket.register().unwrap();
            }
            let sent: Vec<u8> = (0..8 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
            let reader = std::thread::spawn(move || {
                let mut received = Vec::new();
                far.read_to_end(&mut received).map(|_| received)
            });
            write_all(&mut socket, &sent).await;
            drop(socket);
            assert!(reader.join().unwrap().unwrap() == sent);
        }
    }

    #[tokio::test]
    async fn waiting_bytes_are_no_end_and_are_read_afterwards() {
        let (mut far, mut socket) = registered_pair();
        assert!(stays(&mut socket).await);
        for _ in 0..3 {
            far.write_all(b"the next request").unwrap();
            assert!(stays(&mut socket).await);
        }
        // In two pieces: the first leaves something that the reactor will not tell of.
        assert_eq!(read(&mut socket, 8).await.unwrap(), b"the next");
        assert_eq!(read(&mut socket, 100).await.unwrap().len(), 40);
        far.write_all(b"more").unwrap();
        assert_eq!(read(&mut socket, 100).await.unwrap(), b"more");
        write_all(&mut socket, b"answer").await;
        assert!(stays(&mut socket).await);
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_behind_waiting_bytes() {
        let (mut far, mut socket) = registered_pair();
        far.write_all(b"the next request").unwrap();
        assert!(stays(&mut socket).await);
        reset(far);
        assert_eq!(gone(&mut socket).await, Gone::Reset);

        let (mut far, mut socket) = registered_pair();
        far.write_all(b"the next request").unwrap();
        far.shutdown(net::Shutdown::Write).unwrap();
        assert_eq!(gone(&mut socket).await, Gone::Finished);
        assert_eq!(read(&mut socket, 100).await.unwrap(), b"the next request");
    }

    #[tokio::test]
    async fn a_client_that_has_only_ended_its_direction_is_answered_until_it_resets() {
        let (mut far, mut socket) = registered_pair();
        far.shutdown(net::Shutdown::Write).unwrap();
        assert_eq!(gone(&mut socket).await, Gone::Finished);
        assert!(stays(&mut socket).await);
        write_all(&mut socket, b"answer").await;
        far.read_exact(&mut [0; 6]).unwrap();
        assert!(stays(&mut socket).await);
        reset(far);
        assert_eq!(gone(&mut socket).await, Gone::Reset);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_a_reset() {
        let (far, mut socket) = registered_pair();
        let waiting = tokio::spawn(async move { gone(&mut socket).await });
        tokio::task::yield_now().await;
        reset(far);
        assert_eq!(waiting.await.unwrap(), Gone::Reset);
    }

    #[tokio::test]
    async fn a_client_that_still_sends_gets_its_answer() {
        let (sweep, (mut far, mut socket)) = (Sweep::new(), pair());
        let mut deadline = Deadline::new(&sweep);
        far.write_all(&[0; 100_000]).unwrap();
        write_all(&mut socket, b"413").await;
        let client = std::thread::spawn(move || {
            far.write_all(&[0; 1_000_000])?;
            far.shutdown(net::Shutdown::Write)?;
            let mut answer = String::new();
            far.read_to_string(&mut answer).map(|_| answer)
        });
        socket.close_gently(usize::MAX, &mut deadline).await;
        assert_eq!(client.join().unwrap().unwrap(), "413");
    }

    #[tokio::test]
    async fn a_client_that_never_ends_is_closed_all_the_same() {
        let sweep = Sweep::new();
        let test = async {
            let (_far, socket) = pair();
            let mut deadline = Deadline::new(&sweep);
            deadline.set(now());
            in_time(socket.close_gently(1000, &mut deadline)).await;
            let (mut far, socket) = pair();
            deadline.clear();
            far.write_all(&[0; 1000]).unwrap();
            in_time(socket.close_gently(1000, &mut deadline)).await;
        };
        tokio::select! {
            never = std::sync::Arc::clone(&sweep).run() => match never {},
            () = test => {}
        }
    }

    #[tokio::test]
    async fn a_cut_answer_is_a_reset() {
        let (mut far, mut socket) = pair();
        write_all(&mut socket, b"half").await;
        socket.set_reset_on_close().unwrap();
        drop(socket);
        assert!(far.read_to_end(&mut Vec::new()).is_err());
    }

    #[tokio::test]
    async fn as_tokios_own_nothing_of_it_is_forgotten() {
        let (mut far, mut socket) = registered_pair();
        far.write_all(b"tunnelled").unwrap();
        assert!(stays(&mut socket).await);
        let stream = socket.into_tokio().unwrap();
        in_time(stream.readable()).await.unwrap();
        in_time(stream.writable()).await.unwrap();
        assert_eq!(stream.try_read(&mut [0; 100]).unwrap(), 9);
    }
}
