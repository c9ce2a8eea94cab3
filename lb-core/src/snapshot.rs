//! What picks work on: published whole, never changed, replaced when anything but a door has changed.

use std::{ops::Range, sync::Arc, time::Instant};

use crate::{
    Backend, BackendId, Cause, Fit, Group, Health, Lease, NoPick, Request, Selector, Status, WaitFor, backend::Metric,
    handle::Handles, member::Member, openings::Openings, rand::Rng,
};

/// Picks that lose their place to another thread in a row before it counts as full.
const LOST_RACES: usize = 8;

/// One backend with the weight that it has in this snapshot.
pub(crate) struct Slot<T> {
    pub(crate) member: Arc<Member<T>>,
    pub(crate) weight: u32,
}

/// All backends in order.
pub(crate) struct Roster<T> {
    pub(crate) slots: Box<[Slot<T>]>,
    /// By slot.
    pub(crate) handles: Box<[Handles<T>]>,
    pub(crate) openings: Arc<Openings>,
    /// Sorted, to find a pinned backend.
    pub(crate) by_id: Box<[(BackendId, u32)]>,
}

pub(crate) struct Snapshot<T> {
    pub(crate) roster: Roster<T>,
    pub(crate) selector: Arc<dyn Selector>,
    /// No backend is up, of those that people, and their own word, let take new work: the selector was made for the last resort.
    pub(crate) nobody_up: bool,
    /// How many requests are let in, in parts of [`ALL_ADMITTED`].
    pub(crate) admitted: u32,
}

pub(crate) const ALL_ADMITTED: u32 = u32::MAX;

impl<T: Send + Sync> Backend for Slot<T> {
    fn id(&self) -> BackendId {
        self.member.id
    }

    fn weight(&self) -> u32 {
        self.weight
    }

    fn in_flight(&self) -> u32 {
        self.member.door.read().in_flight()
    }

    fn fit(&self, request: &Request<'_>) -> Fit {
        if !request.tried.is_empty() && request.tried.contains(self.member.id) {
            return Fit::Down;
        }
        self.member.door.read().fit(request.last_resort)
    }

    fn load(&self, metric: Metric, now: Instant) -> u64 {
        self.member.load(metric, now)
    }
}

impl<T: Send + Sync> Group for Roster<T> {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn backend(&self, slot: usize) -> &dyn Backend {
        &self.slots[slot]
    }

    /// The bit is in the cache where a door may not be.
    fn fits(&self, slot: usize, request: &Request<'_>) -> bool {
        let may = request.last_resort || self.openings.is_set(slot);
        may && self.slots.get(slot).is_some_and(|slot| slot.fit(request) == Fit::Yes)
    }

    fn first_fit(&self, mut slots: Range<usize>, request: &Request<'_>) -> Option<usize> {
        let fits = |slot: usize| self.slots.get(slot).is_some_and(|slot| slot.fit(request) == Fit::Yes);
        if request.last_resort { slots.find(|slot| fits(*slot)) } else { self.openings.first(slots, fits) }
    }
}

impl<T: Send + Sync> Snapshot<T> {
    pub(crate) fn pick(&self, request: &Request<'_>, rng: &mut dyn Rng) -> Result<Lease<T>, NoPick> {
        if self.admitted != ALL_ADMITTED && !self.admits(request, rng) {
            return Err(NoPick::Recovering);
        }
        if let Some(pin) = request.pin {
            return self.pick_pinned(pin, request);
        }
        if self.nobody_up && !self.roster.openings.any() {
            return self.choose_at_last_resort(request, rng).ok_or_else(|| self.why_not(request));
        }
        if let Some(lease) = self.choose(request, rng) {
            return Ok(lease);
        }
        // Rare: a bit may still be on its way while a snapshot is being published.
        if self.mend_openings(request)
            && let Some(lease) = self.choose(request, rng)
        {
            return Ok(lease);
        }
        if self.is_nobody_up() {
            return self.choose_at_last_resort(request, rng).ok_or_else(|| self.why_not(request));
        }
        match self.why_not(request) {
            NoPick::AllTried => self.choose_set_aside(request, rng).ok_or(NoPick::AllTried),
            no_pick => Err(no_pick),
        }
    }

    /// Whether this request is one of those that are let in. Where nobody is up there is a better reason to refuse it.
    #[cold]
    fn admits(&self, request: &Request<'_>, rng: &mut dyn Rng) -> bool {
        let is_new = !request.is_admitted && request.tried.is_empty();
        !is_new || self.is_nobody_up() || rng.next_u32() < self.admitted
    }

    /// Rounded up, so that 0 is none.
    pub(crate) fn admitted_percent(&self) -> u8 {
        (u64::from(self.admitted) * 100).div_ceil(u64::from(ALL_ADMITTED)) as u8
    }

    /// Whether people and what was observed would let it take work, were it only what is pinned to it. One that was silent
    /// may have forgotten its connections when it is back.
    pub(crate) fn is_wanted(&self, id: BackendId) -> bool {
        self.slot(id).is_some_and(|slot| {
            let door = slot.member.door.read();
            let is_out = matches!(door.health(), Health::Down(_) | Health::Ejected);
            door.status() == Status::Enabled && !door.is_removed() && !is_out
        })
    }

