//! Graceful stop: serve who has connected, finish what runs, give up after the grace period.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
    },
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    sync::Notify,
    task::{AbortHandle, coop::consume_budget},
    time::{Instant, sleep, timeout},
};

use crate::{listener::Listener, room::Place};

/// For how long those who have begun to connect may finish that before the listener is closed. Nobody else is let in
/// meanwhile.
const HANDSHAKE: Duration = Duration::from_millis(10);

/// The end of one listener and of its sessions.
#[derive(Debug)]
pub(crate) struct Stop {
    /// How long all of it may take.
    pub(crate) grace: Duration,
    /// For how long those who have connected may still begin to speak, where clients are not handed out before.
    pub(crate) speech: Duration,
}

impl Stop {
    /// Begins a session for everybody who has connected, closes the listener, and waits for all sessions to end. Returns
    /// how many had to be ended after the grace period.
    pub(crate) async fn run(
        self,
        mut listener: Listener,
        mut sessions: Sessions,
        mut begin: impl FnMut(&mut Sessions, (TcpStream, SocketAddr)),
    ) -> io::Result<usize> {
        let stopped = Instant::now();
        // Within the grace: without descriptors the queue does not run empty, nor where clients come faster than this.
        let emptied = timeout(self.grace, self.empty(&mut listener, |accepted| begin(&mut sessions, accepted)));
        let emptied = emptied.await.unwrap_or(Ok(()));
        drop(listener);
        // That the listener has failed is not the fault of those who are served.
        let cut = sessions.drain(self.grace.saturating_sub(stopped.elapsed())).await;
        emptied.map(|()| cut)
    }

    /// Accepts until nobody is left to be cut off by a close.
    async fn empty(&self, listener: &mut Listener, mut begin: impl FnMut((TcpStream, SocketAddr))) -> io::Result<()> {
        if !listener.is_open() {
            // Somebody else has the same socket, and brings it to its end.
            return Ok(());
        }
        accept_for(self.speech, listener, &mut begin).await?;
        // Where that is not possible, who connects at the very last moment is cut off.
        let _ = listener.ignore_new();
        accept_for(HANDSHAKE, listener, &mut begin).await?;
        while let Some(accepted) = listener.accept_queued().await? {
            begin(accepted);
            consume_budget().await;
        }
        Ok(())
    }
}

/// Accepts for so long.
async fn accept_for(
    time: Duration,
    listener: &mut Listener,
    mut begin: impl FnMut((TcpStream, SocketAddr)),
) -> io::Result<()> {
    let mut over = pin!(sleep(time));
    loop {
        tokio::select! {
            biased;
            () = &mut over => return Ok(()),
            accepted = listener.accept() => begin(accepted?),
        }
    }
}

/// The sessions of one listener. Dropping them ends those that still run.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    count: Arc<Count>,
    handles: Vec<AbortHandle>,
}

#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    all_ended: Notify,
}

/// Counts one session for as long as it lives, and keeps its place.
#[derive(Debug)]
struct Counted {
    count: Arc<Count>,
    _place: Place,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.count.running.fetch_sub(1, AcqRel) == 1 {
            self.count.all_ended.notify_one();
        }
    }
}

pin_project! {
    /// A session that counts. Not an async block: that would hold its session twice.
    struct Session<F> {
        #[pin]
        future: F,
        _counted: Counted,
    }
}

impl<F: Future<Output = ()>> Future for Session<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx)
    }
}

impl Sessions {
    /// Runs a session on the current runtime.
    pub(crate) fn spawn(&mut self, place: Place, session: impl Future<Output = ()> + Send + 'static) {
        self.count.running.fetch_add(1, AcqRel);
        let counted = Counted { count: Arc::clone(&self.count), _place: place };
        let task = tokio::spawn(Session { future: session, _counted: counted });
        // Handles of ended sessions go when they are half of all: a constant effort for each session.
        if self.handles.len() >= 64 && self.handles.len() >= 2 * self.count.running.load(Acquire) {
            self.handles.retain(|handle| !handle.is_finished());
        }
        self.handles.push(task.abort_handle());
    }

    /// Waits until all have ended, for as long as `grace`; then ends the rest. Returns how many had to be ended.
    pub(crate) async fn drain(self, grace: Duration) -> usize {
        let _ = timeout(grace, self.all_ended()).await;
        let cut = self.count.running.load(Acquire);
        self.end_all();
        self.all_ended().await;
        cut
    }

    fn end_all(&self) {
        self.handles.iter().for_each(AbortHandle::abort);
    }

    async fn all_ended(&self) {
        while self.count.running.load(Acquire) > 0 {
            self.count.all_ended.notified().await;
        }
    }
}

/// Whoever drops what serves them has no other way to end them.
impl Drop for Sessions {
    fn drop(&mut self) {
        self.end_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::bind;

    const STOP: Stop = Stop { grace: Duration::from_secs(20), speech: Duration::ZERO };

    fn listen(address: &str) -> io::Result<Listener> {
        Listener::new(bind(address.parse().unwrap(), 1).map_err(|error| error.source)?.remove(0))
    }

    #[tokio::test]
    async fn when_nobody_is_left_in_the_queue_nobody_else_comes_there() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Some machines have no IPv6.
            let Ok(mut listener) = listen(address) else { continue };
            let (address, mut taken) = (listener.local_address().unwrap(), Vec::new());
            let client = TcpStream::connect(address).unwrap();
            STOP.empty(&mut listener, |accepted| taken.push(accepted)).await.unwrap();
            let late = TcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            assert!(taken.len() == 1 && taken[0].1 == client.local_addr().unwrap(), "{taken:?}");
        }
    }

    #[cfg(feature = "instance")]
    #[tokio::test]
    async fn whose_turn_it_is_not_leaves_the_end_of_the_socket_to_others() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let closed = tokio::sync::watch::channel(false).1;
        let other = Listener::new(socket.try_clone().unwrap()).unwrap().while_open(closed);
        let mut listener = Listener::new(socket).unwrap();
        assert_eq!(STOP.run(other, Sessions::default(), |_, _| ()).await.unwrap(), 0);
        let client = TcpStream::connect_timeout(&listener.local_address().unwrap(), Duration::from_secs(10)).unwrap();
        let (_, peer) = listener.accept_queued().await.unwrap().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }
}
