//! Requests that wait for a place at a backend.
//!
//! A place that becomes free calls the first in line that could use it; whoever is called tries its pick again. One that
//! fails stays where it was and the call goes on to the next, so that a request whose backend is full holds up none that
//! may go elsewhere. One that is gone passes its call on too.

mod lines;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
            compiler_fence, fence,
        },
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use lb_core::{BackendId, Queue, QueueFull, Ticket, WaitFor};

pub(crate) use self::lines::Lines;

/// Calls that may go on to the next in line between two pokes: a place that nobody can use (a draining backend, one that
/// all have been to) must not keep a thousand busy. Beyond these the poke brings each its next try.
const MOST_PASSED_ON: u32 = 1024;
/// More places than these are not remembered for those who join next: a poke finds them.
const MOST_SPARE: usize = 64;
/// Several workers poke; once in a while is enough.
const POKE: Duration = Duration::from_millis(50);
/// All requests are alike as yet.
const PRIORITY: u8 = 0;

/// The line in front of one balancer, shared by all workers and services that pick from it, as one of these has it.
#[derive(Clone, Default)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    /// How many are this service's: so many may wait, whatever others have in it. Changes with the line locked.
    own: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Shared {
    /// As many as the line has: to be looked at without its lock.
    len: AtomicUsize,
    line: Mutex<Line>,
}

/// What a request needs a place at, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Any backend will do.
    Any,
    /// This one: it is pinned to it, or its key belongs to it.
    Backend(BackendId),
}

/// What a request saw of the line when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    may_try: bool,
    /// `None`: nobody waited.
    epoch: Option<u64>,
}

/// One place in the line; dropping it leaves.
#[must_use = "dropping it leaves the line"]
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    ticket: Ticket,
    /// Whether it was told to try, and has not said how it went.
    tries: bool,
}

/// It has waited for as long as it may, and is no longer in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

struct Line {
    queue: Queue<Guest>,
    /// How many wait for what, without those that nobody waits for.
    wanted: Vec<(Needs, usize)>,
    /// Changes whenever a request that is about to join may have missed a place.
    epoch: u64,
    /// Calls for which there was nobody, because all who could use the place had been called already and may take
    /// another one: for those who join now.
    spare: Vec<Call>,
    passes_left: u32,
    poked: Option<Instant>,
}

struct Guest {
    needs: Needs,
    /// Among whom it counts.
    own: Arc<AtomicUsize>,
    turn: Turn,
    waker: Option<Waker>,
}

/// Whether it is one's turn to try.
#[derive(Clone, Copy)]
enum Turn {
    Waits,
    Called(Call),
    /// `missed`: a call for which its try may be too early.
    Tries {
        call: Call,
        missed: Option<Call>,
    },
}

/// What one was called for.
#[derive(Clone, Copy)]
struct Call {
    /// Where a place has become free.
    backend: Option<BackendId>,
    /// For luck, because there may be places of which nobody knows. Who finds one says so to the next.
    luck: bool,
}

const LUCK: Call = Call { backend: None, luck: true };
/// With all others at once: nobody needs to be told.
const POKED: Call = Call { backend: None, luck: false };

impl Call {
    fn at(backend: BackendId) -> Self {
        Self { backend: Some(backend), luck: false }
    }

    /// What is left of it for others once its holder has a place at this backend, or is gone without one.
    fn rest(self, by: Option<BackendId>) -> Option<Self> {
        if self.luck {
            return Some(LUCK);
        }
        (by.is_none() || self.backend != by).then_some(self)
    }
}

impl Needs {
    /// Of a request that has tried nothing yet. Whose its key is nobody knows before.
    pub(crate) fn arriving(pin: Option<BackendId>) -> Self {
        pin.map_or(Self::Any, Self::Backend)
    }

    /// Of one that found no place, by what the balancer says it may wait for; `None`: it waits in vain.
    pub(crate) fn after(wait_for: WaitFor<BackendId>) -> Option<Self> {
        match wait_for {
            WaitFor::Nothing => None,
            WaitFor::One(backend) => Some(Self::Backend(backend)),
            WaitFor::Any => Some(Self::Any),
        }
    }

    /// Whether a place at this backend may be what it needs.
    fn may_use(self, backend: Option<BackendId>) -> bool {
        !matches!(self, Self::Backend(needed) if backend.is_some_and(|backend| backend != needed))
    }
}

impl Turn {
    /// What there is for others once its holder has left, as [`Call::rest`], and what it had no time for.
    fn rest(self, by: Option<BackendId>) -> [Option<Call>; 2] {
        match self {
            Self::Waits => [None, None],
            Self::Called(call) => [call.rest(by), None],
            Self::Tries { call, missed } => [call.rest(by), missed],
        }
    }
}

impl Arrival {
    /// Whether it may pick before it waits. Otherwise it would overtake: it has to join at once.
    pub(crate) fn may_try(self) -> bool {
        self.may_try
    }
}

