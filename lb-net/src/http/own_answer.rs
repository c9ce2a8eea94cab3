//! What lb answers by itself.

use std::{io::Write as _, sync::Arc};

use lb_core::rand::{Rng, RngExt as _};

use super::{Edit, EditError, Reason, Settings, buffer::Lead, message::date};

/// So much of a body is sent at a time: a page may be long, and many may ask for it.
const PIECE_BYTES: usize = 16 * 1024;

/// An answer that no backend has given.
/// ```
/// use lb_net::http::OwnAnswer;
/// let answer = OwnAnswer::new(403).with_field("Content-Type", "text/plain")?.with_body("Not for you.\n");
/// assert_eq!(answer.status(), 403);
/// # Ok::<(), lb_net::http::EditError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAnswer {
    status: u16,
    reason: Option<Reason>,
    fields: Vec<Edit>,
    body: Arc<[u8]>,
}

impl OwnAnswer {
    /// One of this status, without a body. A status that no final answer can have (below 200, above 599) becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (200..=599).contains(&status) { status } else { 500 };
        Self { status, reason: None, fields: Vec::new(), body: Arc::default() }
    }

    /// With one more field.
    ///
    /// # Errors
    /// When name or value are none, or the field is lb's own business.
    pub fn with_field(mut self, name: &str, value: &str) -> Result<Self, EditError> {
        self.fields.push(Edit::add(name, value)?);
        Ok(self)
    }

    /// With this body; there is none in answers to HEAD, and of status 204 and 304.
    #[must_use]
    pub fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into().into(), ..self }
    }

    /// Its status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Why a request has no other answer: a field for programs, a sentence for people, and nothing of what is inside.
    pub(super) fn of(reason: Reason) -> Self {
        let mut fields = vec![("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")];
        if reason.status() == 405 {
            fields.push(("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"));
        }
        // All of them are fields.
        let fields = fields.into_iter().filter_map(|(name, value)| Edit::add(name, value).ok()).collect();
        let body = format!("{}\n", reason.text()).into_bytes().into();
        Self { status: reason.status(), reason: Some(reason), fields, body }
    }

    /// The same, for a request that nobody may take: with what the settings say of that.
    pub(super) fn unavailable(reason: Reason, settings: &Settings, rng: &mut impl Rng) -> Self {
        let mut answer = Self::of(reason);
        if let Some(time) = settings.retry_after {
            let least = time.as_secs();
            let seconds = rng.random_range(least..=least.saturating_mul(2));
            answer.fields.extend(Edit::add("Retry-After", &seconds.to_string()));
        }
        if let Some(page) = &settings.unavailable_page {
            let (content_type, body) = page.parts();
            answer.fields.retain(|field| field.name() != content_type.name());
            answer.fields.push(content_type);
            answer.body = body;
        }
        answer
    }

    /// That of an OPTIONS that is not to be passed on (RFC 9110 section 7.6.2).
    pub(super) fn options() -> Self {
        Self::new(200)
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// How long its body is for whoever sent such a request.
    pub(super) fn body_bytes(&self, is_head: bool) -> usize {
        if is_head || !self.has_body() { 0 } else { self.body.len() }
    }

    fn has_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }

    /// What of its body [`write`](Self::write) has left, in pieces.
    pub(super) fn rest(&self, is_head: bool) -> impl Iterator<Item = &[u8]> {
        let body = self.body.get(..self.body_bytes(is_head)).unwrap_or_default();
        body.chunks(PIECE_BYTES).skip(1)
    }

    /// Appends its head and the first of its body, as a client of HTTP/1.`minor` gets it; the [`rest`](Self::rest) follows.
    pub(super) fn write(&self, lead: &mut Lead, is_head: bool, minor: u8, keep_alive: bool) {
        let out = lead.bytes_mut();
        let (status, phrase) = (self.status, phrase(self.status));
        // Writing to memory does not fail.
        let _ = date::with_now(|now| write!(out, "HTTP/1.1 {status} {phrase}\r\nDate: {now}\r\n"));
        for field in &self.fields {
            let _ = write!(out, "{}: {}\r\n", field.name(), field.value());
        }
        if let Some(reason) = self.reason {
            let _ = write!(out, "lb-reason: {}\r\n", reason.name());
        }
        if self.has_body() {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        out.extend_from_slice(match (keep_alive, minor) {
            (false, _) => b"Connection: close\r\n\r\n",
            (true, 0) => b"Connection: keep-alive\r\n\r\n",
            (true, _) => b"\r\n",
        });
        let body = self.body.get(..self.body_bytes(is_head)).unwrap_or_default();
        out.extend_from_slice(body.chunks(PIECE_BYTES).next().unwrap_or_default());
    }
}

/// The phrases of RFC 9110 section 15, RFC 5842 and RFC 6585; others go without.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}
