//! What is known of one backend for as long as it is configured; it outlives every snapshot.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Instant,
};

use crate::{
    BackendId, Fit, Health, Outcome,
    backend::Metric,
    clock_use::ClockUse,
    control::Shared,
    decay::Decaying,
    door::{Door, Ejection, Place, Reading},
    ejection::Plea,
    event::{EventKind, Subject},
    failing::Failing,
    health::{Evidence, Policies, Share, Traffic, Verdict},
    openings::{CurrentOpenings, SlotMark},
};

/// Failures count in parts of a request, so that they can decay.
const PARTS: u32 = 256;
/// What a failure weighs beside requests in flight, and how many count at most.
const MOST_FAILURES: u32 = 64 * PARTS;
/// What a failure counts as in a latency average, however fast it came.
const FAILURE_MICROS: u32 = 1_000_000;
/// Latencies below are equal: noise decides nothing.
const LEAST_MICROS: u32 = 100;

/// Why a health is another after a change of configuration.
const OTHER_RULES: &str = "judged by other rules";

/// What picks write and look at comes first, in one cache line.
#[repr(C, align(64))]
pub(crate) struct Member<T> {
    pub(crate) door: Door,
    failures: Decaying,
    latency: Decaying,
    /// Whether a selector looks at latencies: else none are noted.
    pub(crate) has_latency: AtomicBool,
    pub(crate) mark: SlotMark,
    epoch: Instant,
    pub(crate) ended: Ended,
    pub(crate) id: BackendId,
    pub(crate) name: Box<str>,
    pub(crate) payload: T,
    openings: Arc<CurrentOpenings>,
    clock_use: Arc<ClockUse>,
    home: Weak<Shared<T>>,
    judges: Mutex<Judges>,
    /// The number of its group, from 0.
    pub(crate) group: AtomicUsize,
    /// Whether it was told that nothing runs there any more, since people last wanted that.
    pub(crate) drained: AtomicBool,
    /// In percent; written under the lock of the judges.
    share: AtomicU8,
    pub(crate) carried: Carried,
}

/// Who judges it, what was told of it last, and whose requests failed there.
struct Judges {
    policies: Policies,
    told: Told,
    failing: Failing,
}

/// The health that was told last, and what is to be said of it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    health: Health,
    pub(crate) reason: String,
    /// When it changed last.
    pub(crate) since: Option<Instant>,
    pub(crate) next_probe: Option<Instant>,
}

impl Told {
    fn at_first(health: Health) -> Self {
        let reason = if health == Health::Unknown { "no answer yet" } else { "assumed at first" }.to_owned();
        Self { health, reason, since: None, next_probe: None }
    }
}

/// Counts that no pick looks at, in a cache line of their own: relays write them while others pick.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Carried {
    pub(crate) to_backend_bytes: AtomicU64,
    pub(crate) to_client_bytes: AtomicU64,
    /// Picks made at last resort.
    pub(crate) last_resort: AtomicU64,
}

/// How many requests ended which way, and how many have only got as far as a connection.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) connected: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) connect_failed: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

/// What all members of a balancer share.
pub(crate) struct Common<T> {
    pub(crate) epoch: Instant,
    pub(crate) openings: Arc<CurrentOpenings>,
    pub(crate) clock_use: Arc<ClockUse>,
    pub(crate) home: Weak<Shared<T>>,
}

impl<T> Member<T> {
    pub(crate) fn new(
        (id, name, group): (BackendId, &str, usize),
        door: Door,
        policies: Policies,
        payload: T,
        common: &Common<T>,
    ) -> Self {
        let (epoch, openings, home) = (common.epoch, Arc::clone(&common.openings), Weak::clone(&common.home));
        let clock_use = Arc::clone(&common.clock_use);
        let (told, drained) = (Told::at_first(door.read().health()), door.read().is_ordered_empty().into());
        let share = policies.share().get().into();
        Self {
            door,
            failures: Decaying::default(),
            latency: Decaying::default(),
            has_latency: AtomicBool::default(),
            mark: SlotMark::default(),
            epoch,
            ended: Ended::default(),
            id,
            name: name.into(),
            payload,
            openings,
            clock_use,
            home,
            judges: Mutex::new(Judges { policies, told, failing: Failing::default() }),
            group: group.into(),
            drained,
            share,
            carried: Carried::default(),
        }
    }

