//! The lines of one worker, until they are many.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{AccessFormat, Shared, line, stamp::Stamp};
use crate::http::Record;

/// So many bytes of lines are handed over at once.
const FULL: usize = 32 * 1024;

/// For how long lines may wait for more of them.
const LONGEST: Duration = Duration::from_secs(1);

/// Puts requests into an access log. Each worker has one of its own: lines are gathered, and handed over when there are
/// 32 KiB of them, when [`flush_due`](Self::flush_due) finds that a second has passed, and when it is dropped.
/// ```
/// use lb_net::http::{AccessFormat, AccessLog, Record};
/// use std::time::{Duration, Instant, SystemTime};
/// let log = AccessLog::to_writer(AccessFormat::Common, std::io::sink())?;
/// let (mut writer, now) = (log.writer(), Instant::now());
/// writer.write(&Record::new("192.0.2.7:4711".parse().unwrap(), SystemTime::now()), now);
/// assert_eq!(writer.due(), Some(now + Duration::from_secs(1)));
/// writer.flush_due(now + Duration::from_secs(1));
/// assert_eq!(writer.due(), None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AccessWriter {
    shared: Arc<Shared>,
    format: AccessFormat,
    stamp: Stamp,
    lines: Vec<u8>,
    /// When the first of them was written.
    since: Option<Instant>,
}

impl AccessWriter {
    pub(super) fn new(shared: Arc<Shared>, format: AccessFormat) -> Self {
        Self { shared, format, stamp: Stamp::default(), lines: Vec::new(), since: None }
    }

    /// Adds a line.
    pub fn write(&mut self, record: &Record<'_>, now: Instant) {
        if self.lines.capacity() == 0 {
            self.lines.reserve(FULL + FULL / 8);
        }
        self.since.get_or_insert(now);
        line::write(self.format, record, &mut self.stamp, &mut self.lines);
        if self.lines.len() >= FULL {
            self.flush();
        }
    }

    /// When [`flush_due`](Self::flush_due) wants to be called; never while there are no lines.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + LONGEST)
    }

    /// Hands over lines that have waited for a second.
    pub fn flush_due(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.flush();
        }
    }

    /// Hands over what there is. It waits for nothing.
    pub fn flush(&mut self) {
        self.since = None;
        if !self.lines.is_empty() {
            self.shared.sink.hand_over(&mut self.lines);
        }
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.flush();
    }
}
