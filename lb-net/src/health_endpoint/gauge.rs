//! A number that says how the application is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use lb_core::health::Said;

use super::{Colour, Source, State, Thresholds, meter::Meter};
use crate::driver::now;

/// A number with thresholds: the length of a queue, the share of errors, free space.
///
/// Green, yellow and orange are UP; red, purple, off and unknown are DOWN. It is unknown until it is set. Clones are the
/// same gauge.
/// ```
/// use lb_net::health_endpoint::{Colour, Gauge, Health, Thresholds};
/// let queue = Gauge::new(Thresholds::higher_is_worse([(Colour::Yellow, 500.0), (Colour::Red, 1000.0)])?);
/// let health = Health::new().with("queue", queue.clone());
/// assert_eq!(health.report().to_string(), "DOWN: queue: UNKNOWN");
/// queue.set(700.0);
/// assert_eq!((health.report().to_string(), queue.colour()), ("UP".to_owned(), Colour::Yellow));
/// # Ok::<(), lb_net::health_endpoint::ThresholdsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Mutex<Meter>>);

impl Gauge {
    /// A gauge without a value.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self(Arc::new(Mutex::new(Meter::new(thresholds))))
    }

    /// Takes a value. What is not a number makes it unknown.
    pub fn set(&self, value: f64) {
        self.with(|meter| meter.observe(value, now()));
    }

    /// Its last value, if that was a number.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.with(|meter| meter.value())
    }

    /// Its colour at this moment.
    #[must_use]
    pub fn colour(&self) -> Colour {
        self.with(|meter| meter.colour(now()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Meter) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Source for Gauge {
    fn state(&self, now: Instant) -> State {
        let (colour, share) = self.with(|meter| {
            let colour = meter.colour(now);
            (colour, meter.thresholds().share(colour))
        });
        let said = if colour.is_up() { Said::Up(share) } else { Said::Down };
        State::new(said).with_reason(colour.to_string()).with_colour(colour)
    }
}
