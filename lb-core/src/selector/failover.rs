//! The first group that can pick.

use std::sync::Arc;

use super::Selector;
use crate::{Group, Request, WaitFor, group::SubGroup, rand::Rng};

/// Several selectors over neighbouring groups: the first that finds a backend has the say (balance's `!`).
///
/// Failing back is implied: every request asks the first group first.
/// ```
/// use lb_core::{Request, Selector, selector::{BucketFill, Failover}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1).with_limit(1), Stub::new(2)];
/// let failover = Failover::new(vec![(1, Box::new(BucketFill) as Box<dyn Selector>), (1, Box::new(BucketFill))]);
/// group[0].enter();
/// assert_eq!(failover.pick(&group, &Request::new(world.now()), world.rng()), Some(1));
/// group[0].leave();
/// assert_eq!(failover.pick(&group, &Request::new(world.now()), world.rng()), Some(0));
/// ```
#[derive(Debug)]
pub struct Failover {
    parts: Vec<(usize, Arc<dyn Selector>)>,
}

impl Failover {
    /// Each part is a number of slots and who chooses among them, in order.
    #[must_use]
    pub fn new(parts: Vec<(usize, Box<dyn Selector>)>) -> Self {
        Self { parts: parts.into_iter().map(|(len, selector)| (len, selector.into())).collect() }
    }

    pub(crate) fn of_shared(parts: Vec<(usize, Arc<dyn Selector>)>) -> Self {
        Self { parts }
    }
}

impl Selector for Failover {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize> {
        let mut start = 0_usize;
        for (len, selector) in &self.parts {
            let slots = start..start.saturating_add(*len).min(group.len());
            start = slots.end;
            let first = slots.start;
            if let Some(slot) = selector.pick(&SubGroup { whole: group, slots }, request, rng) {
                return Some(first + slot);
            }
        }
        None
    }

    fn wait_for(&self, group: &dyn Group, request: &Request<'_>) -> WaitFor<usize> {
        let mut start = 0_usize;
        let part = |(len, selector): &(usize, Arc<dyn Selector>)| {
            let slots = start..start.saturating_add(*len).min(group.len());
            start = slots.end;
            let first = slots.start;
            selector.wait_for(&SubGroup { whole: group, slots }, request).map(|slot| Some(first + slot))
        };
        self.parts.iter().map(part).fold(WaitFor::Nothing, WaitFor::or)
    }

    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector> {
        let mut start = 0_usize;
        let part = |(len, selector): &(usize, Arc<dyn Selector>)| {
            let slots = start..start.saturating_add(*len).min(group.len());
            start = slots.end;
            (*len, selector.rebuild(&SubGroup { whole: group, slots }, request).into())
        };
        Box::new(Self { parts: self.parts.iter().map(part).collect() })
    }
}
