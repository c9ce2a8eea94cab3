//! What is counted of requests: each worker counts for itself, and whoever asks sums it up.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::Record;
use crate::http_stats::{BOUNDS, Histogram, HttpStats, micros, place};

/// What is counted of a service. Clones share it.
/// ```
/// use lb_net::http::{Counters, Record};
/// use std::time::SystemTime;
/// let counters = Counters::default();
/// let mut cells = counters.worker();
/// cells.accepted();
/// cells.began();
/// let mut record = Record::new("192.0.2.7:4711".parse()?, SystemTime::now());
/// record.status = 200;
/// cells.ended(&record);
/// let stats = counters.sum();
/// assert_eq!((stats.open, stats.requests, stats.in_flight), (1, 1, 0));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Default)]
pub struct Counters {
    workers: Arc<Mutex<Workers>>,
}

#[derive(Default)]
struct Workers {
    alive: Vec<Arc<Block>>,
    /// What those have counted that are gone.
    gone: HttpStats,
}

impl Counters {
    /// Where one worker counts, for as long as it has it. What it has counted stays, and nothing of it is open then.
    #[must_use]
    pub fn worker(&self) -> Cells {
        let block = Arc::new(Block::default());
        self.workers().alive.push(Arc::clone(&block));
        Cells { block, counters: self.clone() }
    }

    /// All of it. While requests go on, what belongs together may be apart by those that are about to be counted.
    #[must_use]
    pub fn sum(&self) -> HttpStats {
        let workers = self.workers();
        let mut sum = workers.gone.clone();
        workers.alive.iter().for_each(|block| sum.add(&block.read()));
        sum
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sum().fmt(f)
    }
}

/// What one worker counts. Nobody else writes there, so nothing is waited for: a count is a load and a store.
/// ```
/// let counters = lb_net::http::Counters::default();
/// let mut cells = counters.worker();
/// cells.accepted();
/// drop(cells);
/// assert_eq!((counters.sum().accepted, counters.sum().open), (1, 0));
/// ```
pub struct Cells {
    block: Arc<Block>,
    counters: Counters,
}

impl Cells {
    /// A client connection was accepted.
    pub fn accepted(&mut self) {
        add(&self.block.accepted, 1);
        add(&self.block.open, 1);
    }

    /// One that was accepted has ended.
    pub fn closed(&mut self) {
        less(&self.block.open);
    }

    /// A client was not let in; it was not [`accepted`](Self::accepted) either.
    pub fn refused(&mut self) {
        add(&self.block.refused, 1);
    }

    /// A request has begun: its head is there, or it is known to be none.
    pub fn began(&mut self) {
        add(&self.block.in_flight, 1);
    }

    /// What has begun has ended.
    pub fn ended(&mut self, record: &Record<'_>) {
        let block = &*self.block;
        add(&block.requests, 1);
        less(&block.in_flight);
        // 0 is for those without an answer, and for a status that there is not.
        let class = Some(record.status / 100).filter(|class| (1..=5).contains(class)).unwrap_or(0);
        count(&block.answers, class.into());
        let took = micros(record.total);
        count(&block.total, place(took));
        add(&block.total_micros, took);
        if let Some(first_byte) = record.first_byte {
            let took = micros(first_byte);
            count(&block.first_byte, place(took));
            add(&block.first_byte_micros, took);
        }
        if record.request_bytes > 0 {
            add(&block.request_bytes, record.request_bytes);
        }
        add(&block.answer_bytes, record.answer_bytes);
        match (record.attempts, record.reused) {
            (0, _) => {}
            (_, true) => add(&block.reused, 1),
            (_, false) => add(&block.fresh, 1),
        }
        if record.is_odd() {
            block.odd(record);
        }
    }

    /// A request has begun to wait because all backends are full.
    pub fn waits(&mut self) {
        add(&self.block.waited, 1);
        add(&self.block.waiting, 1);
    }

    /// One of them waits no more, however that ended.
    pub fn waited(&mut self) {
        less(&self.block.waiting);
    }

    /// A request was not tried again because too many had been.
    pub fn retry_denied(&mut self) {
        add(&self.block.retries_denied, 1);
    }

