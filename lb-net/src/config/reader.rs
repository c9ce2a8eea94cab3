//! What reads a file keeps in hand: the text, the section it is in, and what was wrong so far.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Problems, Severity, Warning,
    keys::Key,
    meant::{self, advice},
    problem::Told,
    value::{self, At, Wrong},
};
use crate::spelling::nearest;

/// The text, and what is wrong with it so far.
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    told: RefCell<Vec<Told>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, told: RefCell::default() }
    }

    /// All that has been told, whatever it is.
    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.text, self.told.into_inner())
    }

    pub(super) fn tell(&self, severity: Severity, span: Range<usize>, message: String) {
        self.told.borrow_mut().push(Told { severity, span, message });
    }

    pub(super) fn wrong(&self, name: Option<&str>, wrong: Wrong) {
        let message = name.map_or(wrong.message.clone(), |name| format!("{name}: {}", wrong.message));
        self.tell(Severity::Error, self.narrow(wrong.span, wrong.word.as_deref()), message);
    }

    pub(super) fn warn(&self, root: &DeTable<'_>, warnings: Vec<Warning>) {
        for warning in warnings {
            let (span, word) = (locate(root, &warning.path), warning.word.as_deref());
            self.tell(Severity::Warning, self.narrow(span, word), warning.message);
        }
    }

    /// Tells of a word that can be a backend and was hardly meant to be this one.
    pub(super) fn doubt(&self, value: At<'_, '_>, word: &str) {
        if let Some(why) = meant::strange_backend(word) {
            self.tell(Severity::Warning, self.narrow(value.span(), Some(word)), why);
        }
    }

    /// Where a word stands within a part of the text; all of it, where it is not found as it was written.
    fn narrow(&self, span: Range<usize>, word: Option<&str>) -> Range<usize> {
        let part = self.text.get(span.clone()).unwrap_or_default();
        let ends =
            |at: usize| part[at..].chars().next().is_none_or(|letter| letter.is_whitespace() || "\"'".contains(letter));
        let found = word.filter(|word| !word.is_empty()).and_then(|word| {
            let mut all = part.match_indices(word).map(|(at, _)| at);
            let begins = |at: usize| {
                part[..at].chars().next_back().is_none_or(|letter| letter.is_whitespace() || "\"'".contains(letter))
            };
            all.find(|at| begins(*at) && ends(at + word.len())).map(|at| span.start + at..span.start + at + word.len())
        });
        found.unwrap_or(span)
    }

    pub(super) fn checked(&self) -> Result<(), Problems> {
        let told = self.told.borrow();
        let errors: Vec<Told> = told.iter().filter(|told| told.severity == Severity::Error).cloned().collect();
        if errors.is_empty() { Ok(()) } else { Err(Problems::new(self.text, errors)) }
    }
}

/// A table whose keys are known.
pub(super) struct Section<'a, 't> {
    pub(super) reader: &'a Reader<'t>,
    table: &'a DeTable<'t>,
    /// Where it stands.
    pub(super) span: Range<usize>,
}

impl<'a, 't> Section<'a, 't> {
    /// Tells of keys that are none.
    pub(super) fn new(reader: &'a Reader<'t>, span: Range<usize>, table: &'a DeTable<'t>, known: &[Key]) -> Self {
        for (key, _) in table.iter().filter(|(key, _)| known.iter().all(|known| known.name != key.get_ref().as_ref())) {
            reader.tell(
                Severity::Error,
                key.span(),
                format!("unknown key '{}': {}", key.get_ref(), advice(key.get_ref(), known)),
            );
        }
        Self { reader, table, span }
    }

    /// A value, if the key is there.
    pub(super) fn raw(&self, name: &str) -> Option<At<'a, 't>> {
        self.table.get(name)
    }

    /// What is behind a key, if it is there and good; what is wrong with it is told.
    pub(super) fn get<T>(&self, name: &str, read: impl FnOnce(At<'a, 't>) -> Result<T, Wrong>) -> Option<T> {
        let value = self.raw(name)?;
        read(value).map_err(|wrong| self.reader.wrong(Some(name), wrong)).ok()
    }

    /// The table behind a key.
    pub(super) fn section(&self, name: &str, known: &[Key], what: &str) -> Option<Self> {
        let table = self.get(name, |value| value::table(value, what))?;
        let span = self.table.get_key_value(name).map_or(self.span.clone(), |(key, _)| key.span());
        Some(Self::new(self.reader, span, table, known))
    }

    /// The tables behind a key, by their names.
    pub(super) fn named(&self, name: &str, known: &[Key]) -> Vec<(&'a Spanned<std::borrow::Cow<'t, str>>, Self)> {
        let what = format!("[{name}.NAME]");
        let Some(all) = self.get(name, |value| value::table(value, &what)) else { return Vec::new() };
        let section = |(key, value): (&'a Spanned<_>, At<'a, 't>)| match value::table(value, &what) {
            Ok(table) => Some((key, Self::new(self.reader, key.span(), table, known))),
            Err(wrong) => {
                self.reader.wrong(None, wrong);
                None
            }
        };
        let mut all: Vec<_> = all.iter().collect();
        // As they stand in the file: of two that do not fit it is the later one that is wrong.
        all.sort_by_key(|(key, _)| key.span().start);
        all.into_iter().filter_map(section).collect()
    }

    /// Tells that a key is missing, unless one is there that was meant to be it.
    pub(super) fn require(&self, name: &str, example: &str) {
        if !self.has_like(name) {
            self.wrong(format!("'{name}' is missing: add {example}"));
        }
    }

    /// Whether a key is there, or one that was meant to be it.
    pub(super) fn has_like(&self, name: &str) -> bool {
        self.table.keys().any(|key| nearest(key.get_ref(), [name]).is_some())
    }

    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.reader.tell(Severity::Error, self.span.clone(), message.into());
    }
}

/// What is not there leaves what was inherited.
pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Where the end of a path stands, or else what of it there is.
pub(super) fn locate(root: &DeTable<'_>, path: &[String]) -> Range<usize> {
    let (mut span, mut table, mut list) = (0..0, Some(root), None);
    for (at, step) in path.iter().enumerate() {
        let found = match (table, list) {
            (Some(table), _) => table.get_key_value(step.as_str()).map(|(key, value)| (key.span(), value)),
            (None, Some(list)) => {
                let list: &toml::de::DeArray<'_> = list;
                step.parse().ok().and_then(|index: usize| list.get(index)).map(|value| (value.span(), value))
            }
            (None, None) => None,
        };
        let Some((key, value)) = found else { break };
        let is_last = at + 1 == path.len();
        (table, list) = (None, None);
        match value.get_ref() {
            DeValue::Table(inner) => (span, table) = (key, Some(inner)),
            DeValue::Array(inner) => (span, list) = (if is_last { value.span() } else { key }, Some(inner)),
            _ => span = value.span(),
        }
    }
    span
}
