//! A number that halves as time passes, in one atomic word: recent failures, and peak latency.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A power of two, so that a load costs a shift and no division.
const HALF_LIFE_MS: u32 = 4096;
/// After this nothing is left of any value.
pub(crate) const LONGEST_MS: u64 = u32::BITS as u64 * HALF_LIFE_MS as u64;
/// Threads read their clocks at different moments: what is up to so much younger than now is as old as now.
const MOST_SKEW_MS: u32 = 1 << 16;

/// Value in the upper 32 bits, the millisecond of its last change (wrapping) in the lower ones.
///
/// Two threads that change it at once may lose one of the changes; it is an estimate, and never torn.
#[derive(Debug, Default)]
pub(crate) struct Decaying(AtomicU64);

impl Decaying {
    /// Whether there has never been a value: then nobody needs the time.
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// What is left of the value now.
    pub(crate) fn left(&self, now_ms: u32) -> u32 {
        let word = self.0.load(Relaxed);
        let age_ms = now_ms.wrapping_sub(word as u32);
        // Not the future: a thread that read its clock a moment earlier.
        let age_ms = if age_ms.wrapping_neg() < MOST_SKEW_MS { 0 } else { age_ms };
        decayed((word >> 32) as u32, age_ms)
    }

    /// Adds to what is left, up to `most`.
    pub(crate) fn add(&self, amount: u32, most: u32, now_ms: u32) {
        self.set(self.left(now_ms).saturating_add(amount).min(most), now_ms);
    }

    /// A sample: up at once, down by halves (peak EWMA).
    pub(crate) fn peak(&self, sample: u32, now_ms: u32) {
        let left = self.left(now_ms);
        // Below the peak the average closes an eighth of the distance, so that it follows within a few samples.
        let value = if sample >= left { sample } else { left - (left - sample) / 8 };
        self.set(value, now_ms);
    }

    fn set(&self, value: u32, now_ms: u32) {
        self.0.store(u64::from(value) << 32 | u64::from(now_ms), Relaxed);
    }
}

/// `value * 2^-(age / half life)`, the fraction of a half life taken as a straight line (at most 6 % off).
fn decayed(value: u32, age_ms: u32) -> u32 {
    let halved = value.checked_shr(age_ms / HALF_LIFE_MS).unwrap_or(0);
    let part = u64::from(age_ms % HALF_LIFE_MS);
    (u64::from(halved) - u64::from(halved) * part / u64::from(2 * HALF_LIFE_MS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_in_a_half_life_and_ends_at_nothing() {
        assert_eq!(
            [0, HALF_LIFE_MS / 2, HALF_LIFE_MS, 3 * HALF_LIFE_MS].map(|age| decayed(800, age)),
            [800, 600, 400, 100]
        );
        assert_eq!([u32::MAX, LONGEST_MS as u32].map(|age| decayed(u32::MAX, age)), [0, 0]);
    }

    #[test]
    fn a_peak_rises_at_once_and_falls_slowly() {
        let latency = Decaying::default();
        latency.peak(1000, 5);
        assert_eq!(latency.left(5), 1000);
        latency.peak(200, 5);
        assert_eq!(latency.left(5), 900);
    }

    #[test]
    fn a_clock_read_a_moment_before_the_last_change_forgets_nothing() {
        let failures = Decaying::default();
        failures.add(100, 640, 1000);
        failures.add(100, 640, 999);
        assert_eq!([998, 999, 1000].map(|now| failures.left(now)), [200; 3]);
    }

    #[test]
    fn an_addition_stops_at_its_cap() {
        let failures = Decaying::default();
        (0..9).for_each(|_| failures.add(10, 64, 1));
        assert_eq!(failures.left(1), 64);
    }
}