    /// So many connections to backends are kept without a request now.
    pub fn idle(&mut self, connections: usize) {
        self.block.idle.store(connections as u64, Relaxed);
    }
}

/// What was open is not any more: it has ended with its worker.
impl Drop for Cells {
    fn drop(&mut self) {
        let mut workers = self.counters.workers();
        workers.alive.retain(|block| !Arc::ptr_eq(block, &self.block));
        let counted = HttpStats { open: 0, in_flight: 0, waiting: 0, idle: 0, ..self.block.read() };
        workers.gone.add(&counted);
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.block.read().fmt(f)
    }
}

impl Record<'_> {
    /// Whether there is more to be counted than for a plain one.
    fn is_odd(&self) -> bool {
        self.attempts > 1 || self.cut || self.reason.is_some() || !self.queued.is_zero() || !self.connect.is_zero()
    }
}

/// On lines of its own (two, because processors fetch them in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Block {
    accepted: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    in_flight: AtomicU64,
    reused: AtomicU64,
    fresh: AtomicU64,
    request_bytes: AtomicU64,
    answer_bytes: AtomicU64,
    total_micros: AtomicU64,
    first_byte_micros: AtomicU64,
    answers: [AtomicU64; 6],
    total: [AtomicU64; BOUNDS + 1],
    first_byte: [AtomicU64; BOUNDS + 1],
    refused: AtomicU64,
    idle: AtomicU64,
    cut: AtomicU64,
    retries: AtomicU64,
    retries_denied: AtomicU64,
    waited: AtomicU64,
    waiting: AtomicU64,
    queue_micros: AtomicU64,
    connect_micros: AtomicU64,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
}

impl Block {
    /// What only some requests have.
    fn odd(&self, record: &Record<'_>) {
        add(&self.retries, record.attempts.saturating_sub(1).into());
        add(&self.cut, record.cut.into());
        add(&self.queue_micros, micros(record.queued));
        add(&self.connect_micros, micros(record.connect));
        if let Some(reason) = record.reason {
            *self.reasons().entry(reason).or_default() += 1;
        }
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> HttpStats {
        let [unanswered, answers @ ..] = self.answers.each_ref().map(read);
        let histogram = |counts: &[AtomicU64; BOUNDS + 1], sum: &AtomicU64| {
            Histogram::from_parts(counts.each_ref().map(read), Duration::from_micros(read(sum)))
        };
        HttpStats {
            accepted: read(&self.accepted),
            open: read(&self.open),
            refused: read(&self.refused),
            requests: read(&self.requests),
            in_flight: read(&self.in_flight),
            waiting: read(&self.waiting),
            waited: read(&self.waited),
            answers,
            unanswered,
            reasons: self.reasons().clone(),
            cut: read(&self.cut),
            retries: read(&self.retries),
            retries_denied: read(&self.retries_denied),
            fresh: read(&self.fresh),
            reused: read(&self.reused),
            idle: read(&self.idle),
            request_bytes: read(&self.request_bytes),
            answer_bytes: read(&self.answer_bytes),
            queue_time: Duration::from_micros(read(&self.queue_micros)),
            connect_time: Duration::from_micros(read(&self.connect_micros)),
            first_byte: histogram(&self.first_byte, &self.first_byte_micros),
            total: histogram(&self.total, &self.total_micros),
        }
    }
}

/// For the one who writes there: [`Cells`] are, by `&mut self`.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

/// One that was never there is not missed.
fn less(cell: &AtomicU64) {
    cell.store(cell.load(Relaxed).saturating_sub(1), Relaxed);
}

fn count(cells: &[AtomicU64], at: usize) {
    if let Some(cell) = cells.get(at) {
        add(cell, 1);
    }
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicBool,
        thread,
        time::{Instant, SystemTime},
    };

    use super::*;

