//! What was observed of a backend: evidence in, verdict out.
//!
//! [`RiseFall`] judges probes, [`Eject`] judges traffic, [`Autodisable`] is balance's `-a`. Only what no client can
//! provoke ejects by itself: failed connects and failed probes. A policy of your own implements [`HealthPolicy`].

mod autodisable;
mod eject;
mod policies;
mod rise_fall;
mod said;

use std::{
    fmt::{self, Debug},
    time::{Duration, Instant},
};

pub(crate) use self::policies::Policies;
pub use self::{
    autodisable::Autodisable,
    eject::{Eject, RequestFailures},
    rise_fall::RiseFall,
    said::{NotSaid, Said, Share},
};
use crate::Outcome;

/// What was observed; what people ordered is [`Status`](crate::Status).
/// ```
/// use lb_core::health::{Cause, Health};
/// assert_eq!(Health::Down(Cause::Silent).to_string(), "down: silent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// No probe has answered yet: it gets no work.
    Unknown,
    /// It takes work.
    Up,
    /// It takes no work, and why.
    Down(Cause),
    /// Set aside for a while because its traffic failed.
    Ejected,
}

/// Why a backend is down.
/// ```
/// use lb_core::health::Cause;
/// assert_ne!(Cause::Silent, Cause::Said);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Probes or connects fail. As a last resort it is tried anyway.
    Silent,
    /// The application said so. That is never overridden.
    Said,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down(Cause::Silent) => "down: silent",
            Self::Down(Cause::Said) => "down: said so",
            Self::Ejected => "ejected",
        })
    }
}

/// One thing that speaks for or against a backend.
/// ```
/// use lb_core::health::{Evidence, HealthPolicy, Probe, RiseFall};
/// let mut policy = RiseFall::default().for_backend();
/// let verdict = policy.observe(&Evidence::Probe(Probe::Passed), lb_core::sim::epoch());
/// assert_eq!(verdict.health, Some(lb_core::health::Health::Up));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// A probe ended.
    Probe(Probe),
    /// A request failed. Successes are only counted, so that they cost nothing.
    Traffic(Traffic),
    /// The balancer has ejected the backend, as a verdict asked.
    Ejected,
    /// The request that tried the ejected backend went well: it is back.
    Readmitted,
    /// An operator has enabled the backend: whatever was held against it is forgotten.
    Enabled,
}

impl Evidence {
    /// In a log, when nobody knows better.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Probe(Probe::Passed) => "probe passed",
            Self::Probe(Probe::Failed) => "probe failed",
            Self::Probe(Probe::SaidDown) => "its answer to a probe",
            Self::Traffic(traffic) => traffic.outcome.reason(),
            Self::Ejected => "ejected",
            Self::Readmitted => "tried again with success",
            Self::Enabled => "enabled by hand",
        }
    }
}

/// How a probe ended.
/// ```
/// use lb_core::health::Probe;
/// assert_ne!(Probe::Failed, Probe::SaidDown, "silence is not an answer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// As expected.
    Passed,
    /// Not as expected, or nothing in time.
    Failed,
    /// The application answered that it wants no work.
    SaidDown,
}

/// A failed request.
/// ```
/// use lb_core::{Outcome, health::Traffic};
/// let refused = Traffic::new(Outcome::ConnectFailed);
/// assert_eq!(refused.client, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// How it failed.
    pub outcome: Outcome,
    /// Whose request it was, if that is known.
    pub client: Option<u64>,
    /// Successes of this backend since it was configured, good connects among them, so that a policy sees whether any lay
    /// between two failures.
    pub successes: u64,
    /// Whether it was the request that a half-open backend is tried with.
    pub trial: bool,
}

impl Traffic {
    /// A failure of which nothing else is known.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self { outcome, client: None, successes: 0, trial: false }
    }
}

/// What follows from the evidence. By default nothing.
/// ```
/// use lb_core::health::{Health, Verdict};
/// let verdict = Verdict::health(Health::Up);
/// assert!(verdict.eject.is_none() && verdict.next_probe.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// A change of health.
    pub health: Option<Health>,
    /// A wish to set the backend aside; the balancer knows whether the group can spare it.
    pub eject: Option<Ejection>,
    /// How long until the next probe, before jitter.
    pub next_probe: Option<Duration>,
}

impl Verdict {
    /// A change of health and nothing else.
    #[must_use]
    pub fn health(health: Health) -> Self {
        Self { health: Some(health), ..Self::default() }
    }
}

/// A wish to set a backend aside.
/// ```
/// use lb_core::health::Ejection;
/// let wish = Ejection { period: std::time::Duration::from_secs(10), only_outliers: false };
/// # let _ = wish;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// For how long, until one request may try it.
    pub period: Duration,
    /// Only when it fails clearly more often than the other backends of its group do.
    pub only_outliers: bool,
}

/// Judges one backend. A prototype is given to the [`Balancer`](crate::Balancer); each backend owns a policy of its
/// own, with whatever state that needs.
/// ```
/// use lb_core::health::{Evidence, Health, HealthPolicy, Probe, Verdict};
/// use std::time::Instant;
/// #[derive(Debug)]
/// struct Believe;
/// impl HealthPolicy for Believe {
///     fn for_backend(&self) -> Box<dyn HealthPolicy> { Box::new(Believe) }
///     fn observe(&mut self, evidence: &Evidence, _now: Instant) -> Verdict {
///         match evidence {
///             Evidence::Probe(Probe::Passed) => Verdict::health(Health::Up),
///             _ => Verdict::default(),
///         }
///     }
/// }
/// ```
pub trait HealthPolicy: Debug + Send + Sync {
    /// A policy of this kind for one backend of which nothing is known.
    fn for_backend(&self) -> Box<dyn HealthPolicy>;

    /// Takes a piece of evidence and says what follows.
    fn observe(&mut self, evidence: &Evidence, now: Instant) -> Verdict;

    /// The health that a backend starts with.
    fn initial(&self) -> Health {
        Health::Up
    }
}
