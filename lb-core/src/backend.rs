//! One place where work can go, as a selector sees it.

use std::{fmt, time::Instant};

use crate::{Request, key::xxh64};

/// Names a backend for as long as it is configured: its name as written, and which occurrence of that name it is.
///
/// Weight, limit and resolved address are no part of it, so that state survives when they change. A backend written
/// twice is two backends: balance repeats one to give it weight, and each has its own limit, status and counters.
/// ```
/// use lb_core::BackendId;
/// assert_eq!(BackendId::new("alpha:80", 0), BackendId::new("alpha:80", 0));
/// assert_ne!(BackendId::new("alpha:80", 0), BackendId::new("alpha:80", 1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u64);

impl BackendId {
    /// The `occurrence`-th backend of this name in a whole configuration, counted from 0.
    #[must_use]
    pub fn new(name: &str, occurrence: usize) -> Self {
        Self(xxh64(name.as_bytes(), occurrence as u64))
    }

    /// The same on every host and after every restart: a seed for what should be.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<u64> for BackendId {
    /// An id of your own, when your backends have numbers already.
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Debug for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendId({:016x})", self.0)
    }
}

/// Whether a backend can take one request.
/// ```
/// use lb_core::{Fit, Request, sim};
/// let (world, backend) = (sim::World::new(1), sim::Stub::new(7));
/// assert_eq!(lb_core::Backend::fit(&backend, &Request::new(world.now())), Fit::Yes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It has room.
    Yes,
    /// Only for a request that is pinned to it: it drains, or has weight 0.
    PinnedOnly,
    /// Its limit is reached; a moment later it may have room.
    Full,
    /// Not now: disabled, down, ejected, or tried by this request already.
    Down,
}

/// How [`LeastLoaded`](crate::selector::LeastLoaded) measures what a backend carries.
/// ```
/// # use lb_core::selector::{LeastLoaded, Metric};
/// let by_latency = LeastLoaded::new(Metric::PeakEwma);
/// # drop(by_latency);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Metric {
    /// Requests in flight; recent failures count as requests, so that failing fast attracts nobody.
    #[default]
    InFlight,
    /// Requests in flight times a latency average that rises at once and falls slowly (peak EWMA, as in Finagle);
    /// a failure counts as a slow answer.
    PeakEwma,
}

/// One place where work can go. [`Balancer`](crate::Balancer) has its own; implement it to use a
/// [`Selector`](crate::Selector) on things of yours.
/// ```
/// use lb_core::{Backend, BackendId, Fit, Request};
/// struct Shard(u64);
/// impl Backend for Shard {
///     fn id(&self) -> BackendId { BackendId::from(self.0) }
///     fn weight(&self) -> u32 { 1 }
///     fn in_flight(&self) -> u32 { 0 }
///     fn fit(&self, request: &Request<'_>) -> Fit {
///         if request.tried.contains(self.id()) { Fit::Down } else { Fit::Yes }
///     }
/// }
/// ```
pub trait Backend: Send + Sync {
    /// Which one it is, whatever the order of the group.
    fn id(&self) -> BackendId;
    /// Its share of the work, relative to the others of its group. 0: only what is pinned to it.
    fn weight(&self) -> u32;
    /// Requests it is working on.
    fn in_flight(&self) -> u32;
    /// Whether it can take this request now.
    fn fit(&self, request: &Request<'_>) -> Fit;
    /// How much it would carry with one more request, before weight: at least 1; smaller is better. The unit compares only
    /// within one metric, and less than 1 for each weight is no difference. By default the number of requests, whatever
    /// the metric.
    fn load(&self, metric: Metric, now: Instant) -> u64 {
        let _ = (metric, now);
        u64::from(self.in_flight()) + 1
    }
}
