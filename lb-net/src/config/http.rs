//! How requests are balanced: what services of role http have of their own or inherit.

use std::time::Duration;

use super::{Sessions, Time};
use crate::{
    field_text::is_name,
    http::{self, AccessLogSettings, AccessTo, Keep, Limits, Queueing, Retry, Times},
};

/// Bytes that a head may have, at least and at most.
pub(super) const HEADS: (u64, u64) = (1 << 10, 1 << 20);

/// Fields that it may have, at most.
pub(super) const MOST_FIELDS: u64 = 256;

/// How the requests of a service are balanced, or those of all services of role http that say nothing else: settings of
/// the [proxy](crate::http::HttpProxy) that can be written. What holds for TCP as well is in [`Sessions`].
/// ```
/// use lb_net::{config::{Http, Sessions}, http};
/// let mut settings = http::Settings::default();
/// settings.limits.body_bytes = Some(1 << 20);
/// let http = Http::new(settings.clone())?;
/// assert_eq!(http.settings(&Sessions::default()), settings);
///
/// settings.limits.fields = 1000;
/// assert_eq!(Http::new(settings).unwrap_err().to_string(), "max_fields is not from 1 to 256");
/// # Ok::<(), lb_net::config::HttpError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    own: http::Settings,
    access_log: Option<AccessLogSettings>,
}

