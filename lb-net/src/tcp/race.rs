//! Connect, and never wait in vain: a silent backend is raced by the next one.
//!
//! The shape is that of Happy Eyeballs (RFC 8305, section 5), over backends instead of addresses.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use lb_core::{BackendId, Lease, Outcome, Request, Tried, key, rand::rngs::SmallRng};
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{Connected, Inner, NoConnection, Observer};
use crate::{
    alarm::{Alarm, Alarms},
    driver::{later, now},
    sys,
};

/// The shortest time that a backend may be silent: connects on a busy machine take some of it.
const LEAST_SILENCE: Duration = Duration::from_millis(100);

/// What connecting learns over time.
#[derive(Debug, Default)]
pub(super) struct Race {
    /// The average connect, in microseconds; 0 before the first.
    usual_micros: AtomicU32,
    /// Backends of which someone waits to learn whether they answer, though no client waits any more.
    learning: Arc<Mutex<BTreeSet<BackendId>>>,
}

/// The right to go on without a client, until dropped: a connector may panic, a runtime may end.
#[derive(Debug)]
struct Learning {
    all: Arc<Mutex<BTreeSet<BackendId>>>,
    id: BackendId,
}

impl Learning {
    /// `None` when someone waits for this backend already.
    fn begin(all: &Arc<Mutex<BTreeSet<BackendId>>>, id: BackendId) -> Option<Self> {
        let first = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        first.then(|| Self { all: Arc::clone(all), id })
    }
}

impl Drop for Learning {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// One connect under way.
struct Attempt<T> {
    id: BackendId,
    began: Instant,
    deadline: Instant,
    /// It holds a place at the backend until it ends; looked at after the deadline, it has ended.
    connecting: Pin<Box<dyn Future<Output = Ended<T>> + Send>>,
}

type Ended<T> = (Lease<T>, io::Result<TcpStream>);

enum Event<T> {
    Ended(usize, Ended<T>),
    Silence,
    ClientGone,
}

impl Race {
    /// How long the last attempt may be silent before the next one begins.
    fn patience(&self, most: Duration) -> Duration {
        match self.usual_micros.load(Relaxed) {
            0 => most,
            usual => Duration::from_micros(u64::from(usual) * 8).max(LEAST_SILENCE).min(most),
        }
    }

    fn learn(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let usual = self.usual_micros.load(Relaxed);
        let next = if usual == 0 { took } else { usual - usual / 8 + took / 8 };
        self.usual_micros.store(next.max(1), Relaxed);
    }
}

/// A connection to the backend that the balancer prefers of those that answer.
pub(super) async fn connect<T: Send + Sync + 'static>(
    inner: &Inner<T>,
    client: &TcpStream,
    peer: SocketAddr,
    mut rng: SmallRng,
    alarms: Arc<Alarms>,
) -> Result<Connected<T>, NoConnection> {
    let key = key::of_address(peer.ip());
    let mut tried = Tried::default();
    let mut attempts: Vec<Attempt<T>> = Vec::new();
    let mut alarm = Alarm::new(alarms);
    let mut exhausted = None;
    loop {
        if exhausted.is_none() {
            let request = Request::new(now()).with_key(key).with_client(key).with_tried(&tried);
            match inner.balancer.pick(&request, &mut rng) {
                Ok(lease) => {
                    tried.insert(lease.id());
                    inner.tell(|observer| observer.attempt(peer, lease.name()));
                    attempts.push(Attempt::begin(inner, lease));
                }
                // Those under way may still answer.
                Err(no_pick) => exhausted = Some(NoConnection::NoPick(no_pick)),
            }
        }
        if let Some(reason) = exhausted.filter(|_| attempts.is_empty()) {
            return Err(reason);
        }
        let next_start = next_start(inner, &attempts, exhausted.is_none());
        match next_event(&mut attempts, client, next_start, &mut alarm).await {
            Event::Ended(at, (mut lease, Ok(stream))) => {
                lease.answered(now());
                lease.connected();
                let took = attempts.swap_remove(at).began.elapsed();
                inner.race.learn(took);
                inner.tell(|observer| observer.connected(peer, lease.name(), took));
                attempts.into_iter().for_each(|loser| loser.go_on_alone(inner, peer));
                return Ok((stream, lease));
            }
            Event::Ended(at, (lease, Err(error))) => {
                attempts.remove(at);
                // Time has passed: who was full then may have room now.
                exhausted = sys::lacks_means(&error).then_some(NoConnection::Shortage);
                inner.tell(|observer| observer.attempt_failed(peer, lease.name(), &error));
                lease.finish(failure(&error), now());
            }
            Event::Silence => {}
            Event::ClientGone => {
                attempts.into_iter().for_each(|attempt| attempt.go_on_alone(inner, peer));
                return Err(NoConnection::ClientGone);
            }
        }
    }
}

