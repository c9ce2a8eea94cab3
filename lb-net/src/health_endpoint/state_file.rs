//! A watched file that says how the application is.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lb_core::health::Said;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    Source, State,
    file_content::{Content, StateFileProblem, read},
};
use crate::driver::now;

/// The longest time between two looks.
const MOST_EVERY: Duration = Duration::from_secs(10);
/// The shortest.
const LEAST_EVERY: Duration = Duration::from_millis(10);
/// How long after the time for a look it counts as watched still: a runtime may be busy for a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a look may take, on a network's file system say, before that is told.
const SLOW: Duration = Duration::from_secs(10);

/// A file by which people and programs open and close the application: `{"siteAvailable": true}`, or a plain word: `UP`,
/// `UP 40%`, `DRAIN`, `DOWN`, `MAINT`, each with a reason behind a colon if wanted, `true` or `false`.
///
/// It is DOWN until the file says otherwise. A file that is missing, unreadable, larger than 64 KiB or broken keeps the
/// last value, and says so in a note and by [`last_error`](Self::last_error). It needs [`watch`](Self::watch) to be
/// polled: without that it is DOWN, whatever the file says. To replace the file by a rename is best, and to write over it
/// does no harm. Of a key of the JSON that is there twice the last one counts. Clones are the same file.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::health_endpoint::{Health, StateFile};
/// # let path = std::env::temp_dir().join(format!("lb-state-file-{}", std::process::id()));
/// let file = StateFile::new(&path).with_on_error(|error| eprintln!("{error}"));
/// let health = Health::new().with("site", file.clone());
/// assert_eq!(health.report().to_string(), "DOWN: site: not watched");
///
/// std::fs::write(&path, "{\"siteAvailable\": true}")?;
/// tokio::spawn(file.watch());
/// while !health.report().is_up() {
///     tokio::task::yield_now().await;
/// }
/// # std::fs::remove_file(&path)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StateFile {
    path: Arc<Path>,
    every: Duration,
    on_error: Option<OnError>,
    known: Arc<Mutex<Known>>,
}

type Seen = Result<Content, StateFileProblem>;
type OnError = Arc<dyn Fn(&StateFileError) + Send + Sync>;

/// What is known of the file.
#[derive(Debug, Default)]
struct Known {
    content: Option<Content>,
    error: Option<Arc<StateFileError>>,
    /// Who watches it.
    watchers: usize,
    /// Until when it counts as watched.
    fresh_until: Option<Instant>,
}

/// Why a state file was not taken. The last value is kept.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let file = lb_net::health_endpoint::StateFile::new("/no/such/file");
/// tokio::spawn(file.watch());
/// while file.last_error().is_none() {
///     tokio::task::yield_now().await;
/// }
/// let error = file.last_error().unwrap();
/// assert_eq!(error.to_string(), "/no/such/file: the last value is kept");
/// assert_eq!(error.problem.to_string(), "there is no such file");
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{}: the last value is kept", path.display())]
pub struct StateFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: StateFileProblem,
}

