//! The state machine that ties the parts together.

use std::{fmt, sync::Arc, time::Instant};

use crate::{
    BackendConfig, BackendId, Config, Event, EventKind, Explanation, Lease, Request, Selector, Status, WaitFor,
    control::Shared,
    entry::Entry,
    health::{Evidence, HealthPolicy, Verdict},
    rand::Rng,
    stats::{BackendStats, Counts, Stats},
};

/// Groups of backends with their selectors, limits, health and counts; `T` is what you keep for each backend: an
/// address, a client, a pool.
///
/// [`pick`](Self::pick) is for many threads: it takes no lock and allocates nothing. Everything else is for whoever
/// drives it: [`settle`](Self::settle) must be called when [`on_change`](Self::on_change) says so, and at the time that
/// it returned.
/// ```
/// use lb_core::{Balancer, Config, Outcome, Request, sim};
/// let mut world = sim::World::new(1);
/// let config: Config = "alpha:80 beta:80 ! spare:80".parse()?;
/// let balancer = Balancer::new(config, world.now(), world.rng(), |backend| format!("http://{}", backend.name));
/// let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
/// assert_eq!(lease.payload(), "http://alpha:80");
/// lease.finish(Outcome::Success, world.now());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Balancer<T> {
    shared: Arc<Shared<T>>,
}

/// Why no backend could be picked. Every error made of it should carry that reason.
/// ```
/// use lb_core::{NoPick, Request, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer(lb_core::Config::default());
/// let error = balancer.pick(&Request::new(world.now()), world.rng()).unwrap_err();
/// assert_eq!((error, error.to_string().as_str()), (NoPick::Empty, "there are no backends"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPick {
    /// Nothing is configured.
    #[error("there are no backends")]
    Empty,
    /// All are disabled, draining, down or of weight 0.
    #[error("all backends are down or disabled")]
    AllDown,
    /// Those that would be picked say of themselves that they are down, or drain.
    #[error("all backends say that they take no work")]
    Declined,
    /// They all say that they are in maintenance.
    #[error("all backends are in maintenance")]
    Maintenance,
    /// All had said that they are down, and only a share of the requests is let in until they all bear them again. See
    /// [`Config::slow_start`].
    #[error("backends recover, and not all requests are let in")]
    Recovering,
    /// All that are up have reached their limits.
    #[error("all backends are full")]
    AllFull,
    /// This request has been to all that are up.
    #[error("all backends have been tried")]
    AllTried,
    /// The backend that owns the key cannot take it, and its group does not spill.
    #[error("the backend of this key cannot take it")]
    OwnerUnavailable,
    /// The backend that the request is pinned to is gone, down or disabled.
    #[error("the backend that the request is pinned to is gone")]
    PinGone,
}

/// An id that no configured backend has.
/// ```
/// use lb_core::{BackendId, Status, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha".parse()?);
/// let unknown = balancer.set_status(BackendId::new("beta", 0), Status::Disabled, world.now());
/// assert_eq!(unknown.unwrap_err().to_string(), "no such backend");
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such backend")]
pub struct UnknownBackend(pub BackendId);

/// What an update did, by the names of the backends.
/// ```
/// use lb_core::sim;
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha beta".parse()?);
/// let diff = balancer.update("alpha::5 gamma".parse()?, world.now(), |_| ());
/// assert_eq!((diff.added, diff.removed, diff.changed), (vec!["gamma".into()], vec!["beta".into()], vec!["alpha".into()]));
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diff {
    /// New backends.
    pub added: Vec<String>,
    /// Backends that are no longer picked; what runs on them goes on.
    pub removed: Vec<String>,
    /// Backends with another weight, limit, status or group.
    pub changed: Vec<String>,
}

impl<T: Send + Sync> Balancer<T> {
    /// A balancer for this configuration; `make` gives each backend its payload.
    pub fn new(config: Config, now: Instant, rng: &mut dyn Rng, mut make: impl FnMut(&BackendConfig) -> T) -> Self {
        let shared = Shared::new(now, u64::from(rng.next_u32()));
        shared.change(now, |control| control.adopt(config, now, true, &|_| false, &mut make));
        Self { shared }
    }

    /// With a selector of your own over all backends, in place of those of the groups. It is given as a prototype.
    #[must_use]
    pub fn with_selector(self, selector: &dyn Selector) -> Self {
        let now = self.shared.control().common.epoch;
        self.shared.change(now, |control| control.set_selector(selector, now));
        self
    }