/// What a failed connect says of its backend: nothing, when it is us who lack something.
fn failure(error: &io::Error) -> Outcome {
    if sys::lacks_means(error) { Outcome::Cancelled } else { Outcome::ConnectFailed }
}

/// When the next attempt is to begin alongside, if at all. Where one has been silent the others get less time: the client
/// has waited already.
fn next_start<T>(inner: &Inner<T>, attempts: &[Attempt<T>], more: bool) -> Option<Instant> {
    let most = inner.settings.race.filter(|_| more)?;
    let silence = if attempts.len() > 1 { most.min(LEAST_SILENCE) } else { inner.race.patience(most) };
    attempts.last().map(|last| later(last.began, silence))
}

async fn next_event<T>(
    attempts: &mut [Attempt<T>],
    client: &TcpStream,
    next_start: Option<Instant>,
    alarm: &mut Alarm,
) -> Event<T> {
    let attempts = poll_fn(|cx| {
        for (at, attempt) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(ended) = attempt.connecting.as_mut().poll(cx) {
                return Poll::Ready(Event::Ended(at, ended));
            }
        }
        if next_start.is_some_and(|at| at <= Instant::now()) {
            return Poll::Ready(Event::Silence);
        }
        let deadline = attempts.iter().map(|attempt| attempt.deadline).min();
        deadline.into_iter().chain(next_start).min().into_iter().for_each(|at| alarm.set(at, cx.waker()));
        Poll::Pending
    });
    tokio::select! {
        // First: the reactor tells of both at once when a client has reset in the queue already, and what it said before
        // must not reach a backend.
        biased;
        // A reset; not an orderly end, which is a half-close and is served.
        _ = client.ready(Interest::ERROR) => Event::ClientGone,
        event = attempts => event,
    }
}

impl<T: Send + Sync + 'static> Attempt<T> {
    fn begin(inner: &Inner<T>, lease: Lease<T>) -> Self {
        let (connector, id, began) = (Arc::clone(&inner.connector), lease.id(), Instant::now());
        let deadline = later(began, inner.settings.connect_timeout);
        let connecting = Box::pin(async move {
            let mut connect = connector.connect(lease.payload());
            let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
                Poll::Pending if deadline <= Instant::now() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                other => other,
            });
            let connected = connected.await;
            drop(connect);
            (lease, connected)
        });
        Self { id, began, deadline, connecting }
    }

    /// Nobody waits for it any more. What becomes of it is still worth knowing, once for each backend.
    fn go_on_alone(self, inner: &Inner<T>, peer: SocketAddr) {
        let Some(learning) = Learning::begin(&inner.race.learning, self.id) else { return };
        let Self { deadline, mut connecting, .. } = self;
        let observer: Option<Arc<dyn Observer>> = inner.observer.clone();
        tokio::spawn(async move {
            let _learning = learning;
            let (lease, connected) = match timeout_at(deadline, &mut connecting).await {
                Ok(ended) => ended,
                Err(_) => connecting.await,
            };
            if let (Some(observer), Err(error)) = (observer, &connected) {
                observer.attempt_failed(peer, lease.name(), error);
            }
            lease.finish(connected.map_or_else(|error| failure(&error), |_| Outcome::Success), now());
        });
    }
}
