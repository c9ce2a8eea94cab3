//! Whose turn it is among some of a group.
//!
//! A wheel has as many marks of each backend as its weight says, at even distances. It stands behind the mark of whoever
//! was last, and of some backends that one is next whose mark comes first. So whoever is left out, the others keep their
//! proportions, and to find the next is a few multiplications for each of them, whatever the weights are. The marks of
//! backends of one weight are at even distances too, in the order of the group: weights 5, 1, 1 give a b a a a c a.

use crate::{BackendId, Group};

/// How much later the marks of a backend are than those of the one before it, so that of several at one place the
/// first is first and none is passed unseen. More than what is lost by rounding.
const APART: u64 = 1 << 8;

/// A mark may seem up to three nearer than it is, so this much behind where it seems is behind it.
const BEHIND: u64 = 4;

/// The marks of all backends of a group. Places on the wheel are fractions of 2^64.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    marks: Box<[Marks]>,
    /// All have the same weight: one mark each.
    are_alike: bool,
}

/// The marks of one backend.
#[derive(Debug)]
pub(super) struct Marks {
    id: BackendId,
    pub(super) weight: u32,
    /// From one to the next.
    distance: u64,
    /// How much of a distance the place 0 is behind one, as a fraction of 2^64.
    phase: u64,
}

impl Marks {
    /// Those of a backend that is at `nth` of so many that are alike, in parts of a distance.
    fn new((id, weight): (BackendId, u32), (nth, count): (u32, u32), later: u64) -> Self {
        let first = (u128::from(2 * nth + 1) << 63) / u128::from(count.max(1));
        let later = later.wrapping_mul(weight.into());
        let phase = (first as u64).wrapping_add(later).wrapping_neg();
        Self { id, weight, distance: u64::MAX / u64::from(weight), phase }
    }

    pub(super) fn ahead(&self, place: u64) -> u64 {
        let passed = place.wrapping_mul(self.weight.into()).wrapping_add(self.phase);
        ((u128::from(!passed) * u128::from(self.distance)) >> 64) as u64
    }
}

impl Wheel {
    pub(super) fn new(group: &dyn Group) -> Self {
        let backend = |slot: usize| (group.backend(slot).id(), group.backend(slot).weight().max(1));
        let backends: Vec<(BackendId, u32)> = (0..group.len()).map(backend).collect();
        let are_alike = backends.windows(2).all(|two| two[0].1 == two[1].1);
        let marks = backends.iter().enumerate().map(|(slot, (id, weight))| {
            let alike = |others: &[(BackendId, u32)]| others.iter().filter(|other| other.1 == *weight).count() as u32;
            let nth = (alike(&backends[..slot]), alike(&backends));
            if are_alike { Marks::new((*id, 1), nth, 0) } else { Marks::new((*id, *weight), nth, slot as u64 * APART) }
        });
        Self { marks: marks.collect(), are_alike }
    }

    /// By slot.
    pub(super) fn marks(&self) -> &[Marks] {
        &self.marks
    }

    /// How far the next mark of this slot is from this place, or up to three less.
    pub(super) fn ahead(&self, slot: usize, place: u64) -> u64 {
        self.marks.get(slot).map_or(u64::MAX, |marks| marks.ahead(place))
    }

    /// Where all are alike: the slot from which they come in their order. As many as there are is the first again.
    pub(super) fn order_from(&self, place: u64) -> Option<usize> {
        let slot = || (u128::from(place) * self.marks.len() as u128 + (1 << 63)) >> 64;
        self.are_alike.then(|| slot() as usize)
    }

    /// The place behind the next mark of this slot.
    pub(super) fn behind(&self, slot: usize, place: u64) -> u64 {
        place.wrapping_add(self.ahead(slot, place)).wrapping_add(BEHIND)
    }

    /// The place at which another wheel is to go on: before a mark of the first of our backends, from the one whose turn
    /// it is, that it still has.
    pub(super) fn carry_turn(&self, place: u64, new: &Self) -> u64 {
        let mut in_turn: Vec<&Marks> = self.marks.iter().collect();
        in_turn.sort_by_key(|marks| marks.ahead(place));
        let survivor = in_turn.iter().find_map(|marks| new.marks.iter().find(|other| other.id == marks.id));
        survivor.map_or(place, |marks| place.wrapping_add(marks.ahead(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Stub;

    fn wheel(weights: &[u32]) -> Wheel {
        let stubs: Vec<Stub> = (0..).zip(weights).map(|(id, weight)| Stub::new(id).with_weight(*weight)).collect();
        Wheel::new(&stubs)
    }

    /// How often each is next in so many turns, of those that may be.
    fn turns(wheel: &Wheel, may: &[usize], from: u64, count: u32) -> Vec<u32> {
        let mut counts = vec![0; wheel.marks.len()];
        let mut place = from;
        for _ in 0..count {
            let next = may.iter().min_by_key(|slot| wheel.ahead(**slot, place)).unwrap();
            counts[*next] += 1;
            place = wheel.behind(*next, place);
        }
        counts
    }

    #[test]
    fn a_round_has_every_mark_once_wherever_it_begins_and_whoever_is_left_out() {
        for from in [0, 1, 1 << 40, 1 << 63, u64::MAX - 3] {
            let marks = wheel(&[5, 3, 2, 5, 1, 7, 7, 1]);
            assert_eq!(turns(&marks, &[0, 1, 2, 3, 4, 5, 6, 7], from, 31), [5, 3, 2, 5, 1, 7, 7, 1], "from {from}");
            assert_eq!(turns(&marks, &[1, 4, 5], from, 11), [0, 3, 0, 0, 1, 7, 0, 0], "from {from}");
            assert_eq!(turns(&wheel(&[9; 8]), &[0, 1, 2, 3, 4, 5, 6, 7], from, 8), [1; 8], "from {from}");
            assert_eq!(turns(&wheel(&[997, 1]), &[0, 1], from, 998), [997, 1], "from {from}");
        }
    }

    #[test]
    fn weights_without_bound_keep_their_proportions() {
        let marks = wheel(&[u32::MAX, u32::MAX / 2, 65_535_000, 0]);
        let counts = turns(&marks, &[0, 1, 2], 0, 6_000);
        assert!(counts[0].abs_diff(3_960) <= 2 && counts[1].abs_diff(1_980) <= 2 && counts[2] == 60, "{counts:?}");
    }

    #[test]
    fn where_all_are_alike_the_order_is_that_of_the_group() {
        for count in 1..=8 {
            let marks = wheel(&vec![4; count]);
            let mut place = 0;
            for turn in 0..5 * count {
                assert_eq!(marks.order_from(place).map(|slot| slot % count), Some(turn % count));
                assert_eq!(marks.carry_turn(place, &marks), marks.carry_turn(marks.carry_turn(place, &marks), &marks));
                place = marks.behind(turn % count, marks.carry_turn(place, &marks));
            }
        }
        assert_eq!((wheel(&[]).order_from(5), wheel(&[1, 2]).order_from(5)), (Some(0), None));
    }
}
