//! Who is told each time that a change has come into force.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

type Call = Box<dyn Fn() -> bool + Send + Sync>;

#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Call>>);

impl Watchers {
    pub(crate) fn add(&self, call: Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Those who want to hear no more are forgotten.
    pub(crate) fn tell(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|call| call());
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").finish_non_exhaustive()
    }
}
