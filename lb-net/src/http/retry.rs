//! Whether a request may be given to a backend once more.
//!
//! A request that no backend can have seen is free: it goes on until every backend has been asked. One that a backend may
//! have begun with goes once more at most, only where doing it twice is the same as doing it once, and on account of the
//! budget: a request that kills backends must not visit them all, and a site in trouble must not get twice the load.

/// Attempts of a request that a backend may have begun with.
const MOST_ATTEMPTS: u32 = 2;

/// How far an attempt got before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// A kept connection that the backend had closed, before it took a byte of this request.
    Closed,
    /// The connection died after bytes of the request were written, before a byte of the answer. That holds for a kept
    /// connection as well: that the backend closed it just then is likely, but it may have read the request first.
    Backend,
    /// An interim answer of the backend has been passed on to the client.
    Interim,
    /// A byte of the answer was read.
    Answer,
}

/// What is known of a request when an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) is_idempotent: bool,
    /// Whether it has an `Idempotency-Key`, and the settings say that this counts.
    pub(crate) has_key: bool,
    pub(crate) reached: Reached,
    /// Attempts so far that a backend may have begun with, this one included.
    pub(crate) begun: u32,
    /// Whether every byte of its body that was taken from the client is still in a buffer.
    pub(crate) is_whole: bool,
}

/// What may be done with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It must be answered.
    Never,
    /// It may go to a fresh connection, of this backend or another.
    Free,
    /// As [`Free`](Self::Free), if the budget has one left.
    FromBudget,
}

impl Attempted {
    pub(crate) fn verdict(self) -> Verdict {
        match self.reached {
            _ if !self.is_whole => Verdict::Never,
            Reached::Closed => Verdict::Free,
            Reached::Backend if self.begun < MOST_ATTEMPTS && self.is_repeatable() => Verdict::FromBudget,
            Reached::Backend | Reached::Interim | Reached::Answer => Verdict::Never,
        }
    }

    fn is_repeatable(self) -> bool {
        self.has_key || self.is_idempotent
    }
}

/// Methods that may be done twice (RFC 9110 section 9.2.2). Names of methods are case-sensitive, and of one that nobody
/// knows nobody knows this. A request for which this is false is best sent on a connection that was looked at right before.
pub(crate) fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};

    const REPEATABLE: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
    const OTHERS: [&str; 6] = ["POST", "PATCH", "CONNECT", "get", "PURGE", ""];

    fn of(method: &str, reached: Reached) -> Attempted {
        Attempted { is_idempotent: is_idempotent(method), has_key: false, reached, begun: 1, is_whole: true }
    }

    #[test]
    fn what_no_backend_has_seen_goes_on_whatever_it_is() {
        for method in REPEATABLE.into_iter().chain(OTHERS) {
            for reached in [Reached::Closed] {
                for begun in [0, 1, 2, 100] {
                    assert_eq!(Attempted { begun, ..of(method, reached) }.verdict(), Free, "{method} {reached:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_backend_may_have_begun_with_is_repeated_once_where_that_does_no_harm() {
        let rows = [
            // Key, attempts begun: what GET and its like may, and what POST and its like may.
            (false, 1, FromBudget, Never),
            (false, 2, Never, Never),
            (true, 1, FromBudget, FromBudget),
            (true, 2, Never, Never),
            (true, u32::MAX, Never, Never),
        ];
        for (has_key, begun, repeatable, other) in rows {
            let verdict = |method| Attempted { has_key, begun, ..of(method, Reached::Backend) }.verdict();
            assert_eq!(REPEATABLE.map(verdict), [repeatable; 6], "{has_key}, {begun}");
            assert_eq!(OTHERS.map(verdict), [other; 6], "{has_key}, {begun}");
        }
    }

    #[test]
    fn once_the_client_has_seen_of_an_answer_or_the_backend_has_begun_one_there_is_no_other() {
        for method in REPEATABLE.into_iter().chain(OTHERS) {
            for reached in [Reached::Interim, Reached::Answer] {
                assert_eq!(Attempted { has_key: true, ..of(method, reached) }.verdict(), Never, "{method} {reached:?}");
            }
        }
    }

    #[test]
    fn a_body_of_which_something_is_gone_cannot_be_sent_again() {
        for reached in [Reached::Closed, Reached::Backend, Reached::Interim, Reached::Answer] {
            assert_eq!(Attempted { is_whole: false, ..of("GET", reached) }.verdict(), Never, "{reached:?}");
        }
    }
}
