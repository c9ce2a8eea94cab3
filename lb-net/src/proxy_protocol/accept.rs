//! From whom an introduction is believed.

use std::time::Duration;

use super::Networks;

/// From which peers a PROXY header is expected. They must send one before anything else, and are closed if they do not;
/// all others are clients whose bytes mean nothing here.
/// ```
/// use std::time::Duration;
/// use lb_net::proxy_protocol::AcceptProxy;
/// let accept = AcceptProxy::new("10.0.0.0/8".parse()?);
/// assert_eq!(accept.timeout, Duration::from_secs(5));
/// # Ok::<(), lb_net::proxy_protocol::NetworksError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptProxy {
    /// The peers.
    pub networks: Networks,
    /// How long they may take for the whole header.
    pub timeout: Duration,
}

impl AcceptProxy {
    /// From peers in these networks, within 5 s.
    #[must_use]
    pub fn new(networks: Networks) -> Self {
        Self { networks, timeout: Duration::from_secs(5) }
    }

    /// With this time for the header.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}