    fn record(status: u16, total: u64) -> Record<'static> {
        let mut record = Record::new("192.0.2.7:4711".parse().unwrap(), SystemTime::UNIX_EPOCH);
        (record.status, record.total, record.attempts) = (status, Duration::from_micros(total), 1);
        record
    }

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let counters = Counters::default();
        let mut cells = counters.worker();
        (0..7).for_each(|_| cells.began());
        let plain = Record { reused: true, request_bytes: 5, answer_bytes: 100, ..record(200, 100) };
        cells.ended(&Record { first_byte: Some(Duration::from_micros(90)), ..plain });
        cells.ended(&Record { attempts: 3, connect: Duration::from_micros(70), answer_bytes: 1, ..record(204, 1000) });
        cells.ended(&Record { attempts: 0, reason: Some("bad-field"), ..record(400, 1) });
        cells.ended(&Record { cut: true, reason: Some("backend-closed"), ..record(200, 1) });
        cells.ended(&Record { queued: Duration::from_micros(9), ..record(0, 1) });
        cells.ended(&Record { attempts: 0, reason: Some("bad-field"), ..record(999, 1) });
        let stats = counters.sum();
        assert_eq!((stats.requests, stats.in_flight), (6, 1));
        assert_eq!((stats.answers, stats.unanswered), ([0, 3, 0, 1, 0], 2));
        assert_eq!(stats.reasons, BTreeMap::from([("bad-field", 2), ("backend-closed", 1)]));
        assert_eq!((stats.cut, stats.retries, stats.reused, stats.fresh), (1, 2, 1, 3));
        assert_eq!((stats.request_bytes, stats.answer_bytes), (5, 101));
        assert_eq!((stats.queue_time, stats.connect_time), (Duration::from_micros(9), Duration::from_micros(70)));
        assert_eq!((stats.total.count(), stats.total.sum()), (6, Duration::from_micros(1104)));
        assert_eq!((stats.first_byte.count(), stats.first_byte.sum()), (1, Duration::from_micros(90)));
    }

    #[test]
    fn what_a_worker_has_counted_stays_and_what_was_open_ends_with_it() {
        let counters = Counters::default();
        let mut workers = [counters.worker(), counters.worker()];
        for cells in &mut workers {
            (0..3).for_each(|_| cells.accepted());
            cells.closed();
            cells.refused();
            cells.began();
            cells.waits();
            cells.idle(4);
            cells.retry_denied();
        }
        workers[1].waited();
        let stats = counters.sum();
        assert_eq!((stats.accepted, stats.open, stats.refused), (6, 4, 2));
        assert_eq!((stats.waiting, stats.waited, stats.in_flight), (1, 2, 2));
        assert_eq!((stats.idle, stats.retries_denied), (8, 2));
        drop(workers);
        let stats = counters.sum();
        assert_eq!((stats.accepted, stats.open, stats.waiting, stats.waited), (6, 0, 0, 2));
        assert_eq!((stats.in_flight, stats.idle, stats.refused), (0, 0, 2));
    }

    #[test]
    fn who_looks_while_workers_count_sees_only_growth_and_all_in_the_end() {
        let (counters, over) = (Counters::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let (mut before, mut looks) = (0, 0_u64);
                while !over.load(Relaxed) || looks == 0 {
                    let stats = counters.sum();
                    assert!(stats.requests >= before && stats.in_flight <= 2, "{stats:?}");
                    (before, looks) = (stats.requests, looks + 1);
                }
            });
            let workers: Vec<_> = (0..2)
                .map(|_| {
                    let mut cells = counters.worker();
                    scope.spawn(move || {
                        for _ in 0..50_000 {
                            cells.began();
                            cells.ended(&record(200, 300));
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            over.store(true, Relaxed);
            looking.join().unwrap();
        });
        assert_eq!((counters.sum().requests, counters.sum().answers[1]), (100_000, 100_000));
    }

    #[test]
    fn counting_costs_next_to_nothing() {
        let counters = Counters::default();
        let mut cells = counters.worker();
        let record = Record { reused: true, first_byte: Some(Duration::from_micros(150)), ..record(200, 300) };
        let best = (0..20).map(|_| {
            let began = Instant::now();
            for _ in 0..10_000 {
                cells.began();
                cells.ended(std::hint::black_box(&record));
            }
            began.elapsed() / 10_000
        });
        let best = best.min().unwrap();
        // Without optimization it takes several times as long.
        let most = Duration::from_nanos(if cfg!(debug_assertions) { 2000 } else { 40 });
        assert!(best < most, "{best:?}");
    }
}
