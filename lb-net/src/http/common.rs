//! What the clones of one proxy share, on whatever threads they serve.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use lb_core::Budget;

use super::{Counters, Retry, waiting::Waiting};
use crate::{connect::race::Race, room::Room};

/// What the clones of one proxy share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) counters: Counters,
    /// Those for whom all backends are full.
    pub(super) waiting: Waiting,
    /// What connecting learns.
    pub(super) race: Arc<Race>,
    budget: Arc<Mutex<Option<(Retry, Budget)>>>,
    pub(super) room: Arc<Room>,
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
            room: Arc::default(),
            since: now,
        }
    }

    /// Goes on where another one was; what belongs to the balancer only if that is the same.
    pub(super) fn succeed(&mut self, other: &Self, same_balancer: bool) {
        self.counters = other.counters.clone();
        self.room = Arc::clone(&other.room);
        self.since = other.since;
        if same_balancer {
            self.waiting = other.waiting.clone();
            self.race = Arc::clone(&other.race);
            self.budget = Arc::clone(&other.budget);
        }
    }

    /// Over the balancer of another one: what there is one of for each balancer is the same.
    pub(super) fn join(&mut self, other: &Self) {
        self.waiting = other.waiting.for_another();
        self.race = Arc::clone(&other.race);
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
