//! What lb answers by itself.

use std::{io::Write as _, time::SystemTime};

use super::{Reason, buffer::Lead};

/// What lb answers by itself.
#[derive(Clone, Debug)]
pub(super) struct OwnAnswer {
    status: u16,
    reason: Option<Reason>,
    fields: String,
    body: Vec<u8>,
}

impl OwnAnswer {
    /// Why a request has no other answer: a field for programs, a sentence for people, and nothing of what is inside.
    pub(super) fn of(reason: Reason) -> Self {
        let mut fields = String::from("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n");
        if reason.status() == 503 {
            fields.push_str("Retry-After: 1\r\n");
        }
        if reason.status() == 405 {
            fields.push_str("Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n");
        }
        Self {
            status: reason.status(),
            reason: Some(reason),
            fields,
            body: format!("{}\n", reason.text()).into_bytes(),
        }
    }

    /// That of an OPTIONS that is not to be passed on (RFC 9110 section 7.6.2).
    pub(super) fn options() -> Self {
        Self { status: 204, reason: None, fields: String::new(), body: Vec::new() }
    }

    /// Appends it, without its body where the request was a HEAD.
    pub(super) fn write(&self, lead: &mut Lead, is_head: bool, keep_alive: bool) {
        let out = lead.bytes_mut();
        let (status, phrase) = (self.status, phrase(self.status));
        // Writing to memory does not fail.
        let _ = write!(out, "HTTP/1.1 {status} {phrase}\r\nDate: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
        out.extend_from_slice(self.fields.as_bytes());
        if let Some(reason) = self.reason {
            let _ = write!(out, "lb-reason: {}\r\n", reason.name());
        }
        if status != 204 {
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        out.extend_from_slice(if keep_alive { b"\r\n" } else { b"Connection: close\r\n\r\n" });
        if !is_head {
            out.extend_from_slice(&self.body);
        }
    }
}

/// The phrases of RFC 9110 section 15, RFC 6585 and RFC 5842.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}
