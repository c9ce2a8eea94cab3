//! The colours of a gauge.

use std::fmt;

/// How a gauge looks, from well to worst.
/// ```
/// use lb_net::health_endpoint::Colour;
/// assert!(Colour::Green < Colour::Red && Colour::Orange.is_up() && !Colour::Unknown.is_up());
/// assert_eq!(Colour::Purple.to_string(), "PURPLE");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Colour {
    /// All is well.
    Green,
    /// It is worth a look.
    Yellow,
    /// It needs somebody; it still works.
    Orange,
    /// It does not work as it should.
    Red,
    /// It works badly.
    Purple,
    /// It does not work.
    Off,
    /// There is no value: none yet, not a number, or one that is too old.
    Unknown,
}

impl Colour {
    /// Whether an application of this colour takes work: green, yellow and orange.
    #[must_use]
    pub fn is_up(self) -> bool {
        self <= Self::Orange
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "GREEN",
            Self::Yellow => "YELLOW",
            Self::Orange => "ORANGE",
            Self::Red => "RED",
            Self::Purple => "PURPLE",
            Self::Off => "OFF",
            Self::Unknown => "UNKNOWN",
        })
    }
}
