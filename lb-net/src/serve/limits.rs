//! What clients are allowed.

use std::time::Duration;

/// What clients are allowed.
/// ```
/// use lb_net::serve::Limits;
/// use std::time::Duration;
/// let limits = Limits::default().with_connections(8).with_head_timeout(Duration::from_secs(2));
/// assert_eq!((limits.connections, limits.head_bytes), (8, 16 * 1024));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time, 64 by default. Further ones are told so and closed.
    pub connections: usize,
    /// How long a request's head may take from its first byte on; 10 seconds by default.
    pub head_timeout: Duration,
    /// How long a connection may say nothing between requests; 90 seconds by default, so that who asks once a minute
    /// keeps it.
    pub idle_timeout: Duration,
    /// How long a client may take no more of an answer; 10 seconds by default.
    pub write_timeout: Duration,
    /// How large a request's head may be; 16 KiB by default.
    pub head_bytes: usize,
    /// How long requests may go on after a stop; 5 seconds by default.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            write_timeout: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// With so many connections at a time.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        Self { connections, ..self }
    }

    /// With this time for a request's head.
    #[must_use]
    pub fn with_head_timeout(self, head_timeout: Duration) -> Self {
        Self { head_timeout, ..self }
    }

    /// With this time between requests.
    #[must_use]
    pub fn with_idle_timeout(self, idle_timeout: Duration) -> Self {
        Self { idle_timeout, ..self }
    }

    /// With this time for a client to take more of an answer.
    #[must_use]
    pub fn with_write_timeout(self, write_timeout: Duration) -> Self {
        Self { write_timeout, ..self }
    }

    /// With heads of so many bytes.
    #[must_use]
    pub fn with_head_bytes(self, head_bytes: usize) -> Self {
        Self { head_bytes, ..self }
    }

    /// With this time for requests after a stop.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}
