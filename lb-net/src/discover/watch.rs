//! Sources are looked at again, beside the traffic.

use std::{collections::BTreeMap, fmt, io, net::IpAddr, sync::Arc, time::Duration};

use lb_core::BackendConfig;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{DiscoverError, Discovered, Found, Source, stamp::Looks};
use crate::{
    asking::ask,
    driver::later,
    resolve::{LEAST, Lookup, lookup},
};

/// From one look at a file to the next: a change is seen at the second or third.
const FILE_EVERY: Duration = Duration::from_secs(1);

/// Looks at sources for as long as it is polled, and tells of what is new.
///
/// A node file is looked at every second, without opening it while it is the same, and read when two looks in a row have
/// seen the same of it, or when three have each seen another one: so a change counts after 3 s at most, whether it was
/// written in place, moved there, or is behind a link that was switched. A name is asked for [every](Self::with_every)
/// so often. Both happen in threads of their own: a file system or name server that does not answer delays neither the
/// traffic nor the other sources nor the end of the program. Without any source it sleeps.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), lb_net::discover::SourceError> {
/// use lb_net::discover::{Discovered, Found, Watcher};
/// use std::sync::{Arc, Mutex};
/// let mut found = Found::default();
/// found.set("web.internal:80".parse()?, []);
/// let (found, watcher) = (Arc::new(Mutex::new(found)), Watcher::default());
/// let (known, now) = (Arc::clone(&found), watcher.now());
/// tokio::spawn(watcher.run(move || known.lock().unwrap().clone(), move |news| {
///     println!("{news}");
///     if let Discovered::Changed { source, backends, .. } = news {
///         found.lock().unwrap().set(source.clone(), backends); // and the balancers get them
///     }
/// }));
/// now.notify_one(); // when sources were added
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Watcher {
    every: Duration,
    lookup: Arc<Lookup>,
    now: Arc<Notify>,
}

impl Default for Watcher {
    /// Names are asked for every 2 s, with the system's resolver.
    fn default() -> Self {
        Self { every: Duration::from_secs(2), lookup: Arc::new(lookup), now: Arc::default() }
    }
}

impl Watcher {
    /// With names asked for so often, from an answer to the next question; not below 100 ms.
    #[must_use]
    pub fn with_every(self, every: Duration) -> Self {
        Self { every: every.max(LEAST), ..self }
    }

