//! One backend's name and port, and the addresses that they stand for at the moment.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use super::{ResolveError, addresses_of, lookup};
use crate::connect::Addresses;

/// A backend by its name: what to give a balancer as payload, so that its addresses can change while it is served.
///
/// A clone is another handle to the same addresses. Connects take turns at them.
/// ```
/// use lb_net::{connect::Addresses, resolve::Endpoint};
/// let backend = Endpoint::new("127.0.0.1", 8080)?;
/// assert_eq!(backend.addresses()[..], ["127.0.0.1:8080".parse().unwrap()]);
/// assert_eq!((backend.to_string().as_str(), backend.is_numeric()), ("127.0.0.1:8080", true));
/// # Ok::<(), lb_net::resolve::ResolveError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: String,
    numeric: bool,
    known: ArcSwap<Known>,
    turns: AtomicUsize,
}

/// In one, so that of an answer and a port that come together neither undoes the other.
#[derive(Debug)]
struct Known {
    port: u16,
    addresses: Vec<SocketAddr>,
}

impl Endpoint {
    /// Asks the system for a host's addresses, and blocks meanwhile.
    ///
    /// # Errors
    /// [`ResolveError::Host`] when it has none.
    pub fn new(host: &str, port: u16) -> Result<Self, ResolveError> {
        Ok(Self::with_addresses(host, port, addresses_of(host, port)?))
    }

    /// An endpoint whose addresses are known, or none yet.
    #[must_use]
    pub fn with_addresses(host: &str, port: u16, addresses: Vec<SocketAddr>) -> Self {
        let (numeric, host) = (host.parse::<IpAddr>().is_ok(), host.to_owned());
        let known = ArcSwap::from_pointee(Known { port, addresses });
        let inner = Inner { host, numeric, known, turns: 0.into() };
        Self { inner: Arc::new(inner) }
    }

    /// The host as it was written.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.known.load().port
    }

    /// Another port from now on, on all of its addresses: that of the pool may change where a backend names none.
    pub fn set_port(&self, port: u16) {
        self.inner.known.rcu(|known| match known.port == port {
            true => Arc::clone(known),
            false => {
                let moved = known.addresses.iter().map(|address| SocketAddr::new(address.ip(), port));
                Arc::new(Known { port, addresses: moved.collect() })
            }
        });
    }

    /// Whether the host is an address already: then nobody has to be asked.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.inner.numeric
    }

    /// Its addresses at the moment.
    #[must_use]
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        self.inner.known.load().addresses.as_slice().into()
    }

    /// Takes over these addresses for the connects from now on, and says whether they are others than before. Their order
    /// is no difference: name servers shuffle it. None at all are no answer, and leave it as it is.
    #[allow(clippy::must_use_candidate, reason = "what it does may be all that is wanted")]
    #[allow(clippy::needless_pass_by_value, reason = "who has a list gives it away")]
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) -> bool {
        self.learn(|_| addresses.clone())
    }

    /// The same of what a name stands for, with the port that is in force then.
    pub(super) fn set_ips(&self, ips: &[IpAddr]) -> bool {
        self.learn(|port| ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }

    fn learn(&self, addresses: impl Fn(u16) -> Vec<SocketAddr>) -> bool {
        let mut is_new = false;
        self.inner.known.rcu(|known| {
            let (port, before, addresses) = (known.port, &known.addresses, addresses(known.port));
            let same = before.len() == addresses.len() && addresses.iter().all(|address| before.contains(address));
            is_new = !same && !addresses.is_empty();
            if is_new { Arc::new(Known { port, addresses }) } else { Arc::clone(known) }
        });
        is_new
    }

    /// Asks the system again, and blocks meanwhile. `Ok(true)` when the addresses are others now. Without an answer the
    /// last good ones stay. A numeric host is not asked for.
    ///
    /// # Errors
    /// [`ResolveError::Host`] when there is no answer.
    pub fn refresh(&self) -> Result<bool, ResolveError> {
        if self.is_numeric() {
            return Ok(false);
        }
        let ips = lookup(self.host()).map_err(|error| ResolveError::Host(self.host().to_owned(), error))?;
        Ok(self.set_ips(&ips))
    }
}

impl Addresses for Endpoint {
    fn address(&self, at: usize) -> Option<SocketAddr> {
        self.inner.known.load().addresses.get(at).copied()
    }

    fn turn(&self) -> usize {
        self.inner.turns.fetch_add(1, Relaxed)
    }

    /// Of one moment, also while they change.
    fn all_addresses(&self) -> Vec<SocketAddr> {
        self.inner.known.load().addresses.clone()
    }
}

/// `host:port`, with an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host().contains(':') {
            true => write!(f, "[{}]:{}", self.host(), self.port()),
            false => write!(f, "{}:{}", self.host(), self.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    #[test]
    fn another_order_is_no_change_and_no_answer_leaves_the_last_good_one() {
        let endpoint = Endpoint::with_addresses("alpha", 80, addresses(&[1, 2]));
        assert!(!endpoint.set_addresses(addresses(&[2, 1])));
        assert!(!endpoint.set_addresses(Vec::new()));
        assert_eq!(endpoint.addresses()[..], addresses(&[1, 2]));
        assert!(endpoint.clone().set_addresses(addresses(&[2, 3])));
        assert_eq!(endpoint.addresses()[..], addresses(&[2, 3]));
    }

    #[test]
    fn an_answer_and_a_port_that_come_together_both_count() {
        let endpoint = Endpoint::with_addresses("alpha", 1, addresses(&[1]));
        let ips = [1, 2].map(|last| IpAddr::from([127, 0, 0, last]));
        std::thread::scope(|scope| {
            let answers = scope.spawn(|| {
                for at in 0..50_000 {
                    endpoint.set_ips(&ips[at % 2..][..1]);
                    let known = endpoint.inner.known.load();
                    assert_eq!(known.addresses[0].port(), known.port);
                }
            });
            for port in (2..u16::MAX).cycle().take_while(|_| !answers.is_finished()) {
                endpoint.set_port(port);
            }
        });
    }

    #[test]
    fn a_numeric_host_is_never_asked_for() {
        let endpoint = Endpoint::with_addresses("127.0.0.1", 80, addresses(&[9]));
        assert!(!endpoint.refresh().unwrap());
        assert_eq!(endpoint.addresses()[..], addresses(&[9]));
    }

    #[test]
    fn an_ipv6_host_is_written_in_brackets() {
        assert_eq!(Endpoint::new("::1", 80).unwrap().to_string(), "[::1]:80");
    }
}
