//! The life of one request: read, pick, send, retry, answer.

use std::{future::poll_fn, time::Instant};

use lb_core::{Lease, NoPick, Outcome, Request, Tried};

use super::{
    Reason,
    asked::Asked,
    body::{Body, Source},
    buffer::{BUFFER_BYTES, Lead},
    chunked::ChunkReader,
    connection::Parts,
    framing,
    own_answer::OwnAnswer,
    pace::Wait,
    tunnel::Tunnel,
    upstream::Upstream,
};
use crate::driver::now;

/// What becomes of a client's connection after a request.
pub(super) enum Next<T> {
    /// It may have another one.
    Another,
    /// It is closed.
    Close,
    /// It is closed when its client has read what it was sent: it may still be sending.
    Linger,
    /// It is cut: its client is to see that something is missing.
    Cut,
    /// It speaks another protocol with its backend from now on.
    Tunnel(Box<Tunnel<T>>),
}

/// One request with its answer.
pub(super) struct Exchange<'a, T> {
    pub(super) parts: &'a mut Parts<T>,
    pub(super) asked: Asked,
    /// Its head as backends get it, and what of its body was at hand.
    pub(super) lead: Lead,
    /// Its body on the way to the backend.
    pub(super) upload: Body,
    /// The backend takes no more of it.
    pub(super) upload_stopped: bool,
    /// The heads of its answer.
    pub(super) answer_lead: Lead,
    /// An interim answer has gone to the client.
    pub(super) has_begun: bool,
    pub(super) began: Instant,
    pub(super) upload_wait: Wait,
    pub(super) download_wait: Wait,
    tried: Tried,
    attempts: u32,
}

/// Why an attempt has come to no answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// The client has gone.
    ClientGone,
    /// The client breaks the rules, or ours, or is too slow.
    Refused(Reason),
    /// The backend has closed or reset the connection before its answer.
    Closed,
    /// What the backend says is no answer.
    BadAnswer(Reason),
    /// The backend is too slow.
    TimedOut(Reason),
}

/// Serves one request.
pub(super) async fn serve<T: Send + Sync + 'static>(parts: &mut Parts<T>) -> Next<T> {
    let mut lead = Lead::pooled();
    let began = now();
    parts.began = began;
    match poll_fn(|cx| parts.poll_head(cx, &mut lead, began)).await {
        Ok(Some(asked)) => Exchange::new(parts, asked, lead, began).run().await,
        Ok(None) => Next::Close,
        Err(reason) => {
            let mut answer = Lead::pooled();
            OwnAnswer::of(reason).write(&mut answer, false, false);
            if parts.flush(&mut answer).await { Next::Linger } else { Next::Close }
        }
    }
}

