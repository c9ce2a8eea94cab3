//! The access log: a line for each request.

mod escape;
mod line;
mod logs;
mod news;
mod output;
mod settings;
mod sink;
mod stamp;
mod writer;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

pub use self::{
    logs::AccessLogs,
    news::AccessLogNews,
    settings::{AccessFormat, AccessLogError, AccessLogSettings, AccessTo, UnknownAccessFormat},
    writer::AccessWriter,
};
use self::{news::Hear, output::Output, sink::Sink};

/// An access log that is open. Its clones share it; a thread of its own writes it, so that who serves clients never waits
/// for a disk or a reader: lines that cannot be kept are lost, and counted.
/// ```
/// use lb_net::http::{AccessLog, Record};
/// use std::time::{Duration, Instant, SystemTime};
/// # let path = std::env::temp_dir().join(format!("lb-doctest-access-{}", std::process::id()));
/// let settings = format!("common {}", path.display()).parse()?;
/// let log = AccessLog::open(&settings, |news| eprintln!("{news}"))?;
/// let mut record = Record::new("192.0.2.7:4711".parse()?, SystemTime::UNIX_EPOCH);
/// (record.method, record.target, record.status) = ("GET", b"/", 204);
/// log.writer().write(&record, Instant::now());
/// assert!(log.wait(Duration::from_secs(5)));
/// let line = "192.0.2.7 - - [01/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1\" 204 -\n";
/// assert_eq!(std::fs::read_to_string(&path)?, line);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    format: AccessFormat,
}

/// An access log that cannot be opened.
/// ```
/// # use lb_net::http::AccessLog;
/// let error = AccessLog::open(&"json /nowhere/www.log".parse()?, |_| ()).unwrap_err();
/// assert_eq!(error.to_string(), "access log /nowhere/www.log");
/// # Ok::<(), lb_net::http::AccessLogError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("access log {to}")]
pub struct OpenAccessLogError {
    /// Which.
    pub to: AccessTo,
    /// Why.
    pub source: io::Error,
}

/// Ends with the last log and the last writer.
#[derive(Debug)]
struct Shared {
    sink: Arc<Sink>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sink.close();
    }
}

impl AccessLog {
    /// Opens what the settings say, and has `hear` told, on a thread of the log, when lines cannot be written.
    /// [`AccessLogs`] keeps several that may be one.
    ///
    /// # Errors
    /// When it cannot be opened, or the system has no thread for it.
    pub fn open(
        settings: &AccessLogSettings,
        hear: impl Fn(&AccessLogNews<'_>) + Send + Sync + 'static,
    ) -> Result<Self, OpenAccessLogError> {
        Self::open_for(settings, Arc::new(hear))
    }

    /// One whose lines go to a writer of yours, whole and many at a time. It is called on a thread of the log, and may take
    /// its time.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn to_writer(format: AccessFormat, writer: impl Write + Send + 'static) -> io::Result<Self> {
        let sink = Sink::start(None, Output::Own(Box::new(writer)), Arc::new(|_: &AccessLogNews<'_>| ()))?;
        Ok(Self { shared: Arc::new(Shared { sink }), format })
    }

    fn open_for(settings: &AccessLogSettings, hear: Arc<Hear>) -> Result<Self, OpenAccessLogError> {
        let AccessLogSettings { format, to } = settings;
        let failed = |source| OpenAccessLogError { to: to.clone(), source };
        let output = Output::open(to).map_err(failed)?;
        let sink = Sink::start(Some(to.clone()), output, hear).map_err(failed)?;
        Ok(Self { shared: Arc::new(Shared { sink }), format: *format })
    }

    /// For one worker.
    #[must_use]
    pub fn writer(&self) -> AccessWriter {
        AccessWriter::new(Arc::clone(&self.shared), self.format)
    }

    /// Has a file opened again by its name, after it was renamed by a log rotation. It returns at once; lines that were
    /// handed over before still go to the old one.
    pub fn reopen(&self) {
        self.shared.sink.reopen();
    }

    /// Waits until no line that was handed over is left to be written, or this time has passed, and says whether it came to
    /// that. It blocks: call it when the workers have ended.
    #[must_use = "lines may have been left"]
    pub fn wait(&self, patience: Duration) -> bool {
        self.shared.sink.wait(patience)
    }

    /// How many lines could not be written so far.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.shared.sink.lost_lines()
    }
}
