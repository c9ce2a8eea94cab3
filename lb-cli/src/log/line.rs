//! An event as a line: for people, or one JSON object.

use std::time::SystemTime;

use clap::ValueEnum;
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;

use super::{Entry, Level};

/// How an event becomes a line: for people, or one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

/// What a pipe takes at once (PIPE_BUF), so that lines of two writers do not mix; longer ones are cut.
const LONGEST: usize = 4096;

/// What is left of it beside a priority, our name, a line end, and a line before it that says how many were lost.
const ROOM: usize = LONGEST - 512;

/// What a line has besides its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `lb: `, for whoever reads it now.
    Plain,
    /// The time before it.
    Timed,
    /// Whoever gets it adds the time and our name (journal, syslog).
    Bare,
}

/// Without a line end.
pub(super) fn line(format: Format, style: Style, entry: &Entry, time: SystemTime) -> String {
    let time = humantime::format_rfc3339_millis(time);
    match (format, style) {
        (Format::Json, _) => json(entry, &time.to_string()),
        (Format::Human, Style::Plain) => cut(format!("lb: {}", escaped(&entry.message)), ROOM),
        (Format::Human, Style::Timed) => cut(format!("{time} lb: {}", escaped(&entry.message)), ROOM),
        (Format::Human, Style::Bare) => cut(escaped(&entry.message), ROOM),
    }
}

/// With what was typed, or said by others, as something that is seen: it may hold line ends and a terminal's commands.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { safe.extend(letter.escape_default()) } else { safe.push(letter) }
    }
    safe
}

/// At most so many bytes of it.
fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

/// An object that is cut is none: its texts are, until it fits.
fn json(entry: &Entry, time: &str) -> String {
    let objects = [1024, 256, 32].map(|longest| move || object(entry, time, longest));
    let fitting = objects.iter().map(|object| object()).find(|object| object.len() <= ROOM);
    fitting.unwrap_or_else(|| format!("{{\"time\":\"{time}\",\"event\":\"{}\"}}", entry.event))
}

fn object(entry: &Entry, time: &str, longest: usize) -> String {
    let short = |value: &Value| match value {
        Value::String(text) => Value::String(cut(text.clone(), longest)),
        other => other.clone(),
    };
    let mut object = Vec::new();
    let mut write = || -> serde_json::Result<()> {
        let mut writer = serde_json::Serializer::new(&mut object);
        let mut object = writer.serialize_map(None)?;
        object.serialize_entry("time", time)?;
        object.serialize_entry("level", name(entry.level))?;
        object.serialize_entry("event", entry.event)?;
        entry.fields.iter().try_for_each(|(name, value)| object.serialize_entry(name, &short(value)))?;
        object.serialize_entry("message", &cut(entry.message.clone(), longest))?;
        object.end()
    };
    // Into memory, and of values that JSON has: it does not fail.
    let _ = write();
    // JSON escapes the other control characters, but not these: DEL, and those of ISO 6429 that a terminal obeys.
    let text = String::from_utf8_lossy(&object);
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { safe.push_str(&format!("\\u{:04x}", u32::from(letter))) } else { safe.push(letter) }
    }
    safe
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Notice => "notice",
        Level::Debug => "debug",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(message: &str) -> Entry {
        Entry::new(Level::Warning, "backend-down", message).with("backend", "a\n").with("group", 1)
    }

    #[test]
    fn people_see_the_message_and_a_time_where_nobody_adds_one() {
        let line = |style| line(Format::Human, style, &entry("a\x1b[m down\n"), SystemTime::UNIX_EPOCH);
        assert_eq!(line(Style::Plain), r"lb: a\u{1b}[m down\n");
        assert_eq!(line(Style::Timed), r"1970-01-01T00:00:00.000Z lb: a\u{1b}[m down\n");
        assert_eq!(line(Style::Bare), r"a\u{1b}[m down\n");
    }

    #[test]
    fn machines_see_the_parts_in_order() {
        let line = line(Format::Json, Style::Plain, &entry("down"), SystemTime::UNIX_EPOCH);
        let parts = r#""level":"warning","event":"backend-down","backend":"a\n","group":1,"message":"down"}"#;
        assert_eq!(line, format!(r#"{{"time":"1970-01-01T00:00:00.000Z",{parts}"#));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_line_is_one_short_line_whatever_it_says(message in "(\\PC|\\x00|\n|\u{7f}|\u{1f600}){0,5000}") {
            for format in [Format::Human, Format::Json] {
                for style in [Style::Plain, Style::Timed, Style::Bare] {
                    let line = line(format, style, &entry(&message), SystemTime::now());
                    prop_assert!(!line.chars().any(char::is_control));
                    prop_assert!(line.len() <= ROOM);
                    prop_assert!(format == Format::Human || serde_json::from_str::<Value>(&line).is_ok());
                }
            }
        }
    }
}
