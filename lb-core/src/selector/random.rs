//! Any backend, in proportion to weight.

use super::{DRAWS, Selector, is_open, shares::Shares, taking_part};
use crate::{Group, Request, group::next_fit, rand::Rng};

/// Any backend that has room, each as likely as its weight says.
/// ```
/// use lb_core::{Request, selector::{Random, Selector}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1).with_weight(3), Stub::new(2).with_weight(1)];
/// let random = Random::default().rebuild(&group, &Request::new(world.now()));
/// let firsts = (0..4000).filter(|_| random.pick(&group, &Request::new(world.now()), world.rng()) == Some(0)).count();
/// assert!((2900..3100).contains(&firsts));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Random {
    shares: Shares,
}

impl Selector for Random {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize> {
        let mut last = 0;
        for _ in 0..DRAWS {
            last = self.shares.at(rng.next_u64()).unwrap_or(0);
            if is_open(group, last, request) {
                return Some(last);
            }
        }
        next_fit(group, last, request)
    }

    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector> {
        Box::new(Self { shares: Shares::new(&taking_part(group, request)) })
    }
}
