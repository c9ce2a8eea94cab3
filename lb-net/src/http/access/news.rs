//! What becomes of an access log.

use std::{fmt, io};

use super::AccessTo;

/// Who hears it, on a thread of the log.
pub(super) type Hear = dyn Fn(&AccessLogNews<'_>) + Send + Sync;

/// What becomes of an access log; its text is fit for a log of another kind. Where it goes to is `None` for a writer of your
/// own.
/// ```
/// use lb_net::http::{AccessLogNews, AccessTo};
/// let news = AccessLogNews::Stuck { to: Some(&AccessTo::Stdout) };
/// assert_eq!(news.to_string(), "access log stdout: nobody takes its lines, those that find no room will be lost");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AccessLogNews<'a> {
    /// Lines cannot be written, and are lost from now on. Told once, until they can.
    Failing {
        /// Where to.
        to: Option<&'a AccessTo>,
        /// Why.
        error: &'a io::Error,
    },
    /// Whoever is to take the lines does not. Told once, until it does.
    Stuck {
        /// Where to.
        to: Option<&'a AccessTo>,
    },
    /// Lines are written again.
    Recovered {
        /// Where to.
        to: Option<&'a AccessTo>,
        /// How many were lost since this was told the last time.
        lost_lines: u64,
    },
    /// A file could not be opened again: lines go on to the one that was open.
    NotReopened {
        /// Which.
        to: &'a AccessTo,
        /// Why.
        error: &'a io::Error,
    },
}

impl fmt::Display for AccessLogNews<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |to: &Option<&AccessTo>| to.map_or_else(|| "access log".to_owned(), |to| format!("access log {to}"));
        match self {
            Self::Failing { to, error } => write!(f, "{}: cannot be written, lines are lost: {error}", name(to)),
            Self::Stuck { to } => {
                write!(f, "{}: nobody takes its lines, those that find no room will be lost", name(to))
            }
            Self::Recovered { to, lost_lines: 0 } => write!(f, "{}: is written again, no line was lost", name(to)),
            Self::Recovered { to, lost_lines: 1 } => write!(f, "{}: is written again, 1 line was lost", name(to)),
            Self::Recovered { to, lost_lines } => {
                write!(f, "{}: is written again, {lost_lines} lines were lost", name(to))
            }
            Self::NotReopened { to, error } => {
                write!(f, "{}: cannot be opened again, lines go on to the old file: {error}", name(&Some(to)))
            }
        }
    }
}
