//! What the clones of one balanced service have in common.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use lb_core::{
    Balancer, Budget, Lease, NoPick, Request, Tried,
    rand::{SeedableRng as _, rngs::SmallRng},
};

use super::Hints;
use crate::driver::now;

/// What may be set beside the policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Of 100 calls so many may be repeated.
    pub(super) percent: u8,
    /// And so many each second besides.
    pub(super) per_second: u32,
    pub(super) seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { percent: 20, per_second: 10, seed: None }
    }
}

#[derive(Debug)]
pub(super) struct Shared<T, P> {
    pub(super) balancer: Arc<Balancer<T>>,
    pub(super) policy: P,
    pub(super) settings: Settings,
    /// The time for calls of which nobody wants to know theirs.
    pub(super) made: Instant,
    calls: Calls,
    /// Asked only when a backend has failed.
    budget: Mutex<Budget>,
    seeds: AtomicU64,
}

impl<T: Send + Sync, P> Shared<T, P> {
    pub(super) fn new(balancer: Arc<Balancer<T>>, policy: P, settings: Settings) -> Arc<Self> {
        let made = now();
        let seed = settings.seed.unwrap_or_else(|| RandomState::new().hash_one(made));
        let budget = Mutex::new(Budget::new(settings.percent, settings.per_second, made));
        let (calls, seeds) = (Calls::default(), AtomicU64::new(seed));
        Arc::new(Self { balancer, policy, settings, made, calls, budget, seeds })
    }

    /// The same balancer with another policy.
    pub(super) fn with_policy<Q>(&self, policy: Q) -> Arc<Shared<T, Q>> {
        Shared::new(Arc::clone(&self.balancer), policy, self.settings)
    }

    /// Chance for one clone, which has it for itself.
    pub(super) fn rng(&self) -> SmallRng {
        // Any odd step visits all numbers; it must not be the one by which the generator makes its state of a seed.
        SmallRng::seed_from_u64(self.seeds.fetch_add(0xD134_2543_DE82_EF95, Relaxed))
    }

    pub(super) fn begin(&self) {
        self.calls.count();
    }

    pub(super) fn pick(
        &self,
        hints: Hints,
        tried: Option<&Tried>,
        now: Instant,
        rng: &mut SmallRng,
    ) -> Result<Lease<T>, NoPick> {
        let mut request = Request::new(now);
        (request.key, request.client, request.pin) = (hints.key, hints.client, hints.pin);
        match tried {
            Some(tried) => self.balancer.pick(&request.with_tried(tried), rng),
            None => match self.balancer.pick(&request, rng) {
                // They may have been replaced under it: then those that came are there by now.
                Err(NoPick::AllDown) => self.balancer.pick(&request, rng),
                picked => picked,
            },
        }
    }

    /// Whether one more call may be repeated that a backend may have begun with.
    #[cold]
    pub(super) fn may_repeat(&self, now: Instant) -> bool {
        let calls = self.calls.sum();
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).try_spend(now, calls)
    }
}

/// So many threads have a counter for themselves, and so many counters all others share.
const LINES: usize = 8;

/// How many calls there have been.
#[derive(Debug, Default)]
struct Calls {
    own: [Line; LINES],
    shared: [Line; LINES],
}

/// A counter with a cache line of its own, and the one that is fetched with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

thread_local! {
    /// Threads are numbered as they call for the first time.
    static NUMBER: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

impl Calls {
    fn count(&self) {
        // While a thread ends it may have lost its number.
        let number = NUMBER.try_with(|number| *number).unwrap_or(usize::MAX);
        match self.own.get(number) {
            // No number is given twice, so nobody else writes it.
            Some(Line(count)) => count.store(count.load(Relaxed) + 1, Relaxed),
            None => {
                self.shared[number % LINES].0.fetch_add(1, Relaxed);
            }
        }
    }

    fn sum(&self) -> u64 {
        self.own.iter().chain(&self.shared).map(|Line(count)| count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use lb_core::{rand::Rng as _, sim};

    use super::*;

    fn shared(settings: Settings) -> Arc<Shared<(), ()>> {
        let balancer = sim::World::new(1).balancer("alpha".parse().unwrap());
        Shared::new(Arc::new(balancer), (), settings)
    }

    #[test]
    fn calls_of_all_threads_are_counted() {
        let calls = Calls::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|_| calls.count()));
            }
        });
        assert_eq!(calls.sum(), 2000);
    }

    #[test]
    fn each_clone_has_chance_of_its_own_and_a_seed_makes_it_the_same_again() {
        let drawn = |seed| {
            let shared = shared(Settings { seed, ..Settings::default() });
            [shared.rng().next_u64(), shared.rng().next_u64()]
        };
        let [first, second] = drawn(Some(7));
        assert_ne!(first, second);
        assert_eq!(drawn(Some(7)), [first, second]);
        assert_ne!(drawn(None), drawn(None));
    }

    #[test]
    fn nothing_is_repeated_beyond_the_budget() {
        let shared = shared(Settings { percent: 50, per_second: 0, seed: None });
        (0..10).for_each(|_| shared.begin());
        // Credit fades, if only a little in a moment.
        let now = now();
        assert_eq!((0..10).filter(|_| shared.may_repeat(now)).count(), 5);
    }
}
