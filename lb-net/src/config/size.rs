//! Sizes as people write them.

use std::{fmt, num::NonZeroU64, str::FromStr};

/// From the largest down.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes above zero: `64KiB`, `10MiB`, `1 GiB`, `500B`.
/// ```
/// use lb_net::config::Size;
/// let size: Size = "64KiB".parse()?;
/// assert_eq!((size.bytes(), size.to_string().as_str()), (65_536, "64KiB"));
/// let error = "64k".parse::<Size>().unwrap_err();
/// assert_eq!(error.to_string(), "'64k' is no size: a number and its unit, such as 64KiB");
/// # Ok::<(), lb_net::config::SizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(NonZeroU64);

/// Why a text is no [`Size`].
/// ```
/// let error = "0B".parse::<lb_net::config::Size>().unwrap_err();
/// assert_eq!(error.to_string(), "'0B' is not above zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// It has no unit, or is something else.
    #[error("'{0}' is no size: a number and its unit, such as {1}")]
    Form(String, String),
    /// Nothing at all.
    #[error("'{0}' is not above zero")]
    Zero(String),
    /// More bytes than can be counted.
    #[error("'{0}' is more than can be counted")]
    Large(String),
}

impl Size {
    /// So many bytes, if that is above zero.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        match NonZeroU64::new(bytes) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let trimmed = text.trim();
        let end = trimmed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(end);
        let unit = unit.trim_start();
        let form = || SizeError::Form(text.to_owned(), meant(digits, unit));
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(form)?;
        if digits.is_empty() {
            return Err(form());
        }
        let large = || SizeError::Large(text.to_owned());
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(large)?;
        Self::new(bytes).ok_or_else(|| SizeError::Zero(text.to_owned()))
    }
}

/// What was probably meant: `64k` and `64KB` are 64KiB.
fn meant(digits: &str, unit: &str) -> String {
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    let letter = unit.chars().next().map(|letter| letter.to_ascii_uppercase());
    let known = UNITS.into_iter().find(|(name, _)| name.chars().next() == letter).map(|(name, _)| name);
    match (number, known) {
        (Some(number), Some(unit)) => format!("{number}{unit}"),
        (Some(number), None) if unit.is_empty() => format!("{number}B or {number}KiB"),
        _ => "64KiB or 10MiB".to_owned(),
    }
}

/// In the largest unit that it is a whole number of.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let (unit, factor) = UNITS.into_iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", bytes / factor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("1B", 1), ("64KiB", 65_536), (" 10 MiB ", 10 << 20), ("1GiB", 1 << 30), ("2TiB", 2 << 40)]
        {
            assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "KiB", "0", "0KiB", "5", "-1B", "1.5MiB", "1KB", "1k", "1kib", "16777216TiB", "1e3B", "1 B B"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_leaves_out_half_of_a_unit_is_told_the_whole() {
        for (text, remedy) in [
            ("10M", "such as 10MiB"),
            ("5GB", "such as 5GiB"),
            ("100", "such as 100B or 100KiB"),
            ("many", "such as 64KiB or 10MiB"),
        ] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.ends_with(remedy), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_size_prints_and_parses_back(bytes in 1_u64.., shift in 0_u32..64) {
            let size = Size::new((bytes >> shift).max(1)).unwrap();
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in "[0-9a-zA-Z. ]{0,30}|.{0,30}") {
            let _ = text.parse::<Size>();
        }
    }
}
