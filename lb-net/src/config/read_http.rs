//! `[services.NAME.http]` and `[defaults.http]`: how requests are balanced.

use std::time::Duration;

use super::{
    Http, Severity, Size, Time,
    http::{CLIENTS_HOST, HEADS, MOST_FIELDS, NO_PAGE, NO_VIA, is_host, is_path, is_pseudonym},
    keys::{self, Key},
    reader::{Section, set},
    value::{self, At, Wrong},
};
use crate::{
    causes::chain,
    http::{
        AccessFormat, AccessLogSettings, AccessTo, Edit, Forward, Keep, KeySource, Limits, Page, Queueing, Retry,
        Settings, Sticky, Times,
    },
};

/// Settings of one's own, and the others as inherited.
pub(super) fn http(section: &Section<'_, '_>, inherited: &Http) -> Http {
    let mut own = inherited.own().clone();
    times(section, &mut own.times);
    limits(section, &mut own.limits);
    each(section, "keep", keys::KEEP, |section| keep(section, &mut own.keep));
    each(section, "queue", keys::QUEUE, |section| queue(section, &mut own.queue));
    each(section, "retry", keys::RETRY, |section| retry(section, &mut own.retry));
    forward(section, &mut own.forward);
    set(&mut own.request_edits, section.get("request_headers", edits));
    set(&mut own.answer_edits, section.get("answer_headers", edits));
    set(&mut own.key, section.get("key", |value| value::parsed::<KeySource>(value, KEYS)));
    switched(section, "sticky", keys::STICKY, &mut own.sticky, sticky);
    unavailable(section, &mut own);
    let mut log = inherited.access_log().cloned();
    switched(section, "access_log", keys::ACCESS_LOG, &mut log, access_log);
    consistent(section, own, log)
}

const KEYS: &str = "client, uri, or a kind and a name, such as \"cookie session\",";

/// Each value is good by itself: what is left is said of all.
fn consistent(section: &Section<'_, '_>, own: Settings, log: Option<AccessLogSettings>) -> Http {
    let told = |error: super::HttpError| section.wrong(error.to_string());
    Http::new(own).and_then(|http| http.with_access_log(log)).map_err(told).unwrap_or_default()
}

fn each(section: &Section<'_, '_>, name: &str, known: &[Key], read: impl FnOnce(&Section<'_, '_>)) {
    let example: Vec<&str> = known.iter().take(2).map(|key| key.name).collect();
    if let Some(own) = section.section(name, known, &format!("{{ {} = ... }}", example.join(" = ..., "))) {
        read(&own);
    }
}

/// A table, or "off".
fn switched<T>(
    section: &Section<'_, '_>,
    name: &str,
    known: &[Key],
    place: &mut Option<T>,
    read: impl FnOnce(&Section<'_, '_>, Option<T>) -> Option<T>,
) {
    let Some(value) = section.raw(name) else { return };
    if value.get_ref().as_str() == Some("off") {
        *place = None;
    } else if let Some(own) = section.section(name, known, &format!("{name} = {{ ... }}, or \"off\"")) {
        *place = read(&own, place.take());
    }
}

fn times(section: &Section<'_, '_>, times: &mut Times) {
    let time = |key, place: &mut Duration| set(place, section.get(key, value::time).map(Time::get));
    time("head_timeout", &mut times.head);
    time("body_timeout", &mut times.body);
    time("keep_alive_timeout", &mut times.idle);
    time("first_byte_timeout", &mut times.first_byte);
    time("read_timeout", &mut times.between_reads);
    let or_never = |key, place: &mut Option<Duration>| {
        set(place, section.get(key, |value| value::time_or(value, "never")).map(|time| time.map(Time::get)));
    };
    or_never("request_timeout", &mut times.request);
    or_never("tunnel_timeout", &mut times.tunnel_idle);
}

fn limits(section: &Section<'_, '_>, limits: &mut Limits) {
    let head = |value| {
        let bytes = value::size(value)?.bytes();
        let fits = u32::try_from(bytes).ok().filter(|_| (HEADS.0..=HEADS.1).contains(&bytes));
        fits.ok_or_else(|| Wrong::at(value, "expected a size from 1KiB to 1MiB"))
    };
    set(&mut limits.head_bytes, section.get("max_head", head));
    set(&mut limits.fields, section.get("max_fields", |value| value::number(value, 1, MOST_FIELDS)));
    let body = section.get("max_body", |value| value::size_or(value, "none"));
    set(&mut limits.body_bytes, body.map(|size| size.map(Size::bytes)));
    let connections = section.get("max_connections", |value| value::number_or(value, 1, u32::MAX.into(), "none"));
    set(&mut limits.connections, connections.map(|number| number.and_then(|number: u32| number.try_into().ok())));
}

fn keep(section: &Section<'_, '_>, keep: &mut Keep) {
    set(&mut keep.idle, section.get("idle", |value| value::number(value, 0, u32::MAX.into())));
    set(&mut keep.idle_time, section.get("idle_timeout", value::time).map(Time::get));
    let age = section.get("age", |value| value::time_or(value, "never"));
    set(&mut keep.age, age.map(|age| age.map(Time::get)));
    let uses = section.get("uses", |value| value::number_or(value, 1, u32::MAX.into(), "none"));
    set(&mut keep.uses, uses.map(|uses| uses.and_then(|number: u32| number.try_into().ok())));
}

fn queue(section: &Section<'_, '_>, queue: &mut Queueing) {
    set(&mut queue.length, section.get("length", |value| value::number(value, 0, u32::MAX.into())));
    set(&mut queue.time, section.get("timeout", value::time).map(Time::get));
}

