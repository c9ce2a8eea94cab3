//! Events that wait for somebody to take them, so many and no more.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::event::{Event, EventKind};

/// Events kept; what comes then is only counted. A reader that comes every second would have to be asleep.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    recording: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    missed: u64,
    last_missed: Option<Instant>,
}

impl Journal {
    /// From now on.
    pub(crate) fn record(&self) {
        self.recording.store(true, Relaxed);
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Relaxed)
    }

    /// Keeps an event. Returns whether it is the first since they were taken.
    pub(crate) fn push(&self, at: Instant, kind: EventKind) -> bool {
        let mut kept = self.kept();
        if kept.events.len() < MOST {
            kept.events.push(Event { at, kind });
        } else {
            kept.missed += 1;
            kept.last_missed = Some(at);
        }
        kept.events.len() == 1
    }

    /// All in order, and behind them how many more there were.
    pub(crate) fn take(&self) -> Vec<Event> {
        let Kept { mut events, missed, last_missed } = std::mem::take(&mut *self.kept());
        events.extend(last_missed.map(|at| Event { at, kind: EventKind::Missed { events: missed } }));
        events
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    #[test]
    fn what_does_not_fit_is_counted_and_said_once() {
        let journal = Journal::default();
        let begun = || EventKind::LastResort { begun: true };
        let firsts = (0..MOST + 5).filter(|_| journal.push(sim::epoch(), begun())).count();
        assert_eq!(firsts, 1);
        let events = journal.take();
        assert_eq!(events.len(), MOST + 1);
        assert_eq!(events[MOST].kind, EventKind::Missed { events: 5 });
        assert_eq!(journal.take(), []);
        assert!(journal.push(sim::epoch(), begun()), "the first again");
        assert_eq!(journal.take().len(), 1, "nothing was missed this time");
    }
}
