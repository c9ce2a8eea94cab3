//! Sending a request to a backend, and the head of what it answers.

use std::{
    task::{Context, Poll},
    time::SystemTime,
};

use lb_core::BackendId;

use super::{
    Reason, Sticky,
    asked::head_limits,
    body::{Body, Fault, Source},
    buffer::BUFFER_BYTES,
    exchange::{Exchange, Failure},
    hooks,
    message::{
        chunked::ChunkReader,
        field::{FieldRoom, Known, MOST_FIELDS},
        forward::{Back, write_answer},
        framing::{self, AnswerFraming},
        head::{AnswerHead, HeadLimits, RequestHead},
    },
    pace::{self, WaitsFor},
    upstream::Upstream,
    wire::Wire as _,
};
use crate::driver::now;

/// Interim answers (RFC 9110 section 15.2) that one request may have.
const MOST_INTERIM: u32 = 64;

/// An answer of which the head has been read.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The backend's connection may have another request.
    pub(super) keeps_upstream: bool,
    /// The client's connection may have another one, as it was told.
    pub(super) keeps_client: bool,
    /// Only the end of the connection says where the body ends.
    pub(super) ends_with_connection: bool,
    pub(super) is_switching: bool,
}

/// So much is read at first where an answer in bulk is expected: a head, and little more.
const BULK_HEAD: usize = 2048;

