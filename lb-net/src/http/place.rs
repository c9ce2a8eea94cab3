//! A place at a backend for a request: picked at once, or waited for in line.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Instant,
};

use lb_core::{Lease, NoPick, Request, Tried};

use super::{
    Reason,
    exchange::{Exchange, Failure},
    pace,
    sticky::Sticky,
    upstream::Upstream,
    waiting::{Arrival, Needs, Waiter},
};
use crate::{
    connect::race::{self, Contest, Track},
    driver::now,
    observe::NoConnection,
};

impl<T: Send + Sync + 'static> Exchange<'_, T> {
    /// A place at a backend, as soon as there is one.
    pub(super) async fn place(&mut self) -> Result<Lease<T>, Failure> {
        let waiting = &self.parts.proxy.inner.common.waiting;
        let arrival = waiting.arrive(Needs::arriving(self.pin()));
        if arrival.may_try() {
            match self.pick() {
                Ok(lease) => return Ok(lease),
                Err(no_pick) if !self.is_worth_waiting(no_pick) => return Err(self.no_place(no_pick)),
                Err(_) => {}
            }
        }
        Box::pin(self.wait_in_line(arrival)).await
    }

    /// The backend that is to have it, by its cookie or by its selector.
    fn pick(&mut self) -> Result<Lease<T>, NoPick> {
        let picked = self.pick_pinned();
        // Once is enough: who is in waits its turn and tries another one.
        self.is_admitted |= !matches!(picked, Err(NoPick::Recovering));
        match picked {
            // Where the client was before it can be no more: any other will do, and is where it is from now on.
            Err(no_pick) if self.asked.pin.is_some() && Sticky::is_lost(no_pick) => {
                self.asked.pin = None;
                self.pick_pinned()
            }
            picked => picked,
        }
    }

    fn pick_pinned(&self) -> Result<Lease<T>, NoPick> {
        let (inner, worker) = (&self.parts.proxy.inner, &self.parts.worker);
        if let Some(avoided) = self.avoid {
            let mut tried = self.tried.clone();
            tried.insert(avoided);
            let picked = inner.balancer.pick(&self.request().with_tried(&tried), &mut worker.rng());
            if picked.is_ok() {
                return picked;
            }
        }
        inner.balancer.pick(&self.request(), &mut worker.rng())
    }

