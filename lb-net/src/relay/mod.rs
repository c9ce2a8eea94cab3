//! Bytes both ways between a client and its backend, until both have said all they had to say.

mod flow;
pub(crate) mod pipe;
mod tap;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::driver::later;
use crate::sys;
#[cfg(feature = "http")]
pub(crate) use flow::yield_to_others;
use flow::{Fault, Flow, State};
use tap::Ear;
pub use tap::{Direction, Tap};

/// For so long it may take nothing of what the other one said before it was lost.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How sessions behave.
///
/// ```
/// use std::time::Duration;
/// let settings = lb_net::relay::Settings::default().with_idle_timeout(Some(Duration::from_secs(300)));
/// assert_eq!(settings.idle_timeout, Some(Duration::from_secs(300)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// A session in which no byte moved in either direction for this long is closed. Without: it may idle for ever.
    pub idle_timeout: Option<Duration>,
}

impl Settings {
    /// The same with this idle timeout.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }
}

/// How a session ended.
/// ```
/// use lb_net::relay::End;
/// let in_a_log = |end: End| match end {
///     End::Finished => "finished",
///     End::ClientReset => "the client has gone",
///     _ => "broken off",
/// };
/// assert_eq!(in_a_log(End::IdleTimeout), "broken off");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides ended their direction, and all of it was written.
    Finished,
    /// The client reset the connection or was lost; the backend was sent a reset.
    ClientReset,
    /// The backend reset the connection or was lost; the client was sent a reset.
    UpstreamReset,
    /// No byte moved for as long as [`Settings::idle_timeout`]; both connections were closed.
    IdleTimeout,
}

/// What became of a session.
/// ```
/// # use tokio::{io::AsyncWriteExt, net::{TcpListener, TcpStream}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # let (front, back) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
/// # let mut user = TcpStream::connect(front.local_addr()?).await?;
/// # let (client, upstream) = (front.accept().await?.0, TcpStream::connect(back.local_addr()?).await?);
/// # let mut server = back.accept().await?.0;
/// use lb_net::relay::{End, Relay, Relayed, Settings};
/// user.write_all(b"hello").await?;
/// user.shutdown().await?;
/// server.shutdown().await?;
/// let relayed: Relayed = Relay::new(client, upstream, &Settings::default()).await;
/// assert_eq!((relayed.to_upstream_bytes, relayed.to_client_bytes, relayed.end), (5, 0, End::Finished));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relayed {
    /// Bytes that went from the client to the backend.
    pub to_upstream_bytes: u64,
    /// Bytes that went from the backend to the client.
    pub to_client_bytes: u64,
    /// How it ended.
    pub end: End,
}

/// The moment of the last byte, and the one timer that looks at it.
#[derive(Debug)]
struct Idle {
    timeout: Duration,
    last_byte: Instant,
    /// Armed again only when it fires, never when a byte moves.
    timer: Pin<Box<Sleep>>,
}

/// A session, as a future: it copies until the end and closes both sockets. Dropping it closes them at once.
///
/// It holds no buffer while nothing is stuck: an idle session costs this struct and what tokio keeps for two sockets.
///
/// ```
/// # use tokio::net::{TcpListener, TcpStream};
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # let (front, back) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
/// # let mut user = TcpStream::connect(front.local_addr()?).await?;
/// let (client, _) = front.accept().await?;
/// let upstream = TcpStream::connect(back.local_addr()?).await?;
/// let session = tokio::spawn(lb_net::relay::Relay::new(client, upstream, &Default::default()));
/// # let (mut server, _) = back.accept().await?;
/// user.write_all(b"hello").await?;
/// drop((user, server));
/// println!("{:?}", session.await?); // Relayed { to_upstream_bytes: 5, to_client_bytes: 0, end: .. }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Relay {
    client: TcpStream,
    upstream: TcpStream,
    to_upstream: Flow,
    to_client: Flow,
    extra: Option<Box<Extra>>,
}

/// What few sessions have: one word of a session that has none of it.
#[derive(Default)]
struct Extra {
    idle: Option<Idle>,
    tap: Option<Box<dyn Tap>>,
    last_words: Option<LastWords>,
}

/// What a side that is lost has said before, on its way to the other one.
struct LastWords {
    /// Bytes so far.
    moved: (u64, u64),
    idle: Idle,
}

impl Relay {
    /// A session between these two; nothing moves before it is polled.
    pub fn new(client: TcpStream, upstream: TcpStream, settings: &Settings) -> Self {
        let extra =
            settings.idle_timeout.map(|timeout| Box::new(Extra { idle: Some(Idle::new(timeout)), ..Extra::default() }));
        // The client has often sent its first bytes while the backend was being connected.
        Self { client, upstream, to_upstream: Flow::eager(), to_client: Flow::default(), extra }
    }

    /// With someone who listens in, from the first byte.
    pub fn with_tap(mut self, tap: Box<dyn Tap>) -> Self {
        self.to_upstream.copy_always();
        self.to_client.copy_always();
        self.extra.get_or_insert_default().tap = Some(tap);
        self
    }

    /// With bytes that the backend gets before anything that the client says, such as who the client is. They are neither
    /// counted nor tapped.
    pub fn with_preface(mut self, preface: &[u8]) -> Self {
        self.to_upstream.begin_with(preface);
        self
    }

    /// Bytes so far: to the backend, to the client.
    #[must_use]
    pub fn moved_bytes(&self) -> (u64, u64) {
        (self.to_upstream.moved, self.to_client.moved)
    }

