//! A backend's door: its limit, who is inside, and everything that keeps it shut, in one atomic word.
//!
//! One compare-and-swap looks at all of it and takes a place. So a limit is never exceeded, and once a change of
//! status, health, limit or membership has returned, nobody gets in against it. Successes are counted in the same
//! word, because whoever leaves writes it anyway.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::{Cause, Fit, Health, Status};

/// Bits of each of the two counts, a million; the largest limit means none.
const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const LIMIT_AT: u32 = COUNT_BITS;

const DRAINING: u64 = 1 << 40;
const DISABLED: u64 = 1 << 41;
const WEIGHTLESS: u64 = 1 << 42;
const HEALTH_AT: u32 = 43;
const HEALTH: u64 = 0b111 << HEALTH_AT;
/// The bit of a health that is the application's own word: no new work, whoever asks.
const SAID: u64 = 0b100 << HEALTH_AT;
const EJECTION_AT: u32 = 46;
const EJECTION: u64 = 0b11 << EJECTION_AT;
const REMOVED: u64 = 1 << 48;
/// None of these set: it is a matter of the limit alone.
const GATES: u64 = 0x1ff << 40;

/// The low bits of the successes are the topmost ones, so that what they carry is lost and changes nothing else.
const SUCCESSES_AT: u32 = 49;
/// Successes after which `Door::halves` grows: half of what the word can count, so that its last bit must agree with
/// the word's topmost one, and a growth that is still under way is seen.
const HALF: u64 = 1 << (63 - SUCCESSES_AT);

/// Where a backend stands with the ejection policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ejection {
    /// Not ejected.
    In = 0,
    /// Set aside.
    Out = 1,
    /// One request may try it.
    HalfOpen = 2,
    /// One request is trying it.
    Trial = 3,
}

/// What a taken place was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Plain,
    /// The last one under the limit: the door is full now.
    Last,
    /// The one request that a half-open backend is tried with.
    Trial,
}

#[derive(Debug, Default)]
pub(crate) struct Door {
    word: AtomicU64,
    halves: AtomicU64,
}

/// One reading of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading(u64);

impl Door {
    pub(crate) fn new(status: Status, health: Health, limit: Option<u32>) -> Self {
        let door = Self::default();
        door.set_limit(limit);
        door.set_status(status);
        door.set_health(health);
        door
    }

    pub(crate) fn read(&self) -> Reading {
        Reading(self.word.load(Acquire))
    }

    /// Takes a place, or says why there is none.
    pub(crate) fn enter(&self, last_resort: bool, pinned: bool) -> Result<Place, Fit> {
        let mut seen = self.read();
        loop {
            match seen.fit(last_resort) {
                Fit::Yes => {}
                Fit::PinnedOnly if pinned => {}
                other => return Err(other),
            }
            let trial = seen.ejection() == Ejection::HalfOpen;
            let next = if trial { seen.with_ejection(Ejection::Trial).0 + 1 } else { seen.0 + 1 };
            match self.word.compare_exchange_weak(seen.0, next, AcqRel, Acquire) {
                Ok(_) if trial => return Ok(Place::Trial),
                Ok(_) if Reading(next).is_full() => return Ok(Place::Last),
                Ok(_) => return Ok(Place::Plain),
                Err(now) => seen = Reading(now),
            }
        }
    }

    /// Gives the place back, and counts a success. Returns how it was until now.
    pub(crate) fn leave(&self, success: bool) -> Reading {
        let counted = u64::from(success) << SUCCESSES_AT;
        let before = Reading(self.word.fetch_add(counted.wrapping_sub(1), AcqRel));
        if success && before.successes() % HALF == HALF - 1 {
            self.halves.fetch_add(1, Relaxed);
        }
        before
    }

