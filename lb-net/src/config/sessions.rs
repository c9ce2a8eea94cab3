//! How sessions behave: what services have of their own or inherit.

use std::net::IpAddr;

use super::Time;
use crate::{
    proxy_protocol::{Networks, Version},
    relay,
    sys::Keepalive,
    tcp,
};

/// How the sessions of a service behave, or those of all services that say nothing else.
/// ```
/// use lb_net::config::Sessions;
/// let sessions = Sessions::default();
/// assert_eq!(sessions.settings(), lb_net::tcp::Settings::default());
/// assert!(sessions.accept_proxy.is_empty(), "nobody is believed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sessions {
    /// How long each attempt to connect may take (`-t`).
    pub connect_timeout: Time,
    /// How long a backend may be silent before the next one is tried alongside (`--race`); `None` for one after the other.
    pub race: Option<Time>,
    /// After how long a session in which nothing moves is closed (`-T`); `None` is never.
    pub idle_timeout: Option<Time>,
    /// How long sessions may go on after a stop (`--grace`); `None` is not at all.
    pub grace: Option<Time>,
    /// Keepalive towards clients (`-k`); `None` is the system's.
    pub client_keepalive: Option<Keepalive>,
    /// Keepalive towards backends (`-K`); `None` is the system's.
    pub backend_keepalive: Option<Keepalive>,
    /// From whom the PROXY protocol is believed (`--accept-proxy`); no networks are nobody.
    pub accept_proxy: Networks,
    /// What backends are told of the client (`--send-proxy`).
    pub send_proxy: Option<Version>,
    /// Where connections to backends come from (`-B`); `None` is any address.
    pub source: Option<IpAddr>,
}

impl Default for Sessions {
    /// As without any option on the command line.
    fn default() -> Self {
        Self {
            connect_timeout: Time::from_millis(5000),
            race: Some(Time::from_millis(250)),
            idle_timeout: None,
            grace: Some(Time::from_millis(30_000)),
            client_keepalive: None,
            backend_keepalive: None,
            accept_proxy: Networks::default(),
            send_proxy: None,
            source: None,
        }
    }
}

impl Sessions {
    /// What of it a [`TcpProxy`](crate::TcpProxy) takes.
    #[must_use]
    pub fn settings(&self) -> tcp::Settings {
        tcp::Settings::default()
            .with_connect_timeout(self.connect_timeout.get())
            .with_race(self.race.map(Time::get))
            .with_grace(self.grace.map(Time::get).unwrap_or_default())
            .with_relay(relay::Settings::default().with_idle_timeout(self.idle_timeout.map(Time::get)))
    }
}
