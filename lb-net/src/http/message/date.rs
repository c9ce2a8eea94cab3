//! The time of day as messages have it, written once a second.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

thread_local! {
    /// The second that is written, and how.
    static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Gives what `Date` says now (RFC 9110 section 5.6.7).
pub(crate) fn with_now<R>(give: impl FnOnce(&str) -> R) -> R {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|(written, text)| {
        if *written != second {
            (*written, *text) = (second, httpdate::fmt_http_date(now));
        }
        give(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_time_of_day() {
        let said = with_now(|text| httpdate::parse_http_date(text).unwrap());
        let past = SystemTime::now().duration_since(said).unwrap();
        assert!(past.as_secs() < 60);
        assert_eq!(with_now(str::len), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    }
}
