//! Rounds of checks against a balancer that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use lb_core::{
    BackendId, BackendStats, Balancer, Health, Status,
    health::{Cause, Evidence, Probe as Ended, RiseFall, Share},
    rand::{SeedableRng, rngs::SmallRng},
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    Answer, Check, Finding, MonitorSpec, Switch,
    check::{Found, Round},
};
use crate::driver::{later, now};

/// How late a change may be seen that nobody puts into force: where nobody [drives](crate::drive) the balancer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What comes due within this time is begun together: one look at the balancer serves it all.
const BATCH: Duration = Duration::from_millis(10);

/// Checks the backends of a balancer in rounds, and puts what it finds before their policies.
///
/// The first round is at once. After that each backend has its own beat: the next round begins one interval after the
/// last one has begun, or when the balancer's policy [says](lb_core::health::Verdict::next_probe), counted from there too.
/// All backends are looked at side by side, the checks of one in order; the first that fails decides. A backend with
/// several addresses is looked at under the first, and under the next when that gives no answer: each check has its whole
/// time at each of them. A round that takes longer than the interval is followed by the next at once.
///
/// Backends of every status but [`Disabled`](Status::Disabled) are covered, also those that join later. One that people
/// [enable](Balancer::enable) is looked at at once: what was found before may be old. How many bad rounds take one down is for the balancer's policy to say: its configuration needs `probes`, as
/// [`MonitorSpec::policy`] makes them.
/// ```
/// use std::{net::SocketAddr, sync::Arc, time::Duration};
/// use lb_core::{Balancer, Health};
/// use lb_net::{connect::Addresses, probe::{Monitor, MonitorSpec}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut world = lb_core::sim::World::new(1);
/// let spec: MonitorSpec = "command=exit 1:interval=0.05".parse()?;
/// let config = "127.0.0.1:80".parse::<lb_core::Config>()?.with_probes(spec.policy());
/// let make = |backend: &lb_core::BackendConfig| backend.name.parse::<SocketAddr>().unwrap();
/// let balancer = Arc::new(Balancer::new(config, world.now(), world.rng(), make));
/// let monitor = Monitor::new(&spec, Duration::from_secs(5), None);
/// let running = tokio::spawn(monitor.run(Arc::clone(&balancer), Addresses::all_addresses));
/// while balancer.stats().backends[0].health == Health::Up {
///     tokio::task::yield_now().await;
/// }
/// running.abort();
/// # Ok(()) }
/// ```
pub struct Monitor {
    checks: Arc<[Check]>,
    pace: RiseFall,
    enables: bool,
    disables: bool,
    switch: Switch,
    seed: Option<u64>,
    trace: Option<Trace>,
}

type Trace = Box<dyn FnMut(&Finding) + Send>;

impl Monitor {
    /// A monitor that does as specified. A check without a time of its own has the connect timeout (`-t`), but no longer
    /// than the interval; connections come from `source` (`-B`).
    #[must_use]
    pub fn new(spec: &MonitorSpec, connect_timeout: Duration, source: Option<IpAddr>) -> Self {
        let monitor = Self::with_checks(spec.build(connect_timeout, source), spec.policy());
        Self { enables: spec.enables(), disables: spec.disables(), ..monitor }
    }

    /// A monitor with checks of yours; of `pace` it keeps to the jitter, and to the interval where the balancer's policy
    /// does not say when to probe next. A [`RiseFall`] among the `probes` of its configuration says so after each round:
    /// its own interval, and the fast one while a change is under way.
    #[must_use]
    pub fn with_checks(checks: impl Into<Arc<[Check]>>, pace: RiseFall) -> Self {
        let (checks, switch) = (checks.into(), Switch::default());
        Self { checks, pace, enables: true, disables: true, switch, seed: None, trace: None }
    }

    /// The same with chance that begins with this seed, for tests that must repeat.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The same with this switch in place of its own.
    #[must_use]
    pub fn with_switch(self, switch: Switch) -> Self {
        Self { switch, ..self }
    }

    /// The same, and `trace` hears of everything that is found, whether it changes anything or not. It must not wait.
    #[must_use]
    pub fn with_trace(self, trace: impl FnMut(&Finding) + Send + 'static) -> Self {
        Self { trace: Some(Box::new(trace)), ..self }
    }

