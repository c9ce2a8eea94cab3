//! The less loaded of all, or of two drawn at random; equally loaded ones in turn.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use super::{DRAWS, Metric, Selector, is_open, shares::Shares, taking_part, wheel::Wheel};
use crate::{Group, Request, group::next_fit, rand::Rng};

/// Up to so many backends all are compared: it costs no more than two draws, and wastes no request at low load.
const COMPARE_ALL: usize = u8::BITS as usize;

/// The less loaded of two distinct backends drawn by weight (Mitzenmacher, "The Power of Two Choices", 2001); of all of
/// them in groups of up to 8. Load is divided by weight.
///
/// A request is a step: who would be no busier with it than another is without it is the less loaded of the two.
/// Otherwise they are equally loaded, as idle ones are, and each gets in turn (in groups of more than 8, by chance) what
/// its weight says. Backends of one weight are equally loaded where they have equally many, and take turns a b a b.
/// ```
/// use lb_core::{Request, selector::{LeastLoaded, Metric, Selector}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1), Stub::new(2), Stub::new(3).with_weight(3)];
/// let selector = LeastLoaded::new(Metric::InFlight).rebuild(&group, &Request::new(world.now()));
/// let mut pick = || selector.pick(&group, &Request::new(world.now()), world.rng()).unwrap();
/// assert_eq!([0; 10].map(|_| pick()), [2, 0, 2, 1, 2, 2, 0, 2, 1, 2], "nobody is busy");
/// for _ in 0..50 {
///     group[pick()].enter();
/// }
/// assert_eq!(group.map(|backend| lb_core::Backend::in_flight(&backend)), [10, 10, 30]);
/// ```
#[derive(Debug, Default)]
pub struct LeastLoaded {
    metric: Metric,
    /// Of a group in which two are drawn.
    shares: Shares,
    /// Of a group in which all are compared.
    wheel: Wheel,
    /// Where the wheel stands.
    place: AtomicU64,
}

/// What a backend would carry with one more request, and its weight.
#[derive(Clone, Copy, Debug)]
struct Load {
    amount: u64,
    weight: u32,
}

impl Load {
    fn of(group: &dyn Group, slot: usize, metric: Metric, now: Instant) -> Self {
        let backend = group.backend(slot);
        Self { amount: backend.load(metric, now).max(1), weight: backend.weight().max(1) }
    }

    /// What it carries without the request.
    fn before(self) -> Self {
        Self { amount: self.amount - 1, ..self }
    }

    /// Whether it is less for its weight; comparing needs no division.
    fn is_below(self, other: Self) -> bool {
        let times = |amount: u64, weight: u32| u128::from(amount) * u128::from(weight);
        times(self.amount, other.weight) < times(other.amount, self.weight)
    }
}

/// The slots of a small group that are open, a bit each.
#[derive(Clone, Copy)]
struct Open(u8);

impl Open {
    fn of(group: &dyn Group, request: &Request<'_>) -> Self {
        let open = (0..group.len().min(COMPARE_ALL)).filter(|slot| group.fits(*slot, request));
        Self(open.fold(0, |open, slot| open | 1 << slot))
    }

    /// The slot, where there is but one.
    fn only(self) -> Option<usize> {
        self.0.is_power_of_two().then_some(self.0.trailing_zeros() as usize)
    }

    /// Once around, from this slot on.
    fn from(self, start: usize) -> impl Iterator<Item = usize> {
        let mut left = self.0.rotate_right(start as u32);
        std::iter::from_fn(move || {
            let next = (left != 0).then(|| (left.trailing_zeros() as usize + start) % COMPARE_ALL);
            left &= left.wrapping_sub(1);
            next
        })
    }
}

impl LeastLoaded {
    /// A selector without a group yet.
    #[must_use]
    pub fn new(metric: Metric) -> Self {
        Self { metric, ..Self::default() }
    }

    /// Of those than which nobody is less loaded, the one whose turn it is.
    fn best_of_all(&self, group: &dyn Group, request: &Request<'_>) -> Option<usize> {
        let place = self.place.load(Relaxed);
        let best = match self.wheel.order_from(place) {
            Some(start) => self.first_of_alike(start, group, request),
            None => self.due_of_equals(place, group, request),
        };
        let Some(best) = best else { return next_fit(group, 0, request) };
        self.place.store(self.wheel.behind(best, place), Relaxed);
        Some(best)
    }

    /// Where all have one weight: the first with least load, once around from this slot on.
    fn first_of_alike(&self, start: usize, group: &dyn Group, request: &Request<'_>) -> Option<usize> {
        let open = Open::of(group, request);
        let load = |slot: usize| (slot, group.backend(slot).load(self.metric, request.now));
        open.only().or_else(|| {
            let least = open.from(start).map(load).reduce(|least, next| if next.1 < least.1 { next } else { least });
            least.map(|(slot, _)| slot)
        })
    }

    /// Where weights differ.
    fn due_of_equals(&self, place: u64, group: &dyn Group, request: &Request<'_>) -> Option<usize> {
        // Of those that are not open 0.
        let mut amounts = [0; COMPARE_ALL];
        // If anybody is less loaded than another, the one is that would have the least load with the request.
        let mut least = Load { amount: u64::MAX, weight: 1 };
        for ((slot, marks), kept) in (0..group.len()).zip(self.wheel.marks()).zip(&mut amounts) {
            if group.fits(slot, request) {
                let amount = group.backend(slot).load(self.metric, request.now).max(1);
                let load = Load { amount, weight: marks.weight };
                least = if load.is_below(least) { load } else { least };
                *kept = amount;
            }
        }
        let (mut due, mut nearest) = (None, u64::MAX);
        for ((slot, marks), amount) in self.wheel.marks().iter().enumerate().zip(&amounts) {
            let load = Load { amount: *amount, weight: marks.weight };
            if load.amount > 0 && load.before().is_below(least) {
                let ahead = marks.ahead(place);
                (due, nearest) = if ahead <= nearest { (Some(slot), ahead) } else { (due, nearest) };
            }
        }
        due
    }

    /// The first of two distinct backends, unless the second is lighter.
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

    fn lighter(&self, group: &dyn Group, first: usize, second: usize, now: Instant) -> usize {
        let [one, other] = [first, second].map(|slot| Load::of(group, slot, self.metric, now));
        if one.before().is_below(other) { first } else { second }
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
        let compares = group.len() <= COMPARE_ALL;
        let wheel = if compares { Wheel::new(group) } else { Wheel::default() };
        let shares = if compares { Shares::default() } else { Shares::new(&taking_part(group, request)) };
        let place = self.wheel.carry_turn(self.place.load(Relaxed), &wheel).into();
        Box::new(Self { metric: self.metric, shares, wheel, place })
    }
}
