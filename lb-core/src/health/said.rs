//! What an application says of itself.

use std::{fmt, str::FromStr};

/// What an application says of itself when it is asked: a word, and if it likes its reason behind a colon.
///
/// | text | meaning |
/// |---|---|
/// | `UP` | it takes its share of the work |
/// | `UP 40%`, `40%` | it takes that much of its share; `0%` is `DRAIN` |
/// | `DRAIN` | it takes nothing but the requests of clients that are pinned to it |
/// | `DOWN` | it takes nothing; what runs may end |
/// | `MAINT` | the same, and on purpose: nobody needs to be called |
/// ```
/// use lb_core::health::{Said, Share};
/// assert_eq!("UP".parse(), Ok(Said::Up(Share::FULL)));
/// assert_eq!("UP 40%".parse::<Said>()?.to_string(), "UP 40%");
/// assert_eq!("DOWN: no database".parse(), Ok(Said::Down));
/// assert!("<html>".parse::<Said>().is_err());
/// # Ok::<(), lb_core::health::NotSaid>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Said {
    /// It takes work.
    Up(Share),
    /// It takes only what is pinned to it.
    Drain,
    /// It takes none.
    Down,
    /// It takes none, on purpose.
    Maintenance,
}

/// How much of its share a backend takes: 1 to 100 percent.
/// ```
/// use lb_core::health::Share;
/// assert_eq!(Share::percent(40).map(Share::get), Some(40));
/// assert_eq!((Share::percent(0), Share::percent(101)), (None, None));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u8);

impl Share {
    /// All of it.
    pub const FULL: Self = Self(100);

    /// So many percent, 1 to 100.
    #[must_use]
    pub fn percent(percent: u8) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }

    /// In percent.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

/// It is none of the words by which applications say how they are.
/// ```
/// use lb_core::health::Said;
/// assert_eq!("well".parse::<Said>().unwrap_err().to_string(), "expected UP, DOWN, DRAIN, MAINT or a percentage");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected UP, DOWN, DRAIN, MAINT or a percentage")]
pub struct NotSaid;

impl Said {
    /// What the body of an answer says, if it begins with one of the words, and that is all or a colon follows; white space
    /// around it is none of it, and behind the colon there may be anything.
    #[must_use]
    pub fn of_body(body: &[u8]) -> Option<Self> {
        std::str::from_utf8(parts(body).0).ok()?.parse().ok()
    }

    /// The reason that the body gives behind the word: one line, none where there is none.
    #[must_use]
    pub fn reason_of(body: &[u8]) -> Option<&str> {
        let line = parts(body).1.split(|byte| matches!(byte, b'\r' | b'\n')).next()?.trim_ascii();
        // As far as it can be read.
        let reason = std::str::from_utf8(line)
            .or_else(|error| std::str::from_utf8(line.get(..error.valid_up_to()).unwrap_or_default()));
        reason.ok().filter(|reason| !reason.is_empty())
    }
}

/// What is before the first colon and behind it, without a byte order mark and what else is no text at either end.
fn parts(body: &[u8]) -> (&[u8], &[u8]) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let end = body.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let body = body[..end].trim_ascii();
    let colon = body.iter().position(|byte| *byte == b':').unwrap_or(body.len());
    (&body[..colon], body.get(colon + 1..).unwrap_or_default())
}

impl Said {
    /// In a log, when nobody knows better.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Up(_) => "it says UP",
            Self::Drain => "it says DRAIN",
            Self::Down => "it says DOWN",
            Self::Maintenance => "it says MAINT",
        }
    }
}

impl FromStr for Said {
    type Err = NotSaid;

    fn from_str(text: &str) -> Result<Self, NotSaid> {
        let word = text.split_once(':').map_or(text, |(word, _)| word).trim_ascii();
        match word {
            "UP" => return Ok(Self::Up(Share::FULL)),
            "DRAIN" => return Ok(Self::Drain),
            "DOWN" => return Ok(Self::Down),
            "MAINT" => return Ok(Self::Maintenance),
            _ => {}
        }
        let behind = word.strip_prefix("UP").filter(|rest| rest.starts_with(' ')).unwrap_or(word);
        let digits = behind.trim_ascii().strip_suffix('%').ok_or(NotSaid)?;
        let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        match digits.parse().ok().filter(|_| is_number).ok_or(NotSaid)? {
            0 => Ok(Self::Drain),
            percent => Share::percent(percent).map(Self::Up).ok_or(NotSaid),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(Share::FULL) => f.pad("UP"),
            Self::Up(share) => write!(f, "UP {}%", share.get()),
            Self::Drain => f.pad("DRAIN"),
            Self::Down => f.pad("DOWN"),
            Self::Maintenance => f.pad("MAINT"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_words_and_what_is_none() {
        let up = |percent| Share::percent(percent).map(Said::Up);
        let rows = [
            (" UP\r\n", up(100)),
            ("UP 7%", up(7)),
            ("100%", up(100)),
            ("0%", Some(Said::Drain)),
            ("UP 0%", Some(Said::Drain)),
            ("DRAIN", Some(Said::Drain)),
            ("MAINT: new disks", Some(Said::Maintenance)),
            ("DOWN:", Some(Said::Down)),
            ("up", None),
            ("UP40%", None),
            ("UP +4%", None),
            ("101%", None),
            ("256%", None),
            ("1000%", None),
            ("DOWN under", None),
            ("", None),
            ("%", None),
        ];
        for (body, said) in rows {
            assert_eq!(Said::of_body(body.as_bytes()), said, "{body:?}");
        }
        assert_eq!(Said::reason_of(b"DOWN: no database \nmore\n"), Some("no database"));
        for body in [&b"DOWN: kein Platz f\xfcr Daten"[..], b"\xef\xbb\xbfDOWN", b"DOWN\n\0\0", b"DOWN:\0\xff"] {
            assert_eq!(Said::of_body(body), Some(Said::Down), "{body:?}");
        }
        assert_eq!(Said::reason_of(b"DOWN: kein Platz f\xfcr Daten"), Some("kein Platz f"));
        assert_eq!((Said::reason_of(b"DOWN:"), Said::reason_of(b"DOWN")), (None, None));
    }

    proptest! {
        #[test]
        fn no_body_panics_and_what_is_said_is_said_again(body in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(said) = Said::of_body(&body) {
                prop_assert_eq!(said.to_string().parse(), Ok(said));
            }
            let _ = Said::reason_of(&body);
        }
    }
}
