//! Writes dumps on a thread of its own, so that no session waits for whoever reads them.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Bytes of text that wait to be written. What comes then is left out, and that is said.
const MOST_BYTES: usize = 16 << 20;

/// How long the end waits for what is not written yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the dumps of all sessions go. Dropping it waits for those that are not written yet, but not for long.
#[derive(Debug)]
pub(crate) struct Dumper {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<String>,
    /// Of those that wait and of the one that is being written.
    bytes: usize,
    /// Pieces of payload since the last one that found room.
    left_out: u64,
    ended: bool,
}

impl Dumper {
    /// # Errors
    /// When the system has no thread for it.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("lb-dump".to_owned()).spawn(move || theirs.write_to(output))?;
        Ok(Self { shared })
    }

    /// Has one piece of payload written behind those before it. It does not wait.
    pub(crate) fn put(&self, text: String) {
        let mut state = self.shared.state();
        if state.bytes + text.len() > MOST_BYTES {
            state.left_out += 1;
            return;
        }
        if state.left_out > 0 {
            let note = format!("-- {} left out, because nobody has read those before\n", state.left_out);
            state.left_out = 0;
            state.push(note);
        }
        state.push(text);
        self.shared.changed.notify_all();
    }
}

impl Drop for Dumper {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ended = true;
        self.shared.changed.notify_all();
        drop(self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.bytes > 0));
    }
}

impl State {
    fn push(&mut self, text: String) {
        self.bytes += text.len();
        self.waiting.push_back(text);
    }
}

impl Shared {
    fn write_to(&self, mut output: impl Write) {
        while let Some(text) = self.next() {
            // Nobody reads it any more: that is no reason to end sessions.
            let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
            self.state().bytes -= text.len();
            self.changed.notify_all();
        }
    }

    /// Waits for a text; `None` when no more will come.
    fn next(&self) -> Option<String> {
        let mut state = self.state();
        loop {
            match state.waiting.pop_front() {
                None if !state.ended => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                next => return next,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};

    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_all_else_is_written_in_order() {
        let (mut reader, writer) = pipe().unwrap();
        let dumper = Dumper::start(writer).unwrap();
        let piece = |at: usize| format!("{at} {}\n", "x".repeat(1 << 20));
        // One more than fits, and two that are left out: nobody reads.
        (0..17).for_each(|at| dumper.put(piece(at)));
        let mut said = vec![0; 1 << 20];
        assert_eq!(dumper.shared.state().left_out, 2);
        reader.read_exact(&mut said).unwrap();
        // A pipe holds what is left of the first one.
        drop(dumper.shared.changed.wait_while(dumper.shared.state(), |state| state.bytes > 15 << 20));
        dumper.put("last\n".to_owned());
        let reading = std::thread::spawn(move || {
            let mut said = String::new();
            reader.read_to_string(&mut said).map(|_| said)
        });
        drop(dumper);
        let said = reading.join().unwrap().unwrap();
        let lines: Vec<&str> = said.lines().skip(1).map(|line| line.split(" x").next().unwrap()).collect();
        let numbers: Vec<String> = (1..15).map(|at| at.to_string()).collect();
        assert_eq!(lines[..14], numbers);
        assert_eq!(lines[14..], ["-- 2 left out, because nobody has read those before", "last"]);
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_for_ever() {
        let (_reader, writer) = pipe().unwrap();
        let dumper = Dumper::start(writer).unwrap();
        dumper.put("x".repeat(1 << 20));
        drop(dumper);
    }
}
