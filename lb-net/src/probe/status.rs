//! HTTP statuses that count as good.

use std::{fmt, str::FromStr};

/// Statuses and ranges of them, as `status=200,204,300-399` says. By default 200 to 299.
/// ```
/// use lb_net::probe::StatusSet;
/// let set: StatusSet = "200,300-399".parse()?;
/// assert!(set.contains(302) && !set.contains(204));
/// assert_eq!(set.to_string(), "200,300-399");
/// # Ok::<(), lb_net::probe::MonitorSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSet(Vec<(u16, u16)>);

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl StatusSet {
    /// Whether this status is good.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

impl FromStr for StatusSet {
    type Err = super::MonitorSpecError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ranges = text.split(',').map(range).collect::<Option<_>>();
        ranges.map(Self).ok_or_else(|| super::MonitorSpecError::Value(text.to_owned(), STATUS))
    }
}

/// What to write.
const STATUS: &str = "a list of statuses from 100 to 599, such as 200,204,300-399";

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let [first, last] = [first, last].map(|number| {
        let digits = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|status| digits && (100..=599).contains(status))
    });
    first.zip(last).filter(|(first, last)| first <= last)
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}
