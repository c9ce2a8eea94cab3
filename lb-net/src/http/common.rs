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
    /// How many of those that have no request are to leave, because others wait for room.
    leaving: AtomicUsize,
    left: Notify,
    crowded: Notify,
}

impl Open {
    /// One more, for as long as it is held, if there are fewer than `most`.
    pub(super) fn try_enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let entered = self.count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1));
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// One more, however many there are.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        self.count.fetch_add(1, Relaxed);
        Place(Arc::clone(self))
    }

    /// Waits until there are fewer than `most`, for which some that have no request are closed.
    pub(super) async fn room(self: &Arc<Self>, most: usize) -> Place {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if let Some(place) = self.try_enter(most) {
                self.leaving.store(0, Relaxed);
                // There may be more, for others who wait.
                self.left.notify_one();
                return place;
            }
            self.leaving.store(most.div_ceil(LEAVE_AT_ONCE), Relaxed);
            self.crowded.notify_waiters();
            left.await;
        }
    }

    /// Ready when somebody waits for room.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Whether a connection without a request is to make room.
    pub(super) fn is_one_to_leave(&self) -> bool {
        self.leaving.load(Relaxed) > 0
            && self.leaving.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1)).is_ok()
    }
}

/// Of so many connections one is closed when there is no room for another: a few at a time, as each may be missed.
const LEAVE_AT_ONCE: usize = 32;

/// One client connection, while it is open.
#[derive(Debug)]
pub(super) struct Place(Arc<Open>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.left.notify_one();
    }
}
