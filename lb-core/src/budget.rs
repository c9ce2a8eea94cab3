//! How many requests may be repeated.

use std::time::{Duration, Instant};

/// Credit is what about so long has brought in: a quiet hour saves nothing up for a storm.
const WINDOW: Duration = Duration::from_secs(10);
/// What a repetition costs, so that a percent of a request is 1.
const COST: f64 = 100.0;

/// A retry budget, as Finagle has it: so many percent of the requests may be repeated, and so many a second besides. A
/// backend in trouble then gets a little more than its share, and never a storm.
///
/// Requests that go well pay nothing for it: only when one is to be repeated it is told how many there have been.
/// ```
/// use lb_core::{Budget, sim};
/// let (mut budget, now) = (Budget::new(20, 0, sim::epoch()), sim::epoch());
/// assert!(!budget.try_spend(now, 4), "a fifth of 4 requests is none");
/// assert!(budget.try_spend(now, 5));
/// assert!(!budget.try_spend(now, 9));
/// assert!(budget.try_spend(now, 10));
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    percent: f64,
    per_second: f64,
    credit: f64,
    /// When it was last asked, and how many requests there had been then.
    asked: Instant,
    requests: u64,
}

impl Budget {
    /// `percent` of the requests, 0 to 100 and more if you like, and `per_second` besides; 0 and 0 is none at all. It begins
    /// as after a quiet time: with what 10 s of `per_second` bring in.
    #[must_use]
    pub fn new(percent: u8, per_second: u32, now: Instant) -> Self {
        let (percent, per_second) = (f64::from(percent), f64::from(per_second));
        let credit = per_second * COST * WINDOW.as_secs_f64();
        Self { percent, per_second, credit, asked: now, requests: 0 }
    }

    /// Whether one more may be repeated, which is then counted. `requests` is how many there have been in all.
    pub fn try_spend(&mut self, now: Instant, requests: u64) -> bool {
        self.earn(now, requests);
        let may = self.credit >= COST;
        if may {
            self.credit -= COST;
        }
        may
    }

    /// What has come in since it was last asked, as far as it is of the last window; what was left fades as long.
    fn earn(&mut self, now: Instant, requests: u64) {
        let seconds = now.saturating_duration_since(self.asked).as_secs_f64();
        let windows = seconds / WINDOW.as_secs_f64();
        let of_requests = self.percent * requests.saturating_sub(self.requests) as f64;
        let earned = of_requests + self.per_second * COST * seconds;
        self.credit = self.credit * (1.0 - windows).max(0.0) + earned / windows.max(1.0);
        // Whoever adds the requests of several threads, or read the clock a moment earlier, may be a little behind.
        self.asked = self.asked.max(now);
        self.requests = self.requests.max(requests);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::sim;

    fn at(millis: u64) -> Instant {
        sim::epoch() + Duration::from_millis(millis)
    }

    /// How many of so many that want to be repeated at once may be.
    fn granted(budget: &mut Budget, now: Instant, requests: u64, wanted: usize) -> usize {
        (0..wanted).filter(|_| budget.try_spend(now, requests)).count()
    }

    /// Requests that all fail, so many a second for so long: how many are repeated of them.
    fn repeated(budget: &mut Budget, from_millis: u64, per_second: u64, seconds: u64) -> u64 {
        let step = |n: u64| at(from_millis + n * 1000 / per_second);
        let before = budget.requests;
        (1..=per_second * seconds).filter(|n| budget.try_spend(step(*n), before + n)).count() as u64
    }

    #[test]
    fn when_all_fails_the_percentage_is_repeated_and_so_many_a_second_besides() {
        let mut budget = Budget::new(20, 10, at(0));
        // What it begins with lasts for a while.
        repeated(&mut budget, 0, 1000, 20);
        let steady = repeated(&mut budget, 20_000, 1000, 60);
        assert!((12_600 - 100..=12_600 + 100).contains(&steady), "{steady}");
    }

    #[test]
    fn few_requests_live_on_what_each_second_brings() {
        let mut budget = Budget::new(20, 10, at(0));
        assert_eq!(repeated(&mut budget, 0, 5, 60), 300, "five a second are all repeated");
    }

    #[test]
    fn a_long_quiet_time_saves_up_no_more_than_ten_seconds() {
        let mut budget = Budget::new(20, 10, at(0));
        assert_eq!(granted(&mut budget, at(3_600_000), 0, 5000), 100);
        assert_eq!(granted(&mut budget, at(3_600_100), 0, 5000), 1);
    }

    #[test]
    fn of_a_good_hour_ten_seconds_count() {
        let mut budget = Budget::new(20, 0, at(0));
        // 1000 requests a second, none of which failed.
        assert_eq!(granted(&mut budget, at(3_600_000), 3_600_000, 100_000), 2000);
    }

    #[test]
    fn rare_failures_save_up_no_more_than_ten_seconds_either() {
        let mut budget = Budget::new(20, 0, at(0));
        assert!((1..=3600).all(|second| budget.try_spend(at(1000 * second), 1000 * second)));
        let burst = granted(&mut budget, at(3_600_000), 3_600_000, 100_000);
        assert!((1900..=2000).contains(&burst), "{burst}");
    }

    #[test]
    fn none_is_none() {
        let mut budget = Budget::new(0, 0, at(0));
        assert_eq!(granted(&mut budget, at(100_000), 1_000_000, 10), 0);
    }

    #[test]
    fn a_clock_or_a_count_that_is_a_little_behind_earns_nothing_twice() {
        let mut budget = Budget::new(20, 0, at(0));
        assert_eq!(granted(&mut budget, at(1000), 50, 100), 10);
        assert_eq!(granted(&mut budget, at(900), 40, 100), 0);
        assert_eq!(granted(&mut budget, at(1000), 50, 100), 0);
    }

    proptest! {
        #[test]
        fn no_more_is_granted_than_the_requests_and_the_time_bring(
            percent in 0..=100_u8,
            per_second in 0..50_u32,
            steps in vec((0..30_000_u64, 0..500_u64, 0..200_usize), 0..50),
        ) {
            let mut budget = Budget::new(percent, per_second, at(0));
            let (mut millis, mut requests, mut given) = (0, 0, 0);
            for (passed, more, wanted) in steps {
                (millis, requests) = (millis + passed, requests + more);
                given += granted(&mut budget, at(millis), requests, wanted);
            }
            let brought = f64::from(percent) / 100.0 * requests as f64 + f64::from(per_second) * (10.0 + millis as f64 / 1000.0);
            prop_assert!(given as f64 <= brought + 0.001, "{given} of {brought}");
        }
    }
}
