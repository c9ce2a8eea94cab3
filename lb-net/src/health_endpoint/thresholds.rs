//! Which colour a value has.

use std::time::Duration;

use lb_core::health::Share;

use super::Colour;

/// The limits of a gauge, and how slowly it changes its colour.
///
/// A value has the worst colour whose limit it has reached, and is green before all limits. For a better colour it must
/// come back past the limit by the margin; and a colour, once it has changed, stays for the dwell time.
/// ```
/// use lb_net::health_endpoint::{Colour, Thresholds};
/// let free_gigabytes = Thresholds::lower_is_worse([(Colour::Yellow, 20.0), (Colour::Red, 2.0)])?;
/// assert_eq!([50.0, 20.0, 1.5].map(|free| free_gigabytes.colour(free)), [Colour::Green, Colour::Yellow, Colour::Red]);
/// assert!(Thresholds::higher_is_worse([(Colour::Red, 50.0), (Colour::Yellow, 80.0)]).is_err());
/// # Ok::<(), lb_net::health_endpoint::ThresholdsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Colours with their limits, from good to bad; of lower-is-worse the negated limits.
    limits: Vec<(Colour, f64)>,
    lower_is_worse: bool,
    margin: f64,
    pub(super) dwell: Duration,
    pub(super) max_age: Option<Duration>,
    yellow: Share,
    orange: Share,
}

/// Why these are no thresholds.
/// ```
/// use lb_net::health_endpoint::{Colour, Thresholds};
/// let error = Thresholds::higher_is_worse([(Colour::Green, 1.0)]).unwrap_err();
/// assert_eq!(error.to_string(), "GREEN has no limit: it is the colour before all limits");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdsError {
    /// Without limits everything is green.
    #[error("there is no limit: name one for YELLOW, ORANGE, RED, PURPLE or OFF")]
    NoLimit,
    /// A limit for the best colour.
    #[error("GREEN has no limit: it is the colour before all limits")]
    Green,
    /// A limit for the lack of a value.
    #[error("UNKNOWN has no limit: it is the lack of a value")]
    Unknown,
    /// A limit or a margin that is none.
    #[error("{0} is no limit and no margin: a margin is 0 or more, and both are finite")]
    Number(f64),
    /// A worse colour must have a worse limit.
    #[error("the limits of {0} and {1} are in the wrong order: the worse colour comes last, with the worse limit")]
    Order(Colour, Colour),
}

impl Thresholds {
    /// For what is the worse the more there is of it: load, length of a queue, latency. Limits from good to bad.
    ///
    /// # Errors
    /// Limits that are missing, not finite, or out of order.
    pub fn higher_is_worse(limits: impl IntoIterator<Item = (Colour, f64)>) -> Result<Self, ThresholdsError> {
        Self::new(limits.into_iter().collect(), false)
    }

    /// For what is the worse the less there is of it: free space, free connections. Limits from good to bad.
    ///
    /// # Errors
    /// Limits that are missing, not finite, or out of order.
    pub fn lower_is_worse(limits: impl IntoIterator<Item = (Colour, f64)>) -> Result<Self, ThresholdsError> {
        Self::new(limits.into_iter().map(|(colour, limit)| (colour, -limit)).collect(), true)
    }

    fn new(limits: Vec<(Colour, f64)>, lower_is_worse: bool) -> Result<Self, ThresholdsError> {
        for (colour, limit) in &limits {
            match colour {
                Colour::Green => return Err(ThresholdsError::Green),
                Colour::Unknown => return Err(ThresholdsError::Unknown),
                _ if !limit.is_finite() => {
                    return Err(ThresholdsError::Number(if lower_is_worse { -limit } else { *limit }));
                }
                _ => {}
            }
        }
        for ((good, before), (bad, after)) in limits.iter().zip(limits.iter().skip(1)) {
            if good >= bad || before >= after {
                return Err(ThresholdsError::Order(*good, *bad));
            }
        }
        if limits.is_empty() {
            return Err(ThresholdsError::NoLimit);
        }
        let (margin, dwell, max_age) = (0.0, Duration::ZERO, None);
        Ok(Self { limits, lower_is_worse, margin, dwell, max_age, yellow: Share::FULL, orange: Share::FULL })
    }

    /// With this hysteresis: how far a value must come back past a limit for a better colour. None by default.
    ///
    /// # Errors
    /// When it is negative or not finite.
    pub fn with_margin(self, margin: f64) -> Result<Self, ThresholdsError> {
        let is_good = margin.is_finite() && margin >= 0.0;
        if is_good { Ok(Self { margin, ..self }) } else { Err(ThresholdsError::Number(margin)) }
    }

