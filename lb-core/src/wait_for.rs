//! What a request that found no place may wait for.

use crate::{Fit, Group, Request};

/// What a request that found no place may wait for: what is full may have room a moment later.
/// ```
/// use lb_core::{Request, WaitFor, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha::1 beta::1".parse()?);
/// let request = Request::new(world.now());
/// let held = [balancer.pick(&request, world.rng())?, balancer.pick(&request, world.rng())?];
/// assert_eq!(balancer.wait_for(&request), WaitFor::Any);
/// assert_eq!(balancer.wait_for(&request.with_pin(held[0].id())), WaitFor::One(held[0].id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor<T> {
    /// Those that could take it are down or disabled, or it has been there.
    Nothing,
    /// This one alone: the owner of its key, or the one that it is pinned to.
    One(T),
    /// A place at any of several.
    Any,
}

impl<T> WaitFor<T> {
    /// This or that.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, only) | (only, Self::Nothing) => only,
            _ => Self::Any,
        }
    }

    pub(crate) fn map<U>(self, map: impl FnOnce(T) -> Option<U>) -> WaitFor<U> {
        match self {
            Self::Nothing => WaitFor::Nothing,
            Self::One(one) => map(one).map_or(WaitFor::Nothing, WaitFor::One),
            Self::Any => WaitFor::Any,
        }
    }
}

/// Whether it is worth waiting for: a backend that has room was full a moment ago.
pub(crate) fn is_worth_it(fit: Fit) -> bool {
    matches!(fit, Fit::Yes | Fit::Full)
}

/// Any that is.
pub(crate) fn any_of(group: &dyn Group, request: &Request<'_>) -> WaitFor<usize> {
    let any = (0..group.len()).any(|slot| is_worth_it(group.backend(slot).fit(request)));
    if any { WaitFor::Any } else { WaitFor::Nothing }
}
