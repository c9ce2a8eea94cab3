//! The words of balance.fm's `-m`: `key[=value]` joined by colons, escapes, and what can be wrong with them.

use std::{str::FromStr, time::Duration};

use crate::spelling::nearest;

/// What is wrong with a monitor specification; each names the word as it was written.
/// ```
/// use lb_net::probe::MonitorSpec;
/// let error = "conect:interval=5".parse::<MonitorSpec>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown key 'conect': did you mean 'connect'?");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorSpecError {
    /// A word whose key does not exist, and the known one that is most like it.
    #[error("unknown key '{0}': {advice}", advice = advice(*.1))]
    Unknown(String, Option<&'static str>),
    /// A word that lacks its value, and how it is written.
    #[error("{0}: a value is missing: write {1}")]
    Missing(String, String),
    /// A word that has a value and takes none, and how it is written.
    #[error("{0}: it takes no value: write {1}")]
    Excess(String, String),
    /// An option that is not behind a check it belongs to, and which those are.
    #[error("{0}: it must stand behind {1}")]
    Misplaced(String, &'static str),
    /// A value that is none, and what was expected.
    #[error("{0}: expected {1}")]
    Value(String, &'static str),
    /// A backslash with nothing behind it.
    #[error("{0}: it ends in a backslash: write \\\\ for a backslash, \\: for a colon")]
    Backslash(String),
    /// Nothing between two colons, or at an end.
    #[error("'{0}' has a colon too many: write \\: for one that belongs to a value")]
    Empty(String),
    /// No check at all.
    #[error("'{0}' checks nothing: add connect, http=PATH or command=TEXT")]
    NoCheck(String),
}

/// Every key.
const KEYS: [&str; 17] = [
    "connect",
    "command",
    "http",
    "timeout",
    "pass",
    "expect",
    "contains",
    "status",
    "header",
    "host",
    "send",
    "interval",
    "noenable",
    "nodisable",
    "rise",
    "fall",
    "jitter",
];

/// Ten years, in seconds: microseconds below it have no rounding errors.
const MOST_SECONDS: f64 = 315_360_000.0;

fn advice(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| format!("one of {}", KEYS.join(", ")), |key| format!("did you mean '{key}'?"))
}

/// One `key[=value]`, with its escapes undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// As it was written.
    pub(super) raw: String,
    pub(super) key: String,
    value: Option<String>,
}

impl Word {
    fn parse(raw: &str) -> Result<Self, MonitorSpecError> {
        let (mut key, mut value) = (String::new(), None);
        let mut letters = raw.chars();
        while let Some(letter) = letters.next() {
            let letter = match letter {
                '=' if value.is_none() => {
                    value = Some(String::new());
                    continue;
                }
                '\\' => letters.next().map(unescape).ok_or_else(|| MonitorSpecError::Backslash(raw.to_owned()))?,
                plain => plain,
            };
            value.as_mut().unwrap_or(&mut key).push(letter);
        }
        Ok(Self { raw: raw.to_owned(), key, value })
    }

    /// The value, which there must be.
    pub(super) fn value(&self, example: &str) -> Result<&str, MonitorSpecError> {
        let missing = || MonitorSpecError::Missing(self.raw.clone(), format!("{}={example}", self.key));
        self.value.as_deref().filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    /// A value in seconds: above 0, to the microsecond.
    pub(super) fn seconds(&self) -> Result<Duration, MonitorSpecError> {
        let seconds = self.value("SECONDS")?.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= MOST_SECONDS);
        let seconds: f64 =
            seconds.ok_or_else(|| self.wrong("seconds above 0, at most 315360000; fractions are welcome"))?;
        // What is not 0 is no 0, however short.
        Ok(Duration::from_micros(((seconds * 1e6).round() as u64).max(1)))
    }

    /// There must be no value.
    pub(super) fn bare(&self) -> Result<(), MonitorSpecError> {
        match self.value {
            Some(_) => Err(MonitorSpecError::Excess(self.raw.clone(), self.key.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn misplaced(&self, behind: &'static str) -> MonitorSpecError {
        MonitorSpecError::Misplaced(self.raw.clone(), behind)
    }

    pub(super) fn wrong(&self, expected: &'static str) -> MonitorSpecError {
        MonitorSpecError::Value(self.raw.clone(), expected)
    }

    pub(super) fn unknown(&self) -> MonitorSpecError {
        MonitorSpecError::Unknown(self.raw.clone(), nearest(&self.key, KEYS))
    }
}

/// Digits only: no sign.
pub(super) fn number<N: FromStr>(text: &str) -> Result<N, ()> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(())
}

/// The words of a specification.
pub(super) fn words(text: &str) -> Result<Vec<Word>, MonitorSpecError> {
    let (mut raws, mut escaped) = (vec![String::new()], false);
    for letter in text.chars() {
        if letter == ':' && !escaped {
            raws.push(String::new());
            continue;
        }
        escaped = letter == '\\' && !escaped;
        raws.last_mut().into_iter().for_each(|raw| raw.push(letter));
    }
    match &raws[..] {
        [only] if only.is_empty() => Ok(Vec::new()),
        several if several.iter().any(String::is_empty) => Err(MonitorSpecError::Empty(text.to_owned())),
        several => several.iter().map(|raw| Word::parse(raw)).collect(),
    }
}

/// Letters that C writes behind a backslash, and what they stand for.
const ESCAPES: [(char, char); 7] =
    [('a', '\x07'), ('b', '\x08'), ('f', '\x0c'), ('n', '\n'), ('r', '\r'), ('t', '\t'), ('v', '\x0b')];

fn unescape(letter: char) -> char {
    ESCAPES.into_iter().find(|(written, _)| *written == letter).map_or(letter, |(_, meant)| meant)
}

/// A value as it is written.
pub(crate) fn escape(value: &str) -> String {
    let mut written = String::with_capacity(value.len());
    for letter in value.chars() {
        let special = ESCAPES.into_iter().find(|(_, meant)| *meant == letter).map(|(written, _)| written);
        let special = special.or_else(|| matches!(letter, ':' | '\\').then_some(letter));
        written.extend(special.is_some().then_some('\\'));
        written.push(special.unwrap_or(letter));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_split_unless_escaped_and_only_the_first_equals_sign_counts() {
        let words = words(r"connect:command=a\:b\\:x=y=\n\z").unwrap();
        let parts: Vec<_> = words.iter().map(|word| (word.key.as_str(), word.value.as_deref())).collect();
        assert_eq!(parts, [("connect", None), ("command", Some("a:b\\")), ("x", Some("y=\nz"))]);
    }
}
