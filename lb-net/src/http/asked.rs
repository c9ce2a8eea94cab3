//! Reads the head of a request, and keeps of it what is needed when it has gone on.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    Edit, Inner, KeySource, OwnAnswer, Reason, asker,
    buffer::Lead,
    hooks,
    introduced::Introduction,
    message::{
        field::{FieldRoom, Known},
        forward::{Hop, write_request},
        framing::{self, Body, RequestFraming},
        head::{HeadLimits, RequestHead},
    },
    pace,
    parts::Parts,
    retry,
    sticky::Pin,
    story::Text,
};

/// What is kept of a request when its head has gone on.
pub(super) struct Asked {
    /// Who asks.
    pub(super) client: SocketAddr,
    pub(super) framing: RequestFraming,
    /// Of the client's version.
    pub(super) minor: u8,
    pub(super) is_head: bool,
    /// Nothing of its head is changed by edits. What they take away is not to come behind the body.
    pub(super) passes_trailers: bool,
    /// Whether doing it twice is as good as doing it once.
    pub(super) is_idempotent: bool,
    /// Whether it says itself that it may be done twice, and is believed.
    pub(super) has_key: bool,
    pub(super) key: u64,
    /// Where its client was before.
    pub(super) pin: Option<Pin>,
    /// Length of its head in the client's buffer.
    pub(super) head_bytes: usize,
    /// What is answered in place of asking a backend.
    pub(super) answer: Option<Box<OwnAnswer>>,
    /// Of its head, where someone is told of it at its end.
    pub(super) text: Option<Box<Text>>,
}

impl Asked {
    /// Reads what the client has sent, and writes what its backend is to get into `lead`. `None`: more bytes are needed.
    ///
    /// Not inlined: it needs much of the stack, which whoever only waits should not step over.
    #[inline(never)]
    pub(super) fn read<T>(parts: &Parts<T>, lead: &mut Lead) -> Result<Option<Self>, Reason> {
        let inner = &*parts.proxy.inner;
        let mut room = FieldRoom::new();
        let parsed = RequestHead::parse(parts.input.filled(), &mut room, &head_limits(inner))?;
        let Some(head) = parsed else { return Ok(None) };
        let framing = framing::of_request(&head)?;
        let settings = &inner.settings;
        let limit = inner.settings.limits.body_bytes;
        if matches!(framing.body, Body::Length(length) if limit.is_some_and(|limit| length > limit)) {
            return Err(Reason::BodyTooLarge);
        }
        let trusted = &settings.forward.trusted;
        // Who only carries bytes to us has not written them: whom it introduces has.
        let peer_trusted = trusted.contain(parts.introduced.ip());
        let told = if peer_trusted { asker::told(&head.fields, trusted) } else { None };
        // Which of its ports it was nobody says.
        let client = told.map_or(parts.introduced, |client| SocketAddr::new(client, 0));
        let mut edits: Vec<Edit> = Vec::new();
        let answer = hooks::ask(inner.hooks.as_ref(), &head, client, &mut edits);
        let hop = Hop {
            client: parts.introduced,
            local: parts.worker.local,
            peer_trusted,
            forward: &settings.forward,
            edits: &settings.request_edits,
            more_edits: &edits,
        };
        write_request(&head, &framing, &hop, lead.bytes_mut())?;
        let fields = || head.fields.iter().map(|field| (field.name, field.value));
        let is_told = inner.access_log.is_some() || inner.hooks.is_some();
        let answer = answer.or_else(|| framing.is_for_us().then(OwnAnswer::options));
        Ok(Some(Self {
            client,
            framing,
            minor: head.minor,
            is_head: head.is_head(),
            passes_trailers: settings.request_edits.is_empty() && edits.is_empty(),
            is_idempotent: retry::is_idempotent(head.method),
            has_key: settings.retry.idempotency_key && head.fields.has(Known::IdempotencyKey),
            key: match settings.key {
                KeySource::Client if client == parts.client => parts.client_key,
                _ => settings.key.key(head.target.as_bytes(), fields(), client.ip()),
            },
            pin: settings.sticky.as_ref().and_then(|sticky| {
                let cookies = head.fields.all(Known::Cookie);
                sticky.pin(cookies, std::time::SystemTime::now())
            }),
            head_bytes: head.bytes,
            answer: answer.map(Box::new),
            text: is_told.then(|| Box::new(Text::of(&head))),
        }))
    }
}

impl<T: Send + Sync + 'static> Parts<T> {
    /// Ready when the head of a request is here and judged; `None` when the client has left instead.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        lead: &mut Lead,
        began: Instant,
    ) -> Poll<Result<Option<Asked>, Reason>> {
        self.deadline.watch(cx.waker());
        let limits = head_limits(&self.proxy.inner);
        loop {
            if self.awaits_introduction {
                match self.introduce() {
                    Introduction::Done => self.awaits_introduction = false,
                    Introduction::Partial => {}
                    Introduction::Refused => return Poll::Ready(Ok(None)),
                }
            }
            if !self.awaits_introduction && limits.worth_parsing(self.input.filled(), self.seen) {
                if let Some(asked) = Asked::read(self, lead)? {
                    self.seen = 0;
                    self.asks(asked.client);
                    return Poll::Ready(Ok(Some(asked)));
                }
                self.seen = self.input.len();
            }
            if self.input.is_full() {
                self.input.grow(limits.bytes + 1);
            }
            match self.poll_bytes(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Ok(None)),
                Poll::Pending => break,
            }
        }
        let until = pace::after(began, self.proxy.inner.settings.times.head);
        let until = if self.requests == 0 { until.min(self.idle_until) } else { until };
        if !self.is_over(until) {
            return Poll::Pending;
        }
        if self.awaits_introduction {
            // It speaks no HTTP yet.
            self.tell_late();
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Err(Reason::HeadTimeout))
    }
}

pub(super) fn head_limits<T>(inner: &Inner<T>) -> HeadLimits {
    let limits = &inner.settings.limits;
    HeadLimits { bytes: limits.head_bytes as usize, fields: limits.fields.into() }
}