fn retry(section: &Section<'_, '_>, retry: &mut Retry) {
    set(&mut retry.percent, section.get("percent", |value| value::number(value, 0, 100)));
    set(&mut retry.per_second, section.get("per_second", |value| value::number(value, 0, u32::MAX.into())));
    set(&mut retry.idempotency_key, section.get("idempotency_key", value::flag));
}

fn forward(section: &Section<'_, '_>, forward: &mut Forward) {
    set(&mut forward.x_forwarded, section.get("x_forwarded", value::flag));
    set(&mut forward.forwarded, section.get("forwarded", value::flag));
    let via = "a name of letters, digits and -._, such as \"lb\", or \"off\"";
    set(&mut forward.via, section.get("via", |value| word_or(value, via, NO_VIA, is_pseudonym)));
    let host = "a host, such as \"www.example\" or \"www.example:8080\", or \"client\"";
    set(&mut forward.host, section.get("host", |value| word_or(value, host, CLIENTS_HOST, is_host)));
    set(&mut forward.trusted, section.get("trusted_proxies", value::networks));
}

/// A word that is one, or `None` for the one that stands for none.
fn word_or(value: At<'_, '_>, what: &str, none: &str, is_one: fn(&str) -> bool) -> Result<Option<String>, Wrong> {
    match value.get_ref().as_str() {
        Some(word) if word == none => Ok(None),
        Some(word) if is_one(word) => Ok(Some(word.to_owned())),
        _ => Err(Wrong::at(value, format!("expected {what}"))),
    }
}

fn edits(value: At<'_, '_>) -> Result<Vec<Edit>, Wrong> {
    value::each(value, |value| {
        let edit = value::parsed::<Edit>(value, "a change of fields, such as \"set X-Served-By: lb\",")?;
        // What it is written as is what it is.
        let is_sound = edit.to_string().parse().as_ref() == Ok(&edit);
        if is_sound { Ok(edit) } else { Err(Wrong::at(value, "the value of a field begins and ends with a letter")) }
    })
}

fn unavailable(section: &Section<'_, '_>, own: &mut Settings) {
    let after = section.get("retry_after", |value| match value::time_or(value, "off")?.map(Time::get) {
        Some(time) if time.subsec_nanos() > 0 => Err(Wrong::at(value, "Retry-After has whole seconds")),
        time => Ok(time),
    });
    set(&mut own.retry_after, after);
    set(&mut own.unavailable_page, section.get("unavailable_page", page));
}

fn page(value: At<'_, '_>) -> Result<Option<Page>, Wrong> {
    match value::text(value, "a file, such as \"/etc/lb/503.html\", or \"off\",")? {
        NO_PAGE => Ok(None),
        path if is_path(path) => Page::read(path).map(Some).map_err(|error| Wrong::at(value, chain(&error))),
        _ => Err(Wrong::at(value, "expected the whole path of a file, or \"off\"")),
    }
}

fn sticky(section: &Section<'_, '_>, inherited: Option<Sticky>) -> Option<Sticky> {
    let seconds = |value| {
        let time = value::time(value)?.get();
        if time.subsec_nanos() == 0 { Ok(time) } else { Err(Wrong::at(value, "a cookie's age has whole seconds")) }
    };
    let lifetime = section.get("lifetime", seconds).or(inherited.as_ref().map(Sticky::lifetime));
    let named = |value| {
        let name = value::text(value, "the name of a cookie")?;
        Sticky::new(name).map_err(|error| Wrong::at(value, error.to_string()))
    };
    let named = match section.raw("cookie") {
        Some(_) => section.get("cookie", named),
        None => inherited.or_else(|| Sticky::new(USUAL_COOKIE).ok()),
    };
    named.map(|sticky| lifetime.map_or(sticky.clone(), |lifetime| sticky.with_lifetime(lifetime)))
}

/// What the cookie is called that brings a client back to its backend.
const USUAL_COOKIE: &str = "lb";

fn access_log(section: &Section<'_, '_>, inherited: Option<AccessLogSettings>) -> Option<AccessLogSettings> {
    let format = section.get("format", |value| {
        let words: Vec<&str> = AccessFormat::ALL.into_iter().map(AccessFormat::name).collect();
        value::choice(value, &words)?;
        value::parsed::<AccessFormat>(value, "a format")
    });
    let to = |value| match value::text(value, "stdout, stderr or a file, such as \"/var/log/lb/www.log\",")? {
        "stdout" => Ok(AccessTo::Stdout),
        "stderr" => Ok(AccessTo::Stderr),
        path if is_path(path) => Ok(AccessTo::File(path.into())),
        _ => Err(Wrong::at(value, "expected \"stdout\", \"stderr\" or the whole path of a file")),
    };
    let to = match (section.raw("to"), &inherited) {
        (Some(_), _) => section.get("to", to),
        (None, Some(inherited)) => Some(inherited.to.clone()),
        (None, None) => {
            section.require("to", "to = \"/var/log/lb/www.log\", or \"stdout\" or \"stderr\"");
            None
        }
    };
    let format = format.or(inherited.map(|inherited| inherited.format)).unwrap_or_default();
    Some(AccessLogSettings::new(format, to?))
}

/// Tells of what belongs to another role.
pub(super) fn misplaced(section: &Section<'_, '_>, role: Option<&str>) {
    let tell = |key: &str, message: &str| {
        if let Some(value) = section.raw(key) {
            section.reader.tell(Severity::Error, value.span(), format!("{key}: {message}"));
        }
    };
    match role {
        Some("http") => tell(
            "idle_timeout",
            "it is for role = \"tcp\": of requests there are http.keep_alive_timeout, for clients between two of them, \
             and http.tunnel_timeout",
        ),
        Some(_) => tell("http", "it is for role = \"http\", and this service's is \"tcp\": add role = \"http\""),
        None => {}
    }
}
