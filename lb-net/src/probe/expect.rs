//! What an answer must say, and the application's own word in it.

use lb_core::health::{Said, Share};

use super::Answer;
use crate::printable::printable;

/// What a check expects to be told: a text, or one with that in it.
/// ```
/// use lb_net::probe::Expect;
/// assert!(Expect::from("ready").is_met_by(b"ready\r\n") && !Expect::from("ready").is_met_by(b"ready?"));
/// assert!(Expect::Part("PONG".into()).is_met_by(b"+PONG\r\n"));
/// assert!(Expect::from("UP").is_met_by(b"UP 40%: short of memory"), "that is UP too");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// This and nothing else, but for white space around it (`expect=`). `UP` is met by all words of being up.
    Whole(String),
    /// This, and anything before and behind it (`contains=`).
    Part(String),
}

impl Expect {
    /// Whether this is what was expected.
    #[must_use]
    pub fn is_met_by(&self, said: &[u8]) -> bool {
        match self {
            Self::Whole(text) => {
                let is_up = || text.trim_ascii() == UP && matches!(Said::of_body(said), Some(Said::Up(_)));
                said.trim_ascii() == text.trim_ascii().as_bytes() || is_up()
            }
            Self::Part(text) => text.is_empty() || said.windows(text.len()).any(|part| part == text.as_bytes()),
        }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Whole(text) | Self::Part(text) => text,
        }
    }

    /// That something else was said.
    fn missed(&self, what: &str) -> Answer {
        let text = shown(self.text().as_bytes(), SHOWN);
        Answer::Failed(match self {
            Self::Whole(_) => format!("it says {what} instead of '{text}'"),
            Self::Part(_) => format!("it says {what} without '{text}'"),
        })
    }
}

/// The whole of it.
impl From<&str> for Expect {
    fn from(text: &str) -> Self {
        Self::Whole(text.to_owned())
    }
}

/// The whole of it.
impl From<String> for Expect {
    fn from(text: String) -> Self {
        Self::Whole(text)
    }
}

/// The text that is met by more than itself.
const UP: &str = "UP";
/// What is shown of a wrong text, in characters.
const SHOWN: usize = 40;
/// The same of a reason.
const REASON_SHOWN: usize = 120;

/// What an application says, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Its beginning, and how much that is in KiB.
    Part(&'a [u8], usize),
}

impl Heard<'_> {
    /// The answer that this is. `unfit` is why it can be none that takes work: the application's own words of wanting none
    /// need no more than to be said.
    pub(super) fn judge(self, expect: Option<&Expect>, unfit: Option<String>) -> Answer {
        let word = match self {
            Self::Whole(text) => Said::of_body(text).map(|word| (word, reason(text))),
            // What is behind the colon may be long.
            Self::Part(text, _) if text.contains(&b':') => Said::of_body(text).map(|word| (word, reason(text))),
            Self::Part(..) => None,
        };
        match (word, unfit) {
            (Some((word, reason)), _) if !matches!(word, Said::Up(_)) => Answer::Said(word, reason),
            (_, Some(why)) => Answer::Failed(why),
            (word, None) => self.missed(expect).unwrap_or_else(|| passed(word)),
        }
    }

    /// What there is instead of what was expected.
    pub(super) fn missed(self, expect: Option<&Expect>) -> Option<Answer> {
        let expect = expect?;
        match (self, expect) {
            (Self::Whole(text) | Self::Part(text, _), Expect::Part(_)) if expect.is_met_by(text) => None,
            (Self::Whole(text), Expect::Whole(_)) if expect.is_met_by(text) => None,
            (Self::Whole(text), _) if text.trim_ascii().is_empty() => Some(expect.missed("nothing")),
            (Self::Whole(text), _) => Some(expect.missed(&format!("'{}'", shown(text.trim_ascii(), SHOWN)))),
            (Self::Part(_, most), _) => Some(expect.missed(&format!("more than {most} KiB"))),
        }
    }
}

/// As expected, with what else it says of itself.
fn passed(word: Option<(Said, Option<String>)>) -> Answer {
    match word {
        None | Some((Said::Up(Share::FULL), None)) => Answer::Passed,
        Some((word, reason)) => Answer::Said(word, reason),
    }
}

fn reason(text: &[u8]) -> Option<String> {
    Said::reason_of(text).map(|reason| shown(reason.as_bytes(), REASON_SHOWN))
}

/// The beginning of a text, fit for a line of a log.
fn shown(text: &[u8], most: usize) -> String {
    // A letter more, to know whether there is one.
    let begin = text.get(..4 * (most + 1)).unwrap_or(text);
    printable(&String::from_utf8_lossy(begin), most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(text: &str, expect: Option<&Expect>) -> Answer {
        Heard::Whole(text.as_bytes()).judge(expect, None)
    }

    #[test]
    fn a_text_is_shown_in_part_and_on_one_line() {
        assert_eq!(shown(b"a\nb\\ can't \x1b[2J", 40), "a\\nb\\\\ can't \\u{1b}[2J");
        assert_eq!(shown(&[b'x'; 500], 40).len(), 43);
        assert_eq!(shown("é".repeat(40).as_bytes(), 40), "é".repeat(40));
        assert!(shown(&[0xff; 500], 40).chars().all(|letter| !letter.is_control()));
        assert!(!shown("\u{202e}txt".as_bytes(), 40).contains('\u{202e}'), "nothing turns the line around");
    }

    #[test]
    fn up_is_met_by_all_words_of_being_up_and_another_text_by_itself_alone() {
        let (up, ready, part) = (Expect::from("UP"), Expect::from("READY"), Expect::Part("UP".into()));
        let share = |percent, reason: Option<&str>| {
            Answer::Said(Said::Up(Share::percent(percent).unwrap()), reason.map(str::to_owned))
        };
        for expect in [Some(&up), Some(&part), None] {
            assert_eq!(judged(" UP\n", expect), Answer::Passed);
            assert_eq!(judged("UP 40%", expect), share(40, None));
            assert_eq!(judged("UP: warm", expect), share(100, Some("warm")));
            assert_eq!(judged("UP 7% : cold", expect), share(7, Some("cold")));
            assert_eq!(judged("DRAIN", expect), Answer::Said(Said::Drain, None));
        }
        assert_eq!(judged("40%", Some(&up)), share(40, None));
        assert_eq!(judged("40%", Some(&part)), Answer::Failed("it says '40%' without 'UP'".into()));
        assert_eq!(judged("UP", Some(&ready)), Answer::Failed("it says 'UP' instead of 'READY'".into()));
        assert_eq!(judged("\r\n", Some(&ready)), Answer::Failed("it says nothing instead of 'READY'".into()));
        assert_eq!(judged("READY", Some(&ready)), Answer::Passed);
    }

    #[test]
    fn no_text_can_make_a_long_reason_or_one_of_two_lines() {
        let long = format!("DOWN: {}", "x\u{7}".repeat(999));
        let Answer::Said(Said::Down, Some(reason)) = judged(&long, None) else { panic!("it is down") };
        assert!(reason.len() < 500 && reason.ends_with("...") && !reason.contains('\u{7}'), "{reason}");
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_panics(
            said in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,9}", part: bool, whole: bool
        ) {
            let expect = if part { Expect::Part(text) } else { Expect::Whole(text) };
            let heard = if whole { Heard::Whole(&said) } else { Heard::Part(&said, 4) };
            let reason = heard.judge(Some(&expect), None).reason().into_owned();
            prop_assert!(!reason.chars().any(char::is_control), "{}", reason);
        }
    }
}
