//! Slots by share: a point on a line as long as all weights together falls to one of them.

/// A point, as a fraction of 2^64, to the slot it falls on.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    slots: Box<[u32]>,
    /// Where each slot's stretch ends, as a fraction of 2^64; the last is the very end.
    ends: Box<[u64]>,
    /// For each of `slots.len()` equal parts of the line, the first stretch that reaches into it.
    guide: Box<[u32]>,
}

impl Shares {
    pub(super) fn new(weights: &[(usize, u32)]) -> Self {
        let total: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
        let mut sum = 0;
        let mut end = |weight: u32| {
            sum += u128::from(weight);
            ((sum << 64) / total.max(1)).saturating_sub(1).min(u128::from(u64::MAX)) as u64
        };
        let ends: Box<[u64]> = weights.iter().map(|(_, weight)| end(*weight)).collect();
        let parts = ends.len() as u128;
        let mut stretch = 0;
        let guide = (0..parts).map(|part| {
            let from = ((part << 64) / parts) as u64;
            while stretch + 1 < ends.len() && ends[stretch] < from {
                stretch += 1;
            }
            stretch as u32
        });
        let guide = guide.collect();
        Self { slots: weights.iter().map(|(slot, _)| *slot as u32).collect(), ends, guide }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot that `point` falls on; constant time on average whatever the weights. `None` without slots.
    pub(super) fn at(&self, point: u64) -> Option<usize> {
        let part = (u128::from(point) * self.guide.len() as u128) >> 64;
        let mut stretch = *self.guide.get(part as usize)? as usize;
        while *self.ends.get(stretch)? < point {
            stretch += 1;
        }
        self.slots.get(stretch).map(|slot| *slot as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_gets_its_share_and_the_ends_belong_to_somebody() {
        let shares = Shares::new(&[(4, 1), (7, 65_535), (9, 2), (11, 0)]);
        assert_eq!((shares.at(0), shares.at(u64::MAX)), (Some(4), Some(9)));
        let steps = 65_538_u64;
        let hits = (0..steps).filter_map(|step| shares.at(u64::MAX / steps * step + u64::MAX / steps / 2));
        let mut counts = [0; 12];
        hits.for_each(|slot| counts[slot] += 1);
        assert_eq!([counts[4], counts[7], counts[9], counts[11]], [1, 65_535, 2, 0]);
    }

    #[test]
    fn no_slots_and_no_weights_are_nothing_and_never_a_panic() {
        assert_eq!(Shares::new(&[]).at(5), None);
        assert_eq!(Shares::default().at(u64::MAX), None);
        assert_eq!(Shares::new(&[(3, 0)]).at(5), None);
    }
}
