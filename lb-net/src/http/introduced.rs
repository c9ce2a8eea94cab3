//! Who asks, where a proxy in front of us says so (PROXY protocol).

use std::{net::SocketAddr, time::Duration};

use super::{Inner, pace, parts::Parts};
use crate::{
    driver::now,
    proxy_protocol::{AcceptProxy, Header, MOST_BYTES},
};

/// What became of a PROXY header.
pub(super) enum Introduction {
    /// It is read.
    Done,
    /// More bytes are needed.
    Partial,
    /// It is none: the connection ends.
    Refused,
}

/// Why a peer that is to introduce its client was closed.
#[derive(Debug, thiserror::Error)]
#[error("it sent no PROXY header within {0:?}")]
struct Late(Duration);

/// What is expected of this peer, if it is to introduce its client.
pub(super) fn expected<T>(inner: &Inner<T>, peer: SocketAddr) -> Option<&AcceptProxy> {
    inner.accept_proxy.as_ref().filter(|accept| accept.networks.contain(peer.ip()))
}

impl<T: Send + Sync + 'static> Parts<T> {
    /// Reads the header that a connection from a trusted network begins with.
    pub(super) fn introduce(&mut self) -> Introduction {
        let (client, bytes) = match Header::parse(self.input.filled()) {
            Ok(Some((header, bytes))) => (header.route.map(|route| route.source()), bytes),
            Ok(None) if self.input.len() <= MOST_BYTES => return Introduction::Partial,
            Ok(None) => return Introduction::Refused,
            Err(error) => {
                if let Some(observer) = &self.proxy.inner.observer {
                    observer.refused(self.peer, &error);
                }
                return Introduction::Refused;
            }
        };
        self.input.consume(bytes);
        // The request has its own time.
        self.idle_until = pace::after(self.began, self.proxy.inner.settings.times.head);
        if let Some(client) = client {
            self.set_client(client);
        }
        Introduction::Done
    }

    /// Tells that the time for the header is over, if that is why the connection ends.
    #[cold]
    pub(super) fn tell_late(&self) {
        let inner = &self.proxy.inner;
        if let (true, Some(observer), Some(accept)) = (now() >= self.idle_until, &inner.observer, &inner.accept_proxy) {
            observer.refused(self.peer, &Late(accept.timeout.min(inner.settings.times.head)));
        }
    }

    fn set_client(&mut self, client: SocketAddr) {
        if let Some(observer) = &self.proxy.inner.observer {
            observer.introduced(self.peer, client);
        }
        self.introduced = client;
        self.asks(client);
    }
}
