//! Who owns which key: weighted rendezvous over a million entries.
//!
//! Keys fall on 2^20 entries. Every backend ranks all entries in an order of its own, a permutation made from its id,
//! and an entry belongs to the backend that reaches it first when each walks its order at a speed set by its weight:
//! rank r is reached at -log2(1 - (r + 1/2) / 2^20) / weight, which makes it weighted rendezvous hashing (Thaler and
//! Ravishankar 1998; Schindelhauer and Schomaker 2005) with the exponential times dealt out evenly.
//!
//! A walk depends on one backend alone. So a backend that comes or goes moves only the keys that it gets or had,
//! whatever the size of the group, and a few backends can be asked one by one where many need a table: both give the
//! same owner. A permutation can be walked, so a table is filled by the walks and not by asking all for all.

use crate::{BackendId, key::avalanche};

const BITS: u32 = 20;
/// Entries that keys fall on: at 10 000 backends about 105 each.
pub(super) const ENTRIES: u32 = 1 << BITS;
const MASK: u32 = ENTRIES - 1;

/// One backend's order of all entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ranking {
    id: BackendId,
    weight: u32,
    factors: [u32; 3],
    offset: u32,
}

impl Ranking {
    pub(super) fn new(id: BackendId, weight: u32) -> Self {
        let part = |n: u64| avalanche(id.as_u64().wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))) as u32;
        // Odd factors: each has an inverse modulo a power of two.
        Self { id, weight, factors: [part(1) | 1, part(2) | 1, part(3) | 1], offset: part(4) }
    }

    /// The rank of an entry.
    fn rank(&self, entry: u32) -> u32 {
        let [a, b, c] = self.factors;
        let x = entry.wrapping_mul(a).wrapping_add(self.offset) & MASK;
        let x = (x ^ x >> 10).wrapping_mul(b) & MASK;
        (x ^ x >> 10).wrapping_mul(c) & MASK
    }

    /// The entries in the order of their ranks.
    fn walk(&self) -> impl Iterator<Item = u32> + use<> {
        let [a, b, c] = self.factors.map(inverse);
        let offset = self.offset;
        (0..ENTRIES).map(move |rank| {
            let x = rank.wrapping_mul(c) & MASK;
            let x = (x ^ x >> 10).wrapping_mul(b) & MASK;
            (x ^ x >> 10).wrapping_sub(offset).wrapping_mul(a) & MASK
        })
    }

    /// When this backend reaches the entry.
    fn arrival(&self, entry: u32) -> Arrival {
        self.arrival_at(self.rank(entry))
    }

    fn arrival_at(&self, rank: u32) -> Arrival {
        Arrival { rank, weight: self.weight, id: self.id }
    }
}

/// A moment in a walk.
#[derive(Clone, Copy)]
struct Arrival {
    rank: u32,
    weight: u32,
    id: BackendId,
}

impl Arrival {
    /// The time at the other's weight: comparing these needs no division.
    fn over(&self, other: &Self) -> u128 {
        u128::from(time_of_rank(self.rank)) * u128::from(other.weight)
    }

    /// By time, then rank, then id. Of equal weights the lower rank is never later: no logarithm is needed.
    fn is_before(&self, other: &Self) -> bool {
        let by_rank = (self.rank, self.id) < (other.rank, other.id);
        if self.weight == other.weight {
            return by_rank;
        }
        let (mine, its) = (self.over(other), other.over(self));
        mine < its || mine == its && by_rank
    }
}

/// The owner of an entry among those that are open, by asking every backend: for a few of them.
pub(super) fn owner(rankings: &[Ranking], entry: u32, is_open: impl Fn(usize) -> bool) -> Option<usize> {
    let open = rankings.iter().enumerate().filter(|(index, _)| is_open(*index));
    let arrivals = open.map(|(index, ranking)| (index, ranking.arrival(entry)));
    arrivals.reduce(|best, next| if next.1.is_before(&best.1) { next } else { best }).map(|(index, _)| index)
}

/// The owner of every entry: for many backends.
pub(super) fn owners(rankings: &[Ranking]) -> Box<[u32]> {
    const NOBODY: u32 = u32::MAX;
    let total: u64 = rankings.iter().map(|ranking| u64::from(ranking.weight)).sum();
    // After this time one entry in 2n is left, each asked one by one.
    let horizon = (u64::from(rankings.len().max(1).ilog2()) + 2) << 32;
    let mut owners = vec![NOBODY; ENTRIES as usize].into_boxed_slice();
    let mut ranks = vec![0_u32; ENTRIES as usize];
    for (index, ranking) in rankings.iter().enumerate() {
        let until = (u128::from(horizon) * u128::from(ranking.weight) / u128::from(total.max(1))) as u64;
        for (rank, entry) in (0..).zip(ranking.walk()).take_while(|(rank, _)| time_of_rank(*rank) <= until) {
            let (owner, held) = (&mut owners[entry as usize], &mut ranks[entry as usize]);
            let holder = rankings.get(*owner as usize).map(|holder| holder.arrival_at(*held));
            if holder.is_none_or(|holder| ranking.arrival_at(rank).is_before(&holder)) {
                (*owner, *held) = (index as u32, rank);
            }
        }
    }
    for (entry, left) in (0..).zip(&mut owners).filter(|(_, owner)| **owner == NOBODY) {
        *left = owner(rankings, entry, |_| true).map_or(NOBODY, |index| index as u32);
    }
    owners
}

