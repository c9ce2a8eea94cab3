//! What backends are told of the client and of us.

use crate::proxy_protocol::Networks;

/// What backends are told of the client and of us.
/// ```
/// let forward = lb_net::http::Forward::default();
/// assert!(forward.x_forwarded && !forward.forwarded && forward.trusted.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// Our name in `Via` (RFC 9110 section 7.6.3), both ways; `None` leaves the field alone.
    pub via: Option<String>,
    /// The `Host` that backends see; `None` is the client's.
    pub host: Option<String>,
    /// Proxies in front of us: what they say of their clients is kept and added to. What anybody else says is replaced.
    pub trusted: Networks,
}

impl Default for Forward {
    /// `X-Forwarded-*` and `Via: 1.1 lb`, the client's host, nobody trusted.
    fn default() -> Self {
        let via = Some("lb".to_owned());
        Self { x_forwarded: true, forwarded: false, via, host: None, trusted: Networks::default() }
    }
}
