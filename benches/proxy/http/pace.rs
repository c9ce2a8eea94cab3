//! When requests are due: at fixed times, so that a stall is charged to every request that it delays.
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use std::io;
use std::time::{Duration, Instant};

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// The times, and a timer that fires at each of them.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: Instant,
    per_second: u64,
    /// Requests that have been handed out.
    taken: u64,
    /// Requests in all.
    total: u64,
    timer: OwnedFd,
}

impl Pace {
    /// Begins now.
    pub(crate) fn start(per_second: u64, whole: Duration) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let gap = Timespec::try_from(Duration::from_nanos(SECOND_NS / per_second)).map_err(io::Error::other)?;
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: gap, it_value: gap })?;
        let total = (whole.as_secs_f64() * per_second as f64) as u64;
        Ok(Self { begin: Instant::now(), per_second, taken: 0, total, timer })
    }

    /// What becomes readable when the next request is due.
    pub(crate) fn timer(&self) -> &OwnedFd {
        &self.timer
    }

    /// Makes the timer wait for the next time.
    pub(crate) fn acknowledge(&self) {
        // Nothing to read means that it has not fired since.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }

    /// The next request that is due by now: when it was.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        let due = self.begin + Duration::from_nanos(self.taken * SECOND_NS / self.per_second);
        let is_due = self.taken < self.total && due <= now;
        self.taken += u64::from(is_due);
        is_due.then_some(due)
    }

    /// Whether all have been handed out.
    pub(crate) fn is_over(&self) -> bool {
        self.taken == self.total
    }
}

/// The 50th, 99th and 99.9th percentile; zeros without any sample.
pub(crate) fn percentiles(samples_ns: &mut [u64]) -> [u64; 3] {
    samples_ns.sort_unstable();
    let rank = |share: f64| ((samples_ns.len() as f64 * share).ceil() as usize).saturating_sub(1);
    [0.5, 0.99, 0.999].map(|share| samples_ns.get(rank(share)).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_fixed_times_and_none_is_lost_in_a_stall() {
        let mut pace = Pace::start(1000, Duration::from_millis(10)).unwrap();
        let begin = pace.begin;
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!((pace.next(at(0)), pace.next(at(0))), (Some(at(0)), None));
        let stalled: Vec<_> = std::iter::from_fn(|| pace.next(at(60))).collect();
        assert_eq!(stalled, (1..10).map(at).collect::<Vec<_>>());
        assert!(pace.is_over());
    }

    #[test]
    fn a_percentile_is_the_least_value_that_so_many_do_not_exceed() {
        assert_eq!(percentiles(&mut []), [0; 3]);
        let mut samples: Vec<u64> = (1..=1000).rev().collect();
        assert_eq!(percentiles(&mut samples), [500, 990, 999]);
    }
}
