//! What the connections of one listener share.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
    },
    time::{Duration, Instant, SystemTime},
};

use lb_core::rand::{TryRng, rngs::SmallRng};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, sleep_until},
};

use super::{
    AccessWriter, Cells, HttpProxy, Inner, Record, Settings,
    common::Place,
    pool::{Pool, Watch},
    servant::Servants,
};
use crate::{alarm::Alarms, deadline::Sweep, driver::now, sys};

/// For how long a connection may still bring a request after the end has begun: who is in the middle of a conversation, or
/// has just connected, has its answer announce the end, and nobody runs into a closed door.
const LINGER: Duration = Duration::from_millis(500);

/// In this rhythm those who wait in line try again by themselves.
const POKE: Duration = Duration::from_millis(100);

/// For how long the time of day is reckoned before it is asked for again.
const RECKONED: Duration = Duration::from_secs(10);

/// Descriptors that are left for everything but sessions.
const RESERVED_DESCRIPTORS: u64 = 64;

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
    /// Of this worker alone, as all of its locks: taking it is a matter of a few nanoseconds.
    rng: Mutex<SmallRng>,
    books: Mutex<Books>,
    /// Told when there are lines to be written in a second.
    written: Notify,
    /// Told when somebody waits in line.
    waits: Notify,
    latest: Mutex<Latest<T>>,
    /// Counts the proxies that have been here.
    generation: AtomicU64,
    stopping: AtomicBool,
}

/// Where requests are counted and written down.
struct Books {
    cells: Cells,
    log: Option<AccessWriter>,
    /// A moment, and what time of day it was then.
    clock: (Instant, SystemTime),
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
        let books = Books {
            cells: inner.common.counters.worker(),
            log: inner.access_log.as_ref().map(super::AccessLog::writer),
            clock: (now(), SystemTime::now()),
        };
        let pool = Pool::new();
        let watch = pool.watch(&inner.balancer);
        Self {
            sweep: Sweep::new(),
            alarms: Arc::default(),
            pool,
            servants: Servants::new(),
            affordable: affordable_connections(),
            local,
            rng: Mutex::new(rng),
            books: Mutex::new(books),
            written: Notify::new(),
            waits: Notify::new(),
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
        let mut books = self.books();
        // What is counted stays where it was counted: counters pass from one proxy to the next.
        books.log = inner.access_log.as_ref().map(super::AccessLog::writer);
        drop(books);
        if !Arc::ptr_eq(&latest.inner.balancer, &inner.balancer) {
            latest.watch = self.pool.watch(&inner.balancer);
        }
        latest.inner = inner;
        self.generation.fetch_add(1, Release);
    }

    /// Room for one more connection, if there is some at once.
    pub(super) fn try_room(&self) -> Option<Place> {
        let inner = self.known().inner;
        inner.common.open.try_enter(self.most(&inner))
    }

    /// Waits for it.
    pub(super) async fn room(&self) -> Place {
        let inner = self.known().inner;
        let most = self.most(&inner);
        if let Some(observer) = &inner.observer {
            observer.crowded(most);
        }
        inner.common.open.room(most).await
    }

    /// Room for one more, however many there are.
    pub(super) fn one_more(&self) -> Place {
        self.known().inner.common.open.enter()
    }

    fn most(&self, inner: &Inner<T>) -> usize {
        inner.settings.limits.connections.map_or(self.affordable, |most| most.get() as usize)
    }

    /// Has connections without a request leave where others wait for room, for as long as it is polled.
    pub(super) async fn make_room(&self) -> Infallible {
        let open = Arc::clone(&self.known().inner.common.open);
        loop {
            open.crowded().await;
            self.sweep.wake_all();
        }
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

    /// A request waits in line from now on.
    pub(super) fn begins_to_wait(&self) {
        self.count(Cells::waits);
        self.waits.notify_one();
    }

    /// Counts a request that has ended, and writes it down; what time of day it was only where somebody is told.
    pub(super) fn note(&self, record: &mut Record<'_>, began: Instant, ended: Instant, is_told: bool) {
        let mut books = self.books();
        books.cells.idle(self.pool.count());
        record.total = ended.saturating_duration_since(began);
        if is_told || books.log.is_some() {
            record.began = books.time_of(began);
        }
        books.cells.ended(record);
        let Some(log) = &mut books.log else { return };
        let was_due = log.due().is_some();
        log.write(record, ended);
        if !was_due && log.due().is_some() {
            self.written.notify_one();
        }
    }

    /// Hands lines of the access log over in time, for as long as it is polled.
    pub(super) async fn write_in_time(&self) -> Infallible {
        loop {
            self.written.notified().await;
            while let Some(due) = self.due() {
                sleep_until(due.into()).await;
                self.books().log.iter_mut().for_each(|log| log.flush_due(now()));
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.books().log.as_ref().and_then(AccessWriter::due)
    }

    /// Lets those who wait in line try again from time to time, for as long as it is polled.
    pub(super) async fn poke(&self) -> Infallible {
        loop {
            self.waits.notified().await;
            loop {
                sleep(POKE).await;
                let waiting = self.known().inner.common.waiting.clone();
                waiting.poke(now());
                if waiting.len() == 0 {
                    break;
                }
            }
        }
    }

    fn latest(&self) -> MutexGuard<'_, Latest<T>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chance, for one pick.
    pub(super) fn rng(&self) -> Chance<'_> {
        Chance(&self.rng)
    }
}

impl<T, P> Worker<T, P> {
    /// Counts something that is no request.
    pub(super) fn count(&self, count: impl FnOnce(&mut Cells)) {
        count(&mut self.books().cells);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lock for each draw: most picks have no need of any.
pub(super) struct Chance<'a>(&'a Mutex<SmallRng>);

impl Chance<'_> {
    fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TryRng for Chance<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.rng().try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.rng().try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.rng().try_fill_bytes(bytes)
    }
}

impl Books {
    /// What time of day it was, reckoned from a moment for which that is known; not for long, as clocks are set.
    fn time_of(&mut self, moment: Instant) -> SystemTime {
        let (at, was) = self.clock;
        let since = moment.saturating_duration_since(at);
        if since < RECKONED {
            return was + since;
        }
        self.clock = (moment, SystemTime::now());
        self.clock.1
    }
}

/// As many connections as there are descriptors for, each with one to its backend.
fn affordable_connections() -> usize {
    let most = sys::descriptor_limit().unwrap_or(u64::MAX / 4);
    usize::try_from(most.saturating_sub(RESERVED_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1)
}

/// Of one's own, so that workers do not count references in the same place.
fn copy<T>(proxy: &HttpProxy<T>) -> Arc<Inner<T>> {
    Arc::new((*proxy.inner).clone())
}
