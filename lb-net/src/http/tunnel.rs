//! Another protocol on a connection that has begun with HTTP: bytes both ways (RFC 9110 section 7.8).

use lb_core::{Lease, Outcome};
use tokio::net::TcpStream;

use super::connection::Parts;
use crate::{
    driver::now,
    relay::{End, Relay, Settings},
};

/// Client and backend have agreed on another protocol.
pub(super) struct Tunnel<T> {
    upstream: TcpStream,
    lease: Lease<T>,
}

impl<T: Send + Sync + 'static> Tunnel<T> {
    pub(super) fn new(upstream: TcpStream, lease: Lease<T>) -> Self {
        Self { upstream, lease }
    }

    /// Relays until both have said all they had to say, or nothing moves for too long.
    pub(super) async fn run(self, parts: Parts<T>) {
        let Self { upstream, lease } = self;
        let settings = Settings::default().with_idle_timeout(parts.proxy.inner.settings.times.tunnel_idle);
        let Parts { socket, mut input, deadline, .. } = parts;
        deadline.clear();
        let Ok(client) = socket.into_tokio() else { return };
        let mut relay = Relay::new(client, upstream, &settings);
        if !input.is_empty() {
            relay = relay.with_preface(input.filled());
        }
        input.release();
        let relayed = relay.await;
        lease.add_bytes(relayed.to_upstream_bytes, relayed.to_client_bytes);
        let outcome = if relayed.end == End::ClientReset { Outcome::Cancelled } else { Outcome::Success };
        lease.finish(outcome, now());
    }
}
