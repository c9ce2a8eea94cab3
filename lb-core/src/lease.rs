//! One pick in flight, and the outcome it reports.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use crate::{BackendId, Outcome, Request, door::Place, handle::Handle};

/// A place at a backend, held until it is finished or dropped, whatever happens meanwhile to the configuration.
///
/// A dropped lease counts as cancelled: it gives the place back and says nothing about the backend.
/// ```
/// use lb_core::{Outcome, Request, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha beta".parse()?);
/// let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
/// assert_eq!(lease.name(), "alpha");
/// lease.finish(Outcome::Success, world.now());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a lease gives its place back at once"]
pub struct Lease<T> {
    member: Arc<Handle<T>>,
    started: Instant,
    client: Option<u64>,
    /// When the answer came, once the caller has said that it did.
    answered: Option<Instant>,
    place: Place,
    ended: bool,
}

impl<T> Lease<T> {
    pub(crate) fn new(member: Arc<Handle<T>>, place: Place, request: &Request<'_>) -> Self {
        let (started, client) = (request.now, request.client);
        Self { member, started, client, answered: None, place, ended: false }
    }

    /// Which backend it is.
    #[must_use]
    pub fn id(&self) -> BackendId {
        self.member.id
    }

    /// Its name as configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// What you made of it.
    #[must_use]
    pub fn payload(&self) -> &T {
        &self.member.payload
    }

    /// The answer has begun: what follows is no latency of the backend. Without it the latency is the time to
    /// [`finish`](Self::finish).
    pub fn answered(&mut self, now: Instant) {
        self.answered.get_or_insert(now);
    }

    /// The connection stands, and that is all a backend can be judged by until it ends, perhaps hours later: connects
    /// that failed before are no row any more, and a trial after an ejection has gone well. For plain connections;
    /// where requests are answered, [`finish`](Self::finish) comes soon and says more.
    /// ```
    /// use lb_core::{Outcome, Request, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha".parse()?);
    /// let mut lease = balancer.pick(&Request::new(world.now()), world.rng())?;
    /// lease.connected();
    /// assert_eq!(balancer.stats().backends[0].in_flight, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connected(&mut self) {
        self.member.ended.connected.fetch_add(1, Relaxed);
        self.went_well();
    }

    /// The answer has begun, and is a good one: a trial after an ejection has gone well, however long the rest takes. If
    /// this is no trial, it changes nothing.
    /// ```
    /// use lb_core::{Request, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha".parse()?);
    /// let mut lease = balancer.pick(&Request::new(world.now()), world.rng())?;
    /// lease.went_well();
    /// assert_eq!(balancer.stats().backends[0].in_flight, 1, "it goes on");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn went_well(&mut self) {
        if self.place == Place::Trial {
            self.place = Place::Plain;
            self.member.end_trial(true);
        }
    }

    /// Counts bytes that went to the backend, and from it to the client; as often as you like, best in large sums.
    /// ```
    /// use lb_core::{Request, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha".parse()?);
    /// balancer.pick(&Request::new(world.now()), world.rng())?.add_bytes(120, 64_000);
    /// let alpha = &balancer.stats().backends[0];
    /// assert_eq!((alpha.to_backend_bytes, alpha.to_client_bytes), (120, 64_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_bytes(&self, to_backend: u64, to_client: u64) {
        let carried = &self.member.carried;
        // Most requests have no body, and even nothing costs something to add where others count too.
        if to_backend > 0 {
            carried.to_backend_bytes.fetch_add(to_backend, Relaxed);
        }
        if to_client > 0 {
            carried.to_client_bytes.fetch_add(to_client, Relaxed);
        }
    }

    pub(crate) fn count_last_resort(&self) {
        self.member.carried.last_resort.fetch_add(1, Relaxed);
    }

    /// Says how it went and gives the place back.
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        self.ended = true;
        let (member, trial) = (&*self.member, self.place == Place::Trial);
        match outcome {
            Outcome::Success => {
                let took = || micros(self.started, self.answered.unwrap_or(now));
                member.add_latency(took, now);
            }
            Outcome::Cancelled => {
                member.ended.cancelled.fetch_add(1, Relaxed);
            }
            _ => return self.fail(outcome, now),
        }
        member.leave(outcome == Outcome::Success);
        if trial {
            member.end_trial(outcome == Outcome::Success);
        }
    }

    #[cold]
    fn fail(self, outcome: Outcome, now: Instant) {
        self.member.add_failure(outcome, self.client, self.place == Place::Trial, now);
        self.member.leave(false);
    }
}

fn micros(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u32::MAX)
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if !self.ended {
            self.member.ended.cancelled.fetch_add(1, Relaxed);
            self.member.leave(false);
            if self.place == Place::Trial {
                self.member.end_trial(false);
            }
        }
    }
}

impl<T> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("backend", &self.name()).finish_non_exhaustive()
    }
}
