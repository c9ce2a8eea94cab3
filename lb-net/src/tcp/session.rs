//! One client from its connect to its end.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use lb_core::{
    Lease, NoPick, Outcome, Request, Tried, key,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use tokio::{io::Interest, net::TcpStream, time::Instant};

use super::Inner;
#[cfg(feature = "proxy-protocol")]
use super::introduce::{introduced, preface};
use crate::{
    alarm::Alarms,
    connect::race::{self, Contest, Track},
    counted::Counted,
    driver::now,
    observe::{NoConnection, Observer},
    relay::{End, Relay, Relayed},
};

/// A session, written by hand because it lives long and there are many: what is only needed to connect is in a box of
/// its own and gone by then.
#[allow(clippy::large_enum_variant, reason = "nearly all of its life it is the large one: a box would only add to it")]
pub(super) enum Session<T> {
    Connecting(Pin<Box<Connecting<T>>>),
    Relaying(Relaying<T>),
    Ended,
}

type Connecting<T> = dyn Future<Output = Option<Relaying<T>>> + Send;

/// A session with its backend.
pub(super) struct Relaying<T> {
    relay: Relay,
    lease: Lease<T>,
    counted: Counted,
    /// Not there, and in a box, because most sessions are not observed.
    observed: Option<Box<Observed>>,
}

/// What an observer is told at the end.
struct Observed {
    observer: Arc<dyn Observer>,
    client: SocketAddr,
    began: Instant,
}

impl<T: Send + Sync + 'static> Session<T> {
    pub(super) fn new(
        inner: &Arc<Inner<T>>,
        client: std::net::TcpStream,
        peer: SocketAddr,
        seed: u64,
        alarms: &Arc<Alarms>,
    ) -> Self {
        Self::Connecting(Box::pin(connect(Arc::clone(inner), client, peer, seed, Arc::clone(alarms))))
    }
}

async fn connect<T: Send + Sync + 'static>(
    inner: Arc<Inner<T>>,
    client: std::net::TcpStream,
    peer: SocketAddr,
    seed: u64,
    alarms: Arc<Alarms>,
) -> Option<Relaying<T>> {
    inner.tell(|observer| observer.accepted(peer));
    // A client that is closed sees its connection end; in a protocol that is not ours nothing can be said.
    let Ok(client) = TcpStream::from_std(client) else {
        inner.tell(|observer| observer.no_backend(peer, NoConnection::Shortage));
        return None;
    };
    #[cfg(feature = "proxy-protocol")]
    let route = introduced(&inner, &client, peer, &alarms).await?;
    #[cfg(feature = "proxy-protocol")]
    let peer = route.as_ref().map_or(peer, |route| route.source());
    match connected(&inner, &client, peer, seed, alarms).await {
        Ok((upstream, lease)) => {
            #[cfg(feature = "proxy-protocol")]
            let preface = preface(&inner, &client, peer, route.as_deref());
            let relay = Relay::new(client, upstream, &inner.settings.relay);
            #[cfg(feature = "proxy-protocol")]
            let relay = match preface {
                Some(header) => relay.with_preface(&header),
                None => relay,
            };
            Some(Relaying::new(&inner, peer, relay, lease))
        }
        Err(reason) => {
            inner.tell(|observer| observer.no_backend(peer, reason));
            None
        }
    }
}

async fn connected<T: Send + Sync + 'static>(
    inner: &Inner<T>,
    client: &TcpStream,
    peer: SocketAddr,
    seed: u64,
    alarms: Arc<Alarms>,
) -> Result<(TcpStream, Lease<T>), NoConnection> {
    let track = Track {
        connector: &inner.connector,
        race: &inner.race,
        timeout: inner.settings.connect_timeout,
        silence: inner.settings.race,
        observer: inner.observer.as_ref(),
        client: peer,
    };
    let rng = SmallRng::seed_from_u64(seed);
    let (key, somebody) = (key::of_address(peer.ip()), key::of_client(peer.ip()));
    let mut candidates = Candidates { inner, client, key, somebody, rng };
    let connected = race::connect(track, &mut candidates, None, &mut Tried::default(), alarms).await;
    connected.map(|(stream, mut lease)| {
        lease.answered(now());
        lease.connected();
        (stream, lease)
    })
}

/// Backends for one client.
struct Candidates<'a, T> {
    inner: &'a Inner<T>,
    client: &'a TcpStream,
    key: u64,
    /// Who it is for those who count distinct clients.
    somebody: u64,
    rng: SmallRng,
}

impl<T: Send + Sync> Contest<T> for Candidates<'_, T> {
    fn pick(&mut self, tried: &Tried) -> Result<Lease<T>, NoPick> {
        let request = Request::new(now()).with_key(self.key).with_client(self.somebody).with_tried(tried);
        self.inner.balancer.pick(&request, &mut self.rng)
    }

    async fn gone(&mut self) {
        // A reset; not an orderly end, which is a half-close and is served.
        let _ = self.client.ready(Interest::ERROR).await;
    }
}

impl<T> Relaying<T> {
    fn new(inner: &Inner<T>, client: SocketAddr, mut relay: Relay, lease: Lease<T>) -> Self {
        if let Some(tap) = inner.observer.as_ref().and_then(|observer| observer.tap(client, lease.name())) {
            relay = relay.with_tap(tap);
        }
        let follower = inner.observer.as_ref().filter(|observer| observer.follows(client, lease.name()));
        let observed = follower.map(|observer| {
            let (observer, began) = (Arc::clone(observer), Instant::now());
            Box::new(Observed { observer, client, began })
        });
        Self { relay, lease, counted: Counted::default(), observed }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Relayed> {
        let polled = Pin::new(&mut self.relay).poll(cx);
        self.counted.note(self.relay.moved_bytes(), polled.is_ready(), &self.lease);
        polled
    }

    fn end(self, relayed: &Relayed) {
        // The backend sees the end before its place is free for another.
        drop(self.relay);
        if let Some(Observed { observer, client, began }) = self.observed.as_deref() {
            observer.ended(*client, self.lease.name(), relayed, began.elapsed());
        }
        self.lease.finish(outcome(relayed), now());
    }
}

impl<T> Future for Session<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Connecting(connecting) = &mut *self {
            match ready!(connecting.as_mut().poll(cx)) {
                Some(relaying) => *self = Self::Relaying(relaying),
                None => return Poll::Ready(()),
            }
        }
        let Self::Relaying(relaying) = &mut *self else { return Poll::Ready(()) };
        let relayed = ready!(relaying.poll(cx));
        if let Self::Relaying(relaying) = std::mem::replace(&mut *self, Self::Ended) {
            relaying.end(&relayed);
        }
        Poll::Ready(())
    }
}

/// What a session says of its backend.
fn outcome(relayed: &Relayed) -> Outcome {
    match relayed.end {
        End::UpstreamReset if relayed.to_client_bytes == 0 => Outcome::Broken,
        End::ClientReset => Outcome::Cancelled,
        _ => Outcome::Success,
    }
}
