//! Choosing one backend of a group.
//!
//! | selector | choose it when |
//! |---|---|
//! | [`RoundRobin`] | backends and requests are alike; the order must be predictable |
//! | [`LeastLoaded`] | requests differ in cost, or backends in speed |
//! | [`Hash`](struct@Hash) | the same client or key must meet the same backend (caches, sessions) |
//! | [`BucketFill`] | as few backends as possible should work, each up to its limit |
//! | [`Random`] | many independent balancers share one set of backends |
//! | [`Failover`] | there are spares: the first group that can take the request does |

mod bucket_fill;
mod failover;
mod hash;
mod least_loaded;
mod random;
mod ranking;
mod round_robin;
mod shares;
mod turns;

use std::fmt::Debug;

pub use self::{
    bucket_fill::BucketFill, failover::Failover, hash::Hash, least_loaded::LeastLoaded, random::Random,
    round_robin::RoundRobin,
};
pub use crate::backend::Metric;
use crate::{Fit, Group, Request, WaitFor, rand::Rng, wait_for};

/// Draws before every slot is looked at: with one backend in four open, 16 miss once in a hundred picks.
const DRAWS: usize = 16;

/// Chooses one backend of a group, from many threads at once, without waiting and without an allocation.
///
/// A selector is made for a group by [`rebuild`](Self::rebuild) and must stay right, if slower, while the group's
/// members change their health; it is rebuilt soon after.
/// ```
/// use lb_core::{Group, Request, Selector, rand::Rng, selector::BucketFill};
/// #[derive(Debug)]
/// struct LastFirst;
/// impl Selector for LastFirst {
///     fn pick(&self, group: &dyn Group, request: &Request<'_>, _: &mut dyn Rng) -> Option<usize> {
///         (0..group.len()).rev().find(|slot| group.backend(*slot).fit(request) == lb_core::Fit::Yes)
///     }
///     fn rebuild(&self, _: &dyn Group, _: &Request<'_>) -> Box<dyn Selector> {
///         Box::new(LastFirst)
///     }
/// }
/// let mut world = lb_core::sim::World::new(1);
/// let config = "alpha beta".parse()?;
/// let balancer = world.balancer(config).with_selector(&LastFirst);
/// assert_eq!(balancer.pick(&Request::new(world.now()), world.rng())?.name(), "beta");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Selector: Debug + Send + Sync {
    /// The slot of a backend that fits the request, if this selector will give it one.
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize>;

    /// The same selector for a changed group, with the turn carried over. `request` is what a request about which
    /// nothing is known asks now: a backend that is no fit for it may be left out, but for one that is only full.
    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector>;

    /// The slots that a request may wait for to which this selector has just given none. By default any that is full.
    fn wait_for(&self, group: &dyn Group, request: &Request<'_>) -> WaitFor<usize> {
        wait_for::any_of(group, request)
    }

    /// Whether slow start may scale the weights it sees. Where a weight decides who owns a key it must not, and where
    /// weights say nothing it would do nothing: then the limits ramp up alone.
    fn ramps_weight(&self) -> bool {
        true
    }
}

/// The slots that take part in turns and draws, each with its weight: not what is down, but what is only full.
fn taking_part(group: &dyn Group, request: &Request<'_>) -> Vec<(usize, u32)> {
    let slots = 0..group.len();
    let open = |slot: &usize| matches!(group.backend(*slot).fit(request), Fit::Yes | Fit::Full);
    slots.filter(open).map(|slot| (slot, group.backend(slot).weight())).filter(|(_, weight)| *weight > 0).collect()
}

fn is_open(group: &dyn Group, slot: usize, request: &Request<'_>) -> bool {
    slot < group.len() && group.fits(slot, request)
}
