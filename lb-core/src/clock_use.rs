//! Whether anything looks at the time: where nothing does, nobody needs to read a clock for a pick.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use crate::decay;

/// Something looks at it at all times.
const ALWAYS: u64 = u64::MAX;

/// Until when the time is looked at.
#[derive(Debug)]
pub(crate) struct ClockUse {
    epoch: Instant,
    /// In milliseconds since the epoch; 0 where nothing looks.
    until_ms: AtomicU64,
}

impl ClockUse {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, until_ms: AtomicU64::new(0) }
    }

    /// A failure counts in loads until it has decayed.
    pub(crate) fn note_failure(&self, now: Instant) {
        self.until_ms.fetch_max(self.forgotten_ms(now), Relaxed);
    }

    /// A selector looks at it each time, or none does any more: there may have been failures meanwhile.
    pub(crate) fn set_always(&self, always: bool, now: Instant) {
        if always {
            self.until_ms.store(ALWAYS, Relaxed);
        } else {
            let _ = self.until_ms.compare_exchange(ALWAYS, self.forgotten_ms(now), Relaxed, Relaxed);
        }
    }

    /// Whether nothing looks at it: any failure has decayed.
    pub(crate) fn is_over(&self) -> bool {
        self.until_ms.load(Relaxed) == 0
    }

    #[inline]
    pub(crate) fn read(&self, clock: impl FnOnce() -> Instant) -> Option<Instant> {
        match self.until_ms.load(Relaxed) {
            0 => None,
            until_ms => {
                let now = clock();
                self.end(until_ms, now);
                Some(now)
            }
        }
    }

    /// Nothing looks any more once that time has come, unless something has failed meanwhile.
    fn end(&self, until_ms: u64, now: Instant) {
        if until_ms != ALWAYS && until_ms <= self.millis(now) {
            let _ = self.until_ms.compare_exchange(until_ms, 0, Relaxed, Relaxed);
        }
    }

    /// When nothing is left of a failure that is now; rounded up, so never 0.
    fn forgotten_ms(&self, now: Instant) -> u64 {
        self.millis(now).saturating_add(decay::LONGEST_MS + 1).min(ALWAYS - 1)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(ALWAYS)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sim;

    fn after(ms: u64) -> Instant {
        sim::epoch() + Duration::from_millis(ms)
    }

    fn looks(clock: &ClockUse, ms: u64) -> bool {
        clock.read(|| after(ms)).is_some()
    }

    #[test]
    fn after_a_failure_it_is_looked_at_until_that_has_decayed() {
        let clock = ClockUse::new(sim::epoch());
        assert!(!looks(&clock, 5));
        clock.note_failure(after(5));
        clock.note_failure(after(9));
        clock.note_failure(after(7));
        assert!(looks(&clock, 9 + decay::LONGEST_MS) && looks(&clock, 9 + decay::LONGEST_MS), "the last one counts");
        assert!(looks(&clock, 10 + decay::LONGEST_MS), "whoever finds that it is over has read it once more");
        assert!(!looks(&clock, 10 + decay::LONGEST_MS));
    }

    #[test]
    fn a_selector_that_looks_at_it_ends_with_no_time_and_is_followed_by_what_failed_under_it() {
        let clock = ClockUse::new(sim::epoch());
        clock.set_always(true, after(0));
        clock.note_failure(after(5));
        assert!(looks(&clock, u64::from(u32::MAX)) && looks(&clock, u64::from(u32::MAX)));
        clock.set_always(false, after(6));
        clock.set_always(false, after(900));
        assert!(looks(&clock, 6 + decay::LONGEST_MS) && looks(&clock, 7 + decay::LONGEST_MS));
        assert!(!looks(&clock, 0));
    }
}