impl Waiting {
    /// The same line, for another service.
    pub(crate) fn for_another(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), own: Arc::default() }
    }

    /// How many wait, whoever's they are.
    pub(crate) fn len(&self) -> usize {
        self.shared.len.load(Relaxed)
    }

    /// To be asked before a request's first pick: it must not overtake those who wait for the same. Who waits for a
    /// backend of its own (a pin, a key's owner) holds up nobody else; where both want one that is just becoming free, the
    /// newcomer may be the first.
    pub(crate) fn arrive(&self, needs: Needs) -> Arrival {
        if self.len() == 0 {
            return Arrival { may_try: true, epoch: None };
        }
        let line = self.shared.line();
        let is_wanted = |by: Needs| line.wanted.iter().any(|(needs, _)| *needs == by);
        let overtakes = is_wanted(needs) || (is_wanted(Needs::Any) && !matches!(needs, Needs::Backend(_)));
        let epoch = (!line.queue.is_empty()).then_some(line.epoch);
        Arrival { may_try: !overtakes, epoch }
    }

    /// Joins at the end, until this moment. The first turn comes at once if a place may have become free since `arrival`.
    ///
    /// # Errors
    /// When `length` of this service wait already.
    pub(crate) fn join(
        &self,
        arrival: Arrival,
        needs: Needs,
        length: usize,
        until: Instant,
    ) -> Result<Waiter, QueueFull> {
        let mut line = self.shared.line();
        let others = line.queue.len().saturating_sub(self.own.load(Relaxed));
        line.queue.set_limit(others.saturating_add(length));
        let guest = Guest { needs, own: Arc::clone(&self.own), turn: Turn::Waits, waker: None };
        let ticket = line.queue.join(guest, PRIORITY, until)?;
        self.own.fetch_add(1, Relaxed);
        let turn = if arrival.epoch == Some(line.epoch) { line.spare_for(needs) } else { Turn::Called(LUCK) };
        line.queue.get_mut(ticket).into_iter().for_each(|guest| guest.turn = turn);
        line.count(needs);
        self.shared.publish(&line);
        drop(line);
        Ok(Waiter { shared: Arc::clone(&self.shared), ticket, tries: false })
    }

    /// There may be a place at this backend: to be called after the end of each lease.
    #[inline]
    pub(crate) fn freed(&self, backend: BackendId) {
        // The end of a lease is a locked instruction, and on x86 no later load overtakes one: nothing to pay there.
        if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
            compiler_fence(SeqCst);
        } else {
            fence(SeqCst);
        }
        if self.len() > 0 {
            self.call(backend);
        }
    }

    #[cold]
    fn call(&self, backend: BackendId) {
        let mut line = self.shared.line();
        let first = line.queue.first();
        let waker = line.call_from(first, Call::at(backend));
        drop(line);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Lets all try again, in order, and ends the wait of those whose time is over. To be called about every 100 ms
    /// while anybody waits: places also come from where nobody tells (a limit raised, a backend up again, a session that
    /// is no request).
    pub(crate) fn poke(&self, now: Instant) {
        if self.len() == 0 {
            return;
        }
        let mut line = self.shared.line();
        if line.poked.is_some_and(|poked| now < poked + POKE) {
            return;
        }
        line.poked = Some(now);
        line.passes_left = MOST_PASSED_ON;
        let mut wakers = Vec::with_capacity(line.queue.len());
        while let Some((_, guest)) = line.queue.expire(now) {
            line.forget(&guest);
            wakers.extend(guest.waker);
        }
        line.call_all(&mut wakers);
        line.tidy();
        self.shared.publish(&line);
        drop(line);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    /// Nothing in here can panic between two states.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the fence in `freed`: whoever gives a place back from here on sees who is in line, or their next picks see
    /// the place.
    fn publish(&self, line: &Line) {
        self.len.store(line.queue.len(), Relaxed);
        fence(SeqCst);
    }
}

impl Waiter {
    /// Its turn to try: comes once for each call. To be polled again after a try that failed.
    pub(crate) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<Result<(), TimedOut>> {
        if self.tries {
            self.has_failed(None);
        }
        let mut line = self.shared.line();
        let Some(guest) = line.queue.get_mut(self.ticket) else {
            return Poll::Ready(Err(TimedOut));
        };
        if let Turn::Called(call) = guest.turn {
            guest.turn = Turn::Tries { call, missed: None };
            self.tries = true;
            return Poll::Ready(Ok(()));
        }
        if !guest.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            guest.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The same as a future.
    #[cfg(test)]
    pub(crate) async fn turn(&mut self) -> Result<(), TimedOut> {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    /// The try has failed; its place in the line stays, and the call goes on to the next. `needs` is what is known now.
    pub(crate) fn failed(&mut self, needs: Needs) {
        self.has_failed(Some(needs));
    }

    /// It has a place at this backend. If it was not called for that one, the call goes on to the next; were it dropped
    /// instead, it always would.
    pub(crate) fn served(self, by: BackendId) {
        self.shared.leave(self.ticket, Some(by));
    }

    fn has_failed(&mut self, needs: Option<Needs>) {
        self.tries = false;
        let waker = self.shared.line().fail(self.ticket, needs);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // After `served` the ticket is nobody's.
        self.shared.leave(self.ticket, None);
    }
}

impl Shared {
    fn leave(&self, ticket: Ticket, by: Option<BackendId>) {
        let mut line = self.line();
        let after = line.queue.after(ticket);
        let Some(guest) = line.queue.leave(ticket) else { return };
        line.forget(&guest);
        let rest = guest.turn.rest(by);
        let wakers = rest.map(|call| call.and_then(|call| line.call_from(after, call)));
        line.tidy();
        self.publish(&line);
        drop(line);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Default for Line {
    fn default() -> Self {
        let queue = Queue::new(0);
        let (wanted, spare) = (Vec::new(), Vec::new());
        Self { queue, wanted, epoch: 0, spare, passes_left: MOST_PASSED_ON, poked: None }
    }
}

impl Line {
    /// Calls the first at or after `next` that waits and may use a place there, or anywhere.
    fn call_from(&mut self, mut next: Option<Ticket>, call: Call) -> Option<Waker> {
        self.epoch = self.epoch.wrapping_add(1);
        while let Some(ticket) = next {
            next = self.queue.after(ticket);
            let Some(guest) = self.queue.get_mut(ticket).filter(|guest| guest.needs.may_use(call.backend)) else {
                continue;
            };
            match &mut guest.turn {
                Turn::Waits => {
                    guest.turn = Turn::Called(call);
                    return guest.waker.take();
                }
                // It is about to try anyway, and is before the others.
                Turn::Called(own @ Call { backend: None, .. }) => {
                    *own = Call { backend: call.backend, luck: own.luck || call.luck };
                    return None;
                }
                // It tries once more if this one fails, and says so to the next if not.
                Turn::Tries { missed: missed @ None, .. } => {
                    *missed = Some(call);
                    return None;
                }
                Turn::Called(_) | Turn::Tries { .. } => {}
            }
        }
        if self.spare.len() < MOST_SPARE && self.is_called(call) {
            self.spare.push(call);
        }
        None
    }

    /// Whether anybody who may use a place there is about to try.
    fn is_called(&self, call: Call) -> bool {
        let tickets = std::iter::successors(self.queue.first(), |ticket| self.queue.after(*ticket));
        let mut guests = tickets.filter_map(|ticket| self.queue.get(ticket));
        guests.any(|guest| guest.needs.may_use(call.backend) && !matches!(guest.turn, Turn::Waits))
    }

    fn spare_for(&mut self, needs: Needs) -> Turn {
        let found = self.spare.iter().position(|call| needs.may_use(call.backend));
        found.map_or(Turn::Waits, |at| Turn::Called(self.spare.swap_remove(at)))
    }

    fn call_all(&mut self, wakers: &mut Vec<Waker>) {
        let mut next = self.queue.first();
        while let Some(ticket) = next {
            next = self.queue.after(ticket);
            let Some(guest) = self.queue.get_mut(ticket) else { continue };
            match &mut guest.turn {
                Turn::Waits => {
                    guest.turn = Turn::Called(POKED);
                    wakers.extend(guest.waker.take());
                }
                Turn::Called(_) => {}
                Turn::Tries { missed, .. } => *missed = missed.or(Some(POKED)),
            }
        }
    }

    fn fail(&mut self, ticket: Ticket, needs: Option<Needs>) -> Option<Waker> {
        let guest = self.queue.get_mut(ticket)?;
        let Turn::Tries { call, missed } = guest.turn else { return None };
        // Two calls for luck are as good as one.
        let again = missed.map(|missed| Call { luck: missed.luck || call.luck, ..missed });
        guest.turn = again.map_or(Turn::Waits, Turn::Called);
        let before = guest.needs;
        let needs = needs.unwrap_or(before);
        guest.needs = needs;
        if needs != before {
            self.discount(before);
            self.count(needs);
        }
        // Where one that could go anywhere had no luck, nobody after it has.
        let luck = call.luck && again.is_none() && needs != Needs::Any;
        let call = Call { luck, ..call };
        if call.backend.is_none() && !call.luck {
            return None;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.passes_left = self.passes_left.checked_sub(1)?;
        let after = self.queue.after(ticket);
        self.call_from(after, call)
    }

    fn count(&mut self, needs: Needs) {
        match self.wanted.iter_mut().find(|(other, _)| *other == needs) {
            Some((_, count)) => *count += 1,
            None => self.wanted.push((needs, 1)),
        }
    }

    /// One who has left counts no more.
    fn forget(&mut self, guest: &Guest) {
        self.discount(guest.needs);
        guest.own.fetch_sub(1, Relaxed);
    }

    fn discount(&mut self, needs: Needs) {
        let Some(at) = self.wanted.iter().position(|(other, _)| *other == needs) else { return };
        self.wanted[at].1 -= 1;
        if self.wanted[at].1 == 0 {
            self.wanted.swap_remove(at);
        }
    }

    /// What was remembered for those in line means nothing to those who come next.
    fn tidy(&mut self) {
        if self.queue.is_empty() {
            self.epoch = self.epoch.wrapping_add(1);
            self.spare.clear();
            self.passes_left = MOST_PASSED_ON;
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
