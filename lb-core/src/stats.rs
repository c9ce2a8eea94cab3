//! Counters and gauges, as plain numbers.

use crate::{BackendId, Status, health::Health};

/// What a balancer has counted.
/// ```
/// use lb_core::{Request, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha::9 beta".parse()?);
/// let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
/// let stats = balancer.stats();
/// assert_eq!((stats.backends[0].in_flight, stats.backends[0].picked()), (1, 1));
/// # drop(lease);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// One entry for each configured backend, in order.
    pub backends: Vec<BackendStats>,
}

/// What was counted at one backend since it was configured.
/// ```
/// # let mut world = lb_core::sim::World::new(1);
/// # let balancer = world.balancer("alpha".parse()?);
/// let alpha = &balancer.stats().backends[0];
/// assert_eq!((alpha.name.as_str(), alpha.group, alpha.weight), ("alpha", 0, 1));
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendStats {
    /// Which one.
    pub id: BackendId,
    /// Its name as configured.
    pub name: String,
    /// The number of its group, from 0.
    pub group: usize,
    /// What people ordered.
    pub status: Status,
    /// What was observed.
    pub health: Health,
    /// Its share, before any slow start.
    pub weight: u16,
    /// Its limit, before any slow start.
    pub limit: Option<u32>,
    /// Requests it is working on.
    pub in_flight: u32,
    /// Requests that ended well.
    pub succeeded: u64,
    /// Requests that failed after the connection was there.
    pub failed: u64,
    /// Connects that failed.
    pub connect_failed: u64,
    /// Requests of which nobody knows how they went.
    pub cancelled: u64,
}

impl BackendStats {
    /// How often it was picked.
    #[must_use]
    pub fn picked(&self) -> u64 {
        self.succeeded + self.failed + self.connect_failed + self.cancelled + u64::from(self.in_flight)
    }
}
