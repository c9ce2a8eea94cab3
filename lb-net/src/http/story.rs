//! What is remembered of a request for those who are told of it at its end.

use std::time::{Duration, Instant};

use lb_core::Lease;

use super::{
    Reason, Record,
    message::{field::Known, head::RequestHead},
};

/// What is remembered of a request for those who are told of it at its end.
#[derive(Debug)]
pub(super) struct Story {
    /// Of its head, where someone reads that.
    text: Option<Box<Text>>,
    minor: u8,
    /// Of the last attempt that came to nothing, where someone reads that.
    failed_at: Option<Box<str>>,
    pub(super) attempts: u32,
    pub(super) reused: bool,
    pub(super) queued: Duration,
    pub(super) connect: Duration,
    pub(super) first_byte: Option<Duration>,
}

/// Parts of a head, one behind the other.
#[derive(Debug)]
pub(super) struct Text {
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: [usize; 5],
    has: [bool; 5],
}

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// 0 where there was no answer.
    pub(super) status: u16,
    pub(super) reason: Option<Reason>,
    pub(super) cut: bool,
    pub(super) request_bytes: u64,
    pub(super) answer_bytes: u64,
}

impl Story {
    pub(super) fn new(minor: u8) -> Self {
        let (text, failed_at, first_byte) = (None, None, None);
        let (queued, connect) = (Duration::ZERO, Duration::ZERO);
        Self { text, minor, failed_at, attempts: 0, reused: false, queued, connect, first_byte }
    }

    /// Of which a log tells, or hooks, where there is a text.
    pub(super) fn with_text(self, text: Option<Box<Text>>) -> Self {
        Self { text, ..self }
    }

    /// All of it, for whoever tells it in our place.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.minor))
    }

    /// An attempt came to nothing.
    pub(super) fn failed<T>(&mut self, lease: &Lease<T>) {
        if self.text.is_some() {
            self.failed_at = Some(lease.name().into());
        }
    }

    /// It began with this, and its first byte of an answer is here.
    pub(super) fn answered(&mut self, began: Instant, now: Instant) {
        self.first_byte = Some(now.saturating_duration_since(began));
    }

    /// As those see it who are told.
    pub(super) fn record<'a>(&'a self, backend: Option<&'a str>, end: End, mut record: Record<'a>) -> Record<'a> {
        if let Some(text) = &self.text {
            record.method = text.part(0).and_then(|method| std::str::from_utf8(method).ok()).unwrap_or_default();
            record.target = text.part(1).unwrap_or_default();
            (record.host, record.user_agent, record.referer) = (text.part(2), text.part(3), text.part(4));
        }
        record.version = if self.minor == 0 { "HTTP/1.0" } else { "HTTP/1.1" };
        record.status = end.status;
        record.reason = end.reason.map(Reason::name);
        record.cut = end.cut;
        (record.request_bytes, record.answer_bytes) = (end.request_bytes, end.answer_bytes);
        record.backend = backend.or(self.failed_at.as_deref());
        (record.attempts, record.reused) = (self.attempts, self.reused);
        (record.queued, record.connect, record.first_byte) = (self.queued, self.connect, self.first_byte);
        record
    }
}

impl Text {
    pub(super) fn of(head: &RequestHead<'_, '_>) -> Self {
        let parts = [
            Some(head.method.as_bytes()),
            Some(head.target.as_bytes()),
            head.host(),
            head.fields.get(Known::UserAgent),
            head.fields.get(Known::Referer),
        ];
        let mut text = Self { bytes: Vec::with_capacity(256), ends: [0; 5], has: [false; 5] };
        for ((part, end), has) in parts.iter().zip(&mut text.ends).zip(&mut text.has) {
            text.bytes.extend_from_slice(part.unwrap_or_default());
            (*end, *has) = (text.bytes.len(), part.is_some());
        }
        text
    }

    fn part(&self, at: usize) -> Option<&[u8]> {
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(at).filter(|_| self.has.get(at).is_some_and(|has| *has))?;
        self.bytes.get(begin..*end)
    }
}
