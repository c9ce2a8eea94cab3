//! What a connection has for as long as it lives: its socket, what it has sent, who asks, and until when.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::{
    Cells, Reason, Record,
    buffer::{Buffer, Lead},
    client::{ClientSocket, Gone},
    introduced, pace,
    worker::{self, Known},
};
use crate::{
    deadline::{Deadline, TICK},
    driver::now,
};

/// How long a client that is told to go may take to notice, and what it may say meanwhile.
const LINGER_TIME: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// What it shares with the others of its listener.
pub(super) type Worker<T> = worker::Worker<T, Parts<T>>;

/// What a connection has for as long as it lives.
pub(super) struct Parts<T> {
    pub(super) worker: Arc<Worker<T>>,
    pub(super) proxy: Known<T>,
    pub(super) socket: ClientSocket,
    /// Who is connected.
    pub(super) peer: SocketAddr,
    /// The peer, or whom it has introduced (PROXY protocol).
    pub(super) introduced: SocketAddr,
    /// Who asks: that one, or whom trusted proxies name.
    pub(super) client: SocketAddr,
    /// Its key.
    pub(super) client_key: u64,
    /// What it has sent and we have not used.
    pub(super) input: Buffer,
    pub(super) deadline: Deadline,
    /// Until when it may be idle; before its first request, until when that must be here, or who asks be known.
    pub(super) idle_until: Instant,
    /// When its request began; before the first one, the connection.
    pub(super) began: Instant,
    /// Bytes of a head that were not enough.
    pub(super) seen: usize,
    pub(super) requests: u32,
    /// An answer is under way whose end the client knows by the end of the connection: any other end is to look different.
    pub(super) resets_when_dropped: bool,
    /// A proxy in front of us has still to say who asks.
    pub(super) awaits_introduction: bool,
}

