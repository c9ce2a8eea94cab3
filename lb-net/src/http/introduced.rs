//! Who asks, where a proxy in front of us says so (PROXY protocol).

use std::net::SocketAddr;

use super::parts::Parts;
use crate::proxy_protocol::{Header, MOST_BYTES};

/// What became of a PROXY header.
pub(super) enum Introduction {
    /// None is expected, or it is read by now.
    Done,
    /// More bytes are needed.
    Partial,
    /// It is none: the connection ends.
    Refused,
}

impl<T: Send + Sync + 'static> Parts<T> {
    /// Reads the header that a connection from a trusted network begins with.
    pub(super) fn introduce(&mut self) -> Introduction {
        let expected = self.proxy.inner.accept_proxy.as_ref().filter(|accept| accept.networks.contain(self.peer.ip()));
        if expected.is_none() {
            return Introduction::Done;
        }
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
        if let Some(client) = client {
            self.set_client(client);
        }
        Introduction::Done
    }

    fn set_client(&mut self, client: SocketAddr) {
        if let Some(observer) = &self.proxy.inner.observer {
            observer.introduced(self.peer, client);
        }
        self.introduced = client;
        self.asks(client);
    }
}
