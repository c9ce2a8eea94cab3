//! Active checks of backends: [`Tcp`] connects, [`Exchange`] talks, [`Http`] asks, [`Exec`] runs a command; [`Monitor`]
//! does so in rounds.
//!
//! What a round finds is put before the balancer's policy as [`Evidence`](lb_core::health::Evidence): the
//! configuration's `probes` decides how many failures take a backend down. [`MonitorSpec`] is balance.fm's `-m` with
//! its additions:
//! ```
//! use std::{net::SocketAddr, sync::Arc, time::Duration};
//! use lb_core::{Balancer, Config};
//! use lb_net::{connect::Addresses, probe::{Monitor, MonitorSpec}};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut world = lb_core::sim::World::new(1);
//! let spec: MonitorSpec = "http=/health:expect=UP:timeout=0.5:interval=2:fall=3".parse()?;
//! let config = "127.0.0.1:80 127.0.0.1:81".parse::<Config>()?.with_probes(spec.policy());
//! let balancer = Balancer::new(config, world.now(), world.rng(), |backend| backend.name.parse::<SocketAddr>().unwrap());
//! let monitor = Monitor::new(&spec, Duration::from_secs(5), None);
//! tokio::spawn(monitor.run(Arc::new(balancer), Addresses::all_addresses));
//! # Ok(()) }
//! ```

mod check;
mod exchange;
mod exec;
mod expect;
mod header;
mod http;
mod kind;
mod monitor;
mod reply;
mod spec;
mod status;
mod switch;
mod tcp;
mod words;

use std::{borrow::Cow, fmt::Debug, net::SocketAddr};

use async_trait::async_trait;
use lb_core::health::{Said, Share};

#[cfg(feature = "config")]
pub(crate) use self::words::escape;
pub use self::{
    check::{Check, Finding},
    exchange::Exchange,
    exec::Exec,
    expect::Expect,
    header::{Header, HeaderError, Host},
    http::Http,
    kind::{CheckKind, CheckSpec},
    monitor::Monitor,
    spec::MonitorSpec,
    status::StatusSet,
    switch::Switch,
    tcp::Tcp,
    words::MonitorSpecError,
};

/// One way to find out how a backend is. [`Monitor`] runs it, ends it when its time is over, and survives its panic.
/// ```
/// use lb_net::probe::{Answer, Probe, Target};
/// #[derive(Debug)]
/// struct Trust;
/// #[async_trait::async_trait]
/// impl Probe for Trust {
///     async fn probe(&self, _: &Target) -> Answer {
///         Answer::Passed
///     }
/// }
/// ```
#[async_trait]
pub trait Probe: Debug + Send + Sync {
    /// Looks once. It may take its time: the caller has a deadline and drops it then, and nothing of it may be left.
    async fn probe(&self, target: &Target) -> Answer;
}

/// Whom a probe looks at.
/// ```
/// use lb_net::probe::Target;
/// let target = Target::new("alpha:80", "127.0.0.1:80".parse().unwrap());
/// assert_eq!((target.name.as_str(), target.address.port()), ("alpha:80", 80));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The backend's name as configured, `host[:port]`.
    pub name: String,
    /// One of its addresses.
    pub address: SocketAddr,
}

impl Target {
    /// A backend of this name at this address.
    #[must_use]
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self { name: name.into(), address }
    }
}

/// How a probe ended. Reasons are short, in lower case, and read well behind `probe: http=/health: `.
/// ```
/// use lb_core::health::Said;
/// use lb_net::probe::Answer;
/// assert_eq!(Answer::Failed("status 503".into()).reason(), "status 503");
/// let down = Answer::Said(Said::Down, Some("no database".into()));
/// assert_eq!(down.reason(), "the application said DOWN: no database");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// As expected, and that is all it says.
    Passed,
    /// It answered, but otherwise than expected.
    Failed(String),
    /// Nothing that could be called an answer. Another address of the backend may have one.
    Silent(String),
    /// The application's own word, and the reason that it gave. A word of being up is as good as [`Passed`](Self::Passed).
    Said(Said, Option<String>),
    /// Nobody knows, for a reason of our own: descriptors or processes have run out, say. It changes nothing.
    Inconclusive(String),
}

impl Answer {
    /// Why it is so.
    #[must_use]
    pub fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::Passed => "passed".into(),
            Self::Said(word, None) => format!("the application said {word}").into(),
            Self::Said(word, Some(reason)) => format!("the application said {word}: {reason}").into(),
            Self::Failed(reason) | Self::Silent(reason) | Self::Inconclusive(reason) => reason.into(),
        }
    }

    /// The share of its work that it takes, where the answer lets it take some.
    pub(crate) fn share(&self) -> Option<Share> {
        match self {
            Self::Passed => Some(Share::FULL),
            Self::Said(Said::Up(share), _) => Some(*share),
            _ => None,
        }
    }
}
