//! Chance, for the picks of one worker.

use std::{
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lb_core::rand::{TryRng, rngs::SmallRng};

/// Of one worker alone, as all of its locks: taking it is a matter of a few nanoseconds.
pub(super) struct Chance(Mutex<SmallRng>);

impl Chance {
    pub(super) fn new(rng: SmallRng) -> Self {
        Self(Mutex::new(rng))
    }

    pub(super) fn draws(&self) -> Draws<'_> {
        Draws(self)
    }

    fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lock for each draw: most picks have no need of any.
pub(super) struct Draws<'a>(&'a Chance);

impl TryRng for Draws<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.rng().try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.rng().try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.rng().try_fill_bytes(bytes)
    }
}
