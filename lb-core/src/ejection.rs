//! Setting outliers aside: the one place that knows the cap and the last backend of a group.

use std::time::{Duration, Instant};

use crate::{
    BackendId,
    control::{Control, Shared},
    entry::{Entry, Rate},
    health::{Ejection, Evidence},
};

/// Rates of failure are compared over at least this time, and at most twice as long under steady traffic.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// How a backend's rate must stand out: more than twice the others', and by more than so much.
const RATE_MARGIN: f64 = 0.1;

/// So many requests at the others say how often a request fails there.
const MANY: u64 = 5;

/// A policy wishes a backend set aside; or its trial went wrong, and it is out already.
#[derive(Clone, Copy)]
pub(crate) struct Plea<'a> {
    pub(crate) wish: Option<Ejection>,
    pub(crate) trial: bool,
    pub(crate) reason: &'a str,
}

impl<T> Shared<T> {
    pub(crate) fn eject(&self, id: BackendId, plea: Plea<'_>, now: Instant) {
        if self.control().eject(id, plea, now) {
            self.mark_changed();
        }
    }
}

impl<T> Control<T> {
    /// Sets a backend aside if its group can spare it. Returns whether it did.
    fn eject(&mut self, id: BackendId, plea: Plea<'_>, now: Instant) -> bool {
        let Plea { wish, trial, reason } = plea;
        let Some(at) = self.entries.iter().position(|entry| entry.member.id == id) else { return false };
        let out = self.entries[at].is_ejected();
        let granted = |wish: &Ejection| !out && self.can_spare(at) && (!wish.only_outliers || self.is_outlier(at));
        let period = match wish {
            Some(wish) if trial || granted(&wish) => wish.period,
            None if trial => self.config.ejection.as_ref().map_or(RATE_WINDOW, |eject| eject.period),
            _ => {
                self.begin_window(now);
                return false;
            }
        };
        self.begin_window(now);
        let (entry, until) = (&mut self.entries[at], now.checked_add(period));
        entry.eject(until);
        entry.tell_ejection(reason, until.map(|_| period), trial, now);
        entry.member.observe(&Evidence::Ejected, reason, now);
        true
    }

    /// Whether another backend of the group is up, and the cap holds once this one is gone.
    fn can_spare(&self, at: usize) -> bool {
        let peers = || self.entries.iter().filter(|peer| peer.group() == self.entries[at].group());
        let is_other = |peer: &Entry<T>| peer.member.id != self.entries[at].member.id;
        // One that is half-open has yet to show that it is back.
        let others_up = peers().any(|peer| is_other(peer) && peer.is_up() && !peer.is_ejected());
        let ejected = 1 + peers().filter(|peer| peer.is_ejected()).count();
        let most = self.config.ejection.as_ref().map_or(50, |eject| usize::from(eject.most_percent));
        others_up && ejected * 100 <= most * peers().count()
    }

    /// Whether it fails clearly more often than the rest of its group has of late.
    fn is_outlier(&self, at: usize) -> bool {
        let group = self.entries[at].group();
        let peers = self.entries.iter().enumerate().filter(|(_, peer)| peer.group() == group);
        let (mut own, mut others) = (Rate::default(), Rate::default());
        peers.for_each(|(index, peer)| if index == at { &mut own } else { &mut others }.add(peer.recent()));
        let Some((own, others)) = own.failing(1).zip(others.failing(MANY)) else { return false };
        own > 2.0 * others && own > others + RATE_MARGIN
    }

    fn begin_window(&mut self, now: Instant) {
        if now.saturating_duration_since(self.rates_since) > RATE_WINDOW {
            self.entries.iter_mut().for_each(Entry::begin_window);
            self.rates_since = now;
        }
    }

    /// Half-opens the doors of those whose period is over. Returns whether there were any.
    pub(crate) fn end_ejections(&mut self, now: Instant) -> bool {
        self.entries.iter_mut().fold(false, |any, entry| entry.end_ejection(now) | any)
    }
}
