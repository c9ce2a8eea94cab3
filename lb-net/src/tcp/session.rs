//! One client from its connect to its end.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use lb_core::{
    Lease, Outcome,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use tokio::net::TcpStream;

use super::{Inner, race};
use crate::{
    alarm::Alarms,
    driver::now,
    relay::{End, Relay, Relayed},
};

/// A session, written by hand because it lives long and there are many: what is only needed to connect is in a box of
/// its own and gone by then.
pub(super) enum Session<T> {
    Connecting(Pin<Box<Connecting<T>>>),
    Relaying(Relay, Lease<T>),
    Ended,
}

type Connecting<T> = dyn Future<Output = Option<(Relay, Lease<T>)>> + Send;

impl<T: Send + Sync + 'static> Session<T> {
    pub(super) fn new(
        inner: &Arc<Inner<T>>,
        client: std::net::TcpStream,
        peer: SocketAddr,
        seed: u64,
        alarms: &Arc<Alarms>,
    ) -> Self {
        let (inner, alarms) = (Arc::clone(inner), Arc::clone(alarms));
        Self::Connecting(Box::pin(async move {
            // A client that cannot be registered cannot be served: no descriptors, or no kernel memory.
            let client = TcpStream::from_std(client).ok()?;
            let rng = SmallRng::seed_from_u64(seed);
            // Without a backend the client sees its connection end; in a protocol that is not ours nothing can be said.
            let (upstream, lease) = race::connect(&inner, &client, peer, rng, alarms).await.ok()?;
            Some((Relay::new(client, upstream, &inner.settings.relay), lease))
        }))
    }
}

impl<T> Future for Session<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Connecting(connecting) = &mut *self {
            match ready!(connecting.as_mut().poll(cx)) {
                Some((relay, lease)) => *self = Self::Relaying(relay, lease),
                None => return Poll::Ready(()),
            }
        }
        let Self::Relaying(relay, _) = &mut *self else { return Poll::Ready(()) };
        let relayed = ready!(Pin::new(relay).poll(cx));
        if let Self::Relaying(relay, lease) = std::mem::replace(&mut *self, Self::Ended) {
            // The backend sees the end before its place is free for another.
            drop(relay);
            lease.finish(outcome(&relayed), now());
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
