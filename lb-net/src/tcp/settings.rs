//! How connections are balanced.

use std::time::Duration;

use crate::relay;

/// How connections are balanced.
/// ```
/// use std::time::Duration;
/// let settings = lb_net::tcp::Settings::default().with_race(None).with_connect_timeout(Duration::from_secs(1));
/// assert_eq!(settings.grace, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long each attempt to connect may take (balance's `-t`).
    pub connect_timeout: Duration,
    /// How long a backend may be silent before the next one is tried alongside, at most: once connect times are known
    /// it is eight times their average, but not below 100 ms. `None` tries one after the other.
    pub race: Option<Duration>,
    /// How sessions behave once they are connected.
    pub relay: relay::Settings,
    /// How long sessions may go on after a stop.
    pub grace: Duration,
}

impl Default for Settings {
    /// 5 s to connect, the next backend after 250 ms, no idle timeout, 30 s of grace.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            race: Some(Duration::from_millis(250)),
            relay: relay::Settings::default(),
            grace: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// With this time for each attempt to connect.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// With this time for a backend to be silent before the next is tried alongside; `None` for one after the other.
    #[must_use]
    pub fn with_race(self, race: Option<Duration>) -> Self {
        Self { race, ..self }
    }

    /// With these settings for sessions.
    #[must_use]
    pub fn with_relay(self, relay: relay::Settings) -> Self {
        Self { relay, ..self }
    }

    /// With this time for sessions to end after a stop.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}
