//! One backend as the control side keeps it: what people set, its slow start, its ejection.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::{Duration, Instant},
};

use crate::{
    BackendConfig, Status,
    door::{Door, Ejection},
    event::EventKind,
    failing::{Failing, Span},
    handle::Handles,
    health::{Cause, Evidence, Health},
    member::Member,
    part::{Part, STEPS},
    rate::Rate,
    recovery::Tally,
    stats::{Counts, Ejected},
};

pub(crate) struct Entry<T> {
    pub(crate) member: Arc<Member<T>>,
    pub(crate) handles: Handles<T>,
    pub(crate) weight: u16,
    pub(crate) limit: Option<u32>,
    ramp: Option<Ramp>,
    ejected_until: Option<Instant>,
    /// When another request may try it, if the one that does has come to no end by then.
    trial_until: Option<Instant>,
    /// Whether the policy believes it ejected: until a trial went well.
    ejected: bool,
    was_up: bool,
    /// Whether it said when last seen that it takes nothing.
    declined: bool,
    /// What had ended when the window before this one began, and when this one did.
    windows: [Rate; 2],
    /// What had been counted when people last reset the counters.
    pub(crate) before_reset: Counts,
    /// No other one of its balancer has it, whatever its id.
    pub(crate) serial: u64,
    /// How often people have enabled it.
    pub(crate) enabled_times: u64,
}

/// A slow start, and the step that is in force.
struct Ramp {
    since: Instant,
    step: u32,
}

impl<T> Entry<T> {
    pub(crate) fn door(backend: &BackendConfig, health: Health) -> Door {
        let door = Door::new(backend.status, health, backend.limit);
        door.set_weightless(backend.weight == 0);
        door
    }

    /// `first`: with the whole fleet, so that a slow start would change nothing.
    pub(crate) fn new(member: Member<T>, backend: &BackendConfig, first: bool, serial: u64) -> Self {
        let was_up = first && member.door.read().is_up(false);
        let (weight, limit, member) = (backend.weight, backend.limit, Arc::new(member));
        let (handles, windows) = (Handles::new(&member), [Rate::default(); 2]);
        let (ramp, ejected, before_reset) = (None, false, Counts::default());
        let (ejected_until, trial_until) = (None, None);
        let declined = false;
        Self {
            member,
            handles,
            weight,
            limit,
            ramp,
            ejected_until,
            trial_until,
            ejected,
            was_up,
            declined,
            windows,
            before_reset,
            serial,
            enabled_times: 0,
        }
    }

    pub(crate) fn group(&self) -> usize {
        self.member.group()
    }

    /// Follows the configuration where that has changed; what people set elsewhere stays. Returns whether anything is
    /// other than it was: a configuration that says what people had set already changes nothing.
    pub(crate) fn follow(&mut self, old: &BackendConfig, new: &BackendConfig, group: usize, now: Instant) -> bool {
        let moved = self.member.group.swap(group, Relaxed) != group;
        let reweighted = old.weight != new.weight && self.weight != new.weight;
        if reweighted {
            self.set_weight(new.weight);
        }
        let resized = old.limit != new.limit && self.limit != new.limit;
        if resized {
            self.set_limit(new.limit);
        }
        let ordered = old.status != new.status && self.set_status(new.status, now);
        moved || reweighted || resized || ordered
    }

    /// The configuration of another one in its place: where it does not change, what people have ordered.
    pub(crate) fn ordered(&self, old: &BackendConfig, new: &BackendConfig) -> BackendConfig {
        let mut backend = new.clone();
        if old.status == new.status {
            backend.status = self.member.door.read().status();
        }
        if old.weight == new.weight {
            backend.weight = self.weight;
        }
        if old.limit == new.limit {
            backend.limit = self.limit;
        }
        backend
    }

    /// Returns whether it was another.
    pub(crate) fn set_status(&mut self, status: Status, now: Instant) -> bool {
        // Before the door, so that whoever leaves under the new order does not take the word about the old one for it.
        let drained = self.member.drained.swap(false, SeqCst);
        let before = self.member.door.set_status(status);
        let stays_drained = drained && status != Status::Enabled && before.in_flight() == 0;
        self.member.drained.store(stays_drained, SeqCst);
        let from = before.status();
        if from != status {
            self.enabled_times += u64::from(status == Status::Enabled);
            self.member.record(now, |backend| EventKind::Status { backend, from, to: status });
        }
        from != status
    }