/// Why settings cannot be written; a key names the one that is wrong.
/// ```
/// use lb_net::{config::Http, http};
/// let mut settings = http::Settings::default();
/// settings.times.head = std::time::Duration::ZERO;
/// let error = Http::new(settings).unwrap_err();
/// assert_eq!(error.to_string(), "head_timeout is not a time above zero and at most a hundred years");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A time is zero or beyond all measure.
    #[error("{0} is not a time above zero and at most a hundred years")]
    Time(&'static str),
    /// A cookie's age has whole seconds, and what `Retry-After` says.
    #[error("{0} is not a number of whole seconds")]
    Seconds(&'static str),
    /// A number beyond its range.
    #[error("{0} is not from {1} to {2}")]
    Range(&'static str, u64, u64),
    /// A text that has no meaning there.
    #[error("{0} cannot be '{1}'")]
    Text(&'static str, String),
}

impl Http {
    /// These settings. Of the times, connect, race and grace are those of [`Sessions`].
    ///
    /// # Errors
    /// What of it nobody can write.
    pub fn new(mut settings: http::Settings) -> Result<Self, HttpError> {
        times(&settings.times)?;
        limits(&settings.limits)?;
        kept(&settings.keep, &settings.queue, &settings.retry)?;
        texts(&settings)?;
        unavailable(&settings)?;
        // They are said elsewhere.
        let usual = Times::default();
        (settings.times.connect, settings.times.race, settings.times.grace) = (usual.connect, usual.race, usual.grace);
        Ok(Self { own: settings, access_log: None })
    }

    /// With a line for each request in this log, or in none.
    ///
    /// # Errors
    /// What of it nobody can write.
    pub fn with_access_log(self, access_log: Option<AccessLogSettings>) -> Result<Self, HttpError> {
        match &access_log {
            Some(log) if matches!(&log.to, AccessTo::File(path) if !path.to_str().is_some_and(is_path)) => {
                Err(HttpError::Text("access_log.to", log.to.to_string()))
            }
            _ => Ok(Self { access_log, ..self }),
        }
    }

    /// What is written of each request, and where to.
    #[must_use]
    pub fn access_log(&self) -> Option<&AccessLogSettings> {
        self.access_log.as_ref()
    }

    /// What an [`HttpProxy`](crate::http::HttpProxy) takes.
    #[must_use]
    pub fn settings(&self, sessions: &Sessions) -> http::Settings {
        let mut settings = self.own.clone();
        settings.times.connect = sessions.connect_timeout.get();
        settings.times.race = sessions.race.map(Time::get);
        settings.times.grace = sessions.grace.map(Time::get).unwrap_or_default();
        settings
    }

    /// All but what [`Sessions`] say.
    pub(super) fn own(&self) -> &http::Settings {
        &self.own
    }
}

fn time(key: &'static str, time: Duration) -> Result<(), HttpError> {
    Time::new(time).map(|_| ()).ok_or(HttpError::Time(key))
}

fn range(key: &'static str, number: u64, least: u64, most: u64) -> Result<(), HttpError> {
    if (least..=most).contains(&number) { Ok(()) } else { Err(HttpError::Range(key, least, most)) }
}

fn times(times: &Times) -> Result<(), HttpError> {
    let all = [
        ("head_timeout", Some(times.head)),
        ("body_timeout", Some(times.body)),
        ("keep_alive_timeout", Some(times.idle)),
        ("first_byte_timeout", Some(times.first_byte)),
        ("read_timeout", Some(times.between_reads)),
        ("request_timeout", times.request),
        ("tunnel_timeout", times.tunnel_idle),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).try_for_each(|(key, value)| time(key, value))
}

fn limits(limits: &Limits) -> Result<(), HttpError> {
    range("max_head", limits.head_bytes.into(), HEADS.0, HEADS.1)?;
    range("max_fields", limits.fields.into(), 1, MOST_FIELDS)?;
    limits.body_bytes.map_or(Ok(()), |bytes| range("max_body", bytes, 1, u64::MAX))
}

fn kept(keep: &Keep, queue: &Queueing, retry: &Retry) -> Result<(), HttpError> {
    time("keep.idle_timeout", keep.idle_time)?;
    keep.age.map_or(Ok(()), |age| time("keep.age", age))?;
    time("queue.timeout", queue.time)?;
    range("retry.percent", retry.percent.into(), 0, 100)
}

/// What those get whose request nobody may take.
fn unavailable(settings: &http::Settings) -> Result<(), HttpError> {
    match (settings.retry_after, &settings.unavailable_page) {
        (Some(after), _) if after.subsec_nanos() > 0 => Err(HttpError::Seconds("retry_after")),
        (Some(after), _) if Time::new(after).is_none() => Err(HttpError::Time("retry_after")),
        (_, Some(page)) if !page.file().and_then(std::path::Path::to_str).is_some_and(is_path) => {
            let file = page.file().map(|file| file.display().to_string());
            Err(HttpError::Text("unavailable_page", file.unwrap_or_else(|| "a page without a file".to_owned())))
        }
        _ => Ok(()),
    }
}

/// Each is what it would be read as.
fn texts(settings: &http::Settings) -> Result<(), HttpError> {
    let wrong = |key, text: &dyn ToString| Err(HttpError::Text(key, text.to_string()));
    for (key, edits) in [("request_headers", &settings.request_edits), ("answer_headers", &settings.answer_edits)] {
        if let Some(edit) = edits.iter().find(|edit| edit.to_string().parse().as_ref() != Ok(*edit)) {
            return wrong(key, edit);
        }
    }
    let forward = &settings.forward;
    match (&forward.via, &forward.host, &settings.sticky) {
        _ if settings.key.to_string().parse().as_ref() != Ok(&settings.key) => wrong("key", &settings.key),
        (Some(via), ..) if !is_pseudonym(via) => wrong("via", via),
        (_, Some(host), ..) if !is_host(host) => wrong("host", host),
        (_, _, Some(sticky)) if sticky.lifetime().subsec_nanos() > 0 => Err(HttpError::Seconds("sticky.lifetime")),
        (_, _, Some(sticky)) if Time::new(sticky.lifetime()).is_none() => Err(HttpError::Time("sticky.lifetime")),
        _ => Ok(()),
    }
}

/// Whether it can be our name in `Via` (RFC 9110 section 7.6.3): a token, and no word of ours.
pub(super) fn is_pseudonym(text: &str) -> bool {
    is_name(text) && text.len() <= 255 && text != NO_VIA
}

/// Whether it can be a `Host` (RFC 9110 section 7.2): a name or address, with a port or without, and no word of ours.
pub(super) fn is_host(text: &str) -> bool {
    text.parse::<crate::probe::Host>().is_ok() && text != CLIENTS_HOST
}

/// Whether it is the whole path of a file.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.ends_with('/') && !text.contains(char::is_control)
}

/// The word for no page.
pub(super) const NO_PAGE: &str = "off";

/// The word for no field `Via`.
pub(super) const NO_VIA: &str = "off";

/// The word for the host that the client has asked for.
pub(super) const CLIENTS_HOST: &str = "client";