    /// Takes a place. When it was the last one, the bitmap learns it.
    pub(crate) fn enter(&self, last_resort: bool, pinned: bool) -> Result<Place, Fit> {
        let place = self.door.enter(last_resort, pinned)?;
        match place {
            Place::Plain => {}
            // How long it may take is for the driver to see.
            Place::Trial => self.changed(),
            Place::Last => self.refresh_opening(),
        }
        Ok(place)
    }

    pub(crate) fn leave(&self, success: bool) {
        let before = self.door.leave(success);
        if before.is_watched() {
            self.left(before);
        }
    }

    /// The bitmap learns that there is room. When nothing runs any more where people want that, it leaves word: whoever
    /// settles knows the time and tells it. Not inlined, because most have no part in it.
    #[inline(never)]
    fn left(&self, before: Reading) {
        self.refresh_opening();
        if before.is_ordered_empty()
            && before.in_flight() == 1
            && !self.drained.load(SeqCst)
            && let Some(home) = self.home.upgrade()
        {
            home.mark_emptied();
        }
    }

    /// The number of its group, from 0.
    pub(crate) fn group(&self) -> usize {
        self.group.load(Relaxed)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.door.read().fit(false) == Fit::Yes
    }

    /// To be called after each change of the door.
    pub(crate) fn refresh_opening(&self) {
        self.openings.refresh(&self.mark, || self.is_open());
    }

    pub(crate) fn load(&self, metric: Metric, now: Instant) -> u64 {
        let requests = u64::from(self.door.read().in_flight()) + 1;
        match metric {
            // Whole ones: who has failed lately is never equal to one that has not.
            Metric::InFlight if self.failures.is_nothing() => requests,
            Metric::InFlight => requests + self.recent_failures(now),
            Metric::PeakEwma if self.latency.is_nothing() => requests * u64::from(LEAST_MICROS),
            Metric::PeakEwma => requests * u64::from(self.latency.left(self.millis(now)).max(LEAST_MICROS)),
        }
    }

    /// What is left of them. Where all have decayed nobody needs to have read a clock: `now` is any moment, one before the
    /// last failure perhaps. Not inlined, because most have failed nothing.
    #[cold]
    fn recent_failures(&self, now: Instant) -> u64 {
        let left = if self.clock_use.is_over() { 0 } else { self.failures.left(self.millis(now)) };
        u64::from(left.div_ceil(PARTS))
    }

    pub(crate) fn add_latency(&self, micros: impl FnOnce() -> u32, now: Instant) {
        if self.has_latency.load(Relaxed) {
            self.latency.peak(micros().max(1), self.millis(now));
        }
    }

    /// Evidence from outside: a wish to eject that follows from it is granted or not, as for traffic.
    pub(crate) fn judge(&self, evidence: &Evidence, reason: &str, now: Instant) -> Verdict {
        let verdict = self.observe(evidence, reason, now);
        if let Some(home) = self.home.upgrade().filter(|_| verdict.eject.is_some()) {
            home.eject(self, Plea { wish: verdict.eject, trial: false, client: None, reason }, now);
        }
        verdict
    }

    /// A failed request: the penalty, the policy's opinion, and what follows from it.
    #[cold]
    pub(crate) fn add_failure(&self, outcome: Outcome, client: Option<u64>, trial: bool, now: Instant) {
        let home = self.home.upgrade();
        self.clock_use.note_failure(now);
        if let Some(home) = &home {
            home.follow_rates(now, self.millis_since_epoch(now));
        }
        let counter = if outcome == Outcome::ConnectFailed { &self.ended.connect_failed } else { &self.ended.failed };
        counter.fetch_add(1, Relaxed);
        // People may have enabled the backend meanwhile: nothing is being tried then.
        let trial = trial && self.door.read().ejection() == Ejection::Trial;
        self.failures.add(PARTS, MOST_FAILURES, self.millis(now));
        self.latency.peak(FAILURE_MICROS, self.millis(now));
        let successes = self.door.successes() + self.ended.connected.load(Relaxed);
        let (traffic, reason) = (Traffic { outcome, client, successes, trial }, outcome.reason());
        if let Some(client) = client.filter(|_| outcome.is_provokable()) {
            self.change_failing(|failing| failing.note(client));
        }
        let verdict = self.observe(&Evidence::Traffic(traffic), reason, now);
        if trial && verdict.eject.is_none() && outcome.is_provokable() {
            return self.end_trial(true);
        }
        let trial = trial && self.door.set_ejection(Some(Ejection::Trial), Ejection::Out);
        if let Some(home) = home.filter(|_| trial || verdict.eject.is_some()) {
            let client = client.filter(|_| outcome.is_provokable());
            home.eject(self, Plea { wish: verdict.eject, trial, client, reason }, now);
        }
    }

