//! Changing: the one place that puts changes into force and publishes the next snapshot.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use crate::{
    BackendConfig, BackendId, Config, Diff, Request, Selector, Start,
    clock_use::ClockUse,
    entry::Entry,
    event::EventKind,
    group::SubGroup,
    health::{HealthPolicy, Policies},
    journal::Journal,
    member::{Common, Member},
    openings::Openings,
    part::{Part, Scale},
    recovery::{Recovery, Tally},
    selector::Failover,
    snapshot::{ALL_ADMITTED, Roster, Slot, Snapshot},
    watchers::Watchers,
};

/// Snapshots published by [`settle`](crate::Balancer::settle) are at least this far apart.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);

/// What picks and changes share.
pub(crate) struct Shared<T> {
    pub(crate) snapshot: ArcSwap<Snapshot<T>>,
    control: Mutex<Control<T>>,
    changed: AtomicBool,
    /// A backend that people want empty has become so; nobody has been told yet.
    emptied: AtomicBool,
    pub(crate) journal: Journal,
    on_change: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub(crate) watchers: Watchers,
    /// When the next window of rates of failure begins, in milliseconds since the epoch of the balancer.
    pub(crate) rates_due_ms: AtomicU64,
    /// Until then nobody is compared with all others.
    pub(crate) comparison_due_ms: AtomicU64,
    pub(crate) clock_use: Arc<ClockUse>,
}

impl<T: Send + Sync> Shared<T> {
    pub(crate) fn new(now: Instant, phase: u64) -> Arc<Self> {
        Arc::new_cyclic(|home| {
            let (openings, clock_use) = (Arc::default(), Arc::new(ClockUse::new(now)));
            let common = Common { epoch: now, openings, clock_use: Arc::clone(&clock_use), home: home.clone() };
            let mut control = Control {
                config: Config::default(),
                common,
                entries: Vec::new(),
                parts: Vec::new(),
                custom: None,
                policy: None,
                phase,
                generation: 0,
                published: None,
                rates_since: now,
                last_resort: false,
                recovery: None,
                made: 0,
                declined: false,
                leaving: Vec::new(),
            };
            let snapshot = ArcSwap::from(control.build(now));
            Self {
                snapshot,
                control: Mutex::new(control),
                changed: AtomicBool::default(),
                emptied: AtomicBool::default(),
                journal: Journal::default(),
                on_change: OnceLock::new(),
                watchers: Watchers::default(),
                rates_due_ms: AtomicU64::new(0),
                comparison_due_ms: AtomicU64::new(0),
                clock_use,
            }
        })
    }

    /// Makes a change and puts it into force before it returns.
    pub(crate) fn change<R>(&self, now: Instant, act: impl FnOnce(&mut Control<T>) -> R) -> R {
        let control = &mut *self.control();
        let result = act(control);
        self.publish(control, now);
        result
    }

    /// The same for one backend, if it is configured.
    pub(crate) fn change_entry<R>(
        &self,
        id: BackendId,
        now: Instant,
        act: impl FnOnce(&mut Entry<T>) -> R,
    ) -> Option<R> {
        let control = &mut *self.control();
        let result = act(control.entry(id)?);
        self.publish(control, now);
        Some(result)
    }

    fn publish(&self, control: &mut Control<T>, now: Instant) {
        self.changed.store(false, SeqCst);
        control.follow_health(now);
        self.clock_use.set_always(control.sees_time(), now);
        let snapshot = control.build(now);
        self.snapshot.store(Arc::clone(&snapshot));
        control.mark_slots(&snapshot);
        control.leaving.drain(..).for_each(|member| member.door.remove());
        control.note_drained(now);
        let last_resort = snapshot.is_last_resort();
        if last_resort != std::mem::replace(&mut control.last_resort, last_resort) {
            self.record(now, || EventKind::LastResort { begun: last_resort });
        }
        let declined = control.is_refusing();
        if declined != std::mem::replace(&mut control.declined, declined) {
            self.record(now, || EventKind::Declined { begun: declined });
        }
        self.watchers.tell();
    }

    pub(crate) fn settle(&self, now: Instant) -> Option<Instant> {
        let control = &mut *self.control();
        if self.emptied.swap(false, SeqCst) {
            control.note_drained(now);
        }
        let due = control.end_ejections(now)
            | control.entries.iter().any(|entry| entry.is_ramp_due(now, control.ramp()))
            | control.recovery_step().is_some_and(|step| step <= now);
        if due || self.changed.load(SeqCst) {
            let next = control.published.map_or(now, |at| at + PUBLISH_EVERY);
            if next > now {
                self.changed.store(true, SeqCst);
                return Some(next);
            }
            self.publish(control, now);
        }
        control.next_event()
    }
}

