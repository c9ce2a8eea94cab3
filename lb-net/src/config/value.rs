//! One value of a file to one of the model, or what was expected in its place.

use std::{fmt::Display, ops::Range, str::FromStr};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{Size, Time};
use crate::{proxy_protocol::Networks, spelling::nearest};

/// A value and where it stands.
pub(super) type At<'a, 't> = &'a Spanned<DeValue<'t>>;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    /// The part of it that is wrong.
    pub(super) span: Range<usize>,
    /// A word within that part.
    pub(super) word: Option<String>,
}

impl Wrong {
    pub(super) fn at(value: At<'_, '_>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: value.span(), word: None }
    }

    pub(super) fn with_word(self, word: impl Into<String>) -> Self {
        Self { word: Some(word.into()), ..self }
    }
}

fn expected(what: impl Display, value: At<'_, '_>) -> Wrong {
    Wrong::at(value, format!("expected {what}, not {}", describe(value)))
}

/// A value in a few words.
fn describe(value: At<'_, '_>) -> String {
    match value.get_ref() {
        DeValue::String(text) if text.chars().count() <= 40 => format!("\"{text}\""),
        DeValue::String(_) => "this text".to_owned(),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

pub(super) fn text<'a>(value: At<'a, '_>, what: &str) -> Result<&'a str, Wrong> {
    value.get_ref().as_str().ok_or_else(|| expected(format_args!("{what} in quotes"), value))
}

pub(super) fn table<'a, 't>(value: At<'a, 't>, what: &str) -> Result<&'a DeTable<'t>, Wrong> {
    match value.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => Err(expected(format_args!("a table: {what}"), value)),
    }
}

pub(super) fn list<'a, 't>(value: At<'a, 't>, what: &str) -> Result<&'a DeArray<'t>, Wrong> {
    match value.get_ref() {
        DeValue::Array(list) => Ok(list),
        _ => Err(expected(format_args!("a list of {what}"), value)),
    }
}

pub(super) fn flag(value: At<'_, '_>) -> Result<bool, Wrong> {
    match value.get_ref() {
        DeValue::Boolean(flag) => Ok(*flag),
        _ => Err(expected("true or false", value)),
    }
}

/// A whole number in this range.
pub(super) fn number<N: TryFrom<u64>>(value: At<'_, '_>, least: u64, most: u64) -> Result<N, Wrong> {
    let read = whole(value).filter(|number| (least..=most).contains(number));
    read.and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| expected(format_args!("a number from {least} to {most}"), value))
}

/// The same; `None` for the word that stands for none.
pub(super) fn number_or<N: TryFrom<u64>>(
    value: At<'_, '_>,
    least: u64,
    most: u64,
    none: &str,
) -> Result<Option<N>, Wrong> {
    match value.get_ref().as_str() {
        Some(word) if word == none => Ok(None),
        Some(_) => Err(Wrong::at(value, format!("expected a number from {least} to {most}, or \"{none}\""))),
        None => number(value, least, most).map(Some),
    }
}

fn whole(value: At<'_, '_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// As it was written, for a parser of fractions.
pub(super) fn fraction<'a>(value: At<'a, '_>) -> Result<&'a str, Wrong> {
    match value.get_ref() {
        DeValue::Float(number) => Ok(number.as_str()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str()),
        _ => Err(expected("a fraction from 0 to 1, such as 0.1", value)),
    }
}

/// The text of a number, for what may be either.
pub(super) fn text_or_number(value: At<'_, '_>, what: &str) -> Result<String, Wrong> {
    match whole(value) {
        Some(number) => Ok(number.to_string()),
        None => text(value, what).map(str::to_owned),
    }
}

/// A time; `None` for the word that stands for none.
pub(super) fn time_or(value: At<'_, '_>, none: &str) -> Result<Option<Time>, Wrong> {
    if value.get_ref().as_str() == Some(none) {
        return Ok(None);
    }
    time(value).map(Some).map_err(|wrong| Wrong { message: format!("{}, or \"{none}\"", wrong.message), ..wrong })
}

pub(super) fn time(value: At<'_, '_>) -> Result<Time, Wrong> {
    if let Some(number) = whole(value) {
        let example = if number == 0 { 30 } else { number };
        return Err(Wrong::at(
            value,
            format!("expected a time with its unit, such as \"{example}s\", not {}", describe(value)),
        ));
    }
    let text = text(value, "a time with its unit, such as \"30s\" or \"250ms\",")?;
    text.parse().map_err(|error: super::TimeError| Wrong::at(value, error.to_string()))
}

/// A size; `None` for the word that stands for none.
pub(super) fn size_or(value: At<'_, '_>, none: &str) -> Result<Option<Size>, Wrong> {
    if value.get_ref().as_str() == Some(none) {
        return Ok(None);
    }
    size(value).map(Some).map_err(|wrong| Wrong { message: format!("{}, or \"{none}\"", wrong.message), ..wrong })
}

pub(super) fn size(value: At<'_, '_>) -> Result<Size, Wrong> {
    let example = whole(value).filter(|number| *number > 0).and_then(Size::new);
    let example = example.map_or_else(|| "64KiB".to_owned(), |size| size.to_string());
    if whole(value).is_some() {
        return Err(expected(format_args!("a size with its unit, such as \"{example}\""), value));
    }
    let text = text(value, "a size with its unit, such as \"64KiB\" or \"10MiB\",")?;
    text.parse().map_err(|error: super::SizeError| Wrong::at(value, error.to_string()))
}

/// A value with a parser of its own, whose error says what was expected.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: At<'_, '_>, what: &str) -> Result<T, Wrong> {
    text(value, what)?.parse().map_err(|error: T::Err| Wrong::at(value, error.to_string()))
}

/// One of these words.
pub(super) fn choice<'k>(value: At<'_, '_>, words: &[&'k str]) -> Result<&'k str, Wrong> {
    let given = value.get_ref().as_str();
    if let Some(known) = words.iter().find(|word| given == Some(**word)) {
        return Ok(known);
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let all = match &quoted[..] {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => quoted.concat(),
    };
    let lower = given.map(str::to_lowercase).unwrap_or_default();
    let part = |word: &&&str| lower.len() > 3 && (word.contains(&lower) || lower.contains(**word));
    let near = nearest(&lower, words.iter().copied()).or_else(|| words.iter().find(part).copied());
    let near = near.map(|word| format!(": did you mean \"{word}\"?")).unwrap_or_default();
    let wrong = expected(all, value);
    Err(Wrong { message: wrong.message + &near, ..wrong })
}

/// A list, or the one thing that it would hold.
pub(super) fn each<'a, 't, T>(
    value: At<'a, 't>,
    mut read: impl FnMut(At<'a, 't>) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    match value.get_ref() {
        DeValue::Array(list) => list.iter().map(read).collect(),
        _ => Ok(vec![read(value)?]),
    }
}

/// Networks, of which "off" is none.
pub(super) fn networks(value: At<'_, '_>) -> Result<Networks, Wrong> {
    if value.get_ref().as_str() == Some("off") {
        return Ok(Networks::default());
    }
    let texts = each(value, |value| {
        let network = text(value, "a network, such as \"10.0.0.0/8\",")?;
        network.parse::<Networks>().map(|_| network).map_err(|error| Wrong::at(value, error.to_string()))
    })?;
    if texts.is_empty() {
        return Ok(Networks::default());
    }
    texts.join(",").parse().map_err(|error: crate::proxy_protocol::NetworksError| Wrong::at(value, error.to_string()))
}