/// The inverse of an odd number modulo 2^32 (Newton's iteration; each step doubles the right bits).
fn inverse(odd: u32) -> u32 {
    (0..5).fold(odd, |x, _| x.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(x))))
}

/// `-log2(1 - (rank + 1/2) / ENTRIES)` with 32 binary places, in integers: the same on every machine.
fn time_of_rank(rank: u32) -> u64 {
    let left = 2 * ENTRIES - 2 * rank - 1;
    let whole = left.ilog2();
    let mantissa = u64::from(left) << (32 - whole) & 0xFFFF_FFFF;
    let (index, part) = ((mantissa >> 22) as usize, mantissa & 0x3F_FFFF);
    let (low, high) = (LOG2[index], LOG2[index + 1]);
    let log = (u64::from(whole) << 32) + low + (((high - low) * part) >> 22);
    (u64::from(BITS + 1) << 32).saturating_sub(log)
}

/// `log2(1 + i / 1024)` with 32 binary places.
static LOG2: [u64; 1025] = log2_table();

const fn log2_table() -> [u64; 1025] {
    let mut table = [0; 1025];
    let mut i = 0;
    while i < 1024 {
        table[i] = log2_of(1024 + i as u64);
        i += 1;
    }
    table[1024] = 1 << 32;
    table
}

/// Bit by bit: squaring a number doubles its logarithm.
const fn log2_of(value: u64) -> u64 {
    let mut x = (value as u128) << 52;
    let mut log = 0;
    let mut bit = 0;
    while bit < 32 {
        x = (x * x) >> 62;
        log <<= 1;
        if x >= 1 << 63 {
            x >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rankings(weights: &[u32]) -> Vec<Ranking> {
        weights.iter().enumerate().map(|(k, weight)| Ranking::new(BackendId::new("backend", k), *weight)).collect()
    }

    #[test]
    fn a_walk_meets_every_entry_at_its_rank() {
        let ranking = Ranking::new(BackendId::new("alpha", 0), 1);
        for (rank, entry) in (0..).zip(ranking.walk()).step_by(997) {
            assert_eq!(ranking.rank(entry), rank);
        }
    }

    #[test]
    fn times_are_logarithms_and_never_fall() {
        for rank in (0..ENTRIES).step_by(1013) {
            let exact = -(1.0 - (f64::from(rank) + 0.5) / f64::from(ENTRIES)).log2() * 2_f64.powi(32);
            let off = (time_of_rank(rank) as f64 - exact).abs();
            assert!(off < 2000.0, "rank {rank} is off by {off} / 2^32");
            assert!(rank == 0 || time_of_rank(rank - 1) <= time_of_rank(rank));
        }
        assert!(time_of_rank(ENTRIES - 1) > time_of_rank(ENTRIES - 2));
    }

    #[test]
    fn a_table_says_what_asking_says() {
        let rankings = rankings(&[1, 5, 1, 1, 2, 1, 1, 1, 40, 1, 1, 1, 1, 1, 3, 1, 1, 9]);
        let owners = owners(&rankings);
        for entry in (0..ENTRIES).step_by(101) {
            assert_eq!(owner(&rankings, entry, |_| true), Some(owners[entry as usize] as usize), "entry {entry}");
        }
    }

    #[test]
    fn entries_are_shared_by_weight() {
        for weights in [vec![1, 1, 1], vec![1, 2, 5], vec![100; 17]] {
            let rankings = rankings(&weights);
            let mut counts = vec![0_u32; weights.len()];
            let asked = (0..ENTRIES).step_by(7);
            asked.clone().filter_map(|entry| owner(&rankings, entry, |_| true)).for_each(|index| counts[index] += 1);
            for (count, weight) in counts.iter().zip(&weights) {
                let fair = asked.len() as f64 * f64::from(*weight) / f64::from(weights.iter().sum::<u32>());
                assert!((f64::from(*count) / fair - 1.0).abs() < 0.05, "{counts:?} for {weights:?}");
            }
        }
    }
}
