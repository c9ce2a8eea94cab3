//! How many requests are let in while backends come back that had all said that they are down.
//!
//! The first one that says UP again would get what was too much for all of them, and say DOWN once more. So with a slow
//! start only a share of the requests is let in from then on: half at first, growing as a slow start does, and half as much
//! again for each backend that says DOWN meanwhile (additive increase, multiplicative decrease: Chiu and Jain, 1989). A
//! backend that is down takes its part of the share with it: the others get no more than before.

use std::time::{Duration, Instant};

/// What is left where it was too much: half.
const DECREASE: f64 = 0.5;

/// Parts of a slow start after which the share is published anew.
const STEPS: u32 = 20;

/// Below this even a fleet at a thousandth of its strength would hear nothing any more.
const LEAST: f64 = 0.001;

/// The weights of backends that may take work, by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) up: u64,
    /// They say that they are down.
    pub(crate) declined: u64,
    /// They say that they are in maintenance, or drain: whatever the load is.
    pub(crate) aside: u64,
    /// Those of them that were up when last seen.
    pub(crate) lost: u64,
    /// Silent or ejected: the last resort.
    pub(crate) silent: u64,
}

/// While not all requests are let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    /// The share that all backends together would get. It may exceed 1 where many of them stay down: one day the others
    /// have everything.
    level: f64,
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
    /// What follows from how they are now; `slow_start` is how long the share takes to grow from nothing to all.
    pub(crate) fn follow(now: Option<Self>, tally: Tally, at: Instant, slow_start: Option<Duration>) -> Option<Self> {
        let slow_start = slow_start?;
        let next = match now {
            Some(recovery) => recovery.grown(at, slow_start).without(tally),
            // Who has never been up has not been asked for too much.
            None if tally.is_declined() && tally.lost > 0 => Self { level: DECREASE, since: at, grows: false },
            None => return None,
        };
        let next = Self { grows: tally.up > 0, ..next };
        (next.share(tally) < 1.0).then_some(next)
    }

    fn grown(self, at: Instant, slow_start: Duration) -> Self {
        let passed = at.saturating_duration_since(self.since).as_secs_f64() / slow_start.as_secs_f64();
        Self { level: self.level + if self.grows { passed } else { 0.0 }, since: at, ..self }
    }

    fn without(self, tally: Tally) -> Self {
        let lost = part(tally.lost, tally.up + tally.declined);
        Self { level: (self.level * (1.0 - lost * (1.0 - DECREASE))).max(LEAST), ..self }
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