impl<T: Send + Sync + 'static> Exchange<'_, T> {
    /// Sends what there is to send, and reads until the head of the final answer is here.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        backend: BackendId,
    ) -> Poll<Result<Answer, Failure>> {
        self.parts.deadline.watch(cx.waker());
        self.poll_upload(cx, upstream)?;
        while let Poll::Ready(more) = self.poll_more(cx, upstream) {
            more?;
            if let Some(answer) = self.read_answer(upstream, backend)? {
                return Poll::Ready(Ok(answer));
            }
        }
        if !self.answer_lead.rest().is_empty() {
            // An interim answer. Whether it has arrived nobody needs to know.
            let _ = self.parts.poll_send(cx, &mut self.answer_lead);
        }
        if let Some(failure) = self.overdue() {
            return Poll::Ready(Err(failure));
        }
        // Behind it, as it may just have had the client's socket registered.
        if self.upload.is_done() && self.parts.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone));
        }
        Poll::Pending
    }

    /// More of the request, as far as it goes.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream) -> Result<(), Failure> {
        if self.upload_stopped || (self.upload.is_done() && self.lead.rest().is_empty()) {
            return Ok(());
        }
        let Self { parts, upload, lead, .. } = self;
        let client = (&mut parts.socket, &mut parts.input);
        match upload.poll(cx, client, (&mut upstream.stream, lead), BUFFER_BYTES) {
            Poll::Ready(Err(Fault::Source)) => return Err(Failure::ClientGone),
            Poll::Ready(Err(Fault::Bad(reason))) => return Err(Failure::Refused(reason)),
            // It may have answered before it closed.
            Poll::Ready(Err(Fault::Sink)) => self.upload_stopped = true,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let moved = self.upload.moved + self.lead.sent_bytes();
        self.upload_wait.note(moved, now);
        Ok(())
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream) -> Poll<Result<(), Failure>> {
        let Upstream { stream, buffer, in_bulk, .. } = upstream;
        if buffer.is_full() && !buffer.grow(head_limits(&self.parts.proxy.inner).bytes + 1) {
            return Poll::Ready(Err(Failure::BadAnswer(Reason::AnswerTooLarge)));
        }
        let is_first = buffer.is_empty();
        let room = buffer.room();
        // What is spliced afterwards is better not read.
        let most = if *in_bulk && is_first { BULK_HEAD } else { room.len() };
        match stream.poll_read(cx, &mut room[..most]) {
            Poll::Ready(Ok(count @ 1..)) => {
                buffer.fill(count);
                self.has_answered = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(Failure::Closed)),
            Poll::Pending => {
                buffer.release_empty();
                Poll::Pending
            }
        }
    }

    /// Passes interim answers on. `None`: more bytes are needed. Not inlined, as [`Asked::read`](super::asked::Asked::read).
    #[inline(never)]
    fn read_answer(&mut self, upstream: &mut Upstream, backend: BackendId) -> Result<Option<Answer>, Failure> {
        loop {
            let mut room = FieldRoom::new();
            let limits = head_limits(&self.parts.proxy.inner);
            let parsed = AnswerHead::parse(upstream.buffer.filled(), &mut room, &limits);
            let Some(head) = parsed.map_err(Failure::BadAnswer)? else { return Ok(None) };
            let asked = framing::Asked { head: self.asked.is_head, upgrade: self.asked.framing.upgrade };
            let framing = framing::of_answer(&head, &asked).map_err(Failure::BadAnswer)?;
            if framing.switching && !self.has_asked_for(&head) {
                return Err(Failure::BadAnswer(Reason::BadAnswer));
            }
            let answer = self.write_answer(&head, &framing, backend);
            let bytes = head.bytes;
            upstream.buffer.consume(bytes);
            match answer {
                Some(answer) => return Ok(Some(answer)),
                None if self.interim > MOST_INTERIM => return Err(Failure::BadAnswer(Reason::BadAnswer)),
                None if upstream.buffer.is_empty() => return Ok(None),
                None => {}
            }
        }
    }

    /// `None` is an interim one.
    fn write_answer(
        &mut self,
        head: &AnswerHead<'_, '_>,
        framing: &AnswerFraming,
        backend: BackendId,
    ) -> Option<Answer> {
        let inner = &self.parts.proxy.inner;
        let for_client = framing.for_client(self.asked.minor);
        let ends_with_connection = for_client == framing::Body::UntilClose;
        let keeps_client = self.asked.framing.keep_alive
            && self.upload.has_ended()
            && !ends_with_connection
            && !self.parts.worker.is_stopping();
        let mut edits = Vec::new();
        if !framing.interim {
            hooks::show(inner.hooks.as_ref(), head, &mut edits);
        }
        // What edits take away is not to come behind the body.
        let is_unchanged = inner.settings.answer_edits.is_empty() && edits.is_empty();
        let passes_trailers = self.asked.framing.trailers && is_unchanged;
        let cookie = self.cookie(backend).filter(|_| !framing.interim);
        let back = Back {
            edits: &inner.settings.answer_edits,
            more_edits: &edits,
            via: inner.settings.forward.via.as_deref(),
            client_minor: self.asked.minor,
            keep_alive: keeps_client,
            body: for_client,
            trailers: passes_trailers,
            set_cookie: cookie.as_deref(),
        };
        if framing.interim {
            if self.waits_to_go_on() {
                let moved = self.upload.moved + self.lead.sent_bytes();
                // It is for the client to go on: from now.
                self.upload_wait.begin(moved, now());
            }
            self.interim += 1;
            if self.asked.minor > 0 {
                write_answer(head, framing, &back, self.answer_lead.bytes_mut());
            }
            return None;
        }
        // What is left of interim answers is sent first.
        if self.answer_lead.rest().is_empty() {
            self.answer_lead.clear();
        }
        write_answer(head, framing, &back, self.answer_lead.bytes_mut());
        let source = match framing.body {
            framing::Body::None => Source::Length(0),
            framing::Body::Length(length) => Source::Length(length),
            framing::Body::Chunked => Source::Chunked(ChunkReader::new()),
            framing::Body::UntilClose => Source::UntilClose,
        };
        self.download = Body::new(source, for_client == framing::Body::Chunked).with_trailers(passes_trailers);
        Some(Answer {
            status: head.status,
            keeps_upstream: framing.keep_alive,
            keeps_client,
            ends_with_connection,
            is_switching: framing.switching,
        })
    }

    /// Whether the client has named the protocol that the backend changes to (RFC 9110 section 7.8).
    #[cold]
    fn has_asked_for(&self, answer: &AnswerHead<'_, '_>) -> bool {
        let mut room = FieldRoom::new();
        let limits = HeadLimits { bytes: usize::MAX, fields: MOST_FIELDS };
        // A request that asks for another protocol has no body, so that this is its head and nothing else.
        let Ok(Some(request)) = RequestHead::parse(self.lead.bytes(), &mut room, &limits) else { return false };
        let asked =
            |protocol: &[u8]| request.fields.members(Known::Upgrade).any(|other| other.eq_ignore_ascii_case(protocol));
        answer.fields.members(Known::Upgrade).all(asked)
    }

    /// What the client is told of its backend, where it does not know.
    fn cookie(&self, backend: BackendId) -> Option<String> {
        let sticky = self.parts.proxy.inner.settings.sticky.as_ref()?;
        let mut value = String::new();
        if Sticky::is_news(self.asked.pin, backend) {
            sticky.set_cookie(backend, SystemTime::now(), &mut value);
        }
        Some(value).filter(|value| !value.is_empty())
    }

    /// Whether the client waits with its body for the backend to say something (RFC 9110 section 10.1.1).
    fn waits_to_go_on(&self) -> bool {
        self.asked.framing.expects_continue && self.interim == 0 && self.upload.moved == 0
    }

    /// Whether the backend, the client, or the whole take too long, as far as the answer has not begun.
    fn overdue(&mut self) -> Option<Failure> {
        let times = &self.parts.proxy.inner.settings.times;
        let waits_for = match () {
            () if self.upload_stopped || (self.upload.is_done() && self.lead.rest().is_empty()) => {
                WaitsFor::BackendToBegin
            }
            () if self.upload.waits_for_sink() || !self.lead.rest().is_empty() => WaitsFor::BackendToTake,
            () if self.waits_to_go_on() => WaitsFor::BackendToBegin,
            () => WaitsFor::ClientToSay,
        };
        let limits = [self.upload_wait.limit(waits_for, times), pace::whole(self.began, times)];
        let reason = self.parts.overdue(limits)?;
        Some(match waits_for {
            WaitsFor::ClientToSay => Failure::Refused(reason),
            _ => Failure::TimedOut(reason),
        })
    }
}
