//! The tables of two written models side by side, and their values as people read them.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::quoted;

/// A table.
pub(super) type Values<'a> = BTreeMap<&'a str, &'a DeValue<'a>>;

/// One key whose value is another one.
pub(super) struct Setting {
    /// The key; of a table within a table that of the outer one.
    pub(super) key: String,
    /// `idle_timeout never -> 5m`
    pub(super) text: String,
}

pub(super) fn values<'a>(table: &'a DeTable<'a>) -> Values<'a> {
    table.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref())).collect()
}

/// The keys of what is a table; none of anything else.
pub(super) fn table<'a>(value: Option<&'a DeValue<'a>>) -> Values<'a> {
    match value {
        Some(DeValue::Table(table)) => values(table),
        _ => Values::new(),
    }
}

/// The values of what is a list; none of anything else.
pub(super) fn list<'a>(value: Option<&'a DeValue<'a>>) -> impl Iterator<Item = &'a DeValue<'a>> {
    let list = match value {
        Some(DeValue::Array(list)) => &list[..],
        _ => &[],
    };
    list.iter().map(|value| value.get_ref())
}

/// The keys of both, in order, with what each says.
pub(super) fn both<K: Ord, V>(
    old: impl IntoIterator<Item = (K, V)>,
    new: impl IntoIterator<Item = (K, V)>,
) -> BTreeMap<K, [Option<V>; 2]> {
    let mut both: BTreeMap<K, [Option<V>; 2]> =
        old.into_iter().map(|(key, value)| (key, [Some(value), None])).collect();
    for (key, value) in new {
        both.entry(key).or_insert([None, None])[1] = Some(value);
    }
    both
}

/// All keys whose values are others.
pub(super) fn settings(old: &Values<'_>, new: &Values<'_>) -> Vec<Setting> {
    let mut all = Vec::new();
    for (key, [old, new]) in both(old.iter(), new.iter()) {
        let mut lines = Vec::new();
        compare(&mut lines, key, key, [old, new].map(|value| value.copied()));
        all.extend(lines.into_iter().map(|text| Setting { key: (*key).to_owned(), text }));
    }
    all
}

fn compare(lines: &mut Vec<String>, path: &str, key: &str, sides: [Option<&DeValue<'_>>; 2]) {
    match sides {
        [Some(DeValue::Table(old)), Some(DeValue::Table(new))] => {
            for (key, sides) in both(values(old), values(new)) {
                compare(lines, &format!("{path}.{key}"), key, sides);
            }
        }
        [None, Some(DeValue::Table(new))] => lines.push(format!("+ {path}: {}", assignments(&values(new)))),
        [Some(DeValue::Table(_)), None] => lines.push(format!("- {path}")),
        // It is a secret, and this goes to logs.
        [old, new] if key == "token" && old.map(written) != new.map(written) => {
            lines.push(format!("{path} is another one"));
        }
        [Some(old), Some(new)] if written(old) != written(new) && told(key, old) == told(key, new) => {
            lines.push(format!("{path} {}: what is not shown is another", told(key, new)));
        }
        [old, new] if old.map(written) != new.map(written) => {
            lines.extend(changed(path, key, [old, new].map(|value| value.map(|value| told(key, value)))));
        }
        _ => {}
    }
}

/// `path old -> new`; nothing where one side only says what holds without it.
pub(super) fn changed(path: &str, key: &str, sides: [Option<String>; 2]) -> Option<String> {
    let is_new = sides.iter().all(Option::is_some) || !sides.iter().flatten().all(|said| said == without(key));
    let [old, new] = sides.map(|said| said.unwrap_or_else(|| without(key).to_owned()));
    is_new.then(|| format!("{path} {old} -> {new}"))
}

/// What holds where a key is not written.
fn without(key: &str) -> &'static str {
    match key {
        "limit" | "port" => "none",
        "spill" => "false",
        "status" => "enabled",
        "weight" => "1",
        _ => "unset",
    }
}

/// A value for a person: words without quotes, and what may be secret left out.
pub(super) fn text(value: &DeValue<'_>) -> String {
    let words =
        |value| list(value).map(|value| value.as_str().filter(|word| is_plain(word))).collect::<Option<Vec<_>>>();
    match value {
        DeValue::String(word) if is_plain(word) => word.to_string(),
        DeValue::Array(all) if all.is_empty() => "none".to_owned(),
        DeValue::Array(_) => words(Some(value)).map_or_else(|| shown(value), |words| words.join(", ")),
        _ => shown(value),
    }
}

/// Whether a word is itself on a terminal, and no list.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(|letter: char| letter.is_control() || "\"',".contains(letter))
}

/// A value as TOML: two that differ are written differently.
fn written(value: &DeValue<'_>) -> String {
    form(value, &|_, value| written(value))
}

/// The same for a person.
fn shown(value: &DeValue<'_>) -> String {
    form(value, &shown_of)
}

fn shown_of(key: &str, value: &DeValue<'_>) -> String {
    match key {
        "headers" | "request_headers" | "answer_headers" => {
            let names: Vec<String> = headers(value).map(|name| quoted(&name)).collect();
            format!("[{}]", names.join(", "))
        }
        "send" => quoted(HIDDEN),
        _ => shown(value),
    }
}

/// The value of a key for a person.
fn told(key: &str, value: &DeValue<'_>) -> String {
    match (key, value) {
        ("request_headers" | "answer_headers", DeValue::Array(all)) if !all.is_empty() => {
            headers(value).collect::<Vec<_>>().join(", ")
        }
        _ => text(value),
    }
}

/// In place of what may be a secret: this goes to logs.
const HIDDEN: &str = "***";

/// Fields, or changes of fields, by their names.
fn headers<'a>(value: &'a DeValue<'a>) -> impl Iterator<Item = String> {
    list(Some(value)).map(|value| match value.as_str().unwrap_or_default().split_once(':') {
        Some((name, _)) => format!("{name}: {HIDDEN}"),
        None => value.as_str().unwrap_or_default().to_owned(),
    })
}

/// A value as TOML, and what is in its tables as this says.
fn form(value: &DeValue<'_>, inner: &dyn Fn(&str, &DeValue<'_>) -> String) -> String {
    match value {
        DeValue::String(word) => quoted(word),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => {
            let all: Vec<String> = list(Some(value)).map(|value| form(value, inner)).collect();
            format!("[{}]", all.join(", "))
        }
        DeValue::Table(table) => format!("{{ {} }}", pairs(&values(table), inner)),
    }
}

fn pairs(values: &Values<'_>, inner: &dyn Fn(&str, &DeValue<'_>) -> String) -> String {
    let all: Vec<String> = values.iter().map(|(key, value)| format!("{key} = {}", inner(key, value))).collect();
    all.join(", ")
}

/// `key = value, ...` for a person.
pub(super) fn assignments(values: &Values<'_>) -> String {
    pairs(values, &shown_of)
}