    /// With a way of your own to find a host's addresses. It may block.
    #[must_use]
    pub fn with_lookup(self, lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), ..self }
    }

    /// With this one to tell in place of its own: it may be there before and after.
    #[must_use]
    pub fn with_now(self, now: Arc<Notify>) -> Self {
        Self { now, ..self }
    }

    /// Told to ask for names at once, and to look at sources that were added.
    #[must_use]
    pub fn now(&self) -> Arc<Notify> {
        Arc::clone(&self.now)
    }

    /// Looks at one source after the other, for as long as it is polled.
    ///
    /// `found` is called before and after looks: it says which sources there are, and what they have said last. So a
    /// source that has gone from it is looked at no more, a new one soon (at once after [`now`](Self::now)), and a list
    /// that is another one than that in it is news. It is told once: `on_news` is to put it there.
    pub async fn run<S, F>(self, mut found: S, mut on_news: F)
    where
        S: FnMut() -> Found + Send,
        F: FnMut(Discovered<'_>) + Send,
    {
        let (sender, mut answers) = mpsc::unbounded_channel();
        let mut watched: BTreeMap<Source, Watched> = BTreeMap::new();
        loop {
            let known = found();
            watched.retain(|source, _| known.contains(source));
            for source in known.sources() {
                if !watched.contains_key(source) {
                    watched.insert(source.clone(), Watched::new());
                }
            }
            self.look(&mut watched, &sender);
            let next = watched.values().filter(|state| !state.is_asked).map(|state| state.due).min();
            tokio::select! {
                Some((Question { source, .. }, reply)) = answers.recv() => {
                    // It may have gone meanwhile, or have another list.
                    let known = found();
                    let state = watched.get_mut(&source).filter(|_| known.contains(&source));
                    let Some((state, answer)) = state.and_then(|state| {
                        let answer = state.take(&source, reply, self.every)?;
                        Some((state, answer))
                    }) else { continue };
                    state.note(&source, known.of(&source), answer, &mut on_news);
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = self.now.notified() => {
                    let names = watched.iter_mut().filter(|(source, _)| matches!(source, Source::Dns(_)));
                    names.for_each(|(_, state)| state.due = Instant::now());
                }
            }
        }
    }

    /// Asks about all that are due. Files do not wait for name servers.
    fn look(&self, watched: &mut BTreeMap<Source, Watched>, sender: &mpsc::UnboundedSender<(Question, Reply)>) {
        let now = Instant::now();
        let (mut files, mut names) = (Vec::new(), Vec::new());
        for (source, state) in watched.iter_mut().filter(|(_, state)| !state.is_asked && state.due <= now) {
            state.is_asked = true;
            // From this look, so that files have theirs together.
            state.due = later(now, FILE_EVERY);
            let questions = if matches!(source, Source::Nodes(_)) { &mut files } else { &mut names };
            questions.push(Question { source: source.clone(), looks: state.looks.clone() });
        }
        for questions in [files, names] {
            let lookup = Arc::clone(&self.lookup);
            ask(questions, sender, move |question: &Question| Ok(question.answer(&*lookup)));
        }
    }
}

/// What is asked in a thread.
struct Question {
    source: Source,
    looks: Looks,
}

/// A source's list, if it may be another one, and what the looks at a file have seen with this one.
type Answer = (Looks, Option<Result<Vec<BackendConfig>, DiscoverError>>);
type Reply = io::Result<Answer>;

impl Question {
    fn answer(&self, lookup: &Lookup) -> Answer {
        let mut looks = self.looks.clone();
        let list = match &self.source {
            Source::Nodes(file) => looks.look(file),
            Source::Dns(name) => Some(name.answer(lookup(name.host()))),
        };
        (looks, list)
    }
}

/// What is known of a source that is watched.
struct Watched {
    due: Instant,
    is_asked: bool,
    looks: Looks,
    /// What was said when it failed.
    failure: Option<String>,
}

impl Watched {
    fn new() -> Self {
        Self { due: Instant::now(), is_asked: false, looks: Looks::default(), failure: None }
    }

    /// What a reply says of a list, if it says anything.
    fn take(
        &mut self,
        source: &Source,
        reply: Reply,
        every: Duration,
    ) -> Option<Result<Vec<BackendConfig>, DiscoverError>> {
        self.is_asked = false;
        if matches!(source, Source::Dns(_)) {
            self.due = later(Instant::now(), every);
        }
        match reply {
            Ok((looks, list)) => {
                self.looks = looks;
                list
            }
            // There was no thread. The next look reads, so that it is known when there is one again.
            Err(error) => {
                self.looks.forget();
                Some(Err(source.unasked(error)))
            }
        }
    }

    /// Says what is new about it.
    fn note(
        &mut self,
        source: &Source,
        before: &[BackendConfig],
        answer: Result<Vec<BackendConfig>, DiscoverError>,
        on_news: &mut impl FnMut(Discovered<'_>),
    ) {
        match answer {
            Err(error) => {
                let text = error.chain();
                // Name servers fail in many ways; who edits a file wants to know the next mistake.
                let is_name = matches!(error, DiscoverError::Name(_));
                let is_told = self.failure.as_ref().is_some_and(|told| is_name || *told == text);
                if !is_told {
                    self.failure = Some(text);
                    on_news(Discovered::Failed { source, error });
                }
            }
            Ok(backends) => {
                if self.failure.take().is_some() {
                    on_news(Discovered::Known { source });
                }
                if backends != before {
                    on_news(Discovered::Changed { source, before, backends });
                }
            }
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("every", &self.every).finish_non_exhaustive()
    }
}
