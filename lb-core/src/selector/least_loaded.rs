//! The less loaded of two drawn at random.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use super::{DRAWS, Metric, Selector, is_open, shares::Shares, taking_part};
use crate::{Group, Request, group::next_fit, rand::Rng};

/// Up to so many backends all are compared: it costs no more than two draws, and wastes no request at low load.
const COMPARE_ALL: usize = 8;

/// The less loaded of two distinct backends drawn by weight (Mitzenmacher, "The Power of Two Choices", 2001); of all of
/// them in groups of up to 8, equal ones in turn. Load is divided by weight.
/// ```
/// use lb_core::{Request, selector::{LeastLoaded, Metric, Selector}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1), Stub::new(2), Stub::new(3).with_weight(3)];
/// let selector = LeastLoaded::new(Metric::InFlight).rebuild(&group, &Request::new(world.now()));
/// for _ in 0..50 {
///     group[selector.pick(&group, &Request::new(world.now()), world.rng()).unwrap()].enter();
/// }
/// assert_eq!(group.map(|backend| lb_core::Backend::in_flight(&backend)), [10, 10, 30]);
/// ```
#[derive(Debug, Default)]
pub struct LeastLoaded {
    metric: Metric,
    shares: Shares,
    /// Where the comparison of all begins; one further each time, so that equals come in turn.
    cursor: AtomicUsize,
}

impl LeastLoaded {
    /// A selector without a group yet.
    #[must_use]
    pub fn new(metric: Metric) -> Self {
        Self { metric, ..Self::default() }
    }

    /// The best of all; of equals the first at or after the cursor, which then stands behind it.
    fn best_of_all(&self, group: &dyn Group, request: &Request<'_>) -> Option<usize> {
        let start = self.cursor.load(Relaxed) % group.len().max(1);
        let in_turn = (start..group.len()).chain(0..start);
        let open = in_turn.filter(|slot| is_open(group, *slot, request));
        let best = open.reduce(|best, slot| self.lighter(group, best, slot, request.now))?;
        self.cursor.store(best + 1, Relaxed);
        Some(best)
    }

    /// The first of two distinct backends, unless the second carries less for its weight.
    fn best_of_two(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize> {
        let mut first = None;
        let mut last = 0;
        for _ in 0..DRAWS {
            last = self.shares.at(rng.next_u64()).unwrap_or(0);
            match first {
                Some(slot) if slot == last => {}
                _ if !is_open(group, last, request) => {}
                Some(slot) => return Some(self.lighter(group, slot, last, request.now)),
                None => first = Some(last),
            }
        }
        first.or_else(|| next_fit(group, last, request))
    }

    fn lighter(&self, group: &dyn Group, one: usize, other: usize, now: Instant) -> usize {
        let (one_backend, other_backend) = (group.backend(one), group.backend(other));
        let (load, other_load) = (one_backend.load(self.metric, now), other_backend.load(self.metric, now));
        let (weight, other_weight) = (one_backend.weight().max(1), other_backend.weight().max(1));
        let is_lighter = if weight == other_weight {
            other_load < load
        } else {
            u128::from(other_load) * u128::from(weight) < u128::from(load) * u128::from(other_weight)
        };
        if is_lighter { other } else { one }
    }
}

impl Selector for LeastLoaded {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize> {
        if group.len() <= COMPARE_ALL {
            self.best_of_all(group, request)
        } else {
            self.best_of_two(group, request, rng)
        }
    }

    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector> {
        let cursor = AtomicUsize::new(self.cursor.load(Relaxed));
        Box::new(Self { metric: self.metric, shares: Shares::new(&taking_part(group, request)), cursor })
    }
}
