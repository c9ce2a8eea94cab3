//! What was observed of a backend: evidence in, verdict out.
//!
//! # Two axes
//! *Status* is what people ordered ([`Status`](crate::Status): enabled, draining, disabled). *Health* is what was
//! observed ([`Health`]). Neither overwrites the other: whoever disables a backend that is down finds it down when they
//! enable it again, and a good probe enables nobody. Work goes to backends that are enabled *and* up.
//! ```
//! use lb_core::{BackendId, Config, Status, health::{Cause, Evidence, Health, Probe, RiseFall}, sim::World};
//! let mut world = World::new(1);
//! let config: Config = "alpha beta".parse()?;
//! let balancer = world.balancer(config.with_probes(RiseFall::default().assuming_up()));
//! let alpha = BackendId::new("alpha", 0);
//! balancer.set_status(alpha, Status::Disabled, world.now())?;
//! for _ in 0..3 {
//!     balancer.observe(alpha, &Evidence::Probe(Probe::Failed), world.now())?;
//! }
//! balancer.set_status(alpha, Status::Enabled, world.now())?;
//! assert_eq!(balancer.stats().backends[0].health, Health::Down(Cause::Silent), "enabled, and down all the same");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! [`Balancer::enable`](crate::Balancer::enable) is the order that does both: it forgets silence and ejection as well.
//! What an application said of itself it does not forget.
//!
//! # What to switch on
//! | you have | switch on | in [`Config`](crate::Config) |
//! |---|---|---|
//! | an application that can say how it is | probes of its own word, the best there is: it knows of warm-up, of a missing database, of its end | [`with_probes`](crate::Config::with_probes), [`with_slow_start`](crate::Config::with_slow_start) |
//! | a port and no more | probes that connect | the same |
//! | nothing that may be probed | ejection for failed connects | [`with_ejection`](crate::Config::with_ejection)`(Eject::default())` |
//! | backends that answer probes well and clients badly | ejection for failed requests beside the probes | [`Eject::with_request_failures`] |
//! | one backend, or a group of copies of one broken program | nothing passive: there is nowhere better to go | |
//! | backends that must be looked at before they are used again | balance's `-a` | [`with_autodisable`](crate::Config::with_autodisable) |
//! | knowledge that none of these have | a [`HealthPolicy`] of your own in place of all of them | [`Balancer::with_health_policy`](crate::Balancer::with_health_policy) |
//!
//! Without any of it every backend is up for ever: a request that cannot connect goes to another one, and the next
//! request tries again.
//!
//! # Probes
//! [`RiseFall`] judges them: up after `rise` good ones in a row, down after `fall` bad ones, so that a lost packet
//! moves no traffic. The caller runs them (`lb_net::probe` does) and puts each result before the balancer. A backend is
//! *unknown*, and gets nothing, before its first good answer, unless it is [assumed up](RiseFall::assuming_up).
//! ```
//! use lb_core::{BackendId, Config, NoPick, Request, health::{Evidence, Probe, RiseFall}, sim::World};
//! let mut world = World::new(1);
//! let config: Config = "alpha".parse()?;
//! let balancer = world.balancer(config.with_probes(RiseFall::default()));
//! let request = Request::new(world.now());
//! assert_eq!(balancer.pick(&request, world.rng()).unwrap_err(), NoPick::AllDown, "unknown");
//! let verdict = balancer.observe(BackendId::new("alpha", 0), &Evidence::Probe(Probe::Passed), world.now())?;
//! assert_eq!(verdict.next_probe, Some(std::time::Duration::from_secs(2)));
//! assert_eq!(balancer.pick(&request, world.rng())?.name(), "alpha");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the application says
//! An application that is asked may answer with a word ([`Said`]), and is believed at once: `rise` and `fall` are for
//! guesses, and this is none. Only `UP` after silence has to rise, as any good answer has.
//!
//! | it says | new requests | requests pinned to it | what runs there | idle connections to it |
//! |---|---|---|---|---|
//! | `UP` | its share | yes | goes on | kept |
//! | `UP 40%` | that much of its share, never nothing | yes | goes on | kept |
//! | `DRAIN` | none | yes | goes on | kept for them |
//! | `DOWN` | none | none: they go elsewhere | goes on to its end | closed |
//! | `MAINT` | none | none | goes on to its end | closed |
//!
//! Silence is something else: no answer, or one that is no good, counts to `fall`. So a process that wants to end says
//! `DOWN`, waits until nothing runs there any more, and then goes; one that crashed is found out by its silence. Behind `DOWN`
//! or `MAINT` silence is no news, and makes nobody a last resort.
//! ```
//! use lb_core::{BackendId, Config, Request, health::{Evidence, Probe, RiseFall, Said}, sim::World};
//! let mut world = World::new(1);
//! let config: Config = "alpha beta".parse()?;
//! let balancer = world.balancer(config.with_probes(RiseFall::default().assuming_up()));
//! let alpha = BackendId::new("alpha", 0);
//! let said = Said::of_body(b"DRAIN: a new version comes\n").ok_or("it is none of the words")?;
//! balancer.observe(alpha, &Evidence::Probe(Probe::Said(said)), world.now())?;
//! let request = Request::new(world.now());
//! assert_eq!(balancer.pick(&request, world.rng())?.name(), "beta", "nothing new");
//! assert_eq!(balancer.pick(&request.with_pin(alpha), world.rng())?.name(), "alpha", "but its own visitors");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Ejection
//! [`Eject`] watches the traffic. Who is ejected sits out a period, 10 s at first and doubled each time, is then tried
//! with one request, and is back if that goes well; when that takes longer than the first period, another may try. While it
//! is out, only a request that every backend that is up has failed is brought to it. The last backend of a group that is up is never ejected, nor more
//! than [a part](Eject::with_most_percent) of a group at a time.
//!
//! **By default only failed connects eject.** Whatever a request can provoke, a client can provoke: one who reloads a
//! page that answers 500, or asks for one that hangs or kills its worker, would take one backend after the other from
//! everybody else. Where you switch it on all the same, [`RequestFailures`] asks for more: failures of several
//! [distinct clients](crate::Request::with_client) within a window, at a rate clearly above that of the other backends.
//! So one client alone ejects nobody, and a page that fails everywhere makes no outlier.
//! ```
//! use lb_core::{BackendId, Config, Health, Outcome, Request, health::{Eject, RequestFailures}, sim::World};
//! let mut world = World::new(1);
//! let config: Config = "alpha beta gamma".parse()?;
//! let eject = Eject::default().with_request_failures(RequestFailures::default());
//! let balancer = world.balancer(config.with_ejection(eject));
//! let mut send = |client: u64, broken: &str| {
//!     let request = Request::new(world.now()).with_client(client);
//!     let lease = balancer.pick(&request, world.rng())?;
//!     let fails = broken == "page" || broken == lease.name();
//!     lease.finish(if fails { Outcome::ServerError } else { Outcome::Success }, world.now());
//!     Ok::<(), lb_core::NoPick>(())
//! };
//! let alpha = || balancer.stats().backends[0].health;
//! (0..1000).try_for_each(|_| send(7, "page"))?;
//! (0..1000).try_for_each(|client| send(client, ""))?;
//! assert_eq!(alpha(), Health::Up, "one client and a broken page");
//! (0..1000).try_for_each(|client| send(client, "alpha"))?;
//! assert_eq!(alpha(), Health::Ejected, "a broken backend");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When nobody is up
//! Then those that are only silent or ejected are tried anyway: the fault may lie with the probes, and a request that
//! fails is no worse than one that is refused. The first good backend ends it. What is never overridden: what people
//! disabled or drain, what an application said of itself, and the unknown. It is visible: in the
//! [counts](crate::BackendStats::last_resort), in [events](crate::EventKind) and in
//! [`explain`](crate::Balancer::explain).
//! ```
//! use lb_core::{BackendId, Config, Request, Status, health::{Evidence, Probe, RiseFall}, sim::World};
//! let mut world = World::new(1);
//! let config: Config = "alpha beta".parse()?;
//! let balancer = world.balancer(config.with_probes(RiseFall::default().assuming_up()));
//! for name in ["alpha", "beta"] {
//!     for _ in 0..3 {
//!         balancer.observe(BackendId::new(name, 0), &Evidence::Probe(Probe::Failed), world.now())?;
//!     }
//! }
//! balancer.set_status(BackendId::new("alpha", 0), Status::Disabled, world.now())?;
//! assert_eq!(balancer.pick(&Request::new(world.now()), world.rng())?.name(), "beta");
//! assert_eq!(balancer.stats().backends[1].last_resort, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The way back
//! A backend that comes back is often cold. With a [slow start](crate::selector#slow-start) it gets a growing share,
//! whatever took it away: silence, its own word, an ejection.
//!
//! # Several opinions
//! All policies that are switched on see all evidence, and the worst opinion counts: what an application said stands,
//! whatever ejection has to forgive. A [policy of your own](HealthPolicy) is asked in place of all of them.

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
    /// The application said that it takes only what is pinned to it.
    Draining,
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
#[non_exhaustive]
pub enum Cause {
    /// Probes or connects fail. As a last resort it is tried anyway.
    Silent,
    /// The application said so. That is never overridden.
    Said,
    /// The application said so, and that it is on purpose. That is never overridden either.
    Maintenance,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Draining => "draining: said so",
            Self::Down(Cause::Silent) => "down: silent",
            Self::Down(Cause::Said) => "down: said so",
            Self::Down(Cause::Maintenance) => "down: maintenance",
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
            Self::Probe(Probe::Said(word)) => word.reason(),
            Self::Traffic(traffic) => traffic.outcome.reason(),
            Self::Ejected => "ejected",
            Self::Readmitted => "tried again with success",
            Self::Enabled => "enabled by hand",
        }
    }

    /// Whether it says no more than that the backend is as it is: that may be for a new reason.
    pub(crate) fn confirms(&self, health: Health) -> bool {
        matches!(self, Self::Probe(probe) if probe.health() == health)
    }
}

