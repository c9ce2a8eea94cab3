//! Same key, same backend (`%`, `-H`).

use std::sync::Arc;

use super::{
    DRAWS, Selector, is_open,
    ranking::{ENTRIES, Ranking, owner, owners},
};
use crate::{Group, Request, WaitFor, group::next_fit, key::avalanche, rand::Rng, wait_for};

/// Up to so many backends each pick asks all of them: a few nanoseconds each, and no table.
const ASK_ALL: usize = 16;

/// The backend that owns the request's key: the same on every host and after every restart, and of n backends one that
/// is added takes about 1 in n + 1 keys from each of the others, and moves no other key.
///
/// When the owner cannot take the request, the group has no answer, so that a [`Failover`](super::Failover) goes to its
/// next group (balance's `%`); or, [spilling](Self::spilling), another backend takes it, always the same one for a key
/// and a set of open backends (balance's `-H`). A request without a key goes to any backend.
///
/// A backend that takes part of its share only, by its own word or in a slow start, still owns its keys: what is scaled is
/// its limit, if it has one.
/// ```
/// use lb_core::{Request, key, selector::{Hash, Selector}, sim::{Stub, World}};
/// let mut world = World::new(1);
/// let group = [Stub::new(1), Stub::new(2), Stub::new(3)];
/// let hash = Hash::new().rebuild(&group, &Request::new(world.now()));
/// let request = Request::new(world.now()).with_key(key::of_address("192.0.2.7".parse()?));
/// let first = hash.pick(&group, &request, world.rng());
/// assert_eq!(hash.pick(&group, &request, world.rng()), first);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Hash {
    spill: bool,
    members: Arc<Members>,
}

#[derive(Debug, Default)]
struct Members {
    rankings: Vec<Ranking>,
    slots: Vec<u32>,
    /// The owner of each entry; empty for a few backends.
    owners: Box<[u32]>,
}

impl Hash {
    /// A selector without a group yet, that leaves the group when the owner cannot take the request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, but another backend of the group takes over when the owner cannot (balance's `-H`).
    #[must_use]
    pub fn spilling(self) -> Self {
        Self { spill: true, ..self }
    }

    /// The slot that owns a key.
    fn owner(&self, key: u64) -> Option<usize> {
        let (members, entry) = (&*self.members, entry(key));
        let index = match members.owners.get(entry as usize) {
            Some(owner) => *owner as usize,
            None => owner(&members.rankings, entry, |_| true)?,
        };
        members.slot(index)
    }

    /// Who takes over: of a few the next open owner, of many the first open one of a series of entries.
    fn other(&self, key: u64, group: &dyn Group, request: &Request<'_>) -> Option<usize> {
        let members = &*self.members;
        if members.owners.is_empty() {
            let is_open = |index| members.slot(index).is_some_and(|slot| is_open(group, slot, request));
            return owner(&members.rankings, entry(key), is_open).and_then(|index| members.slot(index));
        }
        let mut series =
            (1..DRAWS as u64).filter_map(|attempt| self.owner(key.wrapping_add(attempt.wrapping_mul(STEP))));
        series.find(|slot| is_open(group, *slot, request))
    }
}

/// From one entry of a key's series to the next.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Keys may be small numbers or addresses: all their bits decide.
fn entry(key: u64) -> u32 {
    (avalanche(key) >> (u64::BITS - ENTRIES.ilog2())) as u32
}

impl Members {
    fn slot(&self, index: usize) -> Option<usize> {
        self.slots.get(index).map(|slot| *slot as usize)
    }
}

impl Selector for Hash {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize> {
        let key = request.key.unwrap_or_else(|| rng.next_u64());
        let owner = self.owner(key)?;
        if is_open(group, owner, request) {
            return Some(owner);
        }
        if !self.spill && request.key.is_some() {
            return None;
        }
        self.other(key, group, request).or_else(|| next_fit(group, owner.min(group.len()), request))
    }

    fn rebuild(&self, group: &dyn Group, _: &Request<'_>) -> Box<dyn Selector> {
        let taking_part = |slot: &usize| group.backend(*slot).weight() > 0;
        let slots: Vec<u32> = (0..group.len()).filter(taking_part).map(|slot| slot as u32).collect();
        let ranking = |slot: &u32| {
            let backend = group.backend(*slot as usize);
            Ranking::new(backend.id(), backend.weight())
        };
        let rankings: Vec<Ranking> = slots.iter().map(ranking).collect();
        // Health is no reason to make a table again.
        if self.members.rankings == rankings && self.members.slots == slots {
            return Box::new(self.clone());
        }
        let owners = if rankings.len() > ASK_ALL { owners(&rankings) } else { Box::default() };
        Box::new(Self { spill: self.spill, members: Arc::new(Members { rankings, slots, owners }) })
    }

    fn wait_for(&self, group: &dyn Group, request: &Request<'_>) -> WaitFor<usize> {
        let Some(key) = request.key.filter(|_| !self.spill) else { return wait_for::any_of(group, request) };
        let owner = self.owner(key).filter(|owner| *owner < group.len());
        let owner = owner.filter(|owner| wait_for::is_worth_it(group.backend(*owner).fit(request)));
        owner.map_or(WaitFor::Nothing, WaitFor::One)
    }

    fn ramps_weight(&self) -> bool {
        false
    }
}