impl<T> Shared<T> {
    /// Whoever panicked under this lock was an embedder's own code, and every step leaves a usable state.
    pub(crate) fn control(&self) -> MutexGuard<'_, Control<T>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless somebody is at it.
    pub(crate) fn try_control(&self) -> Option<MutexGuard<'_, Control<T>>> {
        match self.control.try_lock() {
            Ok(control) => Some(control),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn on_change(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_change.set(call);
    }

    pub(crate) fn mark_changed(&self) {
        if !self.changed.swap(true, SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn mark_emptied(&self) {
        if !self.emptied.swap(true, SeqCst) {
            self.wake();
        }
    }

    /// Keeps an event for whoever takes them, if anybody does.
    pub(crate) fn record(&self, at: Instant, kind: impl FnOnce() -> EventKind) {
        if self.journal.is_recording() && self.journal.push(at, kind()) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(call) = self.on_change.get() {
            call();
        }
    }
}

/// Everything that picks do not look at.
pub(crate) struct Control<T> {
    pub(crate) config: Config,
    pub(crate) common: Common<T>,
    /// In the order of the configuration.
    pub(crate) entries: Vec<Entry<T>>,
    /// The selector of each group as last rebuilt: it holds the turn.
    parts: Vec<Arc<dyn Selector>>,
    custom: Option<Arc<dyn Selector>>,
    policy: Option<Box<dyn HealthPolicy>>,
    phase: u64,
    generation: u32,
    published: Option<Instant>,
    /// Since when rates of failure are counted.
    pub(crate) rates_since: Instant,
    /// Whether the published snapshot is one for the last resort.
    last_resort: bool,
    /// While not all requests are let in.
    recovery: Option<Recovery>,
    /// Backends so far.
    made: u64,
    /// Whether it was told that all backends say that they take no work, and not yet that this is over.
    declined: bool,
    /// No longer configured. Whoever finds them meanwhile is let in: their doors close as soon as nobody finds them.
    leaving: Vec<Arc<Member<T>>>,
}

impl<T: Send + Sync> Control<T> {
    /// Takes over a configuration, keeping every member whose id is in both and that is not to be replaced.
    pub(crate) fn adopt(
        &mut self,
        config: Config,
        now: Instant,
        first: bool,
        is_replaced: &dyn Fn(&BackendConfig) -> bool,
        make: &mut dyn FnMut(&BackendConfig) -> T,
    ) -> Diff {
        let before: BTreeMap<BackendId, _> = self.config.backends().map(|(id, _, backend)| (id, backend)).collect();
        // What embedders have written may panic: nothing has changed by then.
        let newcomers = self.newcomers(&config, &before, first, is_replaced, make);
        self.made += newcomers.iter().flatten().count() as u64;
        let entries = std::mem::take(&mut self.entries);
        let mut kept: BTreeMap<BackendId, Entry<T>> = entries.into_iter().map(|e| (e.member.id, e)).collect();
        let mut diff = Diff::default();
        let was_in: BTreeMap<BackendId, usize> = kept.iter().map(|(id, entry)| (*id, entry.group())).collect();
        for ((id, group, backend), newcomer) in config.backends().zip(newcomers) {
            if let Some(entry) = newcomer {
                diff.added.push(backend.name.clone());
                self.entries.push(entry);
            } else if let Some(mut entry) = kept.remove(&id) {
                if before.get(&id).is_some_and(|old| entry.follow(old, backend, group, now)) {
                    diff.changed.push(backend.name.clone());
                }
                if self.policy.is_none() {
                    entry.member.change_policies(|policies| policies.follow(&self.config, &config), now);
                }
                self.entries.push(entry);
            }
        }
        for entry in kept.into_values() {
            diff.removed.push(entry.member.name.to_string());
            self.leaving.push(entry.member);
        }
        self.parts = self.parts_for(&config, &was_in);
        self.config = config;
        diff
    }

    /// By the backends of a configuration: one to come, or nothing where the one that is there goes on.
    fn newcomers(
        &self,
        config: &Config,
        before: &BTreeMap<BackendId, &BackendConfig>,
        first: bool,
        is_replaced: &dyn Fn(&BackendConfig) -> bool,
        make: &mut dyn FnMut(&BackendConfig) -> T,
    ) -> Vec<Option<Entry<T>>> {
        let mut known: BTreeMap<BackendId, _> = self.entries.iter().map(|entry| (entry.member.id, entry)).collect();
        let mut made = self.made;
        let newcomer = |(id, group, backend): (BackendId, usize, &BackendConfig)| {
            let known = known.remove(&id);
            if known.is_some() && !is_replaced(backend) {
                return None;
            }
            let ordered = known.zip(before.get(&id)).map(|(entry, old)| entry.ordered(old, backend));
            let backend = ordered.as_ref().unwrap_or(backend);
            let policies = self.policies(config);
            let door = Entry::<T>::door(backend, policies.health());
            let member = Member::new((id, &backend.name, group), door, policies, make(backend), &self.common);
            made += 1;
            Some(Entry::new(member, backend, first, made))
        };
        config.backends().map(newcomer).collect()
    }

    pub(crate) fn entry(&mut self, id: BackendId) -> Option<&mut Entry<T>> {
        self.entries.iter_mut().find(|entry| entry.member.id == id)
    }

    /// The configuration, with what people have ordered since.
    pub(crate) fn config_in_force(&self) -> Config {
        let mut config = self.config.clone();
        let backends = config.groups.iter_mut().flat_map(|group| &mut group.backends);
        for (backend, entry) in backends.zip(&self.entries) {
            backend.status = entry.member.door.read().status();
            (backend.weight, backend.limit) = (entry.weight, entry.limit);
        }
        config
    }

    /// Tells of backends that people want empty and that have become so.
    pub(crate) fn note_drained(&self, now: Instant) {
        self.entries.iter().for_each(|entry| entry.note_drained(now));
    }

    fn policies(&self, config: &Config) -> Policies {
        let custom = self.policy.as_ref().map(|policy| Policies::custom(&**policy));
        custom.unwrap_or_else(|| Policies::of(config))
    }

    /// Each group keeps the selector, and so the turn, of the group that its first known backend was in, unless it is
    /// to have one of another kind.
    fn parts_for(&self, config: &Config, was_in: &BTreeMap<BackendId, usize>) -> Vec<Arc<dyn Selector>> {
        let phase = if config.start == Start::First { 0 } else { self.phase };
        let mut before = vec![None; config.groups.len()];
        for (id, group, _) in config.backends() {
            before[group] = before[group].or_else(|| was_in.get(&id).copied());
        }
        let part = |(at, group): (usize, &crate::GroupConfig)| {
            let old = before[at].filter(|old| self.config.groups[*old].selector == group.selector);
            let kept = old.and_then(|old| self.parts.get(old));
            kept.map_or_else(|| Arc::from(group.selector.build(phase)), Arc::clone)
        };
        config.groups.iter().enumerate().map(part).collect()
    }

    pub(crate) fn set_selector(&mut self, selector: &dyn Selector, now: Instant) {
        let nothing: [crate::sim::Stub; 0] = [];
        self.custom = Some(selector.rebuild(&nothing, &Request::new(now)).into());
    }

    pub(crate) fn set_policy(&mut self, policy: Box<dyn HealthPolicy>, now: Instant) {
        for entry in &self.entries {
            entry.member.change_policies(|policies| *policies = Policies::custom(&*policy), now);
        }
        self.policy = Some(policy);
    }

    /// How long a slow start takes, if there is one.
    fn ramp(&self) -> Option<Duration> {
        Some(self.config.slow_start).filter(|time| !time.is_zero())
    }

    /// Begins and continues slow starts, and tells policies of backends that came back.
    pub(crate) fn follow_health(&mut self, now: Instant) {
        let ramp = self.ramp();
        // Where nobody is asked any more, nobody says that it is enough.
        let asks = self.config.probes.is_some() || self.policy.is_some();
        self.recovery = Recovery::follow(self.recovery, self.tally(), now, ramp.filter(|_| asks));
        let (recovers, patience) = (self.recovery.is_some(), self.trial_patience());
        for entry in &mut self.entries {
            entry.follow_health(now, ramp, recovers);
            entry.follow_trial(now, patience);
        }
    }

    /// Those that may take work, by what they say.
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.entries.iter().for_each(|entry| entry.count(&mut tally));
        tally
    }

    /// Whether requests are refused because backends say that they take no work, or have just said so.
    fn is_refusing(&self) -> bool {
        self.recovery.is_some() || self.tally().is_declined()
    }

    /// When the share of requests that are let in grows.
    fn recovery_step(&self) -> Option<Instant> {
        self.recovery.zip(self.ramp()).and_then(|(recovery, ramp)| recovery.next_event(ramp))
    }

    /// How many requests are let in, in parts of `ALL_ADMITTED`.
    fn admitted(&self) -> u32 {
        // Below 1 while there is one.
        let parts = |recovery: Recovery| (recovery.share(self.tally()) * f64::from(ALL_ADMITTED)) as u32;
        self.recovery.map_or(ALL_ADMITTED, parts)
    }

    /// The next snapshot. Its bits are not in force before [`mark_slots`](Self::mark_slots).
    fn build(&mut self, now: Instant) -> Arc<Snapshot<T>> {
        self.generation = self.generation.wrapping_add(1);
        self.published = Some(now);
        let openings = Openings::new(self.generation, self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            openings.refresh(at, || entry.member.is_open());
        }
        let mut by_id: Vec<_> = (0..).zip(&self.entries).map(|(at, entry)| (entry.member.id, at)).collect();
        by_id.sort_unstable();
        let (openings, by_id) = (Arc::new(openings), by_id.into());
        let handles = self.entries.iter().map(|entry| entry.handles.clone()).collect();
        let mut snapshot = Snapshot {
            roster: Roster { slots: self.slots(now), handles, openings, by_id },
            selector: Arc::new(Failover::of_shared(Vec::new())),
            nobody_up: false,
            admitted: self.admitted(),
        };
        snapshot.nobody_up = snapshot.is_nobody_up();
        let plain = Request::new(now);
        let request = if snapshot.nobody_up { plain.at_last_resort() } else { plain };
        snapshot.selector = self.rebuild_selector(&snapshot.roster, &request);
        Arc::new(snapshot)
    }

    /// Members with the weights and limits they have now: each has its part of one or the other.
    fn slots(&self, now: Instant) -> Box<[Slot<T>]> {
        let (ramp, mut scales) = (self.ramp(), vec![Scale::default(); self.config.groups.len()]);
        let has_latency = self.sees_time();
        let mut parts = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            entry.member.has_latency.store(has_latency, Relaxed);
            let (part, by_weight) = (entry.part(now, ramp), self.scales_weight(entry.group()));
            entry.apply_limit(if by_weight { Part::WHOLE } else { part });
            let part = if by_weight { part } else { Part::WHOLE };
            if let Some(scale) = scales.get_mut(self.compared_in(entry.group())) {
                *scale = scale.with(part);
            }
            parts.push(part);
        }
        let slot = |(entry, part): (&Entry<T>, Part)| {
            let scale = scales.get(self.compared_in(entry.group())).copied().unwrap_or_default();
            Slot { member: Arc::clone(&entry.member), weight: scale.weight(entry.weight, part) }
        };
        self.entries.iter().zip(parts).map(slot).collect()
    }

    /// Whether a selector may look at the time of each request, and at how long they took.
    fn sees_time(&self) -> bool {
        self.custom.is_some() || self.config.groups.iter().any(|group| group.selector.sees_latency())
    }

    /// Whether a group's weights, and not its limits, follow slow starts and shares.
    fn scales_weight(&self, group: usize) -> bool {
        let selector = self.custom.as_ref().or_else(|| self.parts.get(group));
        selector.is_some_and(|selector| selector.ramps_weight())
    }

    /// The group whose weights these are compared with: a selector over all groups compares them all.
    fn compared_in(&self, group: usize) -> usize {
        if self.custom.is_some() { 0 } else { group }
    }

    fn rebuild_selector(&mut self, roster: &Roster<T>, request: &Request<'_>) -> Arc<dyn Selector> {
        if let Some(custom) = &mut self.custom {
            *custom = custom.rebuild(roster, request).into();
            return Arc::clone(custom);
        }
        let (mut start, mut parts) = (0, Vec::new());
        for (group, part) in self.config.groups.iter().zip(&mut self.parts) {
            let slots = start..start + group.backends.len();
            start = slots.end;
            *part = part.rebuild(&SubGroup { whole: roster, slots }, request).into();
            parts.push((group.backends.len(), Arc::clone(part)));
        }
        match &parts[..] {
            // Of a single group nothing fails over.
            [(_, only)] => Arc::clone(only),
            _ => Arc::new(Failover::of_shared(parts)),
        }
    }

    /// Puts a published snapshot's bits in force. What has changed since they were made is made up for.
    pub(crate) fn mark_slots(&self, snapshot: &Snapshot<T>) {
        self.common.openings.publish(Arc::clone(&snapshot.roster.openings));
        for (at, slot) in snapshot.roster.slots.iter().enumerate() {
            slot.member.mark.set(&snapshot.roster.openings, at);
            slot.member.refresh_opening();
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let ramp = self.ramp();
        self.entries.iter().filter_map(|entry| entry.next_event(ramp)).chain(self.recovery_step()).min()
    }
}
