//! One backend as the control side keeps it: what people set, its slow start, its ejection.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    BackendConfig,
    door::{Door, Ejection},
    handle::Handles,
    health::{Evidence, Health},
    member::Member,
};

/// Steps of a slow start.
const STEPS: u32 = 10;

pub(crate) struct Entry<T> {
    pub(crate) member: Arc<Member<T>>,
    pub(crate) handles: Handles<T>,
    pub(crate) group: usize,
    pub(crate) weight: u16,
    pub(crate) limit: Option<u32>,
    ramp: Option<Ramp>,
    ejected_until: Option<Instant>,
    /// Whether the policy believes it ejected: until a trial went well.
    ejected: bool,
    was_up: bool,
    /// What had ended when the window before this one began, and when this one did.
    windows: [Rate; 2],
}

/// A slow start, and the step that is in force.
struct Ramp {
    since: Instant,
    step: u32,
}

/// Requests that ended, and those of them that failed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rate {
    ended: u64,
    failed: u64,
}

impl Rate {
    pub(crate) fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.failed += other.failed;
    }

    /// The share that failed; nothing is known from fewer requests than `least`.
    pub(crate) fn failing(self, least: u64) -> Option<f64> {
        (self.ended >= least.max(1)).then(|| self.failed as f64 / self.ended as f64)
    }
}

impl<T> Entry<T> {
    pub(crate) fn door(backend: &BackendConfig, health: Health) -> Door {
        let door = Door::new(backend.status, health, backend.limit);
        door.set_weightless(backend.weight == 0);
        door
    }

    /// `first`: with the whole fleet, so that a slow start would change nothing.
    pub(crate) fn new(member: Member<T>, group: usize, backend: &BackendConfig, first: bool) -> Self {
        let was_up = first && member.door.read().is_up(false);
        let (weight, limit, member) = (backend.weight, backend.limit, Arc::new(member));
        let (handles, windows) = (Handles::new(&member), [Rate::default(); 2]);
        Self { member, handles, group, weight, limit, ramp: None, ejected_until: None, ejected: false, was_up, windows }
    }

    /// Follows the configuration where that has changed; what people set elsewhere stays. Returns whether it has.
    pub(crate) fn follow(&mut self, old: &BackendConfig, new: &BackendConfig, group: usize) -> bool {
        let moved = std::mem::replace(&mut self.group, group) != group;
        if old.weight != new.weight {
            self.set_weight(new.weight);
        }
        if old.limit != new.limit {
            self.set_limit(new.limit);
        }
        if old.status != new.status {
            self.member.door.set_status(new.status);
        }
        moved || old != new
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
        door.is_ordered_in() && door.is_up(false)
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.member.door.read().ejection() != Ejection::In
    }

    /// `until` nothing: until it is enabled.
    pub(crate) fn eject(&mut self, until: Option<Instant>) {
        self.member.door.set_ejection(None, Ejection::Out);
        self.member.refresh_opening();
        (self.ejected_until, self.ejected) = (until, true);
    }

    /// Half-opens the door when the period is over. Returns whether it was.
    pub(crate) fn end_ejection(&mut self, now: Instant) -> bool {
        let over = self.ejected_until.is_some_and(|until| until <= now);
        if over {
            self.ejected_until = None;
            self.member.door.set_ejection(Some(Ejection::Out), Ejection::HalfOpen);
            self.member.refresh_opening();
        }
        over
    }

    /// Lets it in again at once, whatever it was ejected for.
    pub(crate) fn readmit(&mut self) {
        self.member.door.set_ejection(None, Ejection::In);
        (self.ejected_until, self.ejected) = (None, false);
    }

    /// What has become of it since the last snapshot: readmitted, up again, a step further in its slow start.
    pub(crate) fn follow_health(&mut self, now: Instant, ramp: Option<Duration>) {
        let door = self.member.door.read();
        if self.ejected && door.ejection() == Ejection::In {
            self.ejected = false;
            self.member.observe(&Evidence::Readmitted, now);
        }
        // A half-open backend has its one request and no share.
        let is_up = self.is_up() && door.ejection() == Ejection::In;
        if is_up && !self.was_up && ramp.is_some() {
            self.ramp = Some(Ramp { since: now, step: 0 });
        }
        self.was_up = is_up;
        let steps = self.steps(now, ramp);
        match &mut self.ramp {
            Some(_) if !is_up || steps == STEPS => self.ramp = None,
            Some(ramp) => ramp.step = steps,
            None => {}
        }
    }

    pub(crate) fn is_ramping(&self) -> bool {
        self.ramp.is_some()
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

    /// The limit in force. `whole` is given where the limit ramps up and not the weight.
    pub(crate) fn apply_limit(&self, now: Instant, whole: Option<Duration>) {
        let Some(limit) = self.limit.filter(|limit| *limit > 0) else { return };
        let steps = if whole.is_some() { self.steps(now, whole) } else { STEPS };
        let limit = (u64::from(limit) * u64::from(steps) / u64::from(STEPS)).max(1) as u32;
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
        [step, self.ejected_until].into_iter().flatten().min()
    }

    /// How requests have ended since the window before this one began: a window that has just begun tells too little.
    pub(crate) fn recent(&self) -> Rate {
        let (all, [before, _]) = (self.ended(), self.windows);
        Rate { ended: all.ended - before.ended, failed: all.failed - before.failed }
    }

    pub(crate) fn begin_window(&mut self) {
        self.windows = [self.windows[1], self.ended()];
    }

    fn ended(&self) -> Rate {
        let ended = &self.member.ended;
        let failed = ended.failed.load(Relaxed) + ended.connect_failed.load(Relaxed);
        Rate { ended: failed + self.member.door.successes(), failed }
    }
}
