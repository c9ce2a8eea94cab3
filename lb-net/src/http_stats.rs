//! What is counted of HTTP, as plain numbers: between the one who counts and those who show it.

use std::{collections::BTreeMap, time::Duration};

/// Bounds of a [`Histogram`] besides the last, which has none.
pub(crate) const BOUNDS: usize = 20;

/// The first bound is 2^7 microseconds, the last 2^26.
const FIRST_BOUND: u32 = 7;

/// What the clients of an HTTP service have asked for, and what became of it. Counters grow, gauges stand for now.
/// ```
/// # #[cfg(feature = "http")] use lb_net::http::HttpStats;
/// # #[cfg(not(feature = "http"))] use lb_net::manage::HttpStats;
/// let mut stats = HttpStats::default();
/// let mut other = HttpStats::default();
/// (other.requests, other.answers[1]) = (3, 3);
/// stats.add(&other);
/// assert_eq!((stats.requests, stats.answers), (3, [0, 3, 0, 0, 0]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpStats {
    /// Client connections that were accepted.
    pub accepted: u64,
    /// Client connections now.
    pub open: u64,
    /// Client connections that were closed at once: over a limit, or with a greeting that was not believed.
    pub refused: u64,
    /// Requests that have ended.
    pub requests: u64,
    /// Requests now.
    pub in_flight: u64,
    /// Requests that wait now because all backends are full.
    pub waiting: u64,
    /// Requests that have waited because all backends were full.
    pub waited: u64,
    /// Final answers by the first digit of their status, 1 to 5.
    pub answers: [u64; 5],
    /// Requests whose client was gone before it had an answer.
    pub unanswered: u64,
    /// Answers that lb has made, and those that it has cut, by the word in `lb-reason`.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Answers whose begin was sent, and whose end was not.
    pub cut: u64,
    /// Attempts beyond the first of each request.
    pub retries: u64,
    /// Attempts that were not made because there had been too many of them.
    pub retries_denied: u64,
    /// Last attempts over a new connection to a backend.
    pub fresh: u64,
    /// Last attempts over a connection that had been used before.
    pub reused: u64,
    /// Connections to backends that are kept without a request now.
    pub idle: u64,
    /// Bytes of requests' bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies.
    pub answer_bytes: u64,
    /// How long requests have waited because all backends were full, in all.
    pub queue_time: Duration,
    /// How long connecting to backends has taken, in all.
    pub connect_time: Duration,
    /// From the begin of each request to the first byte of a backend's answer.
    pub first_byte: Histogram,
    /// From the begin of each request to the end of its answer.
    pub total: Histogram,
}

impl HttpStats {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        let Self { accepted, open, refused, requests, in_flight, waiting, waited, answers, unanswered, .. } = self;
        let Self { reasons, cut, retries, retries_denied, fresh, reused, idle, request_bytes, answer_bytes, .. } = self;
        let pairs = [
            (accepted, other.accepted),
            (open, other.open),
            (refused, other.refused),
            (requests, other.requests),
            (in_flight, other.in_flight),
            (waiting, other.waiting),
            (waited, other.waited),
            (unanswered, other.unanswered),
            (cut, other.cut),
            (retries, other.retries),
            (retries_denied, other.retries_denied),
            (fresh, other.fresh),
            (reused, other.reused),
            (idle, other.idle),
            (request_bytes, other.request_bytes),
            (answer_bytes, other.answer_bytes),
        ];
        pairs.into_iter().chain(answers.iter_mut().zip(other.answers)).for_each(|(own, more)| *own += more);
        for (reason, more) in &other.reasons {
            *reasons.entry(reason).or_default() += more;
        }
        self.queue_time = self.queue_time.saturating_add(other.queue_time);
        self.connect_time = self.connect_time.saturating_add(other.connect_time);
        self.first_byte.add(&other.first_byte);
        self.total.add(&other.total);
    }
}

/// How long something has taken, how often: counts for durations up to 128 us, up to twice that, and so on to 67 s, and
/// beyond.
/// ```
/// # #[cfg(feature = "http")] use lb_net::http::Histogram;
/// # #[cfg(not(feature = "http"))] use lb_net::manage::Histogram;
/// use std::time::Duration;
/// let mut histogram = Histogram::default();
/// histogram.observe(Duration::from_micros(200));
/// assert_eq!((histogram.count(), histogram.counts()[1]), (1, 1));
/// assert_eq!(Histogram::bounds().nth(1), Some(Duration::from_micros(256)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS + 1],
    sum: Duration,
}

impl Histogram {
    /// The bounds of all counts but the last; what is as long as a bound is counted there.
    pub fn bounds() -> impl Iterator<Item = Duration> {
        (0..BOUNDS as u32).map(|at| Duration::from_micros(1 << (FIRST_BOUND + at)))
    }

    /// How many took longer than the bound before and no longer than this one; the last has none.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took in all.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// One more.
    pub fn observe(&mut self, duration: Duration) {
        if let Some(count) = self.counts.get_mut(place(micros(duration))) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(duration);
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(own, more)| *own += more);
        self.sum = self.sum.saturating_add(other.sum);
    }

    #[cfg(feature = "http")]
    pub(crate) fn from_parts(counts: [u64; BOUNDS + 1], sum: Duration) -> Self {
        Self { counts, sum }
    }
}

/// Which count so many microseconds belong to; always one that is there.
pub(crate) fn place(micros: u64) -> usize {
    let bits = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(FIRST_BOUND) as usize).min(BOUNDS)
}

/// Begun ones count: what took 128.1 us is beyond the bound of 128.
pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_nanos().div_ceil(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let bounds: Vec<Duration> = Histogram::bounds().collect();
        assert_eq!((bounds[0], bounds[BOUNDS - 1]), (Duration::from_micros(128), Duration::from_micros(1 << 26)));
        let near = |bound: &Duration| [*bound - Duration::from_nanos(1), *bound, *bound + Duration::from_nanos(1)];
        let all = bounds.iter().flat_map(near).chain([Duration::ZERO, Duration::MAX]);
        for duration in all {
            let mut histogram = Histogram::default();
            histogram.observe(duration);
            let expected = bounds.iter().position(|bound| duration <= *bound).unwrap_or(BOUNDS);
            assert_eq!(histogram.counts().iter().position(|count| *count == 1), Some(expected), "{duration:?}");
            assert_eq!((histogram.count(), histogram.sum()), (1, duration));
        }
    }
}
