//! The rest of an answer on its way to the client, and of its request, if that is still coming.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use lb_core::{Lease, Outcome};

use super::{
    Reason,
    answer::Answer,
    body::{Body, Fault},
    client::Gone,
    exchange::{Exchange, Next},
    pace::{self, WaitsFor},
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
    pub(super) async fn relay(mut self, mut lease: Lease<T>, mut upstream: Upstream, answer: Answer) -> Next<T> {
        let answered = now();
        lease.answered(answered);
        self.download_wait.begin(0, answered);
        let Answer { status, mut body, keeps_upstream, keeps_client, ends_with_connection, is_switching } = answer;
        let most = self.answer_lead.len() + SMALL;
        let gathered =
            if is_switching { Ok(()) } else { body.gather(&mut upstream.buffer, &mut self.answer_lead, most) };
        let relayed = match gathered {
            Ok(()) if is_switching => return self.tunnel(lease, upstream).await,
            Ok(()) => poll_fn(|cx| self.poll_relay(cx, &mut upstream, &mut body)).await,
            Err(fault) => Err(Cut::of(&fault)),
        };
        let outcome = match relayed {
            Ok(()) if status >= 500 => Outcome::ServerError,
            Ok(()) | Err(Cut::Backend(_)) => Outcome::Success,
            Err(Cut::Client(_)) => Outcome::Cancelled,
        };
        lease.add_bytes(self.upload.moved, body.moved);
        let done = relayed.is_ok() && self.upload.is_done() && self.lead.rest().is_empty();
        if done && keeps_upstream && !self.upload_stopped {
            let worker = &self.parts.worker;
            upstream.keep(lease.id(), &worker.pool, answered, &self.parts.proxy.inner.settings.keep);
        }
        self.finish(lease, outcome, answered);
        match relayed {
            Ok(()) if keeps_client => Next::Another,
            Ok(()) if self.upload.has_ended() => Next::Close,
            Ok(()) => Next::Linger,
            // Without a length or chunks an orderly end would look like the end of the body.
            Err(Cut::Backend(_)) if ends_with_connection => Next::Cut,
            Err(_) => Next::Close,
        }
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, upstream: &mut Upstream, body: &mut Body) -> Poll<Result<(), Cut>> {
        if self.poll_upload(cx, upstream).is_err() {
            // The client has broken off its request, or breaks the rules. What its answer says is whole all the same, if
            // that is said soon: the rest of the request is not asked for any more.
            self.upload_stopped = true;
        }
        let Self { parts, answer_lead, .. } = self;
        let from = (&mut upstream.stream, &mut upstream.buffer);
        match body.poll(cx, from, (&mut parts.socket, answer_lead), 0) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(Cut::of(&fault))),
            Poll::Pending => {}
        }
        self.download_wait.note(body.moved + self.answer_lead.sent_bytes(), now);
        if self.upload.is_done() && matches!(self.parts.socket.poll_gone(cx), Poll::Ready(Gone::Reset)) {
            return Poll::Ready(Err(Cut::Client(Reason::ClientGone)));
        }
        match self.is_late(body) {
            Some(cut) => Poll::Ready(Err(cut)),
            None => Poll::Pending,
        }
    }

    fn is_late(&mut self, body: &Body) -> Option<Cut> {
        let times = &self.parts.proxy.inner.settings.times;
        let to_client = body.waits_for_sink() || !self.answer_lead.rest().is_empty();
        let waits_for = if to_client { WaitsFor::ClientToTake } else { WaitsFor::BackendToSay };
        let limits = [self.download_wait.limit(waits_for, times), pace::whole(self.began, times)];
        let reason = self.parts.overdue(limits)?;
        Some(match reason {
            Reason::ClientStalled => Cut::Client(reason),
            _ => Cut::Backend(reason),
        })
    }

    /// From here on it is another protocol: what came behind the head of the answer goes out with it.
    async fn tunnel(mut self, lease: Lease<T>, mut upstream: Upstream) -> Next<T> {
        self.answer_lead.bytes_mut().extend_from_slice(upstream.buffer.filled());
        upstream.buffer.release();
        if !self.parts.flush(&mut self.answer_lead).await {
            self.finish(lease, Outcome::Cancelled, now());
            return Next::Close;
        }
        Next::Tunnel(Box::new(Tunnel::new(upstream.stream, lease)))
    }
}

impl Cut {
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Source(_) => Self::Backend(Reason::AnswerCut),
            Fault::Bad(_) => Self::Backend(Reason::BadAnswer),
            Fault::Sink(_) => Self::Client(Reason::ClientGone),
        }
    }
}
