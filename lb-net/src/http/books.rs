//! Where the requests of one worker are counted and written down.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::Notify, time::sleep_until};

use super::{AccessLog, AccessWriter, Cells, Record};
use crate::driver::now;

/// For how long the time of day is reckoned before it is asked for again.
const RECKONED: Duration = Duration::from_secs(10);

pub(super) struct Books {
    pages: Mutex<Pages>,
    /// Told when there are lines to be written in a second.
    written: Notify,
}

struct Pages {
    cells: Cells,
    log: Option<AccessWriter>,
    /// A moment, and what time of day it was then.
    clock: (Instant, SystemTime),
}

impl Books {
    pub(super) fn new(cells: Cells, log: Option<&AccessLog>) -> Self {
        let log = log.map(AccessLog::writer);
        Self { pages: Mutex::new(Pages { cells, log, clock: (now(), SystemTime::now()) }), written: Notify::new() }
    }

    /// Requests are written down in this log from now on. What is counted stays where it was counted.
    pub(super) fn write_to(&self, log: Option<&AccessLog>) {
        self.pages().log = log.map(AccessLog::writer);
    }

    /// Counts something that is no request.
    pub(super) fn count(&self, count: impl FnOnce(&mut Cells)) {
        count(&mut self.pages().cells);
    }

    /// Counts a request that has ended, while so many connections are pooled, and writes it down; what time of day it was
    /// only where somebody is told.
    pub(super) fn note(
        &self,
        record: &mut Record<'_>,
        (began, ended): (Instant, Instant),
        pooled: usize,
        is_told: bool,
    ) {
        let mut pages = self.pages();
        pages.cells.idle(pooled);
        record.total = ended.saturating_duration_since(began);
        if is_told || pages.log.is_some() {
            record.began = pages.time_of(began);
        }
        pages.cells.ended(record);
        let Some(log) = &mut pages.log else { return };
        let was_due = log.due().is_some();
        log.write(record, ended);
        if !was_due && log.due().is_some() {
            self.written.notify_one();
        }
    }

    /// Hands lines of the access log over in time, for as long as it is polled.
    pub(super) async fn write_in_time(&self) -> Infallible {
        loop {
            self.written.notified().await;
            while let Some(due) = self.due() {
                sleep_until(due.into()).await;
                self.pages().log.iter_mut().for_each(|log| log.flush_due(now()));
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.pages().log.as_ref().and_then(AccessWriter::due)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// What time of day it was, reckoned from a moment for which that is known; not for long, as clocks are set.
    fn time_of(&mut self, moment: Instant) -> SystemTime {
        let (at, was) = self.clock;
        let since = moment.saturating_duration_since(at);
        if since < RECKONED {
            return was + since;
        }
        self.clock = (moment, SystemTime::now());
        self.clock.1
    }
}
