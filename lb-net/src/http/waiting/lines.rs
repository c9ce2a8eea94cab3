//! All the lines that one worker looks after.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::Waiting;

/// The lines in which requests of one worker wait: who has joined one stays there, wherever clients go by now.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<Waiting>>);

impl Lines {
    /// Somebody has joined this one.
    pub(crate) fn add(&self, waiting: &Waiting) {
        let mut lines = self.lines();
        if !lines.iter().any(|line| Arc::ptr_eq(&line.shared, &waiting.shared)) {
            lines.push(waiting.clone());
        }
    }

    /// As [`Waiting::poke`], all of them; whether anybody waits still.
    pub(crate) fn poke(&self, now: Instant) -> bool {
        let mut lines = self.lines();
        lines.iter().for_each(|line| line.poke(now));
        // Who joins meanwhile says so later, and waits for the lock until then.
        lines.retain(|line| line.len() > 0);
        !lines.is_empty()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