    /// Memory held for bytes that one side sent and the other does not take; 0 when the session idles.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.to_upstream.held_bytes() + self.to_client.held_bytes()
    }

    fn expired(&mut self, cx: &mut Context<'_>, moved: bool) -> bool {
        let idle = self.extra.as_mut().and_then(|extra| extra.idle.as_mut());
        idle.is_some_and(|idle| idle.expired(cx, moved))
    }

    /// One side is lost, and what it said before goes this way to the other one, which is not listened to any more. Has it
    /// taken nothing for so long that it is not waited for?
    fn is_given_up(&mut self, cx: &mut Context<'_>, way: Direction) -> bool {
        match way {
            Direction::ToUpstream => self.to_client.discard(cx, &mut self.upstream),
            _ => self.to_upstream.discard(cx, &mut self.client),
        }
        let moved = self.moved_bytes();
        let last = self
            .extra
            .get_or_insert_default()
            .last_words
            .get_or_insert_with(|| LastWords { moved, idle: Idle::new(LAST_WORDS) });
        let has_moved = std::mem::replace(&mut last.moved, moved) != moved;
        last.idle.expired(cx, has_moved)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let Self { client, upstream, to_upstream, to_client, extra } = self;
        let mut tap = extra.as_mut().and_then(|extra| extra.tap.as_mut());
        let mut ear = Ear { tap: tap.as_deref_mut(), direction: Direction::ToUpstream };
        match to_upstream.advance(cx, client, upstream, &mut ear) {
            Err(Fault::Source) => return Some(End::ClientReset),
            Err(Fault::Sink) => return Some(End::UpstreamReset),
            Ok(()) => {}
        }
        let mut ear = Ear { tap, direction: Direction::ToClient };
        match to_client.advance(cx, upstream, client, &mut ear) {
            Err(Fault::Source) => return Some(End::UpstreamReset),
            Err(Fault::Sink) => return Some(End::ClientReset),
            Ok(()) => {}
        }
        match (to_upstream.state, to_client.state) {
            (State::Open, State::Open) => None,
            (State::Open, State::Lost) => self.is_given_up(cx, Direction::ToUpstream).then_some(End::ClientReset),
            (State::Lost, State::Open) => self.is_given_up(cx, Direction::ToClient).then_some(End::UpstreamReset),
            (State::Lost, _) => Some(End::UpstreamReset),
            (_, State::Lost) => Some(End::ClientReset),
            (_, State::Open) => {
                to_upstream.shut_sink(cx, upstream);
                to_client.lost_sink(cx, client).then_some(End::ClientReset)
            }
            (State::Open, _) => {
                to_client.shut_sink(cx, client);
                to_upstream.lost_sink(cx, upstream).then_some(End::UpstreamReset)
            }
            // Closing says the rest: no shutdown needed.
            _ => Some(End::Finished),
        }
    }
}

impl Future for Relay {
    type Output = Relayed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Relayed> {
        let this = &mut *self;
        let (before, is_new) = (this.moved_bytes(), this.to_upstream.is_new());
        let mut end = this.poll_end(cx);
        let moved = this.moved_bytes() != before;
        if is_new {
            // Where the client waits for the server to speak, the server may wait for our handshake to end; and a server
            // that answers in pieces waits with the second until it has heard that the first has come.
            let _ = sys::acknowledge(&this.upstream);
        }
        if end.is_none() && this.expired(cx, moved) {
            end = Some(End::IdleTimeout);
        }
        let Some(end) = end else { return Poll::Pending };
        // A socket that cannot be told is one that is gone.
        let _ = match end {
            End::ClientReset => sys::set_reset_on_close(&this.upstream),
            End::UpstreamReset => sys::set_reset_on_close(&this.client),
            End::Finished | End::IdleTimeout => Ok(()),
        };
        let (to_upstream_bytes, to_client_bytes) = this.moved_bytes();
        Poll::Ready(Relayed { to_upstream_bytes, to_client_bytes, end })
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extra").field("idle", &self.idle).field("tapped", &self.tap.is_some()).finish()
    }
}

impl Idle {
    fn new(timeout: Duration) -> Self {
        Self { timeout, last_byte: Instant::now(), timer: Box::pin(tokio::time::sleep(timeout)) }
    }

    fn expired(&mut self, cx: &mut Context<'_>, moved: bool) -> bool {
        if moved {
            self.last_byte = Instant::now();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let due = later(self.last_byte, self.timeout);
            if due <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(due);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (far, listener.accept().await.unwrap().0)
    }

    /// Sends `count` times `bytes` through a session, each after the one before has arrived.
    async fn exchange(bytes: usize, count: usize) {
        let (mut user, client) = pair().await;
        let (mut server, upstream) = pair().await;
        let session = tokio::spawn(Relay::new(client, upstream, &Settings::default()));
        for _ in 0..count {
            let (sent, mut received) = (vec![5; bytes], vec![0; bytes]);
            let (write, read) = tokio::join!(user.write_all(&sent), server.read_exact(&mut received));
            write.and(read).unwrap();
            assert!(sent == received);
        }
        drop((user, server));
        assert_eq!(session.await.unwrap().to_upstream_bytes, (bytes * count) as u64);
    }

    // A test has its own thread, and so its own pool.
    #[tokio::test]
    async fn bulk_is_spliced_and_its_pipe_goes_back_to_the_pool() {
        exchange(8 << 20, 1).await;
        assert_eq!(pipe::pooled(), 1);
    }

    #[tokio::test]
    async fn small_messages_are_copied() {
        exchange(1000, 100).await;
        assert_eq!(pipe::pooled(), 0);
    }
}
