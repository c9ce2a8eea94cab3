//! What the clones of one proxy share, on whatever threads they serve.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use lb_core::Budget;
use tokio::sync::Notify;

use super::{Counters, Retry, waiting::Waiting};
use crate::connect::race::Race;

/// What the clones of one proxy share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) counters: Counters,
    /// Those for whom all backends are full.
    pub(super) waiting: Waiting,
    /// What connecting learns.
    pub(super) race: Arc<Race>,
    budget: Arc<Mutex<Option<(Retry, Budget)>>>,
    pub(super) open: Arc<Open>,
    /// When the first of its requests may have been.
    since: Instant,
}

impl Common {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            counters: Counters::default(),
            waiting: Waiting::default(),
            race: Arc::default(),
            budget: Arc::default(),
            open: Arc::default(),
            since: now,
        }
    }

    /// Goes on where another one was; what belongs to the balancer only if that is the same.
    pub(super) fn succeed(&mut self, other: &Self, same_balancer: bool) {
        self.counters = other.counters.clone();
        self.open = Arc::clone(&other.open);
        self.since = other.since;
        if same_balancer {
            self.waiting = other.waiting.clone();
            self.race = Arc::clone(&other.race);
            self.budget = Arc::clone(&other.budget);
        }
    }

    /// Whether one more request may be repeated that a backend may have begun with.
    pub(super) fn may_retry(&self, retry: Retry, now: Instant) -> bool {
        let requests = self.counters.sum().requests;
        let mut kept = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = match &mut *kept {
            Some((of, budget)) if *of == retry => budget,
            // Of all the requests until now those of the last seconds count, as if they had come evenly.
            other => &mut other.insert((retry, Budget::new(retry.percent, retry.per_second, self.since))).1,
        };
        budget.try_spend(now, requests)
    }
}

/// Client connections at the moment.
#[derive(Debug, Default)]
pub(super) struct Open {
    count: AtomicUsize,
    waiting: AtomicUsize,
    left: Notify,
}

impl Open {
    /// Waits until there are fewer than `most`.
    pub(super) async fn room(&self, most: usize) {
        while self.count.load(Relaxed) >= most {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            self.waiting.fetch_add(1, Relaxed);
            let waits = Waits(self);
            if self.count.load(Relaxed) >= most {
                left.await;
            }
            drop(waits);
        }
    }

    /// One more, for as long as it is held.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        self.count.fetch_add(1, Relaxed);
        Place(Arc::clone(self))
    }
}

/// One who waits for room, until dropped.
struct Waits<'a>(&'a Open);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// One client connection, while it is open.
#[derive(Debug)]
pub(super) struct Place(Arc<Open>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        if self.0.waiting.load(Relaxed) > 0 {
            self.0.left.notify_waiters();
        }
    }
}
