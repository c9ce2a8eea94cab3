//! What is kept of a request when its head has gone on.

use super::{
    Inner, Reason,
    buffer::Lead,
    connection::Parts,
    field::{FieldRoom, Known},
    forward::{Hop, write_request},
    framing::{self, Body, RequestFraming},
    head::{HeadLimits, RequestHead},
};

/// What is kept of a request when its head has gone on.
pub(super) struct Asked {
    pub(super) framing: RequestFraming,
    /// Of the client's version.
    pub(super) minor: u8,
    pub(super) is_head: bool,
    /// Whether doing it twice is as good as doing it once.
    pub(super) is_idempotent: bool,
    pub(super) key: u64,
    /// Length of its head in the client's buffer.
    pub(super) head_bytes: usize,
}

impl Asked {
    /// Reads what the client has sent, and writes what its backend is to get into `lead`. `None`: more bytes are needed.
    pub(super) fn read<T>(parts: &Parts<T>, lead: &mut Lead) -> Result<Option<Self>, Reason> {
        let inner = &*parts.proxy.inner;
        let mut room = FieldRoom::new();
        let parsed = RequestHead::parse(parts.input.filled(), &mut room, &head_limits(inner))?;
        let Some(head) = parsed else { return Ok(None) };
        let framing = framing::of_request(&head)?;
        let limit = inner.settings.limits.body_bytes;
        if matches!(framing.body, Body::Length(length) if limit.is_some_and(|limit| length > limit)) {
            return Err(Reason::BodyTooLarge);
        }
        let settings = &inner.settings;
        let hop = Hop {
            client: parts.client,
            local: parts.worker.local,
            peer_trusted: settings.forward.trusted.contain(parts.peer.ip()),
            forward: &settings.forward,
            edits: &settings.request_edits,
            more_edits: &[],
        };
        write_request(&head, &framing, &hop, lead.bytes_mut())?;
        let is_repeatable = matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
            || (settings.retry.idempotency_key && head.fields.has(Known::IdempotencyKey));
        Ok(Some(Self {
            framing,
            minor: head.minor,
            is_head: head.is_head(),
            is_idempotent: is_repeatable,
            key: parts.client_key,
            head_bytes: head.bytes,
        }))
    }
}

pub(super) fn head_limits<T>(inner: &Inner<T>) -> HeadLimits {
    let limits = &inner.settings.limits;
    HeadLimits { bytes: limits.head_bytes as usize, fields: limits.fields.into() }
}
