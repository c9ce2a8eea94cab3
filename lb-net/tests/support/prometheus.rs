//! Prometheus' text format 0.0.4, read as strictly as it is described.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::collections::{BTreeMap, BTreeSet};

/// A series: its name and its labels in order.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// All values of a text. It panics at whatever the format does not allow, at a series that is there twice, at a family
/// in pieces, and at names that do not follow the conventions.
pub(crate) fn read(text: &str) -> BTreeMap<Series, f64> {
    assert!(text.ends_with('\n'), "the last line ends too");
    let (mut values, mut ended) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect(line);
            assert!(ended.insert(name.to_owned()), "{name} comes in one piece");
            assert!(words.ends_with('.') && !words.contains('\\'), "{line}");
            let typed = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect(line);
            let (of, is) = typed.split_once(' ').expect(typed);
            assert_eq!(of, name);
            assert!(["counter", "gauge", "histogram"].contains(&is), "{typed}");
            assert_eq!(is == "counter", name.ends_with("_total"), "{name} is a {is}");
            (family, kind) = (name.to_owned(), is.to_owned());
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "{line}");
        let (series, value) = sample(line);
        let part = series.0.strip_prefix(&family).unwrap_or_else(|| panic!("it belongs to its family: {line}"));
        match kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&part), "{line}"),
            _ => assert_eq!(part, "", "it belongs to its family: {line}"),
        }
        assert_eq!(part == "_bucket", series.1.contains_key("le"), "{line}");
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        assert!(values.insert(series, value).is_none(), "it is there twice: {line}");
    }
    whole_histograms(&values);
    values
}

/// The buckets of each histogram grow with their bounds up to +Inf, which has all.
fn whole_histograms(values: &BTreeMap<Series, f64>) {
    let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in values {
        let (Some(name), mut labels) = (name.strip_suffix("_bucket"), labels.clone()) else { continue };
        let bound = labels.remove("le").unwrap();
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
        buckets.entry((format!("{name}_count"), labels)).or_default().push((bound, *value));
    }
    for (series, mut buckets) in buckets {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1), "{series:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, values[&series])), "{series:?}");
        assert!(values.contains_key(&(series.0.replace("_count", "_sum"), series.1.clone())), "{series:?}");
    }
}

fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect(line);
            assert!(is_name(label) && !label.starts_with("__"), "{line}");
            let (value, after) = unescaped(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',').expect(line);
        }
    }
    let value = rest.strip_prefix(' ').expect(line);
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect(line) };
    ((name.to_owned(), labels), value)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A label's value up to its quote, and what follows.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match letters.next().map(|(_, letter)| letter) {
                Some('n') => '\n',
                Some(letter @ ('\\' | '"')) => letter,
                other => panic!("nothing else is escaped: {other:?}"),
            }),
            letter => value.push(letter),
        }
    }
    panic!("a value without an end: {text}")
}
