//! What the connections of one listener share.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    },
    time::{Duration, Instant},
};

use lb_core::rand::rngs::SmallRng;
use tokio::sync::watch;

use super::{HttpProxy, Inner, pool::Pool};
use crate::{alarm::Alarms, deadline::Sweep, driver::now};

/// For how long a kept connection may still bring a request after the end has begun: who is in the middle of a
/// conversation has its answer announce the end, and nobody runs into a closed door.
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// What the connections of one listener share.
pub(super) struct Worker<T> {
    pub(super) sweep: Arc<Sweep>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) pool: Pool,
    /// Where clients have come to.
    pub(super) local: SocketAddr,
    /// Of this worker alone: taking it is a matter of a few nanoseconds.
    rng: Mutex<SmallRng>,
    latest: Mutex<Latest<T>>,
    /// Counts the proxies that have been here.
    generation: AtomicU64,
    stopping: AtomicBool,
}

struct Latest<T> {
    proxies: watch::Receiver<HttpProxy<T>>,
    inner: Arc<Inner<T>>,
    stopping_since: Option<Instant>,
}

/// The proxy as one connection knows it.
pub(super) struct Known<T> {
    pub(super) inner: Arc<Inner<T>>,
    generation: u64,
}

impl<T> Worker<T> {
    pub(super) fn new(mut proxies: watch::Receiver<HttpProxy<T>>, rng: SmallRng, local: SocketAddr) -> Self {
        let inner = copy(&proxies.borrow_and_update());
        Self {
            sweep: Sweep::new(),
            alarms: Arc::default(),
            pool: Pool::new(),
            local,
            rng: Mutex::new(rng),
            latest: Mutex::new(Latest { proxies, inner, stopping_since: None }),
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Chance, for one pick.
    pub(super) fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proxy that is in force.
    pub(super) fn known(&self) -> Known<T> {
        let latest = self.latest();
        Known { inner: Arc::clone(&latest.inner), generation: self.generation.load(Acquire) }
    }

    /// Another proxy is in force from now on.
    pub(super) fn follow(&self) {
        let mut latest = self.latest();
        // An error is the end of the sender, which sends nothing more.
        if latest.proxies.has_changed().unwrap_or(false) {
            let inner = copy(&latest.proxies.borrow_and_update());
            latest.inner = inner;
            self.generation.fetch_add(1, Release);
        }
    }

    /// The same, for a connection: a look at a number in the usual case.
    pub(super) fn refresh(&self, known: &mut Known<T>) {
        if self.generation.load(Relaxed) != known.generation {
            *known = self.known();
        }
    }

    /// No connection waits for another request from now on, or not for long.
    pub(super) fn stop(&self) {
        self.latest().stopping_since = Some(now());
        self.stopping.store(true, Release);
        self.sweep.wake_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Until when kept connections may bring a request, once the end has begun.
    pub(super) fn lingers_until(&self) -> Option<Instant> {
        if !self.is_stopping() {
            return None;
        }
        self.latest().stopping_since.map(|since| since + LINGER)
    }
}

/// Of one's own, so that workers do not count references in the same place.
fn copy<T>(proxy: &HttpProxy<T>) -> Arc<Inner<T>> {
    Arc::new((*proxy.inner).clone())
}
