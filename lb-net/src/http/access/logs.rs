//! The access logs of a process: one for each place, however many write there.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::{AccessLog, AccessLogNews, AccessLogSettings, OpenAccessLogError, Shared, news::Hear, sink::Sink};

/// The access logs of a process: services that write to the same place share one, and one that is wanted again by a new
/// configuration goes on. They are open for as long as somebody has them.
/// ```
/// use lb_net::http::AccessLogs;
/// let logs = AccessLogs::new(|news| eprintln!("{news}"));
/// let www = logs.open(&"json stderr".parse()?)?;
/// let mail = logs.open(&"combined stderr".parse()?)?;
/// drop((www.writer(), mail.writer()));
/// assert!(logs.wait(std::time::Duration::from_secs(5)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AccessLogs {
    hear: Arc<Hear>,
    open: Mutex<Vec<Open>>,
}

/// Its thread may still write when nobody has it any more.
struct Open {
    shared: Weak<Shared>,
    sink: Arc<Sink>,
}

impl AccessLogs {
    /// None yet; what becomes of those that are opened is told on threads of theirs.
    pub fn new(hear: impl Fn(&AccessLogNews<'_>) + Send + Sync + 'static) -> Self {
        Self { hear: Arc::new(hear), open: Mutex::default() }
    }

    /// The one that these settings describe.
    ///
    /// # Errors
    /// When it cannot be opened, or the system has no thread for it.
    pub fn open(&self, settings: &AccessLogSettings) -> Result<AccessLog, OpenAccessLogError> {
        let mut open = self.logs();
        open.retain(|one| one.shared.strong_count() > 0 || !one.sink.has_ended());
        let same = open.iter().filter(|one| one.sink.to() == Some(&settings.to));
        if let Some(shared) = same.filter_map(|one| one.shared.upgrade()).next() {
            return Ok(AccessLog { shared, format: settings.format });
        }
        let log = AccessLog::open_for(settings, Arc::clone(&self.hear))?;
        open.push(Open { shared: Arc::downgrade(&log.shared), sink: Arc::clone(&log.shared.sink) });
        Ok(log)
    }

    /// Has all files opened again by their names, after a log rotation. It returns at once.
    pub fn reopen(&self) {
        self.logs().iter().for_each(|one| one.sink.reopen());
    }

    /// Waits until no line that was handed over is left to be written, also of logs that nobody has any more, or this time
    /// has passed, and says whether it came to that. It blocks: call it at the end, when the workers are gone.
    #[must_use = "lines may have been left"]
    pub fn wait(&self, patience: Duration) -> bool {
        let sinks: Vec<Arc<Sink>> = self.logs().iter().map(|one| Arc::clone(&one.sink)).collect();
        let began = Instant::now();
        let waited = sinks.iter().filter(|sink| sink.wait(patience.saturating_sub(began.elapsed())));
        waited.count() == sinks.len()
    }

    fn logs(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AccessLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.logs();
        f.debug_list().entries(open.iter().map(|one| one.sink.to())).finish()
    }
}