    /// What pauses it.
    #[must_use]
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// Checks for as long as it is polled. Dropping it ends all checks: nothing of them is left, no process either.
    ///
    /// `addresses` says where a backend is now, in the order in which to look; it must not call the balancer.
    /// [`Addresses::all_addresses`](crate::connect::Addresses::all_addresses) will do. The runtime needs its I/O and its
    /// timers. Starting a command takes a moment: better not on a thread that moves bytes.
    pub fn run<T, A>(self, balancer: Arc<Balancer<T>>, addresses: A) -> impl Future<Output = ()> + Send
    where
        T: Send + Sync + 'static,
        A: Fn(&T) -> Vec<SocketAddr> + Send + 'static,
    {
        let switch = self.switch.watch();
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let rng = SmallRng::seed_from_u64(seed);
        let (slots, rounds) = (BTreeMap::new(), FuturesUnordered::new());
        let beats = |now| Beats {
            monitor: self,
            balancer,
            addresses,
            rng,
            slots,
            rounds,
            serial: 0,
            look: now,
            woke: None,
            wake: now,
        };
        async move {
            let (sender, news) = watch::channel(());
            let beats = beats(Instant::now());
            beats.balancer.on_publish(move || sender.send(()).is_ok());
            beats.run(switch, news).await;
        }
    }

    /// Whether it looks after a backend in this state. What an application has said it may take back, whatever the
    /// monitor may do by itself.
    fn covers(&self, backend: &BackendStats) -> bool {
        let wanted = match backend.health {
            Health::Up => self.disables || backend.share < Share::FULL,
            Health::Draining | Health::Down(Cause::Said | Cause::Maintenance) => true,
            _ => self.enables,
        };
        wanted && backend.status != Status::Disabled && !self.checks.is_empty()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checks, pace, enables, disables, switch, .. } = self;
        let mut shown = f.debug_struct("Monitor");
        shown.field("checks", checks).field("interval", &pace.interval).field("jitter", &pace.jitter);
        shown.field("enables", enables).field("disables", disables).field("switch", switch).finish()
    }
}

/// Where a backend is in its beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// It is not looked after.
    Idle,
    Due(Instant),
    /// This round is under way.
    Running(u64),
}

/// What is known of a backend.
struct Known {
    name: String,
    slot: Slot,
    /// Which one it was, and how often people had enabled it.
    version: (u64, u64),
    /// Dropped, it ends the round that is under way.
    lifeline: Option<oneshot::Sender<Infallible>>,
}

/// A monitor at work.
struct Beats<T, A> {
    monitor: Monitor,
    balancer: Arc<Balancer<T>>,
    addresses: A,
    rng: SmallRng,
    slots: BTreeMap<BackendId, Known>,
    /// All in this one task, so that dropping it drops them at once.
    rounds: FuturesUnordered<Round>,
    serial: u64,
    /// When to look at the balancer again.
    look: Instant,
    /// When it last did what was due, and when to do so again.
    woke: Option<Instant>,
    wake: Instant,
}

