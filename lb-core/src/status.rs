//! What people ordered, kept apart from what was observed.

use std::{fmt, str::FromStr};

/// What an operator has ordered of a backend. Health never changes it, and it never changes health.
/// ```
/// use lb_core::Status;
/// assert_eq!("draining".parse(), Ok(Status::Draining));
/// assert_eq!(Status::Disabled.to_string(), "disabled");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It takes work when its health allows.
    #[default]
    Enabled,
    /// It takes only what is pinned to it; what runs goes on (balance has no such state).
    Draining,
    /// It takes nothing; what runs goes on (balance's `DIS`).
    Disabled,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Enabled => "enabled",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        })
    }
}

/// A word that is no status.
/// ```
/// let error = "asleep".parse::<lb_core::Status>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown status 'asleep': enabled, draining or disabled");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown status '{0}': enabled, draining or disabled")]
pub struct UnknownStatus(pub String);

impl FromStr for Status {
    type Err = UnknownStatus;
    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        let known = [Self::Enabled, Self::Draining, Self::Disabled];
        known.into_iter().find(|status| status.to_string() == word).ok_or_else(|| UnknownStatus(word.to_owned()))
    }
}