    /// With a health policy of your own, in place of the configuration's. It is given as a prototype.
    #[must_use]
    pub fn with_health_policy(self, policy: Box<dyn HealthPolicy>) -> Self {
        let now = self.shared.control().common.epoch;
        self.shared.change(now, |control| control.set_policy(policy, now));
        self
    }

    /// A place at the backend that the request should go to.
    ///
    /// # Errors
    /// [`NoPick`] says why there is none.
    pub fn pick(&self, request: &Request<'_>, rng: &mut dyn Rng) -> Result<Lease<T>, NoPick> {
        self.shared.snapshot.load().pick(request, rng)
    }

    /// The time, read of `clock` only if it matters to the next pick: where a selector goes by latency or is your own, and
    /// for about two minutes after a failure. If it does not, any moment will do for the pick, even one before a failure,
    /// and for a lease that ends in [`Outcome::Success`](crate::Outcome::Success); one that fails needs the time in any
    /// case. To read a clock may cost as much as a pick.
    /// ```
    /// use lb_core::{Outcome, Request, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha beta".parse()?);
    /// assert_eq!(balancer.time_if_needed(|| world.now()), None);
    /// balancer.pick(&Request::new(sim::epoch()), world.rng())?.finish(Outcome::Broken, world.now());
    /// assert_eq!(balancer.time_if_needed(|| world.now()), Some(world.now()));
    /// world.advance(std::time::Duration::from_secs(300));
    /// assert_eq!(balancer.time_if_needed(|| world.now()), Some(world.now()), "who finds that it is over has read it");
    /// assert_eq!(balancer.time_if_needed(|| world.now()), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn time_if_needed(&self, clock: impl FnOnce() -> Instant) -> Option<Instant> {
        self.shared.clock_use.read(clock)
    }

    /// Whether it is worth keeping a connection to this backend for the next request: it is configured, people have ordered
    /// neither its draining nor its end, and it is neither down nor ejected. Whether that has changed is worth a look each
    /// time that [`on_publish`](Self::on_publish) calls.
    /// ```
    /// use lb_core::{BackendId, Status, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha".parse()?);
    /// let alpha = BackendId::new("alpha", 0);
    /// assert!(balancer.is_wanted(alpha) && !balancer.is_wanted(BackendId::new("beta", 0)));
    /// balancer.set_status(alpha, Status::Draining, world.now())?;
    /// assert!(!balancer.is_wanted(alpha));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_wanted(&self, id: BackendId) -> bool {
        self.shared.snapshot.load().is_wanted(id)
    }

    /// What a request may wait for to which [`pick`](Self::pick) has just given no place. It takes no turn.
    #[must_use]
    pub fn wait_for(&self, request: &Request<'_>) -> WaitFor<BackendId> {
        self.shared.snapshot.load().wait_for(request)
    }

    /// Takes over another configuration at once. A backend whose id is in both keeps its payload and all its state; what
    /// people have ordered of it stays, unless the two configurations differ there.
    pub fn update(&self, config: Config, now: Instant, make: impl FnMut(&BackendConfig) -> T) -> Diff {
        self.update_replacing(config, now, |_| false, make)
    }

    /// As [`update`](Self::update), but a known backend for which `is_replaced` holds gives way to another of its name, with
    /// a new payload and nothing known of it; the [`Diff`] has it among both the removed and the added. A pick at that
    /// time finds either of the two; one that looks just as they change may be refused, and does well to ask again.
    /// ```
    /// use lb_core::{Balancer, Request, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = Balancer::new("alpha".parse()?, world.now(), world.rng(), |_| "old");
    /// let old = balancer.pick(&Request::new(world.now()), world.rng())?;
    /// balancer.update_replacing(balancer.config(), world.now(), |backend| backend.name == "alpha", |_| "new");
    /// let new = balancer.pick(&Request::new(world.now()), world.rng())?;
    /// assert_eq!((*old.payload(), *new.payload(), balancer.stats().backends[0].in_flight), ("old", "new", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_replacing(
        &self,
        config: Config,
        now: Instant,
        is_replaced: impl Fn(&BackendConfig) -> bool,
        mut make: impl FnMut(&BackendConfig) -> T,
    ) -> Diff {
        self.shared.change(now, |control| {
            let diff = control.adopt(config, now, false, &is_replaced, &mut make);
            if diff != Diff::default() {
                self.shared.record(now, || EventKind::from(diff.clone()));
            }
            diff
        })
    }

    /// The configuration in force, with what people have ordered since through [`set_status`](Self::set_status),
    /// [`enable`](Self::enable), [`set_weight`](Self::set_weight) and [`set_limit`](Self::set_limit): changed and given
    /// to [`update`](Self::update), it changes nothing else.
    /// ```
    /// use lb_core::{BackendConfig, BackendId, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha beta".parse()?);
    /// balancer.set_limit(BackendId::new("beta", 0), Some(5), world.now())?;
    /// let mut config = balancer.config();
    /// config.groups[0].backends.push(BackendConfig::new("gamma"));
    /// let diff = balancer.update(config, world.now(), |_| ());
    /// assert!(diff.added == ["gamma"] && diff.changed.is_empty());
    /// assert_eq!(balancer.config().to_string(), "alpha beta::5 gamma");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn config(&self) -> Config {
        self.shared.control().config_in_force()
    }

    /// Puts into force what has changed and what has become due. Returns when to call it again, if nothing else changes.
    pub fn settle(&self, now: Instant) -> Option<Instant> {
        self.shared.settle(now)
    }

    /// Calls `call` whenever [`settle`](Self::settle) has work or an event waits, from whatever thread caused it and
    /// perhaps under the balancer's own lock: it must only leave word, and not call the balancer. The first call counts.
    pub fn on_change(&self, call: impl Fn() + Send + Sync + 'static) {
        self.shared.on_change(Box::new(call));
    }

    /// Calls `call` each time that a change has come into force, for as long as it returns `true`: for those who keep
    /// something for backends that may not be [wanted](Self::is_wanted) any more. It is called under the balancer's own
    /// lock: it must only leave word, and not call the balancer.
    /// ```
    /// use lb_core::{BackendId, Status, sim};
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering::Relaxed}};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha beta".parse()?);
    /// let changes = Arc::new(AtomicU32::new(0));
    /// let count = Arc::downgrade(&changes);
    /// balancer.on_publish(move || count.upgrade().map(|count| count.fetch_add(1, Relaxed)).is_some());
    /// balancer.set_status(BackendId::new("alpha", 0), Status::Disabled, world.now())?;
    /// assert_eq!(changes.load(Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_publish(&self, call: impl Fn() -> bool + Send + Sync + 'static) {
        self.shared.watchers.add(Box::new(call));
    }

    /// Puts evidence, such as a probe's result, before a backend's policy.
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn observe(&self, id: BackendId, evidence: &Evidence, now: Instant) -> Result<Verdict, UnknownBackend> {
        self.observe_because(id, evidence, evidence.reason(), now)
    }

    /// As [`observe`](Self::observe), with the reason that an [event](EventKind::Health) gives for what follows from it:
    /// `no answer within 1s`, say.
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn observe_because(
        &self,
        id: BackendId,
        evidence: &Evidence,
        reason: &str,
        now: Instant,
    ) -> Result<Verdict, UnknownBackend> {
        let snapshot = self.shared.snapshot.load();
        Ok(snapshot.slot(id).ok_or(UnknownBackend(id))?.member.judge(evidence, reason, now))
    }

    /// Notes when a backend will be probed next, so that its [stats](BackendStats::next_probe) tell; nothing where nobody
    /// knows. It changes nothing else.
    /// ```
    /// use lb_core::{BackendId, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha".parse()?);
    /// let soon = world.now() + std::time::Duration::from_secs(2);
    /// balancer.set_next_probe(BackendId::new("alpha", 0), Some(soon))?;
    /// assert_eq!(balancer.stats().backends[0].next_probe, Some(soon));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn set_next_probe(&self, id: BackendId, at: Option<Instant>) -> Result<(), UnknownBackend> {
        let snapshot = self.shared.snapshot.load();
        snapshot.slot(id).ok_or(UnknownBackend(id))?.member.set_next_probe(at);
        Ok(())
    }

    /// From now on changes are kept as events for [`take_events`](Self::take_events). Without this none is made.
    pub fn record_events(&self) {
        self.shared.journal.record();
    }

    /// The events since the last call, in order; each is handed out once. At most 1024 are kept; if there were more, the
    /// last one [says](EventKind::Missed) how many. [`on_change`](Self::on_change) calls when the first one waits.
    pub fn take_events(&self) -> Vec<Event> {
        self.shared.journal.take()
    }

    /// What people order. Once it has returned, nobody is picked against it. Health stays as it is.
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn set_status(&self, id: BackendId, status: Status, now: Instant) -> Result<(), UnknownBackend> {
        self.change_entry(id, now, |entry| entry.set_status(status, now)).map(|_| ())
    }

    /// Enables a backend and forgets that it was silent or ejected (balance's `enable`).
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn enable(&self, id: BackendId, now: Instant) -> Result<(), UnknownBackend> {
        self.change_entry(id, now, |entry| {
            let (evidence, member) = (Evidence::Enabled, Arc::clone(&entry.member));
            entry.enable(now);
            member.observe(&evidence, evidence.reason(), now);
            member.tell_health(|| evidence.reason().to_owned(), now);
        })
    }

    /// Sets a backend's share; 0 leaves it only what is pinned to it.
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn set_weight(&self, id: BackendId, weight: u16, now: Instant) -> Result<(), UnknownBackend> {
        self.change_entry(id, now, |entry| entry.set_weight(weight))
    }

    /// Sets how many requests a backend works on at a time: `None` is any number, at 0 it gets none at all. Those above it
    /// run to their end.
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn set_limit(&self, id: BackendId, limit: Option<u32>, now: Instant) -> Result<(), UnknownBackend> {
        self.change_entry(id, now, |entry| entry.set_limit(limit))
    }

    /// Counts a backend from 0 again (balance's `reset`). Requests in flight stay and are no picks since then; how it is
    /// judged, and what was learned of it, stays too.
    /// ```
    /// use lb_core::{BackendId, Outcome, Request, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha".parse()?);
    /// let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
    /// balancer.reset_counters(BackendId::new("alpha", 0))?;
    /// let alpha = &balancer.stats().backends[0];
    /// assert_eq!((alpha.picked(), alpha.in_flight), (0, 1));
    /// # drop(lease);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When no configured backend has the id.
    pub fn reset_counters(&self, id: BackendId) -> Result<(), UnknownBackend> {
        let mut control = self.shared.control();
        let entry = control.entry(id).ok_or(UnknownBackend(id))?;
        entry.before_reset = Counts::of(&entry.member);
        Ok(())
    }

    /// Where a request would go now, and why each other backend was passed over. It takes no place and no turn.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        Explanation::of(&self.shared.snapshot.load(), request)
    }

    /// All counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let control = self.shared.control();
        let backends = control.entries.iter().map(BackendStats::of).collect();
        Stats { backends, admitted_percent: self.shared.snapshot.load().admitted_percent() }
    }

    /// The counters and gauges of one backend, if it is configured: for whoever asks about one of many.
    /// ```
    /// use lb_core::{BackendId, sim};
    /// let mut world = sim::World::new(1);
    /// let balancer = world.balancer("alpha beta::5".parse()?);
    /// let beta = balancer.backend_stats(BackendId::new("beta", 0));
    /// assert_eq!(beta.map(|beta| (beta.name, beta.limit)), Some(("beta".to_owned(), Some(5))));
    /// assert_eq!(balancer.backend_stats(BackendId::new("gamma", 0)), None);
    /// # Ok::<(), lb_core::SpecError>(())
    /// ```
    #[must_use]
    pub fn backend_stats(&self, id: BackendId) -> Option<BackendStats> {
        // Under the lock the entries are those of the snapshot, in its order, unless a selector has panicked over them.
        let control = self.shared.control();
        let at = self.shared.snapshot.load().position(id)?;
        control.entries.get(at).filter(|entry| entry.member.id == id).map(BackendStats::of)
    }

    /// The payloads of all configured backends, in order, for whoever keeps them fresh.
    pub fn for_each(&self, mut visit: impl FnMut(BackendId, &T)) {
        let control = self.shared.control();
        control.entries.iter().for_each(|entry| visit(entry.member.id, &entry.member.payload));
    }

    fn change_entry<R>(
        &self,
        id: BackendId,
        now: Instant,
        act: impl FnOnce(&mut Entry<T>) -> R,
    ) -> Result<R, UnknownBackend> {
        self.shared.change_entry(id, now, act).ok_or(UnknownBackend(id))
    }
}

impl<T> fmt::Debug for Balancer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("backends", &self.shared.snapshot.load().roster.slots.len()).finish()
    }
}