    fn request(&self) -> Request<'_> {
        let request = Request::new(self.picked_at)
            .with_key(self.asked.key)
            .with_client(self.parts.somebody())
            .with_tried(&self.tried);
        let request = if self.is_admitted { request.admitted_before() } else { request };
        match self.pin() {
            Some(pin) => request.with_pin(pin),
            None => request,
        }
    }

    fn pin(&self) -> Option<lb_core::BackendId> {
        self.asked.pin.map(|pin| pin.backend)
    }

    fn is_worth_waiting(&self, no_pick: NoPick) -> bool {
        matches!(no_pick, NoPick::AllFull | NoPick::OwnerUnavailable) && self.needs().is_some()
    }

    fn needs(&self) -> Option<Needs> {
        Needs::after(self.parts.proxy.inner.balancer.wait_for(&self.request()))
    }

    fn no_place(&self, no_pick: NoPick) -> Failure {
        self.tell_of(NoConnection::NoPick(no_pick));
        Failure::NoPlace(match no_pick {
            NoPick::AllFull => Reason::AllFull,
            NoPick::Recovering => Reason::Recovering,
            // It has been to all that there are: what has come of that says more.
            no_pick => self.last_failure.unwrap_or(match no_pick {
                NoPick::Declined => Reason::BackendsDecline,
                NoPick::Maintenance => Reason::Maintenance,
                _ => Reason::NoBackend,
            }),
        })
    }

    pub(super) fn tell_of(&self, reason: NoConnection) {
        if let Some(observer) = &self.parts.proxy.inner.observer {
            observer.no_backend(self.parts.client, reason);
        }
    }

    /// Waits for a place, in the order of arrival, for as long as requests may, and as long as the client is there.
    async fn wait_in_line(&mut self, arrival: Arrival) -> Result<Lease<T>, Failure> {
        let (began, length) = (now(), self.parts.proxy.inner.settings.queue.length as usize);
        let needs = self.needs().unwrap_or(Needs::Any);
        let (until, reason) = self.line_limit(began);
        let joined = self.parts.proxy.inner.common.waiting.join(arrival, needs, length, until);
        let Ok(mut waiter) = joined else {
            return match self.lose_pin() {
                true => self.pick().map_err(|no_pick| self.no_place(no_pick)),
                false => Err(self.no_place(NoPick::AllFull)),
            };
        };
        // Nobody else would notice that the client leaves.
        let _ = self.parts.socket.register();
        self.parts.worker.begins_to_wait(&self.parts.proxy.inner.common.waiting);
        let placed = self.wait_for_turn(&mut waiter, reason).await;
        self.parts.worker.books.count(super::Cells::waited);
        self.story.queued = now().saturating_duration_since(began);
        match placed {
            Ok(lease) => {
                waiter.served(lease.id());
                Ok(lease)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A pinned backend that was full for too long is not waited for any more.
    fn lose_pin(&mut self) -> bool {
        self.asked.pin.take().is_some()
    }

    /// Until when it may be in line, and what it is called when that is over.
    fn line_limit(&self, began: Instant) -> (Instant, Reason) {
        let settings = &self.parts.proxy.inner.settings;
        let own = (pace::after(began, settings.queue.time), Reason::QueueTimeout);
        pace::whole(self.began, &settings.times).filter(|(until, _)| *until < own.0).unwrap_or(own)
    }

    /// `limit`: what is over when its time is.
    async fn wait_for_turn(&mut self, waiter: &mut Waiter, limit: Reason) -> Result<Lease<T>, Failure> {
        loop {
            let turn = poll_fn(|cx| {
                if let Poll::Ready(turn) = waiter.poll_turn(cx) {
                    return Poll::Ready(Ok(turn));
                }
                match self.parts.poll_gone(cx) {
                    // Who has closed while waiting is not served; whoever ends its direction alone is rare.
                    Poll::Ready(_) => Poll::Ready(Err(Failure::ClientGone)),
                    Poll::Pending => Poll::Pending,
                }
            });
            self.picked_at = match turn.await? {
                Ok(()) => now(),
                Err(_) if limit == Reason::QueueTimeout && self.lose_pin() => {
                    return self.pick().map_err(|_| Failure::NoPlace(limit));
                }
                Err(_) => {
                    self.tell_of(NoConnection::NoPick(NoPick::AllFull));
                    return Err(Failure::NoPlace(limit));
                }
            };
            match self.pick() {
                Ok(lease) => return Ok(lease),
                Err(no_pick) => match self.needs().filter(|_| self.is_worth_waiting(no_pick)) {
                    Some(needs) => waiter.failed(needs),
                    None => return Err(self.no_place(no_pick)),
                },
            }
        }
    }

    /// A connection to that backend, or, if it gives none, to another one.
    pub(super) async fn connect(&mut self, lease: Lease<T>) -> Result<(Lease<T>, Upstream), Failure> {
        let began = now();
        // Nobody else would notice that the client leaves; without it there is no less to do.
        let _ = self.parts.socket.register();
        let inner = Arc::clone(&self.parts.proxy.inner);
        let times = &inner.settings.times;
        let track = Track {
            connector: &inner.connector,
            race: &inner.common.race,
            timeout: times.connect,
            silence: times.race,
            observer: inner.observer.as_ref(),
            client: self.parts.client,
        };
        let mut tried = std::mem::take(&mut self.tried);
        let alarms = Arc::clone(&self.parts.worker.alarms);
        let mut running = Running { exchange: self, late: None };
        let connected = race::connect(track, &mut running, Some(lease), &mut tried, alarms).await;
        let late = running.late;
        self.tried = tried;
        let connected_at = now();
        self.story.connect += connected_at.saturating_duration_since(began);
        match connected {
            Ok((stream, lease)) => {
                self.tried.remove(lease.id());
                Ok((lease, Upstream::fresh(stream, connected_at)))
            }
            Err(NoConnection::ClientGone) => Err(late.map_or(Failure::ClientGone, Failure::TimedOut)),
            Err(NoConnection::Shortage) => Err(Failure::NoPlace(Reason::Shortage)),
            Err(NoConnection::NoPick(no_pick)) => {
                self.tell_of(NoConnection::NoPick(no_pick));
                let slow = connected_at.saturating_duration_since(began) >= times.connect;
                Err(Failure::NoPlace(if slow { Reason::ConnectTimeout } else { Reason::ConnectFailed }))
            }
        }
    }
}

/// A request on the way to a connection.
struct Running<'e, 'a, T> {
    exchange: &'e mut Exchange<'a, T>,
    /// What is over: nobody waits for a connection any more.
    late: Option<Reason>,
}

impl<T: Send + Sync + 'static> Contest<T> for Running<'_, '_, T> {
    fn pick(&mut self, tried: &Tried) -> Result<Lease<T>, NoPick> {
        let exchange = &mut *self.exchange;
        let (inner, worker) = (&exchange.parts.proxy.inner, &exchange.parts.worker);
        let client = exchange.parts.somebody();
        let request = Request::new(now()).with_key(exchange.asked.key).with_client(client).with_tried(tried);
        inner.balancer.pick(&request, &mut worker.rng())
    }

    fn gone(&mut self) -> impl Future<Output = ()> + Send {
        poll_fn(|cx| {
            let (parts, began) = (&mut *self.exchange.parts, self.exchange.began);
            if parts.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            let whole = pace::whole(began, &parts.proxy.inner.settings.times);
            self.late = parts.overdue([whole, None]);
            if self.late.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}