    /// How many left with success.
    pub(crate) fn successes(&self) -> u64 {
        let mut halves = self.halves.load(Relaxed);
        loop {
            let low = self.read().successes();
            match self.halves.load(Relaxed) {
                same if same == halves => {
                    let under_way = u64::from(low / HALF != halves % 2);
                    return (halves + under_way) * HALF + low % HALF;
                }
                grown => halves = grown,
            }
        }
    }

    pub(crate) fn set_limit(&self, limit: Option<u32>) {
        let limit = limit.map_or(COUNT, |limit| u64::from(limit).min(COUNT));
        self.change(|word| word & !(COUNT << LIMIT_AT) | limit << LIMIT_AT);
    }

    /// Returns how it was before.
    pub(crate) fn set_status(&self, status: Status) -> Reading {
        let bit = match status {
            Status::Enabled => 0,
            Status::Draining => DRAINING,
            Status::Disabled => DISABLED,
        };
        self.change(|word| word & !(DRAINING | DISABLED) | bit)
    }

    pub(crate) fn set_weightless(&self, weightless: bool) {
        self.change(|word| if weightless { word | WEIGHTLESS } else { word & !WEIGHTLESS });
    }

    /// Sets what probes (or the application) say. An ejection stays as it is.
    pub(crate) fn set_health(&self, health: Health) {
        let code = match health {
            Health::Up | Health::Ejected => 0,
            Health::Unknown => 1,
            Health::Down(Cause::Silent) => 2,
            Health::Draining => 4,
            Health::Down(Cause::Said) => 5,
            Health::Down(Cause::Maintenance) => 6,
        };
        self.change(|word| word & !HEALTH | code << HEALTH_AT);
    }

    /// Sets where it stands with ejection; `from` when given must be how it stood. Returns whether it was.
    pub(crate) fn set_ejection(&self, from: Option<Ejection>, to: Ejection) -> bool {
        let stood = self.change(|word| {
            let word = Reading(word);
            if from.is_some_and(|from| from != word.ejection()) { word.0 } else { word.with_ejection(to).0 }
        });
        from.is_none_or(|from| from == stood.ejection())
    }

    /// For good: the backend is no longer configured.
    pub(crate) fn remove(&self) {
        self.change(|word| word | REMOVED);
    }

    fn change(&self, change: impl Fn(u64) -> u64) -> Reading {
        let mut seen = self.word.load(Acquire);
        loop {
            match self.word.compare_exchange_weak(seen, change(seen), AcqRel, Acquire) {
                Ok(before) => return Reading(before),
                Err(now) => seen = now,
            }
        }
    }
}

impl Reading {
    pub(crate) fn in_flight(self) -> u32 {
        (self.0 & COUNT) as u32
    }

    /// Modulo two halves.
    fn successes(self) -> u64 {
        self.0 >> SUCCESSES_AT
    }

    /// Whether one who leaves now has more to do: the door was full, or people want it empty.
    pub(crate) fn is_watched(self) -> bool {
        self.is_full() || self.is_ordered_empty()
    }

    /// Whether people want what runs there to be the last.
    pub(crate) fn is_ordered_empty(self) -> bool {
        self.0 & (DRAINING | DISABLED) != 0
    }

    pub(crate) fn limit(self) -> Option<u32> {
        let limit = self.0 >> LIMIT_AT & COUNT;
        (limit != COUNT).then_some(limit as u32)
    }

    pub(crate) fn is_full(self) -> bool {
        self.0 & COUNT >= self.0 >> LIMIT_AT & COUNT
    }

    /// What a request that has not been here would be told.
    pub(crate) fn fit(self, last_resort: bool) -> Fit {
        if self.0 & GATES != 0 && !self.is_up(last_resort) {
            Fit::Down
        } else if self.is_full() {
            Fit::Full
        } else if self.0 & (DRAINING | WEIGHTLESS | SAID) != 0 {
            Fit::PinnedOnly
        } else {
            Fit::Yes
        }
    }

