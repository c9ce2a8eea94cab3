//! How many requests are let in while backends come back that had all said that they are down.
//!
//! The first one that says UP again would get what was too much for all of them, and say DOWN once more. So with a slow
//! start only a share of the requests is let in from then on: half at first, and half of a backend's part is taken away when
//! it says DOWN meanwhile. It grows as TCP's window does with CUBIC (RFC 9438): fast to where it was too much, slowly around
//! there, and faster again when that is behind it, so that too much without end is tried rarely, and its end is noticed.
//! A backend that is down takes its part of the share with it: the others get no more than before.

use std::time::{Duration, Instant};

/// What is left where it was too much: half.
const DECREASE: f64 = 0.5;

/// Who says DOWN so soon after another, in parts of a slow start, does so for the same reason.
const BURST: f64 = 0.0625;

/// What is left is never taken for all that can be borne: at least so much more is, as a part of it.
const ROOM: f64 = 0.05;

/// One of ten thousand that is up is let have everything one day; more is never needed.
const MOST: f64 = 1e6;

/// Parts of a slow start after which the share is published anew.
const STEPS: u32 = 20;

/// Below this even a fleet at a thousandth of its strength would hear nothing any more.
const LEAST: f64 = 0.001;

/// The weights of backends that may take work, by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) up: u64,
    /// They say that they take no work.
    pub(crate) declined: u64,
    /// They say that they are in maintenance, or drain: whatever the load is.
    pub(crate) aside: u64,
    /// Those of them that were up when last seen.
    pub(crate) lost: u64,
    /// Silent or ejected: the last resort.
    pub(crate) silent: u64,
}

/// While not all requests are let in. Its levels are the share that all backends together would get; they may exceed 1 where
/// many of them stay down: one day the others have everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    level: f64,
    /// The level after the last DOWN, and the one that was too much.
    floor: f64,
    ceiling: f64,
    /// Slow starts that it has grown for since.
    grown: f64,
    since: Instant,
    grows: bool,
}

impl Tally {
    /// Nobody may be picked because those that would be say no.
    pub(crate) fn is_declined(self) -> bool {
        self.declined + self.aside > 0 && self.up == 0 && self.silent == 0
    }
}

impl Recovery {
    /// What follows from how they are now; `slow_start` is how long the share takes to grow to what was too much.
    pub(crate) fn follow(now: Option<Self>, tally: Tally, at: Instant, slow_start: Option<Duration>) -> Option<Self> {
        let slow_start = slow_start?;
        let next = match now {
            Some(recovery) => recovery.after(at, slow_start).without(tally),
            // Who has never been up has not been asked for too much.
            None if tally.is_declined() && tally.lost > 0 => Self::begun(at),
            None => return None,
        };
        let next = Self { grows: tally.up > 0, ..next };
        (next.share(tally) < 1.0).then_some(next)
    }

    fn begun(since: Instant) -> Self {
        Self { level: DECREASE, floor: DECREASE, ceiling: 1.0, grown: 0.0, since, grows: false }
    }

    fn after(self, at: Instant, slow_start: Duration) -> Self {
        let passed = at.saturating_duration_since(self.since).as_secs_f64() / slow_start.as_secs_f64();
        let grown = self.grown + if self.grows { passed } else { 0.0 };
        let drop = (self.ceiling - self.floor).max(self.floor * ROOM);
        let level = (self.floor + drop * (1.0 + (grown - 1.0).powi(3))).min(MOST);
        Self { level, grown, since: at, ..self }
    }

    fn without(self, tally: Tally) -> Self {
        if tally.lost == 0 {
            return self;
        }
        let left = 1.0 - part(tally.lost, tally.up + tally.declined) * (1.0 - DECREASE);
        let ceiling = match () {
            () if self.grown < BURST => self.ceiling,
            // It was too much before it was as much as last time: next time less is tried.
            () if self.level < self.ceiling => self.level * f64::midpoint(1.0, left),
            () => self.level,
        };
        let floor = (self.level * left).max(LEAST);
        Self { level: floor, floor, ceiling, grown: 0.0, ..self }
    }

    /// Of all requests, from 0 on.
    pub(crate) fn share(self, tally: Tally) -> f64 {
        self.level * part(tally.up, tally.up + tally.declined)
    }

    /// When the share is to be published anew.
    pub(crate) fn next_event(self, slow_start: Duration) -> Option<Instant> {
        let step = (slow_start / STEPS).max(Duration::from_millis(10));
        self.since.checked_add(step).filter(|_| self.grows)
    }
}

fn part(of: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { of as f64 / all as f64 }
}