impl<T: Send + Sync + 'static> Parts<T> {
    pub(super) fn new(worker: &Arc<Worker<T>>, socket: std::net::TcpStream, peer: SocketAddr) -> Self {
        let proxy = worker.known();
        let began = now();
        worker.books.count(Cells::accepted);
        if let Some(observer) = &proxy.inner.observer {
            observer.accepted(peer);
        }
        let introduces = introduced::expected(&proxy.inner, peer);
        let (awaits_introduction, head_time) = (introduces.is_some(), proxy.inner.settings.times.head);
        let time = introduces.map_or(head_time, |accept| accept.timeout.min(head_time));
        Self {
            worker: Arc::clone(worker),
            proxy,
            socket: ClientSocket::new(socket),
            peer,
            introduced: peer,
            client: peer,
            client_key: lb_core::key::of_address(peer.ip()),
            input: Buffer::default(),
            deadline: Deadline::new(&worker.sweep),
            idle_until: pace::after(began, time),
            began,
            seen: 0,
            requests: 0,
            resets_when_dropped: false,
            awaits_introduction,
        }
    }

    /// Ready when bytes of a request are here, or (`false`) when the connection is over.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.deadline.watch(cx.waker());
        if !self.input.is_empty() {
            return Poll::Ready(true);
        }
        if self.requests > 0 {
            // The next request is seldom here at once: to look before it is waited for would be in vain. Of what is here by
            // now the reactor tells. If it cannot take the socket, that shows when it is read from.
            let _ = self.socket.register();
        }
        if let Poll::Ready(alive) = self.poll_bytes(cx) {
            self.refresh();
            return Poll::Ready(alive);
        }
        // Clients without a connection come before those without a request.
        if self.requests > 0 && self.proxy.inner.common.room.is_one_to_leave() {
            return Poll::Ready(false);
        }
        let until = self.worker.lingers_until(self.began).map_or(self.idle_until, |end| end.min(self.idle_until));
        if self.is_over(until) {
            if self.awaits_introduction {
                self.tell_late();
            }
            return Poll::Ready(false);
        }
        Poll::Pending
    }

    /// Whether this moment has come; otherwise this task is woken then.
    pub(super) fn is_over(&mut self, until: Instant) -> bool {
        self.deadline.set(until);
        self.deadline.is_noticed() && self.deadline.is_due(now())
    }

    /// The latest settings.
    pub(super) fn refresh(&mut self) {
        self.worker.refresh(&mut self.proxy);
    }

    /// Ready when there are more bytes (`true`), or none any more.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let polled = self.socket.poll_read(cx, self.input.room());
        let Poll::Ready(read) = polled else {
            self.input.release_empty();
            return Poll::Pending;
        };
        let count = read.unwrap_or(0);
        self.input.fill(count);
        Poll::Ready(count > 0)
    }

    /// Sends all of it, as long as the client takes it; whether it did.
    pub(super) async fn flush(&mut self, lead: &mut Lead) -> bool {
        let until = pace::after(now(), self.proxy.inner.settings.times.body);
        poll_fn(|cx| {
            self.deadline.watch(cx.waker());
            match self.poll_send(cx, lead) {
                Poll::Pending if self.is_over(until) => Poll::Ready(false),
                polled => polled,
            }
        })
        .await
    }

    /// Sends what can be sent; ready when it is all of it, or (`false`) when the client has gone.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, lead: &mut Lead) -> Poll<bool> {
        while !lead.rest().is_empty() {
            match ready!(self.socket.poll_write(cx, lead.rest())) {
                Ok(count @ 1..) => drop(lead.sent(count)),
                _ => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    }

    /// This is who asks from here on.
    pub(super) fn asks(&mut self, client: SocketAddr) {
        if self.client != client {
            self.client_key = lb_core::key::of_address(client.ip());
            self.client = client;
        }
    }

    /// Who it is for those who count distinct clients.
    pub(super) fn somebody(&self) -> u64 {
        // In the usual case it is known already.
        if self.client.is_ipv4() { self.client_key } else { lb_core::key::of_client(self.client.ip()) }
    }

    /// How the client has left, if it has.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        self.socket.poll_gone(cx)
    }

    /// Ready when the client has reset its connection: nobody is there to be answered. Of one that has only ended its
    /// direction more may come.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.poll_gone(cx)) != Gone::Reset {}
        Poll::Ready(())
    }

    /// For another protocol.
    pub(super) fn take_socket(&mut self) -> ClientSocket {
        std::mem::replace(&mut self.socket, ClientSocket::closed())
    }

    /// Closes the connection when its client has read what it was sent.
    pub(super) async fn linger(&mut self) {
        self.deadline.set(now() + LINGER_TIME);
        self.take_socket().close_gently(LINGER_BYTES, &mut self.deadline).await;
    }

    /// Whoever wants to know is told how a request ended.
    pub(super) fn tell(&mut self, record: &mut Record<'_>, began: Instant, ended: Instant) {
        self.idle_until = pace::after(ended, self.proxy.inner.settings.times.idle);
        let hooks = self.proxy.inner.hooks.as_ref();
        self.worker.books.note(record, (began, ended), self.worker.pool.count(), hooks.is_some());
        if let Some(hooks) = hooks {
            hooks.on_end(record);
        }
    }

    /// The first of these moments that has come; otherwise this task is woken then.
    pub(super) fn overdue(&mut self, limits: [Option<(Instant, Reason)>; 2]) -> Option<Reason> {
        if !self.socket.is_registered() {
            if !self.is_over(pace::after(self.began, TICK)) {
                return None;
            }
            // It waits for longer: its end is to be noticed. If it cannot be, that shows when it gets its answer.
            let _ = self.socket.register();
        }
        let (until, reason) = limits.into_iter().flatten().min_by_key(|(until, _)| *until)?;
        self.is_over(until).then_some(reason)
    }
}

impl<T> Drop for Parts<T> {
    fn drop(&mut self) {
        if self.resets_when_dropped {
            // A socket that cannot be told is one that is gone.
            let _ = self.socket.set_reset_on_close();
        }
        self.worker.books.count(Cells::closed);
    }
}