    /// With this dwell time: how long a colour stays once it has changed, to a worse one or to a better one. None by
    /// default. The first colour is no change.
    #[must_use]
    pub fn with_dwell(self, dwell: Duration) -> Self {
        Self { dwell, ..self }
    }

    /// With this age beyond which a value says nothing any more. By default it may have any.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// With these shares of the work while yellow and while orange; all of it by default.
    ///
    /// `UP 40%` is for balancers that know it: one that expects exactly `UP` takes it for a failure.
    #[must_use]
    pub fn with_shares(self, yellow: Share, orange: Share) -> Self {
        Self { yellow, orange, ..self }
    }

    /// The colour of a value without regard to what was before.
    #[must_use]
    pub fn colour(&self, value: f64) -> Colour {
        if value.is_nan() { Colour::Unknown } else { self.reached(self.upright(value)) }
    }

    /// The colour of a value where this one was before. `value` is a number.
    pub(super) fn colour_after(&self, before: Colour, value: f64) -> Colour {
        let value = self.upright(value);
        let reached = self.reached(value);
        if reached >= before { reached } else { self.reached(value + self.margin).min(before) }
    }

    pub(super) fn share(&self, colour: Colour) -> Share {
        match colour {
            Colour::Yellow => self.yellow,
            Colour::Orange => self.orange,
            _ => Share::FULL,
        }
    }

    /// The value as one of which more is worse.
    fn upright(&self, value: f64) -> f64 {
        if self.lower_is_worse { -value } else { value }
    }

    fn reached(&self, value: f64) -> Colour {
        let reached = self.limits.iter().rev().find(|(_, limit)| value >= *limit);
        reached.map_or(Colour::Green, |(colour, _)| *colour)
    }
}

#[cfg(test)]
mod tests {
    use Colour::{Green, Off, Orange, Purple, Red, Unknown, Yellow};

    use super::*;

    #[test]
    fn a_value_has_the_worst_colour_whose_limit_it_has_reached() {
        let all = [(Yellow, 1.0), (Orange, 2.0), (Red, 3.0), (Purple, 4.0), (Off, 5.0)];
        let load = Thresholds::higher_is_worse(all).unwrap();
        let seen = [f64::NEG_INFINITY, 0.9, 1.0, 2.5, 3.0, 4.0, 5.0, f64::INFINITY].map(|value| load.colour(value));
        assert_eq!(seen, [Green, Green, Yellow, Orange, Red, Purple, Off, Off]);
        assert_eq!(load.colour(f64::NAN), Unknown);
        let free = Thresholds::lower_is_worse([(Red, 3.0), (Off, 0.0)]).unwrap();
        assert_eq!([3.1, 3.0, 0.1, 0.0, -0.0, -1.0].map(|value| free.colour(value)), [Green, Red, Red, Off, Off, Off]);
    }

    #[test]
    fn limits_that_mean_nothing_are_refused() {
        let higher = |limits: &[(Colour, f64)]| Thresholds::higher_is_worse(limits.to_vec()).unwrap_err();
        assert_eq!(higher(&[]), ThresholdsError::NoLimit);
        assert_eq!(higher(&[(Green, 1.0)]), ThresholdsError::Green);
        assert_eq!(higher(&[(Unknown, 1.0)]), ThresholdsError::Unknown);
        assert_eq!(higher(&[(Red, 1.0), (Yellow, 2.0)]), ThresholdsError::Order(Red, Yellow));
        assert_eq!(higher(&[(Yellow, 2.0), (Red, 2.0)]), ThresholdsError::Order(Yellow, Red));
        assert_eq!(higher(&[(Red, 1.0), (Red, 2.0)]), ThresholdsError::Order(Red, Red));
        assert_eq!(higher(&[(Red, f64::INFINITY)]), ThresholdsError::Number(f64::INFINITY));
        let lower = |limits: &[(Colour, f64)]| Thresholds::lower_is_worse(limits.to_vec()).unwrap_err();
        assert_eq!(lower(&[(Yellow, 1.0), (Red, 2.0)]), ThresholdsError::Order(Yellow, Red));
        assert_eq!(lower(&[(Red, f64::INFINITY)]), ThresholdsError::Number(f64::INFINITY), "as it was written");
        let good = || Thresholds::higher_is_worse([(Red, 1.0)]).unwrap();
        assert!([-0.1, f64::NAN, f64::INFINITY].into_iter().all(|margin| good().with_margin(margin).is_err()));
    }
}
