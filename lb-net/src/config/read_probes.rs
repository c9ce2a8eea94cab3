//! Probes of a pool, and their checks.

use super::{
    Initial, Probes, keys,
    reader::Section,
    value::{self, At, Wrong},
};
use crate::probe::{Header, MonitorSpec, MonitorSpecError, escape};

/// The same words as those of `-m`, and the same rules.
pub(super) fn probes(own: &Section<'_, '_>) -> Option<Probes> {
    own.require("checks", "checks = [{ connect = true }], or http or command");
    let list = own.get("checks", |value| value::list(value, "checks, such as [{ connect = true }]"));
    let mut words = Vec::new();
    for value in list.into_iter().flatten() {
        match value::table(value, "{ connect = true }, { http = \"/path\" } or { command = \"...\" }") {
            Ok(table) => words.extend(check(&Section::new(own.reader, value.span(), table, keys::CHECK))),
            Err(wrong) => own.reader.wrong(Some("checks"), wrong),
        }
    }
    if list.is_some_and(|list| list.is_empty()) {
        own.wrong("'checks' is empty: add { connect = true }, { http = \"/path\" } or { command = \"...\" }");
    }
    let word = |value: At<'_, '_>, word: String| probe_word(value, "connect:", word);
    words.extend(
        own.get("interval", |value| word(value, format!("interval={}", value::time(value)?.get().as_secs_f64()))),
    );
    words.extend(own.get("jitter", |value| word(value, format!("jitter={}", value::fraction(value)?))));
    for key in ["rise", "fall"] {
        words.extend(
            own.get(key, |value| {
                value::number::<u32>(value, 1, u32::MAX.into()).map(|number| format!("{key}={number}"))
            }),
        );
    }
    for (key, off) in [("enables", "noenable"), ("disables", "nodisable")] {
        words.extend(own.get(key, value::flag).filter(|on| !on).map(|_| off.to_owned()));
    }
    let initial = match own.get("initial", |value| value::choice(value, &["unknown", "up"])) {
        Some("up") => Initial::Up,
        _ => Initial::Unknown,
    };
    // Each word is good, and what is missing has been told.
    words.join(":").parse::<MonitorSpec>().ok().map(|spec| Probes::new(spec, initial))
}

/// The words of one check.
fn check(own: &Section<'_, '_>) -> Option<String> {
    let http = own.get("http", |value| {
        probe_word(value, "", format!("http={}", escape(value::text(value, "a path, such as \"/up\",")?)))
    });
    let command = own
        .get("command", |value| probe_word(value, "", format!("command={}", escape(value::text(value, "a command")?))));
    let connect = own.get("connect", value::flag);
    let is_refused = connect == Some(false);
    let connect = connect.filter(|on| *on).map(|_| "connect".to_owned());
    let present = ["connect", "http", "command"].into_iter().filter(|key| own.raw(key).is_some()).count();
    let kinds = "one of connect = true, http = \"/path\" and command = \"...\"";
    match present {
        0 => own.wrong(format!("this check checks nothing: add {kinds}")),
        1 if is_refused => own.wrong("connect = false checks nothing: leave the check out"),
        1 => {}
        _ => own.wrong(format!("this is several checks: give each its own {{ }}, with {kinds}")),
    }
    let main = http.or(command).or(connect)?;
    let options = options(own, &format!("{main}:"));
    Some([vec![main], options].concat().join(":"))
}

/// The words behind a check.
fn options(own: &Section<'_, '_>, before: &str) -> Vec<String> {
    let text = |key, word, what: &str| {
        own.get(key, |value| probe_word(value, before, format!("{word}={}", escape(value::text(value, what)?))))
    };
    let mut words = Vec::new();
    words.extend(own.get("timeout", |value| {
        probe_word(value, before, format!("timeout={}", value::time(value)?.get().as_secs_f64()))
    }));
    words.extend(text("send", "send", "text"));
    words.extend(text("host", "host", "a host, such as \"www.example\","));
    words.extend(own.get("headers", |value| value::each(value, |value| header(value, before))).into_iter().flatten());
    words.extend(text("expect", "expect", "text"));
    if own.raw("expect").is_some() {
        let another = |value| Err::<(), _>(Wrong::at(value, "there is 'expect' already: leave one of the two out"));
        own.get("expect_contains", another);
    } else {
        words.extend(text("expect_contains", "contains", "text"));
    }
    words.extend(text("status", "status", "statuses, such as \"200\" or \"200,300-399\","));
    words.extend(own.get("pass", |value| {
        let codes = value::each(value, |value| value::number::<u8>(value, 0, 255))?;
        if codes.is_empty() {
            return Err(Wrong::at(value, "expected one exit status at least, from 0 to 255"));
        }
        let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
        probe_word(value, before, format!("pass={}", codes.join(",")))
    }));
    words
}

fn header(value: At<'_, '_>, before: &str) -> Result<String, Wrong> {
    let header: Header = value::parsed(value, "headers, such as \"X-Probe: lb\",")?;
    probe_word(value, before, format!("header={}", escape(&header.to_string())))
}

/// A word of `-m`, if it is good behind these.
fn probe_word(value: At<'_, '_>, before: &str, word: String) -> Result<String, Wrong> {
    match format!("{before}{word}").parse::<MonitorSpec>() {
        Ok(_) => Ok(word),
        Err(MonitorSpecError::Value(_, expected)) => Err(Wrong::at(value, format!("expected {expected}"))),
        Err(MonitorSpecError::Missing(..)) => Err(Wrong::at(value, "expected more than nothing")),
        Err(MonitorSpecError::Misplaced(_, behind)) => {
            let key = |check: &str| format!("'{}'", check.split('=').next().unwrap_or_default());
            let keys: Vec<String> = behind.split(" or ").map(key).collect();
            Err(Wrong::at(value, format!("it belongs to a check with {}", keys.join(" or "))))
        }
        Err(error) => Err(Wrong::at(value, error.to_string())),
    }
}
