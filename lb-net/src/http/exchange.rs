//! The life of one request: read, pick, send, retry, answer.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use lb_core::{BackendId, Lease, Outcome, Tried};
use tokio::time::sleep;

use super::{
    Cells, OwnAnswer, Reason, Record,
    asked::Asked,
    body::{Body, Fault, Source},
    buffer::{BUFFER_BYTES, Lead},
    message::{chunked::ChunkReader, framing},
    pace::{self, Wait},
    parts::Parts,
    retry::{Attempted, Reached, Verdict},
    story::{End, Story},
    tunnel::Tunnel,
    upstream::Upstream,
};
use crate::{driver::now, observe::NoConnection};

/// After so long there may be descriptors again.
const REST: Duration = Duration::from_millis(20);

/// What becomes of a client's connection after a request.
pub(super) enum Next<T> {
    /// It may have another one.
    Another,
    /// It is closed.
    Close,
    /// It is closed when its client has read what it was sent: it may still be sending.
    Linger,
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
    /// Some of it was not there with its head: who knows what comes behind it.
    pub(super) upload_goes_on: bool,
    /// The backend takes no more of it.
    pub(super) upload_stopped: bool,
    /// The body of its answer on the way to the client, from when its head is here.
    pub(super) download: Body,
    /// The heads of its answer.
    pub(super) answer_lead: Lead,
    /// Interim answers that have gone to the client.
    pub(super) interim: u32,
    /// A byte of an answer was read in this attempt.
    pub(super) has_answered: bool,
    pub(super) began: Instant,
    /// When the backend was picked: the begin, if it did not have to wait.
    pub(super) picked_at: Instant,
    pub(super) upload_wait: Wait,
    pub(super) download_wait: Wait,
    /// Backends that could not be connected to.
    pub(super) tried: Tried,
    /// The one that an attempt has failed at after its connect: others come first.
    pub(super) avoid: Option<BackendId>,
    /// Attempts that a backend may have begun with.
    begun: u32,
    /// What has come of the last attempt.
    pub(super) last_failure: Option<Reason>,
    /// It has been let in where that is not for all: it may wait, and try again.
    pub(super) is_admitted: bool,
    pub(super) story: Story,
}

/// Why an attempt has come to no answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// The client has gone.
    ClientGone,
    /// The client breaks the rules, or ours, or is too slow.
    Refused(Reason),
    /// There is no backend for it.
    NoPlace(Reason),
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
        Ok(Some(asked)) => {
            parts.worker.books.count(Cells::began);
            let mut exchange = Exchange::new(parts, asked, lead, began);
            let next = exchange.run().await;
            exchange.step_over(next)
        }
        Ok(None) => Next::Close,
        Err(reason) => refuse(parts, reason, began).await,
    }
}

/// Answers what is no request.
#[cold]
async fn refuse<T: Send + Sync + 'static>(parts: &mut Parts<T>, reason: Reason, began: Instant) -> Next<T> {
    let (mut lead, answer) = (Lead::pooled(), OwnAnswer::of(reason));
    parts.asks(parts.introduced);
    let is_head = parts.input.filled().starts_with(b"HEAD ");
    answer.write(&mut lead, is_head, 1, false);
    let sent = parts.flush(&mut lead).await;
    let (status, answer_bytes) = (if sent { reason.status() } else { 0 }, answer.body_bytes(is_head) as u64);
    let end = End { status, reason: Some(reason), cut: false, request_bytes: 0, answer_bytes };
    parts.worker.books.count(Cells::began);
    let line = parts.input.filled().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let line = line.get(..line.len().min(256)).unwrap_or_default().to_vec();
    let story = Story::new(1);
    let mut record = story.record(None, end, Record::new(parts.client, std::time::SystemTime::UNIX_EPOCH));
    record.target = &line;
    parts.tell(&mut record, began, now());
    if sent { Next::Linger } else { Next::Close }
}

