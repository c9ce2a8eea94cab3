//! What is wrong with a file: where, what was expected, and the line itself.

use std::{fmt, ops::Range};

/// Whether a file can be used all the same.
/// ```
/// use lb_net::config::Severity;
/// assert!(Severity::Error < Severity::Warning);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and does hardly what was meant.
    Warning,
}

/// One thing that is wrong in a text.
/// ```
/// let problems = lb_net::config::parse("[log]\nformat = 'xml'").unwrap_err();
/// let problem = &problems.all()[0];
/// assert_eq!((problem.line, problem.column, problem.word.as_str()), (2, 10, "'xml'"));
/// assert_eq!(problem.message, "format: expected \"human\" or \"json\", not \"xml\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Whether it can be used all the same.
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What it is about, as it was written; of several lines the first.
    pub word: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The line, or the part of it around the word.
    excerpt: String,
    /// Where in the excerpt the word begins, and how many characters it has.
    caret: (usize, usize),
}

/// All that is wrong with a text, in order, at most 20 of it.
/// ```
/// let problems = lb_net::config::parse("a = 1\nb = 2").unwrap_err();
/// assert_eq!(problems.all().len(), 2);
/// assert!(problems.to_string().starts_with("1:1: unknown key 'a'"));
/// assert!(problems.in_file("lb.toml").starts_with("lb.toml:1:1: unknown key 'a'"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    all: Vec<Problem>,
    left_out: usize,
}

/// More are not read anyway.
const MOST: usize = 20;

/// What is wrong with a part of a text, before the line is looked for: there may be as many as there are backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) severity: Severity,
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

/// Characters of a long line on either side of a word.
const AROUND: usize = 60;

impl Problem {
    /// About this part of a text.
    pub(super) fn new(severity: Severity, text: &str, span: Range<usize>, message: String) -> Self {
        let start = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[begin..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let end = (start..=span.end.clamp(start, text.len())).rev().find(|at| text.is_char_boundary(*at));
        let word = text[start..end.unwrap_or(start)].split(['\r', '\n']).next().unwrap_or_default();
        let (before, width) = (text[begin..start].chars().count(), word.chars().count().max(1));
        let (excerpt, caret) = excerpt(line, before, width);
        let number = text[..begin].matches('\n').count() + 1;
        Self { severity, line: number, column: before + 1, word: word.to_owned(), message, excerpt, caret }
    }

    /// With the file's name before it.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        format!("{file}:{self}")
    }
}

/// A line, or what is around the word in a long one; characters that a terminal would obey are shown as another one.
fn excerpt(line: &str, before: usize, width: usize) -> (String, (usize, usize)) {
    let letters: Vec<char> =
        line.chars().map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter }).collect();
    let (from, to) = (before.saturating_sub(AROUND).min(letters.len()), (before + AROUND).min(letters.len()));
    let (from, to) = if letters.len() <= 2 * AROUND { (0, letters.len()) } else { (from, to) };
    let [left, right] = [from > 0, to < letters.len()].map(|cut| if cut { "..." } else { "" });
    let shown: String = letters[from..to].iter().collect();
    (format!("{left}{shown}{right}"), (before - from + left.len(), width.min((to - from.max(before).min(to)).max(1))))
}

/// `line:column: message`, the line, and a caret under the word.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.severity == Severity::Warning { "warning: " } else { "" };
        let message: String =
            self.message.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
        let margin = self.line.to_string().len().max(3);
        // A tab is as wide below as it is above.
        let blank = |letter| if letter == '\t' { '\t' } else { ' ' };
        let below: String = self.excerpt.chars().map(blank).chain(std::iter::repeat(' ')).take(self.caret.0).collect();
        writeln!(f, "{}:{}: {kind}{message}", self.line, self.column)?;
        writeln!(f, "{:margin$} | {}", self.line, self.excerpt)?;
        write!(f, "{:margin$} | {below}{}", "", "^".repeat(self.caret.1))
    }
}

impl Problems {
    /// The first of what was told of a text.
    pub(super) fn new(text: &str, mut told: Vec<Told>) -> Self {
        told.sort_by_key(|told| told.span.start);
        told.dedup();
        let left_out = told.len().saturating_sub(MOST);
        let problem = |told: Told| Problem::new(told.severity, text, told.span, told.message);
        Self { all: told.into_iter().take(MOST).map(problem).collect(), left_out }
    }

    /// Each of them.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.all
    }

    /// With the file's name before each.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        self.text(|problem| problem.in_file(file))
    }

    /// How many there are, those that are left out too.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len() + self.left_out
    }

    fn text(&self, one: impl Fn(&Problem) -> String) -> String {
        let more = (self.left_out > 0).then(|| format!("and {} more", self.left_out));
        self.all.iter().map(one).chain(more).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(ToString::to_string))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, word: &str) -> String {
        let at = text.find(word).unwrap();
        Problem::new(Severity::Error, text, at..at + word.len(), "what".to_owned()).to_string()
    }

    #[test]
    fn the_caret_is_under_the_word() {
        assert_eq!(shown("a = 1\n\tb\t= two # é\r\n", "two"), "2:6: what\n  2 | \tb\t= two # é\n    | \t \t  ^^^");
        assert_eq!(shown("é = ü", "ü"), "1:5: what\n  1 | é = ü\n    |     ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_word_is_shown() {
        let text = format!("{} wrong {}", "x".repeat(500), "y".repeat(500));
        let shown = shown(&text, "wrong");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("1:502: ") && lines.iter().all(|line| line.len() < 140), "{shown}");
        assert_eq!(lines[1].find("wrong"), lines[2].find("^^^^^"));
    }

    proptest! {
        #[test]
        fn no_span_panics(text in ".{0,300}\n?.{0,300}", from in 0_usize..700, width in 0_usize..700) {
            let _ = Problem::new(Severity::Warning, &text, from..from + width, String::new()).to_string();
        }
    }
}
