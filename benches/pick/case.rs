//! A selector, a number of backends, and how many of them can take work.

use std::{cell::RefCell, fmt, time::Instant};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, Outcome, Request, SelectorKind,
    rand::{Rng as _, SeedableRng as _, rngs::SmallRng},
};

/// How many of the backends have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Openness {
    All,
    Quarter,
}

impl fmt::Display for Openness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::Quarter => "1 in 4",
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) selector: SelectorKind,
    pub(crate) backends: usize,
    pub(crate) openness: Openness,
}

impl Case {
    pub(crate) fn all(sizes: &[usize]) -> Vec<Self> {
        let mut cases = Vec::new();
        for selector in SelectorKind::ALL {
            for backends in sizes.iter().copied() {
                for openness in [Openness::All, Openness::Quarter] {
                    // Without spilling a key whose owner is full has no backend: nothing to time.
                    let timed = selector != SelectorKind::Hash { spill: false } || openness == Openness::All;
                    cases.extend(timed.then_some(Self { selector, backends, openness }));
                }
            }
        }
        cases
    }

    pub(crate) fn name(&self) -> String {
        let spills = self.selector == SelectorKind::Hash { spill: true };
        format!("{}{}", self.selector, if spills { " -H" } else { "" })
    }

    pub(crate) fn build(&self) -> Balancer<usize> {
        let backend = |at: usize| {
            let full = self.openness == Openness::Quarter && at % 4 != 3 && at + 1 != self.backends;
            let backend = BackendConfig::new(format!("backend-{at}:80"));
            if full { backend.with_limit(0) } else { backend }
        };
        let group = GroupConfig::new((0..self.backends).map(backend)).with_selector(self.selector);
        let mut rng = SmallRng::seed_from_u64(1);
        Balancer::new(Config::default().with_group(group), Instant::now(), &mut rng, |backend| backend.name.len())
    }
}

thread_local! {
    static RNG: RefCell<SmallRng> = RefCell::new(SmallRng::seed_from_u64(7));
}

/// What is timed. `now` is the same for all picks of a loop: reading the clock is the caller's business.
pub(crate) fn pick_and_finish(balancer: &Balancer<usize>, rounds: usize, now: Instant) {
    RNG.with_borrow_mut(|rng| {
        for _ in 0..rounds {
            let request = Request::new(now).with_key(rng.next_u64());
            if let Ok(lease) = balancer.pick(&request, rng) {
                lease.finish(Outcome::Success, now);
            }
        }
    });
}
