//! Fill one backend before using the next.

use super::Selector;
use crate::{Group, Request, rand::Rng};

/// The first backend that has room, in the order they were written; limits make the buckets. A weight of 0 leaves one
/// out, other weights say nothing: so a slow start or a share makes the bucket smaller.
/// ```
/// use lb_core::{Request, selector::{BucketFill, Selector}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1).with_limit(2), Stub::new(2)];
/// let order: Vec<_> = (0..3).map(|_| {
///     let slot = BucketFill.pick(&group, &Request::new(world.now()), world.rng()).unwrap();
///     group[slot].enter();
///     slot
/// }).collect();
/// assert_eq!(order, [0, 0, 1]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketFill;

impl Selector for BucketFill {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, _: &mut dyn Rng) -> Option<usize> {
        group.first_fit(0..group.len(), request)
    }

    fn rebuild(&self, _: &dyn Group, _: &Request<'_>) -> Box<dyn Selector> {
        Box::new(*self)
    }

    fn ramps_weight(&self) -> bool {
        false
    }
}
