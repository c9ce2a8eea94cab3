//! What the connections of one listener share.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    },
    time::{Duration, Instant},
};

use lb_core::rand::rngs::SmallRng;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    Cells, HttpProxy, Inner, Settings,
    books::Books,
    chance::{Chance, Draws},
    pool::{Pool, Watch},
    servant::Servants,
    waiting::{Lines, Waiting},
};
use crate::{
    alarm::Alarms,
    deadline::Sweep,
    driver::now,
    room::{self, Place},
};

/// For how long a connection may still bring a request after the end has begun: who is in the middle of a conversation, or
/// has just connected, has its answer announce the end, and nobody runs into a closed door.
const LINGER: Duration = Duration::from_millis(500);

/// In this rhythm those who wait in line try again by themselves.
const POKE: Duration = Duration::from_millis(100);

/// What the connections (`P`) of one listener share.
pub(super) struct Worker<T, P> {
    pub(super) sweep: Arc<Sweep>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) pool: Pool,
    pub(super) servants: Servants<P>,
    /// As many connections as there are descriptors for.
    affordable: usize,
    /// Where clients have come to.
    pub(super) local: SocketAddr,
    chance: Chance,
    pub(super) books: Books,
    /// Told when somebody waits in line.
    waits: Notify,
    lines: Lines,
    latest: Mutex<Latest<T>>,
    /// Counts the proxies that have been here.
    generation: AtomicU64,
    stopping: AtomicBool,
}

struct Latest<T> {
    proxies: watch::Receiver<HttpProxy<T>>,
    inner: Arc<Inner<T>>,
    /// Over the balancer of that one.
    watch: Arc<Watch>,
    stopping_since: Option<Instant>,
}

/// The proxy as one connection knows it.
pub(super) struct Known<T> {
    pub(super) inner: Arc<Inner<T>>,
    generation: u64,
}

impl<T: Send + Sync + 'static, P> Worker<T, P> {
    pub(super) fn new(mut proxies: watch::Receiver<HttpProxy<T>>, rng: SmallRng, local: SocketAddr) -> Self {
        let inner = copy(&proxies.borrow_and_update());
        let books = Books::new(inner.common.counters.worker(), inner.access_log.as_ref());
        let pool = Pool::new();
        let watch = pool.watch(&inner.balancer);
        Self {
            sweep: Sweep::new(),
            alarms: Arc::default(),
            pool,
            servants: Servants::new(),
            affordable: room::affordable(),
            local,
            chance: Chance::new(rng),
            books,
            waits: Notify::new(),
            lines: Lines::default(),
            latest: Mutex::new(Latest { proxies, inner, watch, stopping_since: None }),
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Another proxy is in force from now on, if one was sent.
    pub(super) fn follow(&self) {
        let mut latest = self.latest();
        // An error is the end of the sender, which sends nothing more.
        if !latest.proxies.has_changed().unwrap_or(false) {
            return;
        }
        let inner = copy(&latest.proxies.borrow_and_update());
        self.books.write_to(inner.access_log.as_ref());
        if !Arc::ptr_eq(&latest.inner.balancer, &inner.balancer) {
            latest.watch = self.pool.watch(&inner.balancer);
        }
        let before = std::mem::replace(&mut latest.inner, inner);
        self.generation.fetch_add(1, Release);
        before.common.room.look_again();
    }

    /// Room for one more connection, if there is some at once.
    pub(super) fn try_room(&self) -> Option<Place> {
        let inner = self.known().inner;
        inner.common.room.try_enter(self.most(&inner))
    }

    /// Waits for it.
    pub(super) async fn room(&self) -> Place {
        let inner = self.known().inner;
        if let Some(observer) = &inner.observer {
            observer.crowded(self.most(&inner));
        }
        inner.common.room.wait(|| self.most(&self.known().inner)).await
    }

    /// Room for one more, however many there are.
    pub(super) fn one_more(&self) -> Place {
        self.known().inner.common.room.enter()
    }

    fn most(&self, inner: &Inner<T>) -> usize {
        inner.settings.limits.connections.map_or(self.affordable, |most| most.get() as usize)
    }

    /// Has connections without a request leave where others wait for room, and kept ones where there are no descriptors
    /// for others, for as long as it is polled.
    pub(super) async fn make_room(&self) -> Infallible {
        let room = Arc::clone(&self.known().inner.common.room);
        loop {
            tokio::select! {
                () = room.crowded() => self.sweep.wake_all(),
                () = room.short() => self.pool.clear(),
            }
        }
    }

    /// Descriptors have run out: kept connections of all workers hold some that others need now.
    pub(super) fn run_short(&self) {
        self.pool.clear();
        self.known().inner.common.room.run_short();
    }

    pub(super) fn latest_settings(&self) -> Settings {
        self.latest().inner.settings.clone()
    }

    /// No connection waits for another request from now on, or not for long.
    pub(super) fn stop(&self) {
        self.latest().stopping_since = Some(now());
        self.stopping.store(true, Release);
        self.sweep.wake_all();
    }

    /// Until when a connection may bring a request, once the end has begun; this is when its last one began.
    pub(super) fn lingers_until(&self, began: Instant) -> Option<Instant> {
        if !self.is_stopping() {
            return None;
        }
        self.latest().stopping_since.map(|since| since.max(began) + LINGER)
    }

    /// Follows the proxies that are sent, for as long as it is polled.
    pub(super) async fn follow_all(&self) -> Infallible {
        let mut proxies = self.latest().proxies.clone();
        while proxies.changed().await.is_ok() {
            self.follow();
        }
        // Nobody sends another one.
        std::future::pending().await
    }

    /// The proxy that is in force.
    pub(super) fn known(&self) -> Known<T> {
        let latest = self.latest();
        Known { inner: Arc::clone(&latest.inner), generation: self.generation.load(Acquire) }
    }

    /// The same, for a connection that knew it: a look at a number in the usual case.
    pub(super) fn refresh(&self, known: &mut Known<T>) {
        if self.generation.load(Relaxed) != known.generation {
            *known = self.known();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// A request waits in this line from now on.
    pub(super) fn begins_to_wait(&self, waiting: &Waiting) {
        self.books.count(Cells::waits);
        self.lines.add(waiting);
        self.waits.notify_one();
    }

    /// Lets those who wait in line try again from time to time, for as long as it is polled.
    pub(super) async fn poke(&self) -> Infallible {
        loop {
            self.waits.notified().await;
            loop {
                sleep(POKE).await;
                if !self.lines.poke(now()) {
                    break;
                }
            }
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chance, for one pick.
    pub(super) fn rng(&self) -> Draws<'_> {
        self.chance.draws()
    }
}

/// Of one's own, so that workers do not count references in the same place.
fn copy<T>(proxy: &HttpProxy<T>) -> Arc<Inner<T>> {
    Arc::new((*proxy.inner).clone())
}
