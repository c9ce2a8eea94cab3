//! A session's bytes reach its backend's counters while it runs, though not with every byte.

use lb_core::Lease;

/// Reports at once: a short session is seen as it is.
const AT_ONCE: u8 = 16;

/// Later, polls that moved bytes between two reports, at most.
const POLLS: u8 = 64;

/// Later, bytes between two reports: with a bulk transfer each poll, or nearly, and nothing beside what it costs.
const BYTES: u64 = 64 * 1024;

/// What has been reported of one session. Its counters' cache line is shared by all workers, so it is left alone where
/// many small messages go to and fro.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    to_backend: u64,
    to_client: u64,
    /// Polls that moved bytes: up to `AT_ONCE` of those reported, and from there on those since the last report.
    polls: u8,
}

impl Counted {
    /// After each poll, with the bytes so far and whether it was the last one.
    pub(crate) fn note<T>(&mut self, (to_backend, to_client): (u64, u64), last: bool, lease: &Lease<T>) {
        if let Some((more_to_backend, more_to_client)) = self.due(to_backend, to_client, last) {
            lease.add_bytes(more_to_backend, more_to_client);
        }
    }

    fn due(&mut self, to_backend: u64, to_client: u64, last: bool) -> Option<(u64, u64)> {
        let more = (to_backend - self.to_backend, to_client - self.to_client);
        if more == (0, 0) {
            return None;
        }
        self.polls += 1;
        let gathered = self.polls >= AT_ONCE + POLLS || more.0 + more.1 >= BYTES;
        if !(last || gathered || self.polls <= AT_ONCE) {
            return None;
        }
        self.polls = self.polls.min(AT_ONCE);
        (self.to_backend, self.to_client) = (to_backend, to_client);
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reports_are_immediate_the_later_ones_gather_and_none_is_lost() {
        let (mut counted, mut reports, mut reported) = (Counted::default(), 0, 0);
        for poll in 1..=1000 {
            if let Some((to_backend, to_client)) = counted.due(poll, 0, false) {
                (reports, reported) = (reports + 1, reported + to_backend + to_client);
            }
            if poll <= 16 {
                assert_eq!(reported, poll);
            }
            assert!(poll - reported < 64);
        }
        assert_eq!(reports, 16 + (1000 - 16) / 64);
        let rest = counted.due(1000, 0, true).map_or(0, |(to_backend, _)| to_backend);
        assert_eq!(reported + rest, 1000);
        assert_eq!(counted.due(1000, 0, true), None);
    }

    #[test]
    fn much_is_reported_at_once_at_any_time() {
        let mut counted = Counted::default();
        for poll in 1..100 {
            let _ = counted.due(poll, 0, false);
        }
        assert_eq!(counted.due(99, 70_000, false).map(|(_, to_client)| to_client), Some(70_000));
    }
}
