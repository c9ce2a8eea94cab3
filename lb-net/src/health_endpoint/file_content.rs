//! What a state file says.

use std::{io, path::Path};

use lb_core::health::{Said, Share};
use serde_json::Value;

use super::State;
use crate::small_file::{self, Unread};

/// More is no word that anybody meant.
const MOST_BYTES: usize = 64 * 1024;

/// The key of the JSON form.
const KEY: &str = "siteAvailable";

/// A word and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    said: Said,
    reason: Option<String>,
}

/// What is wrong with a state file.
/// ```
/// use lb_net::health_endpoint::StateFileProblem;
/// assert_eq!(StateFileProblem::Large.to_string(), "it has more than 64 KiB");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileProblem {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// What the system said.
    #[error("it cannot be read ({})", .0.kind())]
    Unreadable(#[source] io::Error),
    /// A directory, a pipe, a device, or what has no end.
    #[error("it is no regular file")]
    NotAFile,
    /// More than 64 KiB.
    #[error("it has more than 64 KiB")]
    Large,
    /// The file system takes its time.
    #[error("to read it takes more than 10 seconds")]
    Slow,
    /// No word, and no JSON either.
    #[error("it says none of UP, UP n%, DRAIN, DOWN, MAINT, true, false and {{\"siteAvailable\": true}}")]
    NotSaid,
    /// JSON without the one key that counts.
    #[error("its JSON has no true or false under \"siteAvailable\"")]
    NoKey,
}

impl Content {
    pub(super) fn parse(content: &[u8]) -> Result<Self, StateFileProblem> {
        if content.len() > MOST_BYTES {
            return Err(StateFileProblem::Large);
        }
        let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii();
        let of = |is_available| if is_available { Said::Up(Share::FULL) } else { Said::Down };
        let said = match text {
            b"true" => of(true),
            b"false" => of(false),
            [b'{', ..] => of(available(text)?),
            _ => {
                let said = Said::of_body(text).ok_or(StateFileProblem::NotSaid)?;
                return Ok(Self { said, reason: Said::reason_of(text).map(str::to_owned) });
            }
        };
        Ok(Self { said, reason: None })
    }

    pub(super) fn state(&self) -> State {
        let state = State::new(self.said);
        self.reason.clone().map_or(state.clone(), |reason| state.with_reason(reason))
    }
}

fn available(text: &[u8]) -> Result<bool, StateFileProblem> {
    let value: Value = serde_json::from_slice(text).map_err(|_| StateFileProblem::NotSaid)?;
    value.get(KEY).and_then(Value::as_bool).ok_or(StateFileProblem::NoKey)
}

/// Reads a state file. It may block.
pub(super) fn read(path: &Path) -> Result<Content, StateFileProblem> {
    let content = small_file::read(path, MOST_BYTES).map_err(|unread| match unread {
        Unread::Io(error) if error.kind() == io::ErrorKind::NotFound => StateFileProblem::Missing,
        Unread::Io(error) => StateFileProblem::Unreadable(error),
        Unread::NoFile => StateFileProblem::NotAFile,
        Unread::Large => StateFileProblem::Large,
    })?;
    Content::parse(&content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let content = Content::parse(text.as_bytes()).map_err(|problem| problem.to_string())?;
        Ok(content.reason.map_or(content.said.to_string(), |reason| format!("{}: {reason}", content.said)))
    }

    #[test]
    fn words_and_json_are_understood() {
        let rows = [
            ("{\"siteAvailable\": true}", "UP"),
            ("\u{feff}\r\n{ \"siteAvailable\" : false, \"since\": [1] }\n", "DOWN"),
            (" true\n", "UP"),
            ("false", "DOWN"),
            ("UP 40%\n", "UP 40%"),
            ("DRAIN", "DRAIN"),
            ("MAINT: new disks\nuntil noon\n", "MAINT: new disks"),
        ];
        for (text, said) in rows {
            assert_eq!(parse(text).as_deref(), Ok(said), "{text:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        for text in ["", "tru", "up", "{", "{\"siteAvail", "[true]", "\"UP\"", "UP\nDOWN"] {
            assert!(parse(text).unwrap_err().starts_with("it says none of"), "{text:?}");
        }
        for text in ["{}", "{\"siteAvailable\": 1}", "{\"siteAvailable\": \"true\"}", "{\"siteavailable\": true}"] {
            assert!(parse(text).unwrap_err().starts_with("its JSON has no"), "{text:?}");
        }
        assert_eq!(parse(&" ".repeat(MOST_BYTES + 1)).unwrap_err(), "it has more than 64 KiB");
        assert_eq!(parse(&format!("UP{}", " ".repeat(MOST_BYTES - 2))).as_deref(), Ok("UP"));
        assert!(parse(&"[".repeat(MOST_BYTES)).is_err() && parse(&"{\"a\":".repeat(9000)).is_err());
    }

    proptest! {
        #[test]
        fn no_content_panics(content in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "(\\{|\\}|\"siteAvailable\"|:|true|false|UP|DOWN| |\n|4|%|,){0,9}".prop_map(String::into_bytes),
        ]) {
            let _ = Content::parse(&content);
        }
    }
}
