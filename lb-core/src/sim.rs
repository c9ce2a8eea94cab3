//! For tests and doctests, ours and yours: time to advance, seeded chance, scripted backends.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    Backend, BackendId, Balancer, Config, Fit, Request,
    rand::{Rng, SeedableRng, rngs::SmallRng},
};

/// The moment at which every simulated world begins.
#[must_use]
pub fn epoch() -> Instant {
    // An `Instant` can only be had from the clock; this one is read once and never looked at for the time.
    #[expect(clippy::disallowed_methods, reason = "a starting point for simulated time")]
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    *EPOCH
}

/// Simulated time and chance: the same seed gives the same world.
/// ```
/// use lb_core::sim::World;
/// use std::time::Duration;
/// let mut world = World::new(7);
/// let before = world.now();
/// world.advance(Duration::from_secs(2));
/// assert_eq!(world.now() - before, Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct World {
    now: Instant,
    rng: SmallRng,
}

impl World {
    /// A world that begins at the [`epoch`].
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { now: epoch(), rng: SmallRng::seed_from_u64(seed) }
    }

    /// Its time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// Its chance.
    pub fn rng(&mut self) -> &mut dyn Rng {
        &mut self.rng
    }

    /// A balancer without payloads.
    pub fn balancer(&mut self, config: Config) -> Balancer<()> {
        Balancer::new(config, self.now, &mut self.rng, |_| ())
    }
}

/// A backend that does as it is told, to try a selector without a balancer.
/// ```
/// use lb_core::{Backend, Fit, Request, sim::{Stub, epoch}};
/// let stub = Stub::new(1).with_limit(1);
/// stub.enter();
/// assert_eq!(stub.fit(&Request::new(epoch())), Fit::Full);
/// ```
#[derive(Debug)]
pub struct Stub {
    id: BackendId,
    weight: u32,
    limit: u32,
    in_flight: AtomicU32,
}

impl Stub {
    /// One without a limit, of weight 1.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self { id: BackendId::from(id), weight: 1, limit: u32::MAX, in_flight: AtomicU32::new(0) }
    }

    /// With this weight.
    #[must_use]
    pub fn with_weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// With this limit.
    #[must_use]
    pub fn with_limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// One more in flight, whatever the limit.
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// One fewer in flight.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Backend for Stub {
    fn id(&self) -> BackendId {
        self.id
    }

    fn weight(&self) -> u32 {
        self.weight
    }

    fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    fn fit(&self, request: &Request<'_>) -> Fit {
        if request.tried.contains(self.id) {
            Fit::Down
        } else if self.in_flight() >= self.limit {
            Fit::Full
        } else if self.weight == 0 {
            Fit::PinnedOnly
        } else {
            Fit::Yes
        }
    }
}
