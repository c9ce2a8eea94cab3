//! Times of requests as text, in UTC, worked out once a second.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last second of the year 9999: there is no way to write those after it.
const LAST: u64 = 253_402_300_799;

/// The last second that was asked for, in both forms.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<u64>,
    common: String,
    iso: String,
}

impl Stamp {
    /// `10/Oct/2000:13:55:36 +0000`.
    pub(super) fn common(&mut self, time: SystemTime) -> &str {
        self.turn_to(since_epoch(time).as_secs());
        &self.common
    }

    /// `2000-10-10T13:55:36`, and the milliseconds of that second.
    pub(super) fn iso(&mut self, time: SystemTime) -> (&str, u32) {
        let time = since_epoch(time);
        self.turn_to(time.as_secs());
        (&self.iso, time.subsec_millis())
    }

    fn turn_to(&mut self, second: u64) {
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        self.iso.clear();
        self.common.clear();
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(second.min(LAST))).unwrap_or(UNIX_EPOCH);
        // `Tue, 10 Oct 2000 13:55:36 GMT`: always of this length.
        let date = httpdate::fmt_http_date(time);
        let part = |range| date.get(range).unwrap_or_default();
        let (day, name, year, clock) = (part(5..7), part(8..11), part(12..16), part(17..25));
        let month = MONTHS.iter().position(|month| *month == name).unwrap_or_default() + 1;
        // Into memory: it does not fail.
        let _ = write!(self.common, "{day}/{name}/{year}:{clock} +0000");
        let _ = write!(self.iso, "{year}-{month:02}-{day}T{clock}");
    }
}

/// A clock that stands before 1970 stands at its begin.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn times_are_told_in_both_forms_and_change_with_the_second() {
        let mut stamp = Stamp::default();
        assert_eq!(stamp.common(at(971_186_136_999)), "10/Oct/2000:13:55:36 +0000");
        assert_eq!(stamp.iso(at(971_186_136_042)), ("2000-10-10T13:55:36", 42));
        assert_eq!(stamp.iso(at(971_186_137_000)), ("2000-10-10T13:55:37", 0));
        assert_eq!(stamp.common(at(1_709_210_096_000)), "29/Feb/2024:12:34:56 +0000");
        assert_eq!(stamp.common(at(0)), "01/Jan/1970:00:00:00 +0000");
    }

    #[test]
    fn a_clock_that_is_far_off_does_no_harm() {
        let mut stamp = Stamp::default();
        assert_eq!(stamp.common(UNIX_EPOCH - Duration::from_secs(1)), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(stamp.iso(at(253_402_300_800_000)), ("9999-12-31T23:59:59", 0));
    }
}
