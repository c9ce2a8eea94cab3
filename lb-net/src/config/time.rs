//! Times as people write them.

use std::{fmt, str::FromStr, time::Duration};

/// A hundred years: whatever is added to it, no clock overflows.
const MOST: Duration = Duration::from_secs(36_500 * 86_400);

/// A time above zero, and at most a hundred years: `2s`, `1m 30s`, `250ms`.
/// ```
/// use lb_net::config::Time;
/// let time: Time = "1m 30s".parse()?;
/// assert_eq!((time.get().as_secs(), time.to_string().as_str()), (90, "1m 30s"));
/// let error = "90".parse::<Time>().unwrap_err();
/// assert_eq!(error.to_string(), "'90' is no time: a number and its unit, such as 90s");
/// # Ok::<(), lb_net::config::TimeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Duration);

/// Why a text is no [`Time`].
/// ```
/// let error = "0s".parse::<lb_net::config::Time>().unwrap_err();
/// assert_eq!(error.to_string(), "'0s' is not above zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// It has no unit, or is something else.
    #[error("'{0}' is no time: a number and its unit, such as {1}")]
    Form(String, String),
    /// A capital M: who wrote it meant minutes, and would get months.
    #[error("'{0}' is no time: minutes are {1}")]
    Months(String, String),
    /// No time at all.
    #[error("'{0}' is not above zero")]
    Zero(String),
    /// More than a hundred years.
    #[error("'{0}' is more than a hundred years")]
    Long(String),
}

impl Time {
    /// This time, if it is above zero and at most a hundred years.
    #[must_use]
    pub const fn new(duration: Duration) -> Option<Self> {
        if duration.is_zero() || duration.as_nanos() > MOST.as_nanos() { None } else { Some(Self(duration)) }
    }

    /// So many milliseconds; one, if none.
    #[must_use]
    pub const fn from_millis(millis: u32) -> Self {
        Self(Duration::from_millis(if millis == 0 { 1 } else { millis as u64 }))
    }

    /// As a duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let form = || {
            let number = text.trim().parse::<u32>().ok().filter(|number| *number > 0);
            let number = number.map_or_else(|| "30s or 250ms".to_owned(), |number| format!("{number}s"));
            TimeError::Form(text.to_owned(), number)
        };
        // It takes "0" for a time.
        let digits = text.trim().bytes().all(|byte| byte.is_ascii_digit());
        // Its months, though nearly everybody means minutes.
        if text.contains('M') {
            return Err(TimeError::Months(text.to_owned(), text.replace('M', "m")));
        }
        let duration = humantime::parse_duration(text.trim()).ok().filter(|_| !digits).ok_or_else(form)?;
        Self::new(duration).ok_or_else(|| match duration.is_zero() {
            true => TimeError::Zero(text.to_owned()),
            false => TimeError::Long(text.to_owned()),
        })
    }
}

/// As it is parsed: `1m 30s`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in [("2s", 2000), ("1m 30s", 90_000), ("250ms", 250), ("1m30s", 90_000), (" 1h ", 3_600_000)]
        {
            assert_eq!(text.parse::<Time>().unwrap().get().as_millis(), millis, "{text}");
        }
        for text in ["", "0", "5", "s", "-1s", "1 parsec", "99999999999999999999s", "0ms", "101years", "5M"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_prints_and_parses_back(seconds in 0_u64..36_500 * 86_400, nanos in 1_u32..1_000_000_000) {
            let time = Time::new(Duration::new(seconds, nanos)).unwrap();
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "[0-9a-z. ]{0,30}|.{0,30}") {
            let _ = text.parse::<Time>();
        }
    }
}
