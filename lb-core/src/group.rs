//! An ordered set of backends, as a selector sees it.

use std::ops::Range;

use crate::{Backend, Fit, Request};

/// An ordered set of backends. Slots are positions in it, from 0, and stay valid for one pick.
/// ```
/// use lb_core::{Group, Request, sim};
/// let group = [sim::Stub::new(1), sim::Stub::new(2)];
/// let request = Request::new(sim::epoch());
/// assert_eq!(Group::first_fit(&group, 0..2, &request), Some(0));
/// ```
pub trait Group: Send + Sync {
    /// How many slots there are.
    fn len(&self) -> usize;
    /// The backend in a slot below [`len`](Self::len).
    fn backend(&self, slot: usize) -> &dyn Backend;
    /// Whether the backend in this slot can take the request.
    fn fits(&self, slot: usize, request: &Request<'_>) -> bool {
        self.backend(slot).fit(request) == Fit::Yes
    }
    /// The first of these slots that can take the request. A scan; [`Balancer`](crate::Balancer) answers from a bitmap.
    fn first_fit(&self, slots: Range<usize>, request: &Request<'_>) -> Option<usize> {
        slots.into_iter().find(|slot| self.fits(*slot, request))
    }
    /// Whether there is no slot at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<B: Backend> Group for [B] {
    fn len(&self) -> usize {
        self.len()
    }
    fn backend(&self, slot: usize) -> &dyn Backend {
        &self[slot]
    }
}

impl<B: Backend, const N: usize> Group for [B; N] {
    fn len(&self) -> usize {
        N
    }
    fn backend(&self, slot: usize) -> &dyn Backend {
        &self[slot]
    }
}

/// A slice by reference, so that `&slice` is a `&dyn Group`; likewise whatever else is a group.
impl<G: Group + ?Sized> Group for &G {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn backend(&self, slot: usize) -> &dyn Backend {
        (**self).backend(slot)
    }
    fn fits(&self, slot: usize, request: &Request<'_>) -> bool {
        (**self).fits(slot, request)
    }
    fn first_fit(&self, slots: Range<usize>, request: &Request<'_>) -> Option<usize> {
        (**self).first_fit(slots, request)
    }
}

impl<B: Backend> Group for Vec<B> {
    fn len(&self) -> usize {
        self.len()
    }
    fn backend(&self, slot: usize) -> &dyn Backend {
        &self[slot]
    }
}

/// Some neighbouring slots of a group, as a group of their own.
pub(crate) struct SubGroup<'a> {
    pub(crate) whole: &'a dyn Group,
    pub(crate) slots: Range<usize>,
}

impl Group for SubGroup<'_> {
    fn len(&self) -> usize {
        self.slots.len()
    }
    fn backend(&self, slot: usize) -> &dyn Backend {
        self.whole.backend(self.slots.start + slot)
    }
    fn fits(&self, slot: usize, request: &Request<'_>) -> bool {
        self.whole.fits(self.slots.start + slot, request)
    }
    fn first_fit(&self, slots: Range<usize>, request: &Request<'_>) -> Option<usize> {
        let start = self.slots.start;
        let within = start + slots.start..(start + slots.end).min(self.slots.end);
        self.whole.first_fit(within, request).map(|slot| slot - start)
    }
}

/// The first slot at or after `from`, once around, that can take the request.
pub(crate) fn next_fit(group: &dyn Group, from: usize, request: &Request<'_>) -> Option<usize> {
    let from = from.min(group.len());
    group.first_fit(from..group.len(), request).or_else(|| group.first_fit(0..from, request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    /// It knows more than its backends say.
    struct Shut([sim::Stub; 1]);

    impl Group for Shut {
        fn len(&self) -> usize {
            1
        }
        fn backend(&self, slot: usize) -> &dyn Backend {
            &self.0[slot]
        }
        fn fits(&self, _: usize, _: &Request<'_>) -> bool {
            false
        }
        fn first_fit(&self, _: Range<usize>, _: &Request<'_>) -> Option<usize> {
            None
        }
    }

    fn fits(group: impl Group) -> bool {
        group.fits(0, &Request::new(sim::epoch()))
    }

    #[test]
    fn a_group_by_reference_answers_as_the_group_does() {
        let shut = Shut([sim::Stub::new(1)]);
        assert!(!fits(&shut));
        assert!(fits(&shut.0));
    }
}