impl<T: Send + Sync + 'static, A: Fn(&T) -> Vec<SocketAddr>> Beats<T, A> {
    /// `news`: a change of the balancer has come into force.
    async fn run(mut self, mut switch: watch::Receiver<bool>, mut news: watch::Receiver<()>) {
        loop {
            let (on, is_new) = {
                let state = switch.borrow_and_update();
                (*state, state.has_changed())
            };
            // Something else may have happened in the same moment.
            if is_new {
                self.make_all_due(Instant::now());
            }
            if !on {
                self.slots.keys().for_each(|id| self.tell_next(*id, None));
            }
            let now = Instant::now();
            if on && self.wake <= now {
                // None is looked at that was disabled before.
                if self.look <= now || news.has_changed().unwrap_or(false) {
                    news.mark_unchanged();
                    self.look(now);
                }
                self.begin(now);
            }
            tokio::select! {
                Some(ended) = self.rounds.next() => ended.into_iter().for_each(|found| self.end(found)),
                _ = switch.changed() => self.make_all_due(Instant::now()),
                Ok(()) = news.changed(), if on => self.look_at(Instant::now()),
                () = sleep_until(self.wake), if on => {}
            }
        }
    }

    fn make_all_due(&mut self, now: Instant) {
        for known in self.slots.values_mut().filter(|known| matches!(known.slot, Slot::Due(_))) {
            known.slot = Slot::Due(now);
        }
        (self.look, self.wake) = (now, now);
    }

    fn look_at(&mut self, at: Instant) {
        self.look = self.look.min(at);
        self.wake_at(at);
    }

    /// Not for each of many: what comes close together is done together.
    fn wake_at(&mut self, at: Instant) {
        let soonest = self.woke.map_or(at, |woke| at.max(woke + BATCH));
        self.wake = self.wake.min(soonest);
    }

    /// Looks at the balancer: who is new, who is gone, who is to be looked after.
    fn look(&mut self, now: Instant) {
        let mut before = std::mem::take(&mut self.slots);
        for backend in self.balancer.stats().backends {
            let (id, covered) = (backend.id, self.monitor.covers(&backend));
            let version = (backend.serial, backend.enabled_times);
            // What was known before is old, and so is what a round finds that is under way.
            let known = before.remove(&id).filter(|known| known.version == version || known.slot == Slot::Idle);
            let (slot, lifeline) = known.map_or((Slot::Due(now), None), |known| (known.slot, known.lifeline));
            let slot = match slot {
                // Whom it looks after again it looks at at once: what it knows may be old.
                Slot::Idle if covered => Slot::Due(now),
                Slot::Due(_) if !covered => {
                    self.tell_next(id, None);
                    Slot::Idle
                }
                slot => slot,
            };
            self.slots.insert(id, Known { name: backend.name, slot, version, lifeline });
        }
        self.look = now + LOOK_EVERY;
    }

    /// Begins the rounds that are due.
    fn begin(&mut self, now: Instant) {
        let is_due = |known: &Known| matches!(known.slot, Slot::Due(due) if due <= now);
        let due = self.slots.iter().filter(|(_, known)| is_due(known));
        let mut due: BTreeSet<BackendId> = due.map(|(id, _)| *id).collect();
        if !due.is_empty() {
            let balancer = Arc::clone(&self.balancer);
            let mut rounds = Vec::with_capacity(due.len());
            balancer.for_each(|id, payload| {
                if due.remove(&id) {
                    rounds.push((id, (self.addresses)(payload)));
                }
            });
            rounds.into_iter().for_each(|(id, addresses)| self.begin_round(id, addresses, now));
            // Removed since it was looked up.
            due.iter().for_each(|id| drop(self.slots.remove(id)));
        }
        let next =
            self.slots.values().filter_map(|known| if let Slot::Due(due) = known.slot { Some(due) } else { None });
        self.wake = next.fold(self.look, Instant::min).max(now + BATCH);
        self.woke = Some(now);
    }

    fn begin_round(&mut self, id: BackendId, addresses: Vec<SocketAddr>, now: Instant) {
        let Some(known) = self.slots.get_mut(&id) else { return };
        self.serial += 1;
        let (serial, (lifeline, cut)) = (self.serial, oneshot::channel());
        (known.slot, known.lifeline) = (Slot::Running(serial), Some(lifeline));
        let round = super::check::round(Arc::clone(&self.monitor.checks), id, known.name.clone(), addresses);
        let next = self.next(now, self.monitor.pace.interval);
        self.tell_next(id, Some(next));
        self.rounds.push(Box::pin(async move {
            tokio::select! {
                finding = round => Some(Found { finding, serial, began: now, next }),
                _ = cut => None,
            }
        }));
    }

    /// When the round is due that follows one that has begun then.
    fn next(&mut self, began: Instant, pause: Duration) -> Instant {
        later(began, self.monitor.pace.jittered(pause, &mut self.rng))
    }

    /// For whoever asks the balancer. One that is gone needs no telling.
    fn tell_next(&self, id: BackendId, at: Option<Instant>) {
        let _ = self.balancer.set_next_probe(id, at.map(Instant::into_std));
    }

    fn end(&mut self, Found { finding, serial, began, mut next }: Found) {
        let id = finding.id;
        // Unless it was removed meanwhile.
        if self.slots.get(&id).is_none_or(|known| known.slot != Slot::Running(serial)) {
            return;
        }
        if self.monitor.switch.is_enabled() {
            let pause = self.report(&finding);
            if let Some(pause) = pause.filter(|pause| *pause != self.monitor.pace.interval) {
                next = self.next(began, pause);
                self.tell_next(id, Some(next));
            }
        }
        if let Some(known) = self.slots.get_mut(&id) {
            known.slot = Slot::Due(next);
        }
        self.wake_at(next);
    }

    /// How long until the next round, if the policy says so.
    fn report(&mut self, finding: &Finding) -> Option<Duration> {
        if let Some(trace) = &mut self.monitor.trace {
            trace(finding);
        }
        let ended = match finding.answer {
            Answer::Passed => Ended::Passed,
            Answer::Failed(_) | Answer::Silent(_) => Ended::Failed,
            Answer::Said(word, _) => Ended::Said(word),
            Answer::Inconclusive(_) => return None,
        };
        if !self.still_counts(finding.id) {
            return None;
        }
        // One that is gone needs no evidence.
        let verdict = self.balancer.observe_because(finding.id, &Evidence::Probe(ended), &finding.reason, now());
        verdict.ok()?.next_probe
    }

    /// With `noenable` or `nodisable`, whether the backend is still one to look after: traffic may have taken it down
    /// since the round began, or an operator brought it back. Otherwise that is no question.
    fn still_counts(&self, id: BackendId) -> bool {
        let is_covered = || self.balancer.backend_stats(id).is_some_and(|backend| self.monitor.covers(&backend));
        (self.monitor.enables && self.monitor.disables) || is_covered()
    }
}
