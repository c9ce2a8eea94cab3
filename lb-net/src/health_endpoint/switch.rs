//! A word that code sets.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use lb_core::health::Said;

use super::{Source, State};

/// Says what it was last set to. Clones are the same switch.
/// ```
/// use lb_core::health::{Said, Share};
/// use lb_net::health_endpoint::{Health, Switch};
/// let database = Switch::new(Said::Down, "not connected yet");
/// let health = Health::new().with("database", database.clone());
/// assert_eq!(health.report().to_string(), "DOWN: database: not connected yet");
/// database.set(Said::Up(Share::FULL), "");
/// assert_eq!(health.report().to_string(), "UP");
/// ```
#[derive(Clone, Debug)]
pub struct Switch(Arc<Mutex<State>>);

impl Switch {
    /// A switch that says this for a start. An empty reason is none.
    #[must_use]
    pub fn new(said: Said, reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Mutex::new(state(said, reason.into()))))
    }

    /// Says this from now on.
    pub fn set(&self, said: Said, reason: impl Into<Cow<'static, str>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state(said, reason.into());
    }
}

fn state(said: Said, reason: Cow<'static, str>) -> State {
    State { reason: Some(reason).filter(|reason| !reason.is_empty()), ..State::new(said) }
}

impl Source for Switch {
    fn state(&self, _: Instant) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
