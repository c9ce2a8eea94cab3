//! How long an exchange may go on as it does, and whose fault it is when it may not.

use std::time::{Duration, Instant};

use super::{Reason, Times};

/// Who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The client, to say more of its request.
    ClientToSay,
    /// The client, to take more of its answer.
    ClientToTake,
    /// The backend, to take more of the request.
    BackendToTake,
    /// The backend, to begin with its answer.
    BackendToBegin,
    /// The backend, to say more of its answer.
    BackendToSay,
}

/// One direction: who is waited for, and since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    since: Instant,
    moved: u64,
}

impl Wait {
    pub(super) fn since(now: Instant) -> Self {
        Self { since: now, moved: 0 }
    }

    /// Notes how much has moved by now; the time is asked for only when there is something new.
    pub(super) fn note(&mut self, moved: u64, now: impl FnOnce() -> Instant) {
        if moved != self.moved {
            *self = Self { since: now(), moved };
        }
    }

    /// How far it had come, as of a moment that is known already.
    pub(super) fn begin(&mut self, moved: u64, now: Instant) {
        *self = Self { since: now, moved };
    }

    /// When it has lasted for too long, and what that is called.
    pub(super) fn limit(&self, waits_for: WaitsFor, times: &Times) -> Option<(Instant, Reason)> {
        let (time, reason) = match waits_for {
            WaitsFor::ClientToSay => (times.body, Reason::BodyTimeout),
            WaitsFor::ClientToTake => (times.body, Reason::ClientStalled),
            WaitsFor::BackendToTake | WaitsFor::BackendToBegin => (times.first_byte, Reason::FirstByteTimeout),
            WaitsFor::BackendToSay => (times.between_reads, Reason::AnswerTimeout),
        };
        Some((after(self.since, time), reason))
    }
}

/// When the whole request has taken too long.
pub(super) fn whole(began: Instant, times: &Times) -> Option<(Instant, Reason)> {
    times.request.map(|time| (after(began, time), Reason::RequestTimeout))
}

/// A moment so much later; as late as can be, where that is beyond all moments.
pub(super) fn after(from: Instant, by: Duration) -> Instant {
    crate::driver::later(from.into(), by).into_std()
}