impl StateFile {
    /// This file, looked at each second.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        let every = Duration::from_secs(1);
        Self { path: path.as_ref().into(), every, on_error: None, known: Arc::default() }
    }

    /// With this time between two looks, 10 ms to 10 s.
    #[must_use]
    pub fn with_interval(self, every: Duration) -> Self {
        Self { every: every.clamp(LEAST_EVERY, MOST_EVERY), ..self }
    }

    /// And `on_error` hears of each new problem once. It must not wait.
    #[must_use]
    pub fn with_on_error(self, on_error: impl Fn(&StateFileError) + Send + Sync + 'static) -> Self {
        Self { on_error: Some(Arc::new(on_error)), ..self }
    }

    /// Which file it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the file, if the last look did not succeed.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<StateFileError>> {
        self.known().error.clone()
    }

    /// Looks at the file for as long as it is polled: for a task of a tokio runtime with timers. The first look is at once.
    ///
    /// It reads on the runtime's threads for what blocks, so that a file system without an answer holds up nobody before
    /// the end: a runtime that is dropped waits for it, and `Runtime::shutdown_timeout` does not. It reads the
    /// whole of it each time, so that no change is missed, not even one within a tick of the file's clock.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let file = self.clone();
        async move {
            let _watching = Watching::begin(&file);
            loop {
                file.look(read).await;
                sleep(file.every).await;
            }
        }
    }

    /// One look. While it takes long we are there all the same.
    async fn look(&self, read: impl FnOnce(&Path) -> Seen + Send + 'static) {
        let (path, began) = (Arc::clone(&self.path), now());
        let mut look = spawn_blocking(move || read(&path));
        let seen = loop {
            self.known().fresh_until = Some(now() + self.every + PATIENCE);
            match timeout(self.every, &mut look).await {
                Ok(Ok(seen)) => break seen,
                Ok(Err(error)) => break Err(StateFileProblem::Unreadable(error.into())),
                Err(_) if now().saturating_duration_since(began) < SLOW => {}
                Err(_) => self.take(Err(StateFileProblem::Slow)),
            }
        };
        self.known().fresh_until = Some(now() + self.every + PATIENCE);
        self.take(seen);
    }

    fn take(&self, seen: Seen) {
        let problem = match seen {
            Ok(content) => {
                let mut known = self.known();
                (known.content, known.error) = (Some(content), None);
                return;
            }
            Err(problem) => problem,
        };
        let is_told = self.last_error().is_some_and(|last| last.problem.to_string() == problem.to_string());
        if !is_told {
            let error = Arc::new(StateFileError { path: self.path.to_path_buf(), problem });
            self.known().error = Some(Arc::clone(&error));
            if let Some(on_error) = &self.on_error {
                on_error(&error);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for StateFile {
    fn state(&self, now: Instant) -> State {
        let known = self.known();
        if known.watchers == 0 || known.fresh_until.is_none_or(|until| until < now) {
            return State::new(Said::Down).with_reason("not watched");
        }
        let problem = known.error.as_ref().map(|error| error.problem.to_string());
        match (&known.content, problem) {
            (None, None) => State::new(Said::Down).with_reason("not read yet"),
            (None, Some(problem)) => State::new(Said::Down).with_reason(problem),
            (Some(content), None) => content.state(),
            (Some(content), Some(problem)) => content.state().with_note(format!("{problem}, the last value is kept")),
        }
    }
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFile").field("path", &self.path).field("every", &self.every).finish_non_exhaustive()
    }
}

/// Counts one that watches for as long as it does.
struct Watching(Arc<Mutex<Known>>);

impl Watching {
    fn begin(file: &StateFile) -> Self {
        file.known().watchers += 1;
        Self(Arc::clone(&file.known))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).watchers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(file: &StateFile) -> (Said, Option<String>) {
        let state = file.state(now());
        (state.said, state.note.map(std::borrow::Cow::into_owned))
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_system_without_an_answer_keeps_the_last_value_and_says_so() {
        let file = StateFile::new("/nowhere");
        let _watching = Watching::begin(&file);
        file.look(|_| Content::parse(b"DRAIN")).await;
        assert_eq!(said(&file), (Said::Drain, None));
        let (answer, answered) = std::sync::mpsc::channel::<()>();
        let looking = file.clone();
        let look = tokio::spawn(async move {
            looking.look(move |_| answered.recv().map_or_else(|_| Content::parse(b"MAINT"), |()| unreachable!())).await;
        });
        for second in 0..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
            let note = "to read it takes more than 10 seconds, the last value is kept";
            let is_told = said(&file) == (Said::Drain, Some(note.to_owned()));
            assert!(is_told || second < 12 && said(&file) == (Said::Drain, None), "{second}: {:?}", said(&file));
        }
        drop(answer);
        look.await.unwrap();
        assert_eq!(said(&file), (Said::Maintenance, None));
    }
}