/// How a probe ended.
/// ```
/// use lb_core::health::{Probe, Said};
/// assert_ne!(Probe::Failed, Probe::Said(Said::Down), "silence is not an answer");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// As expected, and that is all it says.
    Passed,
    /// Not as expected, or nothing in time.
    Failed,
    /// The application said of itself how it is.
    Said(Said),
}

impl Probe {
    /// What it makes of a backend, once enough of its kind have come.
    pub(crate) fn health(self) -> Health {
        match self {
            Self::Passed | Self::Said(Said::Up(_)) => Health::Up,
            Self::Failed => Health::Down(Cause::Silent),
            Self::Said(Said::Drain) => Health::Draining,
            Self::Said(Said::Down) => Health::Down(Cause::Said),
            Self::Said(Said::Maintenance) => Health::Down(Cause::Maintenance),
        }
    }
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
    /// A change of how much of its share it takes, [`Share::FULL`] at first. It scales the weight; where weights decide who
    /// owns a key, or decide nothing, it scales the limit, if there is one.
    pub share: Option<Share>,
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

    /// The same, and the backend takes this much of its share from now on.
    /// ```
    /// use lb_core::health::{Health, Share, Verdict};
    /// let warming = Share::percent(20).map(|share| Verdict::health(Health::Up).with_share(share));
    /// assert_eq!(warming.and_then(|verdict| verdict.share), Share::percent(20));
    /// ```
    #[must_use]
    pub fn with_share(self, share: Share) -> Self {
        Self { share: Some(share), ..self }
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
