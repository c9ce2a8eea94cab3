//! Where a backend is reached.

use std::{net::SocketAddr, sync::Arc};

/// Where a backend is reached: what [`Dialer`](super::Dialer) needs to know of a balancer's payload.
/// ```
/// use lb_net::connect::Addresses;
/// let backend: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
/// assert_eq!((backend.address(0), backend.address(1)), (Some(backend), None));
/// ```
pub trait Addresses: Send + Sync + 'static {
    /// Its address number `at`, from 0; `None` behind the last. They may be others a moment later.
    fn address(&self, at: usize) -> Option<SocketAddr>;

    /// At which of several addresses the next connect is to begin, modulo their number. The default tries them in their
    /// order each time; `resolve::Endpoint` takes turns.
    fn turn(&self) -> usize {
        0
    }

    /// All of them.
    fn all_addresses(&self) -> Vec<SocketAddr> {
        (0..).map_while(|at| self.address(at)).collect()
    }
}

impl Addresses for SocketAddr {
    fn address(&self, at: usize) -> Option<SocketAddr> {
        (at == 0).then_some(*self)
    }
}

impl Addresses for Vec<SocketAddr> {
    fn address(&self, at: usize) -> Option<SocketAddr> {
        self.get(at).copied()
    }
}

impl Addresses for Arc<[SocketAddr]> {
    fn address(&self, at: usize) -> Option<SocketAddr> {
        self.get(at).copied()
    }
}
