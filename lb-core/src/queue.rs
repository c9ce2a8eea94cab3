//! Requests waiting for a backend: priority and deadline.

use std::time::Instant;

/// No slot.
const NONE: u32 = u32::MAX;

/// A bounded line of those who wait: by priority, the smallest number first, and within one by arrival. Each has a
/// deadline, and may leave from where it stands.
///
/// It decides nothing and tells nobody: whoever holds it asks who is [`first`](Self::first) when there is a place, and who
/// has waited too long at [`next_deadline`](Self::next_deadline). Joining and leaving take a time that grows with the
/// logarithm of its length; neither allocates where it has been as long before.
/// ```
/// use lb_core::{Queue, sim};
/// use std::time::Duration;
/// let (now, second) = (sim::epoch(), Duration::from_secs(1));
/// let mut queue = Queue::new(2);
/// let slow = queue.join("slow", 0, now + 9 * second)?;
/// let hasty = queue.join("hasty", 0, now + second)?;
/// assert!(queue.join("late", 0, now).is_err());
/// assert_eq!((queue.first(), queue.after(slow), queue.position(hasty)), (Some(slow), Some(hasty), Some(1)));
/// assert_eq!(queue.expire(now + second), Some((hasty, "hasty")));
/// assert_eq!((queue.leave(slow), queue.leave(hasty)), (Some("slow"), None));
/// # Ok::<(), lb_core::QueueFull>(())
/// ```
#[derive(Clone, Debug)]
pub struct Queue<T> {
    limit: usize,
    slots: Vec<Slot<T>>,
    /// The first of the slots that nobody has; the others follow by their `after`.
    free: u32,
    /// By priority.
    lines: Vec<Line>,
    /// Slots as a binary heap, the earliest deadline first.
    by_deadline: Vec<u32>,
    /// How many have ever joined.
    joined: u64,
}

/// One place in a [`Queue`], good until its holder has left; it never means another one.
/// ```
/// use lb_core::{Queue, sim};
/// let mut queue = Queue::new(1);
/// let ticket = queue.join((), 0, sim::epoch())?;
/// queue.leave(ticket);
/// queue.join((), 0, sim::epoch())?;
/// assert_eq!(queue.get(ticket), None);
/// # Ok::<(), lb_core::QueueFull>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: u32,
    /// The how-manieth it was.
    number: u64,
}

/// As many wait as may.
/// ```
/// let full = lb_core::Queue::new(0).join((), 0, lb_core::sim::epoch()).unwrap_err();
/// assert_eq!(full.to_string(), "as many requests wait as may");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many requests wait as may")]
pub struct QueueFull;

#[derive(Clone, Debug)]
struct Slot<T> {
    /// `None` while nobody has the slot.
    held: Option<Held<T>>,
    number: u64,
    before: u32,
    after: u32,
}

#[derive(Clone, Debug)]
struct Held<T> {
    item: T,
    priority: u8,
    deadline: Instant,
    /// Where it stands in the heap.
    at: usize,
}

/// Those of one priority.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: u32,
    last: u32,
    len: usize,
}

