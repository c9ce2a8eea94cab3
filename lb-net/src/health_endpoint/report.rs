//! What all sources together say.

use std::fmt;

use lb_core::health::{Said, Share};

use super::{Colour, State};

/// Letters of the reason, and of each other line.
const MOST_LETTERS: usize = 400;

/// What an application says of itself at one moment: the word of the worst source, and who says so.
///
/// From good to bad: `UP`, `UP` with less and less of the share, `DRAIN`, `DOWN`, `MAINT`. The last is the worst because
/// it explains the rest: what is taken apart on purpose need not work. It prints as the answer does.
/// ```
/// use lb_core::health::{Said, Share};
/// use lb_net::health_endpoint::Health;
/// let half = Said::Up(Share::percent(50).unwrap());
/// let report = Health::new().with("cache", half).with("queue", Said::Drain).report();
/// assert_eq!((report.said, report.to_string()), (Said::Drain, "DRAIN: queue".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The worst word of all.
    pub said: Said,
    /// Who says so and why, in one line; none where all is well.
    pub reason: Option<String>,
    /// What else is not as it should be, in one line.
    pub note: Option<String>,
    /// The gauges and their colours, in the order in which they were added.
    pub colours: Vec<(String, Colour)>,
}

impl Report {
    /// Of all sources, by name.
    pub(super) fn of(states: &[(&str, State)]) -> Self {
        let up = Said::Up(Share::FULL);
        let said = states.iter().map(|(_, state)| state.said).max_by_key(badness).unwrap_or(up);
        let deciding = states.iter().filter(|(_, state)| state.said == said && said != up);
        let reasons = deciding.map(|(name, state)| told(name, state.reason.as_deref()));
        let notes = states.iter().filter_map(|(name, state)| Some(told(name, Some(state.note.as_deref()?))));
        let colours = states.iter().filter_map(|(name, state)| Some(((*name).to_owned(), state.colour?)));
        Self { said, reason: line(reasons), note: line(notes), colours: colours.collect() }
    }

    /// The worst colour, if there is a gauge.
    #[must_use]
    pub fn colour(&self) -> Option<Colour> {
        self.colours.iter().map(|(_, colour)| *colour).max()
    }

    /// Whether it takes work, all that comes or a share of it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.said, Said::Up(_))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{}: {reason}", self.said),
            None => write!(f, "{}", self.said),
        }
    }
}

fn badness(said: &Said) -> u8 {
    match said {
        Said::Up(share) => 100 - share.get().min(100),
        Said::Drain => 101,
        Said::Maintenance => 103,
        // A word that is yet to come: better no work than work that nobody wanted.
        _ => 102,
    }
}

fn told(name: &str, why: Option<&str>) -> String {
    why.map_or_else(|| name.to_owned(), |why| format!("{name}: {why}"))
}

/// All of them in one line that ends somewhere and can stand in a log: nobody's text makes a second line of an answer.
fn line(parts: impl Iterator<Item = String>) -> Option<String> {
    let joined = parts.collect::<Vec<_>>().join("; ");
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut text: String = joined.chars().take(MOST_LETTERS).map(plain).collect();
    if joined.chars().nth(MOST_LETTERS).is_some() {
        text.push_str("...");
    }
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn up(percent: u8) -> Said {
        Share::percent(percent).map_or(Said::Drain, Said::Up)
    }

    fn of(said: &[Said]) -> String {
        let names = ["a", "b", "c"];
        let states: Vec<_> = names.into_iter().zip(said.iter().map(|said| State::new(*said))).collect();
        Report::of(&states).to_string()
    }

    #[test]
    fn the_worst_decides_and_is_named() {
        let rows: [(&[Said], &str); 8] = [
            (&[], "UP"),
            (&[up(100), up(100)], "UP"),
            (&[up(100), up(7), up(99)], "UP 7%: b"),
            (&[up(1), Said::Drain], "DRAIN: b"),
            (&[Said::Drain, Said::Down, up(1)], "DOWN: b"),
            (&[Said::Down, Said::Drain], "DOWN: a"),
            (&[Said::Down, Said::Maintenance], "MAINT: b"),
            (&[Said::Down, up(100), Said::Down], "DOWN: a; c"),
        ];
        for (said, report) in rows {
            assert_eq!(of(said), report);
        }
    }

    #[test]
    fn what_is_noted_is_told_whatever_is_said() {
        let states = [("file", State::up().with_note("it is gone")), ("queue", State::new(Said::Down))];
        let report = Report::of(&states);
        assert_eq!((report.to_string().as_str(), report.note.as_deref()), ("DOWN: queue", Some("file: it is gone")));
    }

    proptest! {
        #[test]
        fn a_report_is_one_line_that_reads_back(name in "\\PC{0,9}|.{0,9}", why in "(.|\n|\r){0,500}", word in 0..4_u8) {
            let said = [up(100), up(40), Said::Drain, Said::Down][usize::from(word)];
            let text = Report::of(&[(&name, State::new(said).with_reason(why))]).to_string();
            prop_assert_eq!(text.parse(), Ok(said), "{}", text);
            prop_assert!(text.len() < 2000 && !text.contains(char::is_control), "{}", text);
        }
    }
}