impl<'a, T: Send + Sync + 'static> Exchange<'a, T> {
    fn new(parts: &'a mut Parts<T>, asked: Asked, lead: Lead, began: Instant) -> Self {
        parts.input.consume(asked.head_bytes);
        parts.requests = parts.requests.saturating_add(1);
        let upload = match asked.framing.body {
            framing::Body::None | framing::Body::UntilClose => Body::none(),
            framing::Body::Length(length) => Body::new(Source::Length(length), false),
            framing::Body::Chunked => Body::new(Source::Chunked(ChunkReader::new()), true)
                .with_limit(parts.proxy.inner.settings.limits.body_bytes),
        };
        Self {
            parts,
            asked,
            lead,
            upload,
            upload_stopped: false,
            answer_lead: Lead::pooled(),
            has_begun: false,
            began,
            upload_wait: Wait::since(began),
            download_wait: Wait::since(began),
            tried: Tried::default(),
            attempts: 0,
        }
    }

    async fn run(mut self) -> Next<T> {
        if let Err(fault) = self.upload.gather(&mut self.parts.input, &mut self.lead, BUFFER_BYTES) {
            return self.answer_fault(fault).await;
        }
        self.parts.input.release_empty();
        loop {
            let lease = match self.pick() {
                Ok(lease) => lease,
                Err(no_pick) => return self.answer(no_pick_reason(no_pick)).await,
            };
            let (lease, mut upstream) = match self.kept(&lease) {
                Some(upstream) => (lease, upstream),
                None => match Box::pin(self.connect(lease)).await {
                    Ok(connected) => connected,
                    Err(Failure::ClientGone) => return Next::Close,
                    Err(failure) => return self.answer(failure.reason()).await,
                },
            };
            self.attempts += 1;
            match poll_fn(|cx| self.poll_answer(cx, &mut upstream)).await {
                Ok(answer) => return self.relay(lease, upstream, answer).await,
                Err(failure) => {
                    let again = self.may_go_again(failure, &upstream);
                    self.give_up(lease, failure);
                    drop(upstream);
                    match failure {
                        Failure::ClientGone => return Next::Close,
                        _ if again => self.rewind(),
                        _ => return self.answer(failure.reason()).await,
                    }
                }
            }
        }
    }

    /// The backend that is to have it.
    pub(super) fn pick(&mut self) -> Result<Lease<T>, NoPick> {
        let request = Request::new(self.began)
            .with_key(self.asked.key)
            .with_client(self.parts.client_key)
            .with_tried(&self.tried);
        let worker = &self.parts.worker;
        self.parts.proxy.inner.balancer.pick(&request, &mut *worker.rng())
    }

    /// A kept connection to that backend.
    fn kept(&mut self, lease: &Lease<T>) -> Option<Upstream> {
        let careful = !self.asked.is_idempotent;
        self.parts.worker.pool.take(lease.id(), self.began, careful).map(Upstream::from)
    }

    async fn connect(&mut self, lease: Lease<T>) -> Result<(Lease<T>, Upstream), Failure> {
        let connector = std::sync::Arc::clone(&self.parts.proxy.inner.connector);
        match connector.connect(lease.payload()).await {
            Ok(stream) => Ok((lease, Upstream::fresh(stream, now()))),
            Err(_) => Err(Failure::Closed),
        }
    }

    /// Whether a request that has come to no answer is given to a backend once more.
    fn may_go_again(&mut self, failure: Failure, upstream: &Upstream) -> bool {
        let replayable = self.upload.is_in_lead() && !self.has_begun;
        match failure {
            Failure::Closed if !replayable => false,
            Failure::Closed if upstream.is_reused() && self.lead.sent_bytes() == 0 => true,
            Failure::Closed => self.asked.is_idempotent && self.attempts < 2,
            _ => false,
        }
    }

    fn rewind(&mut self) {
        self.lead.rewind();
        self.upload_stopped = false;
    }

    fn give_up(&mut self, lease: Lease<T>, failure: Failure) {
        let outcome = match failure {
            Failure::ClientGone | Failure::Refused(_) => Outcome::Cancelled,
            Failure::Closed | Failure::BadAnswer(_) => Outcome::Broken,
            Failure::TimedOut(_) => Outcome::TimedOut,
        };
        self.finish(lease, outcome, now());
    }

    pub(super) fn finish(&mut self, lease: Lease<T>, outcome: Outcome, now: Instant) {
        lease.finish(outcome, now);
    }

    async fn answer_fault(&mut self, fault: super::body::Fault) -> Next<T> {
        match fault {
            super::body::Fault::Bad(reason) => self.answer(reason).await,
            _ => Next::Close,
        }
    }

    /// Answers by ourselves.
    pub(super) async fn answer(&mut self, reason: Reason) -> Next<T> {
        if self.has_begun && !self.answer_lead.rest().is_empty() {
            return Next::Cut;
        }
        let keep = self.upload.has_ended() && self.asked.framing.keep_alive && reason.status() >= 500;
        let keep = keep && !self.parts.worker.is_stopping();
        self.answer_lead.clear();
        OwnAnswer::of(reason).write(&mut self.answer_lead, self.asked.is_head, keep);
        let sent = self.parts.flush(&mut self.answer_lead).await;
        match (sent, keep) {
            (false, _) => Next::Close,
            (true, true) => Next::Another,
            (true, false) => Next::Linger,
        }
    }
}

impl Failure {
    fn reason(self) -> Reason {
        match self {
            Self::ClientGone | Self::Closed => Reason::BackendClosed,
            Self::Refused(reason) | Self::BadAnswer(reason) | Self::TimedOut(reason) => reason,
        }
    }
}

fn no_pick_reason(no_pick: NoPick) -> Reason {
    match no_pick {
        NoPick::AllFull => Reason::AllFull,
        NoPick::AllTried => Reason::ConnectFailed,
        _ => Reason::NoBackend,
    }
}
