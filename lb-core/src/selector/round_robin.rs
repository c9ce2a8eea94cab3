//! Turns in proportion to weight.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Selector, is_open, shares::Shares, taking_part, turns::smooth};
use crate::{BackendId, Group, Request, group::next_fit, rand::Rng};

/// Turns looked at before every slot is. Up to so many turns a round, each has been asked then.
const MOST_TRIES: usize = 64;

/// Turns that a thread does without exact order, once another has been faster than it.
const MOST_CROWDED: u8 = 32;

/// The golden ratio as a fraction of 2^64: its multiples spread over a line more evenly than those of any other number
/// (Weyl's sequence), so a walk in such steps visits long stretches often, and never in bursts.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Backends in turn, smoothly: weights 5, 1, 1 give a a b a c a a. Equal backends come exactly A B C A B C, from one
/// thread or many, because all share one cursor.
///
/// A backend that cannot take the request is passed by taking its turn as well, so that the others keep their proportions.
/// Weights whose round would be longer than 65 536 turns are walked in steps of the golden ratio instead: the
/// proportions are the same, the order is only nearly as smooth.
/// ```
/// use lb_core::{Request, selector::{RoundRobin, Selector}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1).with_weight(5), Stub::new(2), Stub::new(3)];
/// let turns = RoundRobin::starting_at(0).rebuild(&group, &Request::new(world.now()));
/// let mut order = String::new();
/// for _ in 0..7 {
///     let slot = turns.pick(&group, &Request::new(world.now()), world.rng()).unwrap();
///     order.push(b"abc"[slot] as char);
/// }
/// assert_eq!(order, "aabacaa");
/// ```
#[derive(Debug)]
pub struct RoundRobin {
    cursor: Cursor,
    round: Round,
    /// Who takes part, by slot: to find the turn again after a change.
    members: Box<[(u32, BackendId)]>,
}

thread_local! {
    /// For how many more turns this thread leaves the cursor to the others, because one of them was faster.
    static CROWDED: Cell<u8> = const { Cell::new(0) };
}

/// Where a turn leads that nobody knows by looking at the one before (a multiplicative hash, folded once).
fn scattered(turn: u64) -> u64 {
    let mixed = turn.wrapping_mul(GOLDEN);
    (mixed ^ mixed >> 32).wrapping_mul(GOLDEN) >> 20
}

/// In a cache line of its own: what picks only read must not go with what they all write.
#[derive(Debug)]
#[repr(align(128))]
struct Cursor(AtomicU64);

#[derive(Debug)]
enum Round {
    Turns(Box<[u32]>),
    Walk(Shares),
}

impl RoundRobin {
    /// A selector without a group yet, whose first turn will be that of this number, modulo the round. A random number
    /// keeps many balancers that start at once from meeting at the first backend.
    #[must_use]
    pub fn starting_at(turn: u64) -> Self {
        Self { cursor: Cursor(AtomicU64::new(turn)), round: Round::Turns(Box::default()), members: Box::default() }
    }

    fn slot_of(&self, turn: u64) -> Option<usize> {
        match &self.round {
            Round::Turns(turns) if turns.is_empty() => None,
            Round::Turns(turns) => turns.get((turn % turns.len() as u64) as usize).map(|slot| *slot as usize),
            Round::Walk(shares) => shares.at(turn.wrapping_mul(GOLDEN)),
        }
    }

    /// Turns after which each backend of a short round has been asked.
    fn tries(&self) -> usize {
        match &self.round {
            Round::Turns(turns) => turns.len().min(MOST_TRIES),
            Round::Walk(shares) => shares.len().min(MOST_TRIES),
        }
    }

    /// Takes all turns up to the first one of a backend that can take the request, at once; where there is none, the
    /// rest of the round.
    ///
    /// Threads that meet here do not wait for each other: the slower one leaves the turns alone and goes where random
    /// turns lead, for a while, so that proportions are kept.
    fn pass(&self, from: u64, group: &dyn Group, request: &Request<'_>) -> Option<usize> {
        let open_at = |turn| self.slot_of(turn).filter(|slot| is_open(group, *slot, request));
        let rest = self.tries() as u64 - 1;
        if let Some(left) = CROWDED.get().checked_sub(1) {
            CROWDED.set(left);
        } else {
            let found = (0..rest).find_map(|passed| Some((passed + 1, open_at(from.wrapping_add(passed))?)));
            let to = from.wrapping_add(found.map_or(rest, |(turns, _)| turns));
            if self.cursor.0.compare_exchange(from, to, Relaxed, Relaxed).is_ok() {
                return found.map(|(_, slot)| slot);
            }
            CROWDED.set(MOST_CROWDED);
        }
        (0..=rest).find_map(|step| open_at(scattered(from.wrapping_add(step))))
    }

    /// Where `new` goes on: at the first of our backends, from the one whose turn it is, that it still has.
    fn carry_turn(&self, new: &Self) -> u64 {
        let turn = self.cursor.0.load(Relaxed);
        let same = match (&self.round, &new.round) {
            (Round::Turns(old), Round::Turns(new)) => old == new,
            _ => false,
        };
        if self.members.is_empty() || same && self.members == new.members {
            return turn;
        }
        let next = self.slot_of(turn).unwrap_or(0);
        let from = self.members.partition_point(|(slot, _)| (*slot as usize) < next);
        let in_turn = self.members[from..].iter().chain(&self.members[..from]).map(|(_, id)| *id);
        let mut known: Vec<(BackendId, u32)> = new.members.iter().map(|(slot, id)| (*id, *slot)).collect();
        known.sort_unstable();
        let mut survivors = in_turn.filter_map(|id| known.binary_search_by_key(&id, |(id, _)| *id).ok());
        match (survivors.next(), &new.round) {
            (Some(at), Round::Turns(turns)) => {
                turns.iter().position(|slot| *slot == known[at].1).map_or(turn, |turn| turn as u64)
            }
            _ => turn,
        }
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl Selector for RoundRobin {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, _: &mut dyn Rng) -> Option<usize> {
        let turn = self.cursor.0.fetch_add(1, Relaxed);
        let Some(slot) = self.slot_of(turn) else { return next_fit(group, 0, request) };
        if is_open(group, slot, request) {
            return Some(slot);
        }
        self.pass(turn.wrapping_add(1), group, request).or_else(|| next_fit(group, slot, request))
    }

    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector> {
        let weights = taking_part(group, request);
        let round = smooth(&weights).map_or_else(|| Round::Walk(Shares::new(&weights)), Round::Turns);
        let members = weights.iter().map(|(slot, _)| (*slot as u32, group.backend(*slot).id())).collect();
        let new = Self { cursor: Cursor(AtomicU64::new(0)), round, members };
        new.cursor.0.store(self.carry_turn(&new), Relaxed);
        Box::new(new)
    }
}