    /// Whether it could take work at all, were it only what is pinned to it, with room and weight. At last resort silence
    /// and ejection do not count.
    pub(crate) fn is_up(self, last_resort: bool) -> bool {
        let healthy = match self.health_code() {
            0 | 4 => true,
            2 => last_resort,
            _ => false,
        };
        let admitted = last_resort || matches!(self.ejection(), Ejection::In | Ejection::HalfOpen);
        self.0 & (DISABLED | REMOVED) == 0 && healthy && admitted
    }

    /// Whether people, weight, membership and the application's own word would let it take new work.
    pub(crate) fn is_let_in(self) -> bool {
        self.0 & (DISABLED | REMOVED | DRAINING | WEIGHTLESS | SAID) == 0
    }

    /// Whether the application said that it wants no new work.
    pub(crate) fn is_said(self) -> bool {
        self.0 & SAID != 0
    }

    /// Whether people, weight and membership would let it take new work.
    pub(crate) fn is_ordered_in(self) -> bool {
        self.0 & (DISABLED | REMOVED | DRAINING | WEIGHTLESS) == 0
    }

    /// Whether probes or connects to it fail, ejected or not.
    pub(crate) fn is_silent(self) -> bool {
        self.health_code() == 2
    }

    /// Whether the application says that it is down, perhaps for too much work.
    pub(crate) fn is_declining(self) -> bool {
        self.health() == Health::Down(Cause::Said)
    }

    pub(crate) fn is_removed(self) -> bool {
        self.0 & REMOVED != 0
    }

    pub(crate) fn is_weightless(self) -> bool {
        self.0 & WEIGHTLESS != 0
    }

    pub(crate) fn status(self) -> Status {
        match self.0 & (DRAINING | DISABLED) {
            0 => Status::Enabled,
            DRAINING => Status::Draining,
            _ => Status::Disabled,
        }
    }

    /// What was observed, the worse of probes and ejection.
    pub(crate) fn health(self) -> Health {
        match self.health_code() {
            0 | 4 if self.ejection() != Ejection::In => Health::Ejected,
            0 => Health::Up,
            1 => Health::Unknown,
            2 => Health::Down(Cause::Silent),
            4 => Health::Draining,
            6 => Health::Down(Cause::Maintenance),
            _ => Health::Down(Cause::Said),
        }
    }

    /// As [`Door::set_health`] wrote it.
    fn health_code(self) -> u64 {
        (self.0 & HEALTH) >> HEALTH_AT
    }

    pub(crate) fn ejection(self) -> Ejection {
        match self.0 >> EJECTION_AT & 0b11 {
            0 => Ejection::In,
            1 => Ejection::Out,
            2 => Ejection::HalfOpen,
            _ => Ejection::Trial,
        }
    }

