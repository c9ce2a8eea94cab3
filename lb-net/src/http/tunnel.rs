//! Another protocol on a connection that has begun with HTTP: bytes both ways (RFC 9110 section 7.8).

use std::time::{Instant, SystemTime};

use lb_core::{Lease, Outcome};
use tokio::net::TcpStream;

use super::{
    Reason, Record,
    parts::Parts,
    story::{End, Story},
};
use crate::{
    driver::now,
    relay::{self, Relay, Settings},
};

/// Client and backend have agreed on another protocol.
pub(super) struct Tunnel<T> {
    upstream: TcpStream,
    lease: Lease<T>,
    story: Story,
    began: Instant,
}

impl<T: Send + Sync + 'static> Tunnel<T> {
    pub(super) fn new(upstream: TcpStream, lease: Lease<T>, story: Story, began: Instant) -> Self {
        Self { upstream, lease, story, began }
    }

    /// Relays until both have said all they had to say, or nothing moves for too long.
    pub(super) async fn run(self, parts: &mut Parts<T>) {
        let Self { upstream, lease, story, began } = self;
        let settings = Settings::default().with_idle_timeout(parts.proxy.inner.settings.times.tunnel_idle);
        parts.deadline.clear();
        let end = match parts.take_socket().into_tokio() {
            Ok(client) => {
                let mut relay = Relay::new(client, upstream, &settings);
                if !parts.input.is_empty() {
                    relay = relay.with_preface(parts.input.filled());
                }
                parts.input.release();
                let relayed = relay.await;
                lease.add_bytes(relayed.to_upstream_bytes, relayed.to_client_bytes);
                let reason = match relayed.end {
                    relay::End::ClientReset => Some(Reason::ClientGone),
                    relay::End::UpstreamReset => Some(Reason::AnswerCut),
                    relay::End::IdleTimeout => Some(Reason::TunnelTimeout),
                    relay::End::Finished => None,
                };
                let (request_bytes, answer_bytes) = (relayed.to_upstream_bytes, relayed.to_client_bytes);
                End { status: 101, reason, cut: reason.is_some(), request_bytes, answer_bytes }
            }
            Err(_) => End { status: 101, reason: Some(Reason::Shortage), cut: true, request_bytes: 0, answer_bytes: 0 },
        };
        let record = Record::new(parts.client, SystemTime::UNIX_EPOCH);
        parts.tell(&mut story.record(Some(lease.name()), end, record), began, now());
        let (backend, gone) = (lease.id(), end.reason == Some(Reason::ClientGone));
        lease.finish(if gone { Outcome::Cancelled } else { Outcome::Success }, now());
        parts.proxy.inner.common.waiting.freed(backend);
    }
}