    /// Has it take work again, whatever traffic says of it. It counts where it changes nothing, too.
    pub(crate) fn enable(&mut self, now: Instant) {
        self.readmit();
        if !self.set_status(Status::Enabled, now) {
            self.enabled_times += 1;
        }
    }

    /// Tells once that nothing runs any more where people want that.
    pub(crate) fn note_drained(&self, now: Instant) {
        let door = self.member.door.read();
        let drained = door.is_ordered_empty() && door.in_flight() == 0;
        if drained && !self.member.drained.swap(true, SeqCst) {
            self.member.record(now, |backend| EventKind::Drained { backend });
        }
    }

    pub(crate) fn set_weight(&mut self, weight: u16) {
        self.weight = weight;
        self.member.door.set_weightless(weight == 0);
    }

    pub(crate) fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
        self.member.door.set_limit(limit);
    }

    pub(crate) fn is_up(&self) -> bool {
        let door = self.member.door.read();
        door.is_let_in() && door.is_up(false)
    }

    /// Adds it to those that may take work, by what it says now.
    pub(crate) fn count(&self, tally: &mut Tally) {
        let (door, weight) = (self.member.door.read(), u64::from(self.weight));
        match door.health() {
            _ if !door.is_ordered_in() => {}
            Health::Up => tally.up += weight,
            Health::Down(Cause::Said) => {
                tally.declined += weight;
                tally.lost += if self.was_up { weight } else { 0 };
            }
            Health::Down(Cause::Maintenance) | Health::Draining => tally.aside += weight,
            Health::Ejected | Health::Down(Cause::Silent) => tally.silent += weight,
            _ => {}
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.member.door.read().ejection() != Ejection::In
    }

    /// `until` nothing: until it is enabled.
    pub(crate) fn eject(&mut self, until: Option<Instant>) {
        self.member.door.set_ejection(None, Ejection::Out);
        self.member.refresh_opening();
        (self.ejected_until, self.ejected) = (until, true);
        self.forget_rates();
    }

    /// Has another request try it at once, in place of one that says nothing.
    pub(crate) fn try_again(&mut self) {
        self.member.door.set_ejection(Some(Ejection::Out), Ejection::HalfOpen);
        self.member.refresh_opening();
    }

    /// Records the ejection; `period` nothing: until it is enabled.
    pub(crate) fn tell_ejection(&self, reason: &str, period: Option<Duration>, trial: bool, now: Instant) {
        let time = period.map_or_else(|| "until it is enabled".to_owned(), |period| format!("for {period:?}"));
        if !trial {
            return self.member.tell_health(|| format!("{reason}, {time}"), now);
        }
        let health = self.member.door.read().health();
        let reason = format!("tried again: {reason}, {time}");
        self.member.set_reason(reason.clone());
        self.member.record(now, |backend| EventKind::Health { backend, from: health, to: health, reason });
    }

    /// Half-opens the door when the period is over. Returns whether it was.
    pub(crate) fn end_ejection(&mut self, now: Instant) -> bool {
        let over = self.ejected_until.is_some_and(|until| until <= now);
        if over {
            self.ejected_until = None;
            self.member.door.set_ejection(Some(Ejection::Out), Ejection::HalfOpen);
            self.member.refresh_opening();
        }
        over | self.end_trial(now)
    }

    /// A trial is no place to stay in: whoever takes long, or is made to, keeps nobody else out.
    fn end_trial(&mut self, now: Instant) -> bool {
        let over = self.trial_until.is_some_and(|until| until <= now);
        if over {
            self.trial_until = None;
            self.member.door.set_ejection(Some(Ejection::Trial), Ejection::HalfOpen);
            self.member.refresh_opening();
        }
        over
    }

    /// Notes until when the trial that is under way, if one is, keeps others out.
    pub(crate) fn follow_trial(&mut self, now: Instant, patience: Duration) {
        let on_trial = self.member.door.read().ejection() == Ejection::Trial;
        self.trial_until =
            self.trial_until.filter(|_| on_trial).or_else(|| now.checked_add(patience).filter(|_| on_trial));
    }

    /// Lets it in again at once, whatever it was ejected for.
    pub(crate) fn readmit(&mut self) {
        self.member.door.set_ejection(None, Ejection::In);
        (self.ejected_until, self.ejected) = (None, false);
    }

    /// What has become of it since the last snapshot: readmitted, up again, a step further in its slow start.
    /// `all_recover`: it has no slow start of its own where requests are held back from all of them.
    pub(crate) fn follow_health(&mut self, now: Instant, ramp: Option<Duration>, all_recover: bool) {
        let door = self.member.door.read();
        if self.ejected && door.ejection() == Ejection::In {
            self.ejected = false;
            self.member.tell_health(|| Evidence::Readmitted.reason().to_owned(), now);
            self.member.observe(&Evidence::Readmitted, Evidence::Readmitted.reason(), now);
        }
        // A half-open backend has its one request and no share.
        let is_up = self.is_up() && door.ejection() == Ejection::In;
        if is_up && !self.was_up && ramp.is_some() && !(all_recover && self.declined) {
            self.ramp = Some(Ramp { since: now, step: 0 });
        }
        (self.was_up, self.declined) = (is_up, door.is_declining());
        let steps = self.steps(now, ramp);
        match &mut self.ramp {
            Some(_) if !is_up || steps == STEPS => self.ramp = None,
            Some(ramp) => ramp.step = steps,
            None => {}
        }
    }

    /// How much of its share it has now: of its slow start and of what it said.
    pub(crate) fn part(&self, now: Instant, whole: Option<Duration>) -> Part {
        Part { tenths: self.steps(now, whole), percent: u32::from(self.member.share().get()) }
    }

    /// Where it stands with its ejection.
    pub(crate) fn ejected(&self) -> Option<Ejected> {
        match self.member.door.read().ejection() {
            Ejection::In => None,
            Ejection::Out => Some(Ejected::Until(self.ejected_until)),
            Ejection::HalfOpen => Some(Ejected::HalfOpen),
            Ejection::Trial => Some(Ejected::Trial),
        }
    }

    /// How many tenths of its share it has, 1 to 10.
    pub(crate) fn steps(&self, now: Instant, whole: Option<Duration>) -> u32 {
        let Some((ramp, whole)) = self.ramp.as_ref().zip(whole) else { return STEPS };
        let passed = now.saturating_duration_since(ramp.since).as_nanos() * u128::from(STEPS) / whole.as_nanos().max(1);
        u32::try_from(passed + 1).unwrap_or(STEPS).min(STEPS)
    }

    pub(crate) fn is_ramp_due(&self, now: Instant, whole: Option<Duration>) -> bool {
        self.ramp.as_ref().is_some_and(|ramp| ramp.step != self.steps(now, whole))
    }

    /// The limit in force: `part` of what people set, and never 0 by that.
    pub(crate) fn apply_limit(&self, part: Part) {
        let Some(limit) = self.limit.filter(|limit| *limit > 0) else { return };
        let limit = part.of(limit);
        if self.member.door.read().limit() != Some(limit) {
            self.member.door.set_limit(Some(limit));
        }
    }

    /// When something of it will be due.
    pub(crate) fn next_event(&self, whole: Option<Duration>) -> Option<Instant> {
        let ramp = self.ramp.as_ref().zip(whole);
        // Rounded up: a moment too early the step would not be due yet.
        let after = |ramp: &Ramp, whole: Duration| {
            let nanos = (whole.as_nanos() * u128::from(ramp.step)).div_ceil(u128::from(STEPS));
            ramp.since.checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
        };
        let step = ramp.and_then(|(ramp, whole)| after(ramp, whole));
        [step, self.ejected_until, self.trial_until].into_iter().flatten().min()
    }

    /// How requests have ended of late, but for the failures of the so many clients who have the most of them.
    pub(crate) fn recent(&self, span: Span, without: usize) -> Rate {
        let (all, begin) = (self.ended(), self.windows[usize::from(span == Span::This)]);
        let left_out = self.member.failing().of_worst(without, span);
        let since = |all: u64, begin: u64| all.saturating_sub(begin).saturating_sub(left_out);
        Rate { ended: since(all.ended, begin.ended), failed: since(all.failed, begin.failed) }
    }

    pub(crate) fn begin_window(&mut self) {
        self.windows = [self.windows[1], self.ended()];
        self.member.change_failing(Failing::begin_window);
    }

    /// What has been before says nothing any more.
    pub(crate) fn forget_rates(&mut self) {
        (0..2).for_each(|_| self.begin_window());
    }

    fn ended(&self) -> Rate {
        let ended = &self.member.ended;
        let failed = ended.failed.load(Relaxed) + ended.connect_failed.load(Relaxed);
        Rate { ended: failed + self.member.door.successes(), failed }
    }
}
