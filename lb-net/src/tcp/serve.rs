//! Accepts clients until the end.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use lb_core::rand::{Rng as _, SeedableRng, rngs::SmallRng};
use tokio::sync::watch;

use super::{Inner, TcpProxy, session::Session};
use crate::{
    alarm::Alarms,
    drain::{Sessions, Stop},
    driver::now,
    listener::Listener,
    room::{self, Place},
};

/// Returns how many sessions had to be cut.
pub(super) async fn serve<T: Send + Sync + 'static>(
    mut host: Host<T>,
    mut listener: Listener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<usize> {
    let mut sessions = Sessions::default();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            // First, because under a load that never lets the queue run empty nothing behind it would be asked.
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted?,
        };
        if let Some(place) = host.try_room() {
            host.begin(&mut sessions, accepted, place);
            continue;
        }
        tokio::select! {
            biased;
            () = &mut shutdown => {
                host.begin_all(&mut sessions, accepted);
                break;
            }
            place = host.room() => host.begin(&mut sessions, accepted, place),
        }
    }
    let grace = host.latest().settings.grace;
    // Nobody is waited for to speak: clients are handed out as soon as they have connected.
    let stop = Stop { grace, speech: Duration::ZERO };
    stop.run(listener, sessions, |sessions, accepted| host.begin_all(sessions, accepted)).await
}

/// Begins the sessions of one listener.
pub(super) struct Host<T> {
    proxies: watch::Receiver<TcpProxy<T>>,
    inner: Arc<Inner<T>>,
    alarms: Arc<Alarms>,
    rng: SmallRng,
    /// As many clients as there are descriptors for.
    affordable: usize,
}

impl<T: Send + Sync + 'static> Host<T> {
    pub(super) fn new(mut proxies: watch::Receiver<TcpProxy<T>>, alarms: Arc<Alarms>) -> Self {
        let inner = Arc::clone(&proxies.borrow_and_update().inner);
        let seed = inner.seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher as _, RandomState};
            RandomState::new().hash_one(now())
        });
        Self { proxies, inner, alarms, rng: SmallRng::seed_from_u64(seed), affordable: room::affordable() }
    }

    /// The proxy that is in force.
    fn latest(&mut self) -> &Arc<Inner<T>> {
        // A look at a number; an error is the end of the sender, which sends nothing more.
        if self.proxies.has_changed().unwrap_or(false) {
            self.inner = Arc::clone(&self.proxies.borrow_and_update().inner);
        }
        &self.inner
    }

    fn begin(&mut self, sessions: &mut Sessions, (client, peer): (TcpStream, SocketAddr), place: Place) {
        let (seed, alarms) = (self.rng.next_u64(), Arc::clone(&self.alarms));
        sessions.spawn(place, Session::new(self.latest(), client, peer, seed, &alarms));
    }

    /// At the end all are served that have come.
    fn begin_all(&mut self, sessions: &mut Sessions, accepted: (TcpStream, SocketAddr)) {
        let place = self.inner.room.enter();
        self.begin(sessions, accepted, place);
    }

    /// Room for one more client, if there is some at once.
    fn try_room(&self) -> Option<Place> {
        self.inner.room.try_enter(self.affordable)
    }

    /// Waits for it.
    async fn room(&self) -> Place {
        self.inner.tell(|observer| observer.crowded(self.affordable));
        self.inner.room.wait(|| self.affordable).await
    }
}
