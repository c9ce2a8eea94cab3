//! How an application is: all of its sources, and whether it is about to stop.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
};

use lb_core::health::Said;
use tokio::sync::watch;

use super::{Report, Source, State, WarmUp, warm_up::WarmUps};
use crate::driver::now;

/// How an application is. It is made of named [sources](Source), and the worst of them decides; without any it is UP, for
/// its process lives. Clones are the same.
/// ```
/// use lb_core::health::Said;
/// use lb_net::health_endpoint::{Health, Switch};
/// let database = Switch::new(Said::Down, "not connected yet");
/// let health = Health::new().with("database", database.clone()).with("process", Said::Maintenance);
/// assert_eq!(health.report().to_string(), "MAINT: process");
/// ```
#[derive(Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sources: Mutex<Arc<[Named]>>,
    warm_ups: WarmUps,
    stage: AtomicU8,
    /// Answers that told of the shutdown.
    told: watch::Sender<u64>,
}

#[derive(Clone)]
struct Named {
    name: Cow<'static, str>,
    source: Arc<dyn Source>,
}

/// Stages of an application's life. There is no way back.
const IN_SERVICE: u8 = 0;
const DRAINING: u8 = 1;
const SHUTTING_DOWN: u8 = 2;

impl Health {
    /// Without sources: UP.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this source.
    #[must_use]
    pub fn with(self, name: impl Into<Cow<'static, str>>, source: impl Source + 'static) -> Self {
        self.add(name, source);
        self
    }

    /// Adds a source; one of this name is replaced.
    pub fn add(&self, name: impl Into<Cow<'static, str>>, source: impl Source + 'static) {
        let added = Named { name: name.into(), source: Arc::new(source) };
        let mut sources = self.0.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = sources.to_vec();
        match list.iter_mut().find(|named| named.name == added.name) {
            Some(named) => *named = added,
            None => list.push(added),
        }
        *sources = list.into();
    }

    /// Begins with a piece of warm-up: DOWN until it is done.
    pub fn warm_up(&self, name: impl Into<String>) -> WarmUp {
        self.0.warm_ups.begin(name.into())
    }

    /// Says DRAIN from now on, if nothing is worse: no new clients before a shutdown. There is no way back; to close for a
    /// while there is [`Switch`](super::Switch). [`Shutdown`](super::Shutdown) does this.
    pub fn drain(&self) {
        self.0.stage.fetch_max(DRAINING, SeqCst);
    }

    /// Says DOWN from now on: it is about to stop. There is no way back. [`Shutdown`](super::Shutdown) does this.
    pub fn shut_down(&self) {
        self.0.stage.fetch_max(SHUTTING_DOWN, SeqCst);
    }

    /// Whether it is about to stop: [`shut_down`](Self::shut_down) was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.0.stage.load(SeqCst) == SHUTTING_DOWN
    }

    /// What it says at this moment.
    #[must_use]
    pub fn report(&self) -> Report {
        // Not asked under the lock: a source may know us.
        let sources = Arc::clone(&self.0.sources.lock().unwrap_or_else(PoisonError::into_inner));
        let now = now();
        let mut states: Vec<(&str, State)> = Vec::with_capacity(sources.len() + 3);
        states.extend(self.leaving());
        states.extend(self.0.warm_ups.states());
        states.extend(sources.iter().map(|named| (&*named.name, named.source.state(now))));
        Report::of(&states)
    }

    /// A report that somebody is told.
    pub(super) fn tell(&self) -> Report {
        // Before the report: who was told before the shutdown was not told of it.
        let of_the_end = self.is_shutting_down();
        let report = self.report();
        if of_the_end {
            self.0.told.send_modify(|count| *count += 1);
        }
        report
    }

    /// How often somebody was told of the shutdown.
    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.0.told.subscribe()
    }

    fn leaving(&self) -> Option<(&str, State)> {
        let said = match self.0.stage.load(SeqCst) {
            IN_SERVICE => return None,
            DRAINING => Said::Drain,
            _ => Said::Down,
        };
        Some(("shutting down", State::new(said)))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = Arc::clone(&self.0.sources.lock().unwrap_or_else(PoisonError::into_inner));
        let sources = sources.iter().map(|named| (&named.name, &named.source));
        f.debug_map().entries(sources).finish()
    }
}

#[cfg(test)]
mod tests {
    use lb_core::health::Share;

    use super::*;

    #[test]
    fn a_source_of_the_same_name_takes_the_place_of_the_first() {
        let health = Health::new().with("a", Said::Down).with("b", Said::Down).with("a", Said::Drain);
        assert_eq!(health.report().to_string(), "DOWN: b");
        health.add("b", Said::Up(Share::FULL));
        assert_eq!(health.clone().report().to_string(), "DRAIN: a");
    }

    #[test]
    fn there_is_no_way_back_from_a_shutdown() {
        let health = Health::new();
        health.drain();
        assert_eq!((health.report().to_string().as_str(), health.is_shutting_down()), ("DRAIN: shutting down", false));
        health.shut_down();
        health.drain();
        assert_eq!(health.report().to_string(), "DOWN: shutting down");
    }

    #[test]
    fn only_who_hears_of_the_shutdown_is_counted() {
        let health = Health::new();
        health.tell();
        health.drain();
        health.tell();
        assert_eq!(*health.told().borrow(), 0);
        health.shut_down();
        assert_eq!(health.tell().said, Said::Down);
        assert_eq!(*health.told().borrow(), 1);
    }
}