    /// The trial went well, or nobody knows.
    pub(crate) fn end_trial(&self, well: bool) {
        let to = if well { Ejection::In } else { Ejection::HalfOpen };
        if self.door.set_ejection(Some(Ejection::Trial), to) {
            self.changed();
        }
    }

    /// Puts evidence before the policy and makes the change of health that it asks for.
    pub(crate) fn observe(&self, evidence: &Evidence, reason: &str, now: Instant) -> Verdict {
        let mut judges = self.judges();
        let verdict = judges.policies.observe(evidence, now);
        // Under the lock, so that of two changes the later one stays, and is told later.
        if let Some(share) = verdict.share {
            self.set_share(share, reason, now);
        }
        if let Some(health) = verdict.health {
            self.door.set_health(health);
            self.tell(&mut judges, || reason.to_owned(), now);
        } else if evidence.confirms(judges.told.health) && judges.told.reason != reason {
            reason.clone_into(&mut judges.told.reason);
        }
        drop(judges);
        if verdict.health.is_some() || verdict.share.is_some() {
            self.changed();
        }
        verdict
    }

    fn set_share(&self, share: Share, reason: &str, now: Instant) {
        let from = self.share();
        self.share.store(share.get(), Relaxed);
        if from != share && !self.door.read().is_removed() {
            self.record(now, |backend| EventKind::Share { backend, from, to: share, reason: reason.to_owned() });
        }
    }

    /// How much of its share it takes, as its policies say.
    pub(crate) fn share(&self) -> Share {
        Share::percent(self.share.load(Relaxed)).unwrap_or(Share::FULL)
    }

    /// What is to be said of its health.
    pub(crate) fn told(&self) -> Told {
        self.judges().told.clone()
    }

    /// Notes why its health stays what it was.
    pub(crate) fn set_reason(&self, reason: String) {
        self.judges().told.reason = reason;
    }

    pub(crate) fn set_next_probe(&self, at: Option<Instant>) {
        self.judges().told.next_probe = at;
    }

    /// Whose requests failed here.
    pub(crate) fn failing(&self) -> Failing {
        self.judges().failing
    }

    pub(crate) fn change_failing(&self, change: impl FnOnce(&mut Failing)) {
        change(&mut self.judges().failing);
    }

    /// Changes how it is judged; its health is what they make of it. The next snapshot must follow.
    pub(crate) fn change_policies(&self, change: impl FnOnce(&mut Policies), now: Instant) {
        let mut judges = self.judges();
        change(&mut judges.policies);
        self.set_share(judges.policies.share(), OTHER_RULES, now);
        self.door.set_health(judges.policies.health());
        self.tell(&mut judges, || OTHER_RULES.to_owned(), now);
    }

    /// Records its health where that is not what was told last, as after an ejection.
    pub(crate) fn tell_health(&self, reason: impl FnOnce() -> String, now: Instant) {
        self.tell(&mut self.judges(), reason, now);
    }

    fn tell(&self, judges: &mut Judges, reason: impl FnOnce() -> String, now: Instant) {
        let (door, told) = (self.door.read(), &mut judges.told);
        let (from, to) = (std::mem::replace(&mut told.health, door.health()), door.health());
        if from == to {
            return;
        }
        (told.reason, told.since) = (reason(), Some(now));
        if !door.is_removed() {
            let reason = || told.reason.clone();
            self.record(now, |backend| EventKind::Health { backend, from, to, reason: reason() });
        }
    }

    /// Records what happened to it, if anybody wants to know.
    pub(crate) fn record(&self, now: Instant, kind: impl FnOnce(Subject) -> EventKind) {
        if let Some(home) = self.home.upgrade() {
            let subject = || Subject { id: self.id, name: self.name.to_string(), group: self.group() };
            home.record(now, || kind(subject()));
        }
    }

    fn changed(&self) {
        self.refresh_opening();
        if let Some(home) = self.home.upgrade() {
            home.mark_changed();
        }
    }

    /// A policy that panicked has said nothing; the next evidence finds it as it is.
    fn judges(&self) -> MutexGuard<'_, Judges> {
        self.judges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn millis_since_epoch(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_millis() as u32
    }
}