    /// In which slot a backend is.
    pub(crate) fn position(&self, id: BackendId) -> Option<usize> {
        let found = self.roster.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.roster.by_id[found].1 as usize)
    }

    pub(crate) fn slot(&self, id: BackendId) -> Option<&Slot<T>> {
        self.roster.slots.get(self.position(id)?)
    }

    fn choose(&self, request: &Request<'_>, rng: &mut dyn Rng) -> Option<Lease<T>> {
        for _ in 0..LOST_RACES {
            let at = self.selector.pick(&self.roster, request, rng)?;
            let (slot, handles) = (self.roster.slots.get(at)?, self.roster.handles.get(at)?);
            if let Ok(place) = slot.member.enter(request.last_resort, false) {
                return Some(Lease::new(handles.mine(), place, request));
            }
        }
        None
    }

    #[cold]
    fn choose_at_last_resort(&self, request: &Request<'_>, rng: &mut dyn Rng) -> Option<Lease<T>> {
        let lease = self.choose(&request.at_last_resort(), rng)?;
        lease.count_last_resort();
        Some(lease)
    }

    /// Whoever is up has failed this request: one that is only set aside may be better than none.
    #[cold]
    fn choose_set_aside(&self, request: &Request<'_>, rng: &mut dyn Rng) -> Option<Lease<T>> {
        let mut tried = request.tried.clone();
        let silent = self.roster.slots.iter().filter(|slot| slot.member.door.read().is_silent());
        silent.for_each(|slot| tried.insert(slot.member.id));
        self.choose_at_last_resort(&Request { tried: &tried, ..*request }, rng)
    }

    fn pick_pinned(&self, pin: BackendId, request: &Request<'_>) -> Result<Lease<T>, NoPick> {
        let found = self.roster.by_id.binary_search_by_key(&pin, |(id, _)| *id).ok();
        let at = found.map(|found| self.roster.by_id[found].1 as usize);
        let slot = at.and_then(|at| self.roster.slots.get(at).zip(self.roster.handles.get(at)));
        let (slot, handles) =
            slot.filter(|(slot, _)| !request.tried.contains(slot.member.id)).ok_or(NoPick::PinGone)?;
        let enter = |last_resort: bool| {
            let place = slot.member.enter(last_resort, true)?;
            Ok(Lease::new(handles.mine(), place, request))
        };
        let entered = match enter(request.last_resort) {
            Err(Fit::Down) if self.is_nobody_up() => enter(true).inspect(Lease::count_last_resort),
            entered => entered,
        };
        match entered {
            Ok(lease) => Ok(lease),
            Err(Fit::Full) => Err(NoPick::AllFull),
            Err(_) => Err(NoPick::PinGone),
        }
    }

    /// What a request may wait for that was not picked for just now.
    #[cold]
    pub(crate) fn wait_for(&self, request: &Request<'_>) -> WaitFor<BackendId> {
        let request = &if self.is_nobody_up() { request.at_last_resort() } else { *request };
        let id = |at: usize| self.roster.slots.get(at).map(|slot| slot.member.id);
        let Some(pin) = request.pin else { return self.selector.wait_for(&self.roster, request).map(id) };
        let pinned = self.roster.slots.iter().find(|slot| slot.member.id == pin);
        let may = pinned.is_some_and(|slot| slot.fit(request) != Fit::Down);
        if may { WaitFor::One(pin) } else { WaitFor::Nothing }
    }

    #[cold]
    fn mend_openings(&self, request: &Request<'_>) -> bool {
        let slots = self.roster.slots.iter().enumerate();
        let open = slots.filter(|(_, slot)| slot.fit(request) == Fit::Yes);
        open.fold(false, |mended, (at, slot)| self.roster.openings.refresh(at, || slot.member.is_open()) || mended)
    }

    pub(crate) fn is_nobody_up(&self) -> bool {
        let mut readings = self.roster.slots.iter().map(|slot| slot.member.door.read());
        !readings.any(|reading| reading.is_let_in() && reading.is_up(false))
    }

    /// Whether nobody was up when it was made, and some may be tried anyway: those that are only silent or ejected.
    pub(crate) fn is_last_resort(&self) -> bool {
        self.nobody_up && self.has_last_resort()
    }

    pub(crate) fn has_last_resort(&self) -> bool {
        let mut readings = self.roster.slots.iter().map(|slot| slot.member.door.read());
        readings.any(|reading| reading.is_let_in() && reading.is_up(true))
    }

    /// Why there was no pick, from what the doors say now.
    #[cold]
    pub(crate) fn why_not(&self, request: &Request<'_>) -> NoPick {
        if let Some(pin) = request.pin {
            let is_full = self.slot(pin).is_some_and(|slot| slot.fit(request) != Fit::Down);
            return if is_full { NoPick::AllFull } else { NoPick::PinGone };
        }
        if self.roster.slots.is_empty() {
            return NoPick::Empty;
        }
        let request = &if self.is_nobody_up() { request.at_last_resort() } else { *request };
        let plain = Request { tried: Request::new(request.now).tried, ..*request };
        let in_question = || self.roster.slots.iter().filter(|slot| slot.member.door.read().is_let_in());
        let fits = |request: &Request<'_>, fit| in_question().any(|slot| slot.fit(request) == fit);
        if fits(request, Fit::Yes) && request.key.is_some() {
            NoPick::OwnerUnavailable
        } else if fits(request, Fit::Yes) || fits(request, Fit::Full) {
            NoPick::AllFull
        } else if fits(&plain, Fit::Yes) || fits(&plain, Fit::Full) {
            NoPick::AllTried
        } else {
            self.why_all_down()
        }
    }

    /// What backends say of themselves is the reason, where one does that people would let take work.
    fn why_all_down(&self) -> NoPick {
        let readings = self.roster.slots.iter().map(|slot| slot.member.door.read());
        let said = readings.filter(|door| door.is_ordered_in() && door.is_said());
        let (maintained, other): (Vec<_>, Vec<_>) =
            said.partition(|door| door.health() == Health::Down(Cause::Maintenance));
        match (maintained.is_empty(), other.is_empty()) {
            (true, true) => NoPick::AllDown,
            (false, true) => NoPick::Maintenance,
            (_, false) => NoPick::Declined,
        }
    }
}
