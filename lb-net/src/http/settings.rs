//! How HTTP requests are balanced: limits, times, and what is told to whom.

use std::{num::NonZeroU32, time::Duration};

use super::{Edit, Forward, KeySource, Page, Sticky};

/// How HTTP requests are balanced.
/// ```
/// use std::time::Duration;
/// let settings = lb_net::http::Settings::default();
/// assert_eq!(settings.limits.head_bytes, 64 * 1024);
/// assert_eq!(settings.times.head, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How much a client may send.
    pub limits: Limits,
    /// How long things may take.
    pub times: Times,
    /// Backend connections between two requests.
    pub keep: Keep,
    /// Requests that wait for a place at a backend.
    pub queue: Queueing,
    /// Requests that are given to another backend after a failure.
    pub retry: Retry,
    /// What backends are told of the client and of us.
    pub forward: Forward,
    /// Changes to the fields of each request, in order.
    pub request_edits: Vec<Edit>,
    /// Changes to the fields of each answer, in order.
    pub answer_edits: Vec<Edit>,
    /// What a request's affinity key is made of, where a selector hashes.
    pub key: KeySource,
    /// A cookie that brings a client back to its backend.
    pub sticky: Option<Sticky>,
    /// When clients may come again whose request nobody could take, as `Retry-After` tells them in each 503 of lb's own:
    /// in whole seconds, and up to as many again at random, so that they do not all come back at once. `None` says
    /// nothing.
    pub retry_after: Option<Duration>,
    /// What they get to see in place of a line of text, likewise in each 503 of lb's own. 502 and 504 say that a backend
    /// was asked, and have their line.
    pub unavailable_page: Option<Page>,
}

impl Settings {
    /// With this time in `Retry-After`, or without the field.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// With this page where nobody may take a request, or with a line of text.
    #[must_use]
    pub fn with_unavailable_page(self, unavailable_page: Option<Page>) -> Self {
        Self { unavailable_page, ..self }
    }
}

/// How much a client may send.
/// ```
/// assert_eq!(lb_net::http::Limits::default().fields, 128);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a message's head, 1 KiB to 1 MiB: a longer one of a client is answered with 431, or 414 if its first
    /// line alone is that long; one of a backend is a bad answer.
    pub head_bytes: u32,
    /// Fields of a message's head, 1 to 256.
    pub fields: u16,
    /// Bytes of a request's body: a longer one is answered with 413. `None` is any number.
    pub body_bytes: Option<u64>,
    /// Client connections of a service at a time: others wait in the system's queue. `None` is what descriptors allow.
    pub connections: Option<NonZeroU32>,
}

/// How long things may take. `None` is for ever.
/// ```
/// assert_eq!(lb_net::http::Times::default().request, Some(std::time::Duration::from_secs(86_400)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// A request's head, from the accept or from its first byte on: then 408.
    pub head: Duration,
    /// Between two pieces of a request's body: then 408. Also how long a client may not take what it is sent.
    pub body: Duration,
    /// A kept client connection without a request.
    pub idle: Duration,
    /// Each attempt to connect to a backend.
    pub connect: Duration,
    /// How long a backend may be silent to a connect before the next one is tried alongside; `None` tries one after the
    /// other.
    pub race: Option<Duration>,
    /// From the end of the request to the first byte of its answer: then 504. Also how long a backend may not take what it
    /// is sent.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub between_reads: Duration,
    /// A whole request, from its first byte to the last of its answer.
    pub request: Option<Duration>,
    /// A tunnel (WebSocket, say) in which nothing moves.
    pub tunnel_idle: Option<Duration>,
    /// What requests may take after a stop.
    pub grace: Duration,
}

/// Backend connections between two requests. Each worker has its own.
/// ```
/// assert_eq!(lb_net::http::Keep::default().idle, 256);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keep {
    /// How many of one backend are kept, at most, by each worker; 0: none, each request has a connection of its own.
    pub idle: u32,
    /// For how long one is kept without a request.
    pub idle_time: Duration,
    /// How old one may become.
    pub age: Option<Duration>,
    /// How many requests one may have.
    pub uses: Option<NonZeroU32>,
}

/// Requests that wait because every backend that could take them is full.
/// ```
/// assert_eq!(lb_net::http::Queueing::default().length, 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queueing {
    /// How many of a service may wait at a time: one more is answered with 503. 0: none waits.
    pub length: u32,
    /// For how long each: then 503.
    pub time: Duration,
}

/// Requests that are given to another backend after a failure. One that no backend has seen always is; this is about those
/// that a backend may have begun with, which happens once for each request, at most.
/// ```
/// let retry = lb_net::http::Retry::default();
/// assert_eq!((retry.percent, retry.per_second, retry.idempotency_key), (20, 10, false));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Of 100 requests so many may be repeated (Finagle's retry budget); 0 to 100.
    pub percent: u8,
    /// And so many each second besides.
    pub per_second: u32,
    /// Whether a field `Idempotency-Key` makes any method one that may be repeated.
    pub idempotency_key: bool,
}

impl Default for Settings {
    /// Those of its parts; clients that nobody could serve are told to come again after 5 s.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            times: Times::default(),
            keep: Keep::default(),
            queue: Queueing::default(),
            retry: Retry::default(),
            forward: Forward::default(),
            request_edits: Vec::new(),
            answer_edits: Vec::new(),
            key: KeySource::default(),
            sticky: None,
            retry_after: Some(Duration::from_secs(5)),
            unavailable_page: None,
        }
    }
}

impl Default for Limits {
    /// 64 KiB and 128 fields of head, 10 GiB of body, as many connections as descriptors allow.
    fn default() -> Self {
        Self { head_bytes: 64 * 1024, fields: 128, body_bytes: Some(10 << 30), connections: None }
    }
}

impl Default for Times {
    /// Head 10 s, body 30 s, idle 75 s, connect 5 s with the next after 250 ms, first byte and between reads 60 s, a whole
    /// request a day, tunnels 1 h, 30 s of grace.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(10),
            body: seconds(30),
            idle: seconds(75),
            connect: seconds(5),
            race: Some(Duration::from_millis(250)),
            first_byte: seconds(60),
            between_reads: seconds(60),
            request: Some(seconds(86_400)),
            tunnel_idle: Some(seconds(3600)),
            grace: seconds(30),
        }
    }
}

impl Default for Keep {
    /// 256 for each backend, for 30 s, at most an hour old, any number of requests.
    fn default() -> Self {
        let (idle_time, age) = (Duration::from_secs(30), Some(Duration::from_secs(3600)));
        Self { idle: 256, idle_time, age, uses: None }
    }
}

impl Default for Queueing {
    /// 1024 for at most 10 s.
    fn default() -> Self {
        Self { length: 1024, time: Duration::from_secs(10) }
    }
}

impl Default for Retry {
    /// A fifth of all requests and 10 a second; `Idempotency-Key` changes nothing.
    fn default() -> Self {
        Self { percent: 20, per_second: 10, idempotency_key: false }
    }
}