impl<T> Queue<T> {
    /// Nobody waits, and at most so many may.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, slots: Vec::new(), free: NONE, lines: Vec::new(), by_deadline: Vec::new(), joined: 0 }
    }

    /// From now on at most so many may wait. Those above it stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_deadline.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }

    /// Joins behind all of the same priority and before those of a greater number; 0 goes first. It may wait until
    /// `deadline`.
    ///
    /// # Errors
    /// When as many wait as may.
    pub fn join(&mut self, item: T, priority: u8, deadline: Instant) -> Result<Ticket, QueueFull> {
        if self.len() >= self.limit.min(NONE as usize) {
            return Err(QueueFull);
        }
        let number = self.joined;
        self.joined += 1;
        let held = Held { item, priority, deadline, at: self.len() };
        let slot = self.fill(held, number);
        self.append(slot, priority);
        self.by_deadline.push(slot);
        self.rise(self.len() - 1);
        Ok(Ticket { slot, number })
    }

    /// Takes out whoever holds this ticket, if anybody still does.
    pub fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let at = self.held(ticket)?.at;
        self.forget_deadline(at);
        self.unlink(ticket.slot);
        let slot = self.slots.get_mut(ticket.slot as usize)?;
        slot.after = std::mem::replace(&mut self.free, ticket.slot);
        slot.held.take().map(|held| held.item)
    }

    /// Who has waited longest of the most urgent.
    #[must_use]
    pub fn first(&self) -> Option<Ticket> {
        self.first_from(0)
    }

    /// Who is next in line.
    #[must_use]
    pub fn after(&self, ticket: Ticket) -> Option<Ticket> {
        let priority = self.held(ticket)?.priority;
        let after = self.slots.get(ticket.slot as usize)?.after;
        self.ticket(after).or_else(|| self.first_from(usize::from(priority) + 1))
    }

    /// What joined with this ticket.
    #[must_use]
    pub fn get(&self, ticket: Ticket) -> Option<&T> {
        self.held(ticket).map(|held| &held.item)
    }

    /// What joined with this ticket, to be changed.
    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let slot = self.slots.get_mut(ticket.slot as usize).filter(|slot| slot.number == ticket.number)?;
        slot.held.as_mut().map(|held| &mut held.item)
    }

    /// How many are before it: for displays, because it counts them one by one.
    #[must_use]
    pub fn position(&self, ticket: Ticket) -> Option<usize> {
        let priority = usize::from(self.held(ticket)?.priority);
        let more_urgent: usize = self.lines.iter().take(priority).map(|line| line.len).sum();
        let before = |slot: &u32| self.slots.get(*slot as usize).map(|slot| slot.before).filter(|slot| *slot != NONE);
        Some(more_urgent + std::iter::successors(before(&ticket.slot), before).count())
    }

    /// When somebody will have waited too long.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().and_then(|slot| self.due(*slot)).map(|(deadline, _)| deadline)
    }

    /// Takes out one whose deadline has come, the earliest; to be called until there is none.
    pub fn expire(&mut self, now: Instant) -> Option<(Ticket, T)> {
        let slot = *self.by_deadline.first().filter(|_| self.next_deadline().is_some_and(|due| due <= now))?;
        let ticket = self.ticket(slot)?;
        self.leave(ticket).map(|item| (ticket, item))
    }

    fn held(&self, ticket: Ticket) -> Option<&Held<T>> {
        let slot = self.slots.get(ticket.slot as usize).filter(|slot| slot.number == ticket.number)?;
        slot.held.as_ref()
    }

    fn ticket(&self, slot: u32) -> Option<Ticket> {
        self.slots.get(slot as usize).map(|found| Ticket { slot, number: found.number })
    }

    fn first_from(&self, priority: usize) -> Option<Ticket> {
        self.lines.iter().skip(priority).find_map(|line| self.ticket(line.first))
    }

    /// Takes a slot that nobody has, or one more.
    fn fill(&mut self, held: Held<T>, number: u64) -> u32 {
        let filled = Slot { held: Some(held), number, before: NONE, after: NONE };
        let free = self.free;
        if let Some(slot) = self.slots.get_mut(free as usize) {
            self.free = slot.after;
            *slot = filled;
            return free;
        }
        self.slots.push(filled);
        (self.slots.len() - 1) as u32
    }

    fn append(&mut self, slot: u32, priority: u8) {
        let priority = usize::from(priority);
        while self.lines.len() <= priority {
            self.lines.push(Line { first: NONE, last: NONE, len: 0 });
        }
        let line = &mut self.lines[priority];
        let before = std::mem::replace(&mut line.last, slot);
        line.len += 1;
        if before == NONE {
            line.first = slot;
        }
        self.set_neighbours(before, slot);
    }

    /// Makes two neighbours in their line; either may be none.
    fn set_neighbours(&mut self, before: u32, after: u32) {
        if let Some(slot) = self.slots.get_mut(before as usize) {
            slot.after = after;
        }
        if let Some(slot) = self.slots.get_mut(after as usize) {
            slot.before = before;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(found) = self.slots.get(slot as usize) else { return };
        let (before, after) = (found.before, found.after);
        let line = found.held.as_ref().and_then(|held| self.lines.get_mut(usize::from(held.priority)));
        if let Some(line) = line {
            line.len -= 1;
            line.first = if before == NONE { after } else { line.first };
            line.last = if after == NONE { before } else { line.last };
        }
        self.set_neighbours(before, after);
    }

    /// What the heap is ordered by: of two with one deadline the one that came first is the first.
    fn due(&self, slot: u32) -> Option<(Instant, u64)> {
        let slot = self.slots.get(slot as usize)?;
        slot.held.as_ref().map(|held| (held.deadline, slot.number))
    }

    fn is_earlier(&self, one: usize, other: usize) -> bool {
        let due = |at: usize| self.by_deadline.get(at).and_then(|slot| self.due(*slot));
        due(one).zip(due(other)).is_some_and(|(one, other)| one < other)
    }

    fn forget_deadline(&mut self, at: usize) {
        self.by_deadline.swap_remove(at);
        self.place(at);
        self.rise(at);
        self.sink(at);
    }

    /// Tells the slot at this place of the heap where it stands.
    fn place(&mut self, at: usize) {
        let slot = self.by_deadline.get(at).and_then(|slot| self.slots.get_mut(*slot as usize));
        if let Some(held) = slot.and_then(|slot| slot.held.as_mut()) {
            held.at = at;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.by_deadline.swap(one, other);
        self.place(one);
        self.place(other);
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.is_earlier(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let child = if self.is_earlier(right, left) { right } else { left };
            if !self.is_earlier(child, at) {
                return;
            }
            self.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::sim;

    fn at(millis: u64) -> Instant {
        sim::epoch() + Duration::from_millis(millis)
    }

    fn in_order<T: Copy>(queue: &Queue<T>) -> Vec<T> {
        let tickets = std::iter::successors(queue.first(), |ticket| queue.after(*ticket));
        tickets.filter_map(|ticket| queue.get(ticket).copied()).collect()
    }

    #[test]
    fn the_more_urgent_are_before_all_others_whenever_they_came() {
        let mut queue = Queue::new(9);
        for (name, priority) in [("a", 2), ("b", 0), ("c", 2), ("d", 0), ("e", 7)] {
            queue.join(name, priority, at(0)).unwrap();
        }
        assert_eq!(in_order(&queue), ["b", "d", "a", "c", "e"]);
    }

    #[test]
    fn who_has_left_takes_nobody_else_out() {
        let mut queue = Queue::new(1);
        let old = queue.join(1, 0, at(5)).unwrap();
        assert_eq!(queue.leave(old), Some(1));
        let new = queue.join(2, 0, at(9)).unwrap();
        assert_eq!((queue.leave(old), queue.after(old), queue.position(old)), (None, None, None));
        assert_eq!(queue.get_mut(old), None);
        assert_eq!(queue.first(), Some(new));
    }

    #[test]
    fn of_those_whose_time_is_over_the_earliest_goes_first() {
        let mut queue = Queue::new(9);
        for (k, due) in [5, 3, 8, 3].into_iter().enumerate() {
            queue.join(k, 0, at(due)).unwrap();
        }
        let mut gone = |now| std::iter::from_fn(|| queue.expire(at(now)).map(|(_, k)| k)).collect::<Vec<_>>();
        assert_eq!([gone(2), gone(5), gone(7)], [vec![], vec![1, 3, 0], vec![]]);
        assert_eq!((queue.next_deadline(), in_order(&queue)), (Some(at(8)), vec![2]));
    }

    #[test]
    fn a_smaller_limit_sends_nobody_away() {
        let mut queue = Queue::new(2);
        let first = queue.join((), 0, at(0)).unwrap();
        queue.join((), 0, at(0)).unwrap();
        queue.set_limit(1);
        assert_eq!((queue.len(), queue.join((), 0, at(0))), (2, Err(QueueFull)));
        queue.leave(first);
        assert_eq!(queue.join((), 0, at(0)), Err(QueueFull), "one still waits");
    }

    #[test]
    fn once_it_was_long_it_allocates_no_more() {
        let mut queue = Queue::new(100);
        let mut fill = || {
            let tickets: [Ticket; 100] = std::array::from_fn(|k| queue.join(k, 0, at(k as u64 % 7)).unwrap());
            assert!(tickets.into_iter().all(|ticket| queue.leave(ticket).is_some()));
        };
        fill();
        assert_eq!(allocation_counter::measure(fill).count_total, 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join(u8, u64),
        Leave(usize),
        Expire(u64),
        Limit(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8, 0..40_u64).prop_map(|(priority, due)| Step::Join(priority, due)),
            2 => (0..60_usize).prop_map(Step::Leave),
            1 => (0..40_u64).prop_map(Step::Expire),
            1 => (0..30_usize).prop_map(Step::Limit),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_list_sorted_by_priority_and_arrival(steps in vec(step(), 0..200)) {
            let (mut queue, mut limit) = (Queue::new(20), 20);
            // Priority, the how-manieth, deadline.
            let mut model: Vec<(u8, usize, u64)> = Vec::new();
            let mut tickets = Vec::new();
            for step in steps {
                match step {
                    Step::Join(priority, due) => {
                        let number = tickets.len();
                        let joined = queue.join(number, priority, at(due));
                        prop_assert_eq!(joined.is_ok(), model.len() < limit);
                        if let Ok(ticket) = joined {
                            tickets.push(ticket);
                            model.push((priority, number, due));
                            model.sort_unstable();
                        }
                    }
                    Step::Leave(number) => {
                        let Some(ticket) = tickets.get(number) else { continue };
                        let found = model.iter().position(|(_, other, _)| *other == number);
                        prop_assert_eq!(queue.position(*ticket), found);
                        prop_assert_eq!(queue.leave(*ticket), found.map(|at| model.remove(at).1));
                    }
                    Step::Expire(now) => {
                        let mut gone: Vec<_> = model.iter().filter(|(.., due)| *due <= now).copied().collect();
                        gone.sort_unstable_by_key(|(_, number, due)| (*due, *number));
                        model.retain(|(.., due)| *due > now);
                        let expired = std::iter::from_fn(|| queue.expire(at(now))).map(|(_, number)| number);
                        let gone: Vec<_> = gone.iter().map(|(_, number, _)| *number).collect();
                        prop_assert_eq!(expired.collect::<Vec<_>>(), gone);
                    }
                    Step::Limit(new) => {
                        limit = new;
                        queue.set_limit(new);
                    }
                }
                prop_assert_eq!(in_order(&queue), model.iter().map(|(_, number, _)| *number).collect::<Vec<_>>());
                prop_assert_eq!(queue.next_deadline(), model.iter().map(|(.., due)| at(*due)).min());
                prop_assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
