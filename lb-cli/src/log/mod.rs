//! What happens, one line an event, for whoever runs `lb`: on stderr, or from the background to syslog.
//!
//! A small module instead of tracing: events are few and go to one place, and what is special about them (limits, priorities,
//! losses instead of waiting, syslog) would have to be written for a subscriber as well.

mod events;
mod limit;
mod line;
mod output;
mod sink;
mod syslog;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tokio::{sync::Notify, time::sleep_until};

pub(crate) use self::line::Format;
use self::{
    limit::{Limits, More, Subject},
    sink::Sinks,
};

/// How much it matters; the numbers are syslog's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// `lb` ends, or cannot do what it was told.
    Error = 3,
    /// Somebody should look.
    Warning = 4,
    /// A change, as it should be.
    Notice = 5,
    /// What goes on (`-d`), never left out.
    Debug = 7,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    level: Level,
    /// What kind of thing, as machines know it: lower case words with hyphens.
    event: &'static str,
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// Said to who waits for it: without a time, and not lost because a reader is slow.
    is_answer: bool,
    /// Never left out, however many there are like it.
    is_whole: bool,
}

impl Entry {
    pub(crate) fn new(level: Level, event: &'static str, message: impl Into<String>) -> Self {
        Self {
            level,
            event,
            message: message.into(),
            fields: Vec::new(),
            is_answer: false,
            is_whole: level == Level::Debug,
        }
    }

    /// With a part of it on its own, for machines. Events about one `backend`, `address` or `source` are limited
    /// apart from others.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// For whoever has started `lb` and waits for it.
    pub(crate) fn answering(self) -> Self {
        Self { is_answer: true, is_whole: true, ..self }
    }

    /// Never left out: there are as many as somebody has asked for.
    pub(crate) fn whole(self) -> Self {
        Self { is_whole: true, ..self }
    }

    fn subject(&self) -> Subject<&str> {
        let is_subject = |name: &str| ["address", "backend", "source"].contains(&name);
        let found = self.fields.iter().find(|(name, _)| is_subject(name));
        found.and_then(|(name, value)| Some((*name, value.as_str()?))).unwrap_or_default()
    }

    fn summary(more: &More) -> Self {
        let (kind, subject) = (more.subject.0, more.subject.1.as_str());
        let about = if subject.is_empty() { String::new() } else { format!(" of {subject}") };
        let (count, seconds) = (more.count, limit::SPAN.as_secs());
        let message = format!("{count} more like this in the last {seconds} s: {}{about}", more.event);
        let entry = Self::new(more.level, more.event, message).with("more", count);
        if subject.is_empty() { entry } else { entry.with(kind, subject) }
    }
}

/// Where events are written; clones write to the same place. Any thread may, at any time, and never waits for a reader.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    inner: Arc<Inner>,
    scope: Option<(&'static str, Arc<str>)>,
}

#[derive(Debug)]
struct Inner {
    format: Format,
    state: Mutex<State>,
    /// Something was left out that is to be summed up later.
    left_out: Notify,
}

#[derive(Debug)]
struct State {
    sinks: Sinks,
    limits: Limits,
}

impl Log {
    /// On stderr.
    pub(crate) fn to_stderr(format: Format) -> Self {
        Self::to(format, Sinks::stderr())
    }

    /// To syslog, and until [`leave_terminal`](Self::leave_terminal) on stderr as well.
    pub(crate) fn to_syslog(format: Format) -> Self {
        Self::to(format, Sinks::syslog())
    }

    fn to(format: Format, sinks: Sinks) -> Self {
        let state = Mutex::new(State { sinks, limits: Limits::default() });
        Self { inner: Arc::new(Inner { format, state, left_out: Notify::new() }), scope: None }
    }

    /// The same for one of several of a kind: lines begin with its name, and have it as a field of that kind.
    pub(crate) fn of(&self, kind: &'static str, name: &str) -> Self {
        Self { inner: Arc::clone(&self.inner), scope: Some((kind, name.into())) }
    }

    /// Writes a line; leaves it out when there have been many like it.
    pub(crate) fn write(&self, entry: &Entry) {
        match &self.scope {
            None => self.put(entry),
            Some((kind, name)) => {
                let message = format!("{name}: {}", entry.message);
                self.put(&Entry { message, ..entry.clone() }.with(kind, &**name));
            }
        }
    }

    fn put(&self, entry: &Entry) {
        let now = Instant::now();
        let mut state = self.state();
        self.sum_up(&mut state, Some(now));
        if !entry.is_whole && !state.limits.admit(entry.level, entry.event, entry.subject(), now) {
            self.inner.left_out.notify_one();
            return;
        }
        state.sinks.write(self.inner.format, entry);
    }

    pub(crate) fn notice(&self, event: &'static str, message: impl Into<String>) {
        self.write(&Entry::new(Level::Notice, event, message));
    }

    /// Sums up what was left out, in time; sleeps while nothing is. One task runs it.
    pub(crate) async fn summaries(&self) -> Infallible {
        loop {
            let next = self.state().limits.next_due();
            match next {
                Some(at) => {
                    sleep_until(at.into()).await;
                    self.sum_up(&mut self.state(), Some(Instant::now()));
                }
                None => self.inner.left_out.notified().await,
            }
        }
    }

    /// Sums up what was left out so far: nothing more is to come.
    pub(crate) fn end(&self) {
        self.sum_up(&mut self.state(), None);
    }

    /// From now on stderr is not ours.
    pub(crate) fn leave_terminal(&self) {
        self.state().sinks.leave_stderr();
    }

    /// Panics go where everything else goes: stderr may be nobody's.
    pub(crate) fn hear_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            // One while a line is written must not wait for that line.
            if let Ok(mut state) = log.inner.state.try_lock() {
                state.sinks.write(log.inner.format, &Entry::new(Level::Error, "panic", panic.to_string()));
            }
        }));
    }

    fn sum_up(&self, state: &mut State, until: Option<Instant>) {
        for more in state.limits.due(until) {
            state.sinks.write(self.inner.format, &Entry::summary(&more));
        }
    }

    /// A panic while writing leaves nothing half done that matters.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_flood_is_ten_lines_and_one_that_says_how_many_more() {
        let path = std::env::temp_dir().join(format!("lb-flood-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let reader = UnixDatagram::bind(&path).unwrap();
        reader.set_nonblocking(true).unwrap();
        let next = || {
            let mut line = [0; 512];
            let length = reader.recv(&mut line).ok()?;
            let line = String::from_utf8_lossy(&line[..length]).into_owned();
            line.split_once(": ").map(|(_, message)| message.to_owned())
        };
        let log = Log::to(Format::Human, Sinks::syslog_at(&path));
        let mut heard = Vec::new();
        for at in 0..1000 {
            log.write(&Entry::new(Level::Warning, "down", format!("no {at}")).with("backend", "alpha:80"));
            heard.extend(next());
        }
        assert_eq!(heard, (0..10).map(|at| format!("no {at}")).collect::<Vec<_>>());
        log.write(&Entry::new(Level::Warning, "down", "another").with("backend", "beta:80"));
        assert_eq!(next().as_deref(), Some("another"));
        log.end();
        assert_eq!(next().as_deref(), Some("990 more like this in the last 10 s: down of alpha:80"));
        assert_eq!(next(), None);
        std::fs::remove_file(&path).unwrap();
    }
}