impl<'a, T: Send + Sync + 'static> Exchange<'a, T> {
    fn new(parts: &'a mut Parts<T>, mut asked: Asked, lead: Lead, began: Instant) -> Self {
        parts.input.consume(asked.head_bytes);
        parts.requests = parts.requests.saturating_add(1);
        let upload = match asked.framing.body {
            framing::Body::None | framing::Body::UntilClose => Body::none(),
            framing::Body::Length(length) => Body::new(Source::Length(length), false),
            framing::Body::Chunked => Body::new(Source::Chunked(ChunkReader::new()), true)
                .with_limit(parts.proxy.inner.settings.limits.body_bytes)
                .with_trailers(asked.passes_trailers),
        };
        let story = Story::new(asked.minor).with_text(asked.text.take());
        Self {
            parts,
            asked,
            lead,
            upload,
            upload_goes_on: false,
            upload_stopped: false,
            download: Body::none(),
            answer_lead: Lead::pooled(),
            interim: 0,
            has_answered: false,
            began,
            picked_at: began,
            upload_wait: Wait::since(began),
            download_wait: Wait::since(began),
            tried: Tried::default(),
            avoid: None,
            begun: 0,
            last_failure: None,
            is_admitted: false,
            story,
        }
    }

    /// Whatever has become of its body: the next request begins behind it, or there is none.
    fn step_over(&mut self, next: Next<T>) -> Next<T> {
        let is_behind = self.upload.drop_rest(&mut self.parts.input);
        if is_behind || !matches!(next, Next::Another) { next } else { Next::Linger }
    }

    async fn run(&mut self) -> Next<T> {
        if let Err(fault) = self.upload.gather(&mut self.parts.input, &mut self.lead, BUFFER_BYTES) {
            return match fault {
                Fault::Bad(reason) => self.refuse(reason).await,
                _ => self.leave(),
            };
        }
        self.upload_goes_on = !self.upload.has_ended();
        self.parts.input.release_empty();
        if let Some(answer) = self.asked.answer.take() {
            return self.answer(&answer).await;
        }
        loop {
            let (lease, mut upstream) = match self.upstream().await {
                Ok(upstream) => upstream,
                Err(Failure::ClientGone) => return self.leave(),
                Err(failure) => return self.refuse(failure.reason()).await,
            };
            (self.story.attempts, self.story.reused) = (self.story.attempts + 1, upstream.is_reused());
            let failure = match poll_fn(|cx| self.poll_answer(cx, &mut upstream, lease.id())).await {
                Ok(answer) => return self.relay(lease, upstream, answer).await,
                Err(failure) => failure,
            };
            let goes_again = self.goes_again(failure, &upstream);
            drop(upstream);
            self.give_up(lease, failure);
            match failure {
                Failure::ClientGone => return self.leave(),
                _ if goes_again => {}
                _ => return self.refuse(failure.reason()).await,
            }
        }
    }

    /// A backend, and a connection to it: a kept one, or a fresh one.
    async fn upstream(&mut self) -> Result<(Lease<T>, Upstream), Failure> {
        let mut short_since = None;
        loop {
            let lease = self.place().await?;
            // Of what must not be done twice the connection is looked at right before.
            let careful = !self.asked.is_idempotent;
            let kept = match self.begun {
                0 => self.parts.worker.pool.take(lease.id(), self.picked_at, careful),
                // There is no third attempt: the others that are kept may end as the first one has.
                _ => None,
            };
            let upstream = match kept {
                Some(kept) => Ok((lease, Upstream::from(kept))),
                None => Box::pin(self.connect(lease)).await,
            };
            match upstream {
                Err(Failure::NoPlace(Reason::Shortage)) if Box::pin(self.outlasts(&mut short_since)).await => {}
                upstream => return upstream,
            }
        }
    }

    /// Waits a moment when there was no descriptor for a connection: kept ones are given up for it, and others end.
    /// Whether it is worth another try.
    #[cold]
    async fn outlasts(&mut self, short_since: &mut Option<Instant>) -> bool {
        self.parts.worker.run_short();
        let (now, times) = (now(), &self.parts.proxy.inner.settings.times);
        let until = pace::after(*short_since.get_or_insert(now), times.connect);
        let whole = pace::whole(self.began, times);
        if now >= whole.map_or(until, |(whole, _)| whole.min(until)) {
            self.tell_of(NoConnection::Shortage);
            return false;
        }
        // It is nobody's fault that they could not be connected to.
        self.tried = Tried::default();
        sleep(REST).await;
        true
    }

    /// Whether a request that has come to no answer goes to a backend once more; then it is ready to.
    #[cold]
    fn goes_again(&mut self, failure: Failure, upstream: &Upstream) -> bool {
        if !matches!(failure, Failure::Closed) {
            return false;
        }
        let reached = match () {
            () if self.has_answered => Reached::Answer,
            () if self.interim > 0 => Reached::Interim,
            () if upstream.is_reused() && self.lead.sent_bytes() == 0 && self.upload.is_in_lead() => Reached::Closed,
            () => {
                self.begun += 1;
                Reached::Backend
            }
        };
        let attempted = Attempted {
            is_idempotent: self.asked.is_idempotent,
            has_key: self.asked.has_key,
            reached,
            begun: self.begun,
            is_whole: self.upload.is_in_lead(),
        };
        let may = match attempted.verdict() {
            Verdict::Never => false,
            Verdict::Free => true,
            Verdict::FromBudget => {
                let inner = &self.parts.proxy.inner;
                let may = inner.common.may_retry(inner.settings.retry, now());
                if !may {
                    self.parts.worker.books.count(Cells::retry_denied);
                }
                may
            }
        };
        if may {
            self.lead.rewind();
            (self.upload_stopped, self.picked_at) = (false, now());
            self.upload_wait = Wait::since(self.picked_at);
        }
        may
    }

    /// Ends an attempt that has come to nothing.
    pub(super) fn give_up(&mut self, lease: Lease<T>, failure: Failure) {
        let outcome = match failure {
            Failure::ClientGone | Failure::Refused(_) | Failure::NoPlace(_) => Outcome::Cancelled,
            // What nobody has seen says nothing about the backend: it has closed a connection that was idle.
            Failure::Closed if self.begun == 0 && !self.has_answered && self.interim == 0 => Outcome::Cancelled,
            Failure::Closed | Failure::BadAnswer(_) => Outcome::Broken,
            Failure::TimedOut(_) => Outcome::TimedOut,
        };
        self.story.failed(&lease);
        self.last_failure = Some(failure.reason());
        if outcome != Outcome::Cancelled {
            self.avoid = Some(lease.id());
            self.tell_no_answer(&lease, failure.reason());
        }
        self.finish(lease, outcome, now());
    }

    #[cold]
    pub(super) fn tell_no_answer(&self, lease: &Lease<T>, reason: Reason) {
        if let Some(observer) = &self.parts.proxy.inner.observer {
            observer.no_answer(self.parts.client, lease.name(), reason.name());
        }
    }

    /// Gives the place back; somebody may wait for it.
    pub(super) fn finish(&self, lease: Lease<T>, outcome: Outcome, now: Instant) {
        let backend = lease.id();
        lease.finish(outcome, now);
        self.parts.proxy.inner.common.waiting.freed(backend);
    }

    /// Answers by ourselves, with the reason.
    pub(super) async fn refuse(&mut self, reason: Reason) -> Next<T> {
        let answer = match reason.status() {
            503 => OwnAnswer::unavailable(reason, &self.parts.proxy.inner.settings, &mut self.parts.worker.rng()),
            _ => OwnAnswer::of(reason),
        };
        self.answer(&answer).await
    }

    #[cold]
    async fn answer(&mut self, answer: &OwnAnswer) -> Next<T> {
        let is_whole = self.upload.has_ended() && !self.parts.worker.is_stopping();
        let keep = is_whole && self.asked.framing.keep_alive;
        if self.answer_lead.rest().is_empty() {
            self.answer_lead.clear();
        }
        answer.write(&mut self.answer_lead, self.asked.is_head, self.asked.minor, keep);
        let begun = self.parts.flush(&mut self.answer_lead).await;
        let sent = begun && self.send_rest(answer).await;
        let answer_bytes = answer.body_bytes(self.asked.is_head) as u64;
        let (status, cut) = (if begun { answer.status() } else { 0 }, begun && !sent);
        let end = End { status, reason: answer.reason(), cut, request_bytes: self.upload.moved, answer_bytes };
        self.tell(None, end, now());
        match (sent, keep) {
            (false, _) => Next::Close,
            (true, true) => Next::Another,
            (true, false) => Next::Linger,
        }
    }

    /// What of a long answer is left; whether the client takes it.
    async fn send_rest(&mut self, answer: &OwnAnswer) -> bool {
        for piece in answer.rest(self.asked.is_head) {
            self.answer_lead.clear();
            self.answer_lead.bytes_mut().extend_from_slice(piece);
            if !self.parts.flush(&mut self.answer_lead).await {
                return false;
            }
        }
        true
    }

    /// Nobody is there to be answered.
    fn leave(&mut self) -> Next<T> {
        let (reason, request_bytes) = (Some(Reason::ClientGone), self.upload.moved);
        self.tell(None, End { status: 0, reason, cut: false, request_bytes, answer_bytes: 0 }, now());
        Next::Close
    }

    /// Whoever wants to know is told how it ended.
    pub(super) fn tell(&mut self, backend: Option<&str>, end: End, ended: Instant) {
        let record = Record::new(self.parts.client, std::time::SystemTime::UNIX_EPOCH);
        self.parts.tell(&mut self.story.record(backend, end, record), self.began, ended);
    }
}

impl Failure {
    fn reason(self) -> Reason {
        match self {
            Self::ClientGone => Reason::ClientGone,
            Self::Closed => Reason::BackendClosed,
            Self::Refused(reason) | Self::NoPlace(reason) | Self::BadAnswer(reason) | Self::TimedOut(reason) => reason,
        }
    }
}
