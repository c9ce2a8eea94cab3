//! The thread that writes an access log, and what waits for it.
//!
//! Lines are handed over by the workers some thousand at a time. What takes them may be slow or stuck: a pipe that nobody
//! reads, a full disk, a network that is gone. Then so much is kept, and lines are lost beyond it, and counted; nobody who
//! serves clients waits.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use super::{
    AccessTo,
    news::{AccessLogNews, Hear},
    output::{Output, Put},
};

/// Bytes that wait to be written, at most.
const MOST: usize = 4 << 20;

/// Buffers that are kept to be filled again, and how large.
const SPARE: usize = 8;
const SPARE_BYTES: usize = 128 * 1024;

/// Shared by the thread and those who hand lines over.
pub(super) struct Sink {
    /// Nothing where lines go to an embedder.
    to: Option<AccessTo>,
    hear: Arc<Hear>,
    state: Mutex<State>,
    /// For the thread: there is work, or an end.
    work: Condvar,
    /// For those who wait for the thread to have done all.
    done: Condvar,
    lost_lines: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    /// The thread has something that is not in the queue any more.
    busy: bool,
    /// Nobody can hand lines over any more.
    closed: bool,
    /// The thread has ended.
    ended: bool,
}

enum Work {
    Lines(Vec<u8>),
    Reopen,
}

impl Sink {
    pub(super) fn start(to: Option<AccessTo>, output: Output, hear: Arc<Hear>) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self {
            to,
            hear,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            lost_lines: AtomicU64::new(0),
        });
        let thread = Thread { sink: Arc::clone(&sink), output, torn: false, trouble: false, abandoned: false, told: 0 };
        thread::Builder::new().name("lb-access-log".to_owned()).spawn(move || thread.run())?;
        Ok(sink)
    }

    /// Takes whole lines, and leaves an empty buffer.
    pub(super) fn hand_over(&self, lines: &mut Vec<u8>) {
        let mut state = self.state();
        if state.ended || state.bytes + lines.len() > MOST {
            drop(state);
            self.lose(lines);
            return lines.clear();
        }
        state.bytes += lines.len();
        let empty = state.spare.pop().unwrap_or_default();
        state.queue.push_back(Work::Lines(std::mem::replace(lines, empty)));
        drop(state);
        self.work.notify_one();
    }

    /// What is handed over from now on goes to what has the name then.
    pub(super) fn reopen(&self) {
        let mut state = self.state();
        // Once is enough, however often it is asked for.
        if !state.ended && !matches!(state.queue.back(), Some(Work::Reopen)) {
            state.queue.push_back(Work::Reopen);
        }
        drop(state);
        self.work.notify_one();
    }

    /// Nothing else will be handed over: the thread ends when it has written what there is.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.work.notify_one();
    }

    /// Waits until all is done that was asked for, and says whether it is.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let busy = |state: &mut State| !state.ended && (state.busy || !state.queue.is_empty());
        let waited = self.done.wait_timeout_while(self.state(), patience, busy);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.busy && state.queue.is_empty()
    }

    pub(super) fn lost_lines(&self) -> u64 {
        self.lost_lines.load(Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    pub(super) fn to(&self) -> Option<&AccessTo> {
        self.to.as_ref()
    }

    fn lose(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        self.lost_lines.fetch_add(count as u64, Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing to do; nothing when there will be none.
    fn next(&self, emptied: Option<Vec<u8>>) -> Option<Work> {
        let mut state = self.state();
        if let Some(mut emptied) = emptied
            && state.spare.len() < SPARE
            && emptied.capacity() <= SPARE_BYTES
        {
            emptied.clear();
            state.spare.push(emptied);
        }
        state.busy = false;
        loop {
            if let Some(work) = state.queue.pop_front() {
                state.busy = true;
                if let Work::Lines(lines) = &work {
                    state.bytes = state.bytes.saturating_sub(lines.len());
                }
                return Some(work);
            }
            self.done.notify_all();
            if state.closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("to", &self.to).field("lost_lines", &self.lost_lines).finish_non_exhaustive()
    }
}

struct Thread {
    sink: Arc<Sink>,
    output: Output,
    /// The last thing that was written is a part of a line.
    torn: bool,
    /// That lines cannot be written was told.
    trouble: bool,
    /// It was stuck when nobody had the log any more: the rest is not waited for.
    abandoned: bool,
    /// Lost lines that were told of.
    told: u64,
}

impl Thread {
    fn run(mut self) {
        let mut emptied = None;
        while let Some(work) = self.sink.next(emptied.take()) {
            match work {
                Work::Lines(lines) => {
                    self.write(&lines);
                    emptied = Some(lines);
                }
                Work::Reopen => self.reopen(),
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        if self.abandoned {
            return self.sink.lose(lines);
        }
        // Half a line ends before the next begins.
        let ended = !self.torn || self.put(&mut b"\n".as_slice());
        let mut rest = lines;
        if ended && self.put(&mut rest) {
            self.torn = false;
            return self.recovered();
        }
        let written = lines.len() - rest.len();
        self.torn = match lines.get(..written).and_then(<[u8]>::last) {
            Some(last) => *last != b'\n',
            None => self.torn,
        };
        self.sink.lose(rest);
    }

    /// Whether all could be written.
    fn put(&mut self, lines: &mut &[u8]) -> bool {
        loop {
            match self.output.put(lines) {
                Put::All => return true,
                Put::Waiting if self.sink.state().closed => {
                    self.abandoned = true;
                    return false;
                }
                Put::Waiting => self.trouble(|to| AccessLogNews::Stuck { to }),
                Put::Failed(error) => {
                    self.trouble(|to| AccessLogNews::Failing { to, error: &error });
                    return false;
                }
            }
        }
    }

    /// Once for each time of trouble.
    fn trouble<'a>(&'a mut self, news: impl FnOnce(Option<&'a AccessTo>) -> AccessLogNews<'a>) {
        if !std::mem::replace(&mut self.trouble, true) {
            (self.sink.hear)(&news(self.sink.to()));
        }
    }

    fn recovered(&mut self) {
        let lost = self.sink.lost_lines();
        if std::mem::take(&mut self.trouble) || lost > self.told {
            (self.sink.hear)(&AccessLogNews::Recovered { to: self.sink.to(), lost_lines: lost - self.told });
            self.told = lost;
        }
    }

    fn reopen(&mut self) {
        let Some(to @ AccessTo::File(_)) = self.sink.to() else { return };
        match Output::open(to) {
            Ok(output) => (self.output, self.torn) = (output, false),
            Err(error) => (self.sink.hear)(&AccessLogNews::NotReopened { to, error: &error }),
        }
    }
}

/// However it ends: nobody waits for it any more.
impl Drop for Thread {
    fn drop(&mut self) {
        self.sink.state().ended = true;
        self.sink.done.notify_all();
    }
}
