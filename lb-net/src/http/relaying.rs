//! The rest of an answer on its way to the client, and of its request, if that is still coming.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use lb_core::{Lease, Outcome};

use super::{
    Reason,
    answer::Answer,
    body::Fault,
    exchange::{Exchange, Failure, Next},
    pace::{self, WaitsFor},
    story::End,
    tunnel::Tunnel,
    upstream::Upstream,
};
use crate::driver::now;

/// So much of an answer's body goes out in one piece with its head: two pieces are more work.
const SMALL: usize = 8 * 1024;

/// Why an answer did not arrive whole.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The client has gone, or takes nothing.
    Client(Reason),
    /// The backend has broken off, or is too slow.
    Backend(Reason),
}

impl<T: Send + Sync + 'static> Exchange<'_, T> {
    /// Ends the request: its answer has begun.
    pub(super) async fn relay(&mut self, mut lease: Lease<T>, mut upstream: Upstream, answer: Answer) -> Next<T> {
        let answered = now();
        lease.answered(answered);
        if answer.status < 500 {
            lease.went_well();
        }
        self.story.answered(self.began, answered);
        self.download_wait.begin(0, answered);
        if answer.is_switching {
            return Box::pin(self.tunnel(lease, upstream)).await;
        }
        let begun = self.download.gather(&mut upstream.buffer, &mut self.answer_lead, SMALL);
        let begun = begun.map_err(|fault| Cut::of(&fault));
        if let (Err(cut), 0) = (begun, self.answer_lead.sent_bytes()) {
            return self.refuse_answer(lease, upstream, cut.reason()).await;
        }
        // Without a length or chunks an orderly end would look like the end of the body.
        self.parts.resets_when_dropped = answer.ends_with_connection;
        let mut polls = 0_u32;
        let relayed = poll_fn(|cx| {
            polls += 1;
            self.poll_relay(cx, &mut upstream)
        });
        let relayed = if begun.is_ok() { relayed.await } else { begun };
        self.parts.resets_when_dropped &= relayed.is_err();
        let Answer { status, keeps_upstream, keeps_client, .. } = answer;
        // One that is done at once has not taken any time.
        let ended = if polls == 1 { answered } else { now() };
        let is_whole = relayed.is_ok() && self.upload.is_done() && self.lead.rest().is_empty();
        lease.add_bytes(self.upload.moved, self.download.moved);
        upstream.in_bulk = self.download.was_in_bulk();
        if is_whole && keeps_upstream && !self.upload_stopped {
            let worker = &self.parts.worker;
            upstream.keep(lease.id(), &worker.pool, ended, &self.parts.proxy.inner.settings.keep);
        } else {
            drop(upstream);
        }
        let reason = relayed.err().map(Cut::reason);
        if let Err(Cut::Backend(reason)) = relayed {
            self.tell_no_answer(&lease, reason);
        }
        let (cut, request_bytes, answer_bytes) = (relayed.is_err(), self.upload.moved, self.download.moved);
        self.tell(Some(lease.name()), End { status, reason, cut, request_bytes, answer_bytes }, ended);
        let outcome = match relayed {
            Ok(()) if status >= 500 => Outcome::ServerError,
            Ok(()) | Err(Cut::Backend(_)) => Outcome::Success,
            Err(Cut::Client(_)) => Outcome::Cancelled,
        };
        self.finish(lease, outcome, ended);
        match relayed {
            Ok(()) if keeps_client => Next::Another,
            Ok(()) if !self.upload_goes_on && self.parts.input.is_empty() => Next::Close,
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        }
    }

    /// What came with the head is no body, and the client has seen nothing of it yet.
    #[cold]
    async fn refuse_answer(&mut self, lease: Lease<T>, upstream: Upstream, reason: Reason) -> Next<T> {
        drop(upstream);
        self.answer_lead.clear();
        self.give_up(lease, Failure::BadAnswer(reason));
        self.refuse(reason).await
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream) -> Poll<Result<(), Cut>> {
        if self.poll_upload(cx, upstream).is_err() {
            // The client has broken off its request, or breaks the rules. What its answer says is whole all the same, if
            // that is said soon: the rest of the request is not asked for any more.
            self.upload_stopped = true;
        }
        let Self { parts, answer_lead, download: body, .. } = self;
        let most = if body.moved == 0 { SMALL } else { 0 };
        if let Err(fault) = body.gather(&mut upstream.buffer, answer_lead, most) {
            return Poll::Ready(Err(Cut::of(&fault)));
        }
        let from = (&mut upstream.stream, &mut upstream.buffer);
        match body.poll(cx, from, (&mut parts.socket, answer_lead), 0) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(Cut::of(&fault))),
            Poll::Pending => {}
        }
        self.download_wait.note(self.download.moved + self.answer_lead.sent_bytes(), now);
        if let Some(cut) = self.is_late() {
            return Poll::Ready(Err(cut));
        }
        // Behind it, as it may just have had the client's socket registered.
        if self.upload.is_done() && self.parts.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut::Client(Reason::ClientGone)));
        }
        Poll::Pending
    }

    fn is_late(&mut self) -> Option<Cut> {
        let times = &self.parts.proxy.inner.settings.times;
        let to_client = self.download.waits_for_sink() || !self.answer_lead.rest().is_empty();
        let waits_for = if to_client { WaitsFor::ClientToTake } else { WaitsFor::BackendToSay };
        let limits = [self.download_wait.limit(waits_for, times), pace::whole(self.began, times)];
        let reason = self.parts.overdue(limits)?;
        Some(if to_client { Cut::Client(reason) } else { Cut::Backend(reason) })
    }

    /// From here on it is another protocol: what came behind the head of the answer goes out with it.
    async fn tunnel(&mut self, lease: Lease<T>, mut upstream: Upstream) -> Next<T> {
        self.answer_lead.bytes_mut().extend_from_slice(upstream.buffer.filled());
        upstream.buffer.release();
        if !self.parts.flush(&mut self.answer_lead).await {
            let reason = Some(Reason::ClientGone);
            self.tell(
                Some(lease.name()),
                End { status: 0, reason, cut: false, request_bytes: 0, answer_bytes: 0 },
                now(),
            );
            self.finish(lease, Outcome::Cancelled, now());
            return Next::Close;
        }
        Next::Tunnel(Box::new(Tunnel::new(upstream.stream, lease, self.story.take(), self.began)))
    }
}

impl Cut {
    fn reason(self) -> Reason {
        match self {
            Self::Client(reason) | Self::Backend(reason) => reason,
        }
    }

    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Source => Self::Backend(Reason::AnswerCut),
            Fault::Bad(_) => Self::Backend(Reason::BadAnswer),
            Fault::Sink => Self::Client(Reason::ClientGone),
        }
    }
}
