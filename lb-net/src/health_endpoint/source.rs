//! What the health of an application is made of.

use std::{borrow::Cow, fmt::Debug, time::Instant};

use lb_core::health::{Said, Share};

use super::Colour;

/// One thing that says how the application is. [`Health`](super::Health) asks it for each answer: it must not wait.
///
/// A word is a source too: it says the same for ever.
/// ```
/// use std::time::Instant;
/// use lb_core::health::Said;
/// use lb_net::health_endpoint::{Health, Source, State};
/// #[derive(Debug)]
/// struct Mounted(&'static std::path::Path);
/// impl Source for Mounted {
///     fn state(&self, _: Instant) -> State {
///         if self.0.exists() { State::up() } else { State::new(Said::Down).with_reason("it is not mounted") }
///     }
/// }
/// let health = Health::new().with("uploads", Mounted("/no/such/place".as_ref()));
/// assert_eq!(health.report().to_string(), "DOWN: uploads: it is not mounted");
/// ```
pub trait Source: Debug + Send + Sync {
    /// How it is at this moment.
    fn state(&self, now: Instant) -> State;
}

impl Source for Said {
    fn state(&self, _: Instant) -> State {
        State::new(*self)
    }
}

/// How a source is.
/// ```
/// use lb_core::health::Said;
/// use lb_net::health_endpoint::State;
/// let state = State::new(Said::Drain).with_reason("moving house").with_note("half of it is packed");
/// assert_eq!(state.reason.as_deref(), Some("moving house"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct State {
    /// What it says.
    pub said: Said,
    /// Why. It is told where this source decides.
    pub reason: Option<Cow<'static, str>>,
    /// What is not as it should be, and changes nothing of what is said.
    pub note: Option<Cow<'static, str>>,
    /// Its colour, if it has one.
    pub colour: Option<Colour>,
}

impl State {
    /// It takes its share of the work.
    #[must_use]
    pub fn up() -> Self {
        Self::new(Said::Up(Share::FULL))
    }

    /// It says this.
    #[must_use]
    pub fn new(said: Said) -> Self {
        Self { said, reason: None, note: None, colour: None }
    }

    /// With this reason.
    #[must_use]
    pub fn with_reason(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// With this note.
    #[must_use]
    pub fn with_note(self, note: impl Into<Cow<'static, str>>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// With this colour.
    #[must_use]
    pub fn with_colour(self, colour: Colour) -> Self {
        Self { colour: Some(colour), ..self }
    }
}