    fn with_ejection(self, ejection: Ejection) -> Self {
        Self(self.0 & !EJECTION | (ejection as u64) << EJECTION_AT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Health = Health::Down(Cause::Silent);
    const DOWN: Health = Health::Down(Cause::Said);
    const MAINTENANCE: Health = Health::Down(Cause::Maintenance);

    #[test]
    fn status_health_and_room_decide_together() {
        let at = |status, health, limit| Door::new(status, health, limit).read();
        let rows = [
            (Status::Enabled, Health::Up, None, Fit::Yes, Fit::Yes),
            (Status::Enabled, Health::Up, Some(0), Fit::Full, Fit::Full),
            (Status::Enabled, Health::Unknown, None, Fit::Down, Fit::Down),
            (Status::Enabled, SILENT, None, Fit::Down, Fit::Yes),
            (Status::Enabled, SILENT, Some(0), Fit::Down, Fit::Full),
            (Status::Enabled, DOWN, None, Fit::Down, Fit::Down),
            (Status::Enabled, MAINTENANCE, None, Fit::Down, Fit::Down),
            (Status::Enabled, Health::Draining, None, Fit::PinnedOnly, Fit::PinnedOnly),
            (Status::Enabled, Health::Draining, Some(0), Fit::Full, Fit::Full),
            (Status::Draining, Health::Draining, None, Fit::PinnedOnly, Fit::PinnedOnly),
            (Status::Disabled, Health::Draining, None, Fit::Down, Fit::Down),
            (Status::Draining, Health::Up, None, Fit::PinnedOnly, Fit::PinnedOnly),
            (Status::Draining, SILENT, None, Fit::Down, Fit::PinnedOnly),
            (Status::Disabled, Health::Up, None, Fit::Down, Fit::Down),
            (Status::Disabled, SILENT, None, Fit::Down, Fit::Down),
        ];
        for (status, health, limit, plain, last) in rows {
            let got = (at(status, health, limit).fit(false), at(status, health, limit).fit(true));
            assert_eq!(got, (plain, last), "{status} {health:?} {limit:?}");
        }
    }

    #[test]
    fn every_health_and_status_is_read_as_it_was_written_and_ejection_is_beside_it() {
        let healths = [Health::Up, Health::Unknown, SILENT, Health::Draining, DOWN, MAINTENANCE];
        for status in [Status::Enabled, Status::Draining, Status::Disabled] {
            for health in healths {
                let door = Door::new(status, health, Some(9));
                assert_eq!((door.read().status(), door.read().health()), (status, health));
                door.set_ejection(None, Ejection::Out);
                let worse = if matches!(health, Health::Up | Health::Draining) { Health::Ejected } else { health };
                assert_eq!((door.read().health(), door.read().ejection()), (worse, Ejection::Out));
                assert_eq!((door.read().limit(), door.read().in_flight(), door.successes()), (Some(9), 0, 0));
            }
        }
    }

    #[test]
    fn a_half_open_door_admits_one() {
        let door = Door::new(Status::Enabled, Health::Up, None);
        door.set_ejection(None, Ejection::HalfOpen);
        assert_eq!(door.enter(false, false), Ok(Place::Trial));
        assert_eq!(door.enter(false, false), Err(Fit::Down));
        assert!(door.set_ejection(Some(Ejection::Trial), Ejection::In));
        assert_eq!(door.enter(false, false), Ok(Place::Plain));
    }

    #[test]
    fn a_limit_taken_away_under_way_lets_nobody_in() {
        let door = Door::new(Status::Enabled, Health::Up, Some(3));
        assert_eq!([door.enter(false, false), door.enter(false, false)], [Ok(Place::Plain); 2]);
        door.set_limit(Some(1));
        assert_eq!(door.enter(false, false), Err(Fit::Full));
        door.leave(false);
        assert_eq!(door.enter(false, false), Err(Fit::Full), "one is still inside");
        assert!(door.leave(true).is_full());
        assert_eq!(door.enter(false, false), Ok(Place::Last));
    }

    #[test]
    fn successes_are_counted_beyond_the_word_and_change_nothing_else() {
        let door = Door::new(Status::Draining, DOWN, Some(7));
        door.set_ejection(None, Ejection::HalfOpen);
        let before = door.read().0;
        for count in 1..=5 * HALF {
            door.word.fetch_add(1, Relaxed);
            door.leave(true);
            assert_eq!(door.successes(), count);
            assert_eq!(door.read().0 << (64 - SUCCESSES_AT), before << (64 - SUCCESSES_AT));
        }
        // Between the word and the halves: the reader is right all the same.
        door.halves.fetch_sub(1, Relaxed);
        assert_eq!(door.successes(), 5 * HALF);
    }

    #[test]
    fn a_door_without_a_limit_is_full_where_its_count_ends() {
        let door = Door::new(Status::Enabled, Health::Up, None);
        door.word.fetch_add(COUNT - 1, Relaxed);
        assert_eq!(door.enter(false, false), Ok(Place::Last));
        assert_eq!(door.enter(false, false), Err(Fit::Full));
    }
}
