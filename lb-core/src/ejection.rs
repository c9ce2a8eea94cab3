//! Setting outliers aside: the one place that knows the cap and the last backend of a group.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{
    control::{Control, Shared},
    entry::Entry,
    failing::Span,
    health::{Ejection, Evidence},
    member::Member,
    rate::Rate,
};

/// Rates of failure are counted in windows of so much time, or of the rule's own where that is longer: at a request a second
/// a shorter one tells good from bad by chance only.
const RATE_WINDOW: Duration = Duration::from_secs(30);
/// At most so many backends are compared in a millisecond: what takes some hundredths of it.
const COMPARED_IN_A_MS: u64 = 100;
/// For how long a backend is set aside again whose trial failed, where no rule says so.
const USUAL_PERIOD: Duration = Duration::from_secs(10);

/// A policy wishes a backend set aside; or its trial went wrong, and it is out already.
#[derive(Clone, Copy)]
pub(crate) struct Plea<'a> {
    pub(crate) wish: Option<Ejection>,
    pub(crate) trial: bool,
    /// Whose request it was that failed, if a request can have provoked it.
    pub(crate) client: Option<u64>,
    pub(crate) reason: &'a str,
}

impl Plea<'_> {
    /// Whether it is granted only to one that fails more often than all others of its group: a look at each of them.
    fn is_comparison(&self) -> bool {
        !self.trial && self.wish.is_some_and(|wish| wish.only_outliers)
    }
}

impl<T> Shared<T> {
    pub(crate) fn eject(&self, member: &Member<T>, plea: Plea<'_>, now: Instant) {
        let changed = match plea.is_comparison() {
            true => self.compare(member, plea, now),
            false => self.control().eject(member, plea, now),
        };
        if changed {
            self.mark_changed();
        }
    }

    /// Where a page fails everywhere each of its requests may be such a wish: they are not to take more of the time than
    /// a few hundredths, however many backends there are, and wait for nobody. The next failure is as good.
    fn compare(&self, member: &Member<T>, plea: Plea<'_>, now: Instant) -> bool {
        let now_ms = member.millis_since_epoch(now);
        if now_ms < self.comparison_due_ms.load(Relaxed) {
            return false;
        }
        let Some(mut control) = self.try_control() else { return false };
        let changed = control.eject(member, plea, now);
        let pause_ms = control.entries.len() as u64 / COMPARED_IN_A_MS;
        self.comparison_due_ms.store(now_ms.saturating_add(pause_ms), Relaxed);
        changed
    }

    /// To be called before a failure is counted, so that those of one time are compared with each other: begins the next
    /// window when it is due. In between it costs nothing.
    pub(crate) fn follow_rates(&self, now: Instant, now_ms: u64) {
        if now_ms < self.rates_due_ms.load(Relaxed) {
            return;
        }
        // Who reports a failure waits for nobody: the next failure is as good.
        let Some(mut control) = self.try_control() else { return };
        // Another thread may have been faster.
        if now_ms >= self.rates_due_ms.load(Relaxed) {
            let length = control.begin_window(now);
            let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            self.rates_due_ms.store(now_ms.saturating_add(length_ms), Relaxed);
        }
    }
}

impl<T> Control<T> {
    /// Sets a backend aside if its group can spare it. Returns whether anything has changed.
    fn eject(&mut self, member: &Member<T>, plea: Plea<'_>, now: Instant) -> bool {
        let Plea { wish, trial, client, reason } = plea;
        // One that was replaced says nothing about the one that has its name now.
        let is_it = |entry: &Entry<T>| std::ptr::eq(&raw const *entry.member, member);
        let Some(at) = self.entries.iter().position(is_it) else { return false };
        let out = self.entries[at].is_ejected();
        let granted = |wish: &Ejection| !out && self.can_spare(at) && (!wish.only_outliers || self.is_outlier(at));
        let period = match wish {
            _ if trial && client.is_some_and(|client| self.fails_elsewhere(at, client)) => {
                self.entries[at].try_again();
                return true;
            }
            Some(wish) if trial || granted(&wish) => wish.period,
            None if trial => self.trial_patience(),
            _ => return false,
        };
        let (entry, until) = (&mut self.entries[at], now.checked_add(period));
        entry.eject(until);
        entry.tell_ejection(reason, until.map(|_| period), trial, now);
        entry.member.observe(&Evidence::Ejected, reason, now);
        true
    }

    /// For how long one request alone may try a backend that was ejected.
    pub(crate) fn trial_patience(&self) -> Duration {
        self.config.ejection.as_ref().map_or(USUAL_PERIOD, |eject| eject.period)
    }

    /// Whether another backend of the group is up, and the cap holds once this one is gone.
    fn can_spare(&self, at: usize) -> bool {
        let peers = || self.peers(at).map(|(_, peer)| peer);
        let is_other = |peer: &Entry<T>| peer.member.id != self.entries[at].member.id;
        // One that is half-open has yet to show that it is back.
        let others_up = peers().any(|peer| is_other(peer) && peer.is_up() && !peer.is_ejected());
        let ejected = 1 + peers().filter(|peer| peer.is_ejected()).count();
        let most = self.config.ejection.as_ref().map_or(50, |eject| usize::from(eject.most_percent));
        others_up && ejected * 100 <= most * peers().count()
    }

    /// The backends of its group, itself included.
    fn peers(&self, at: usize) -> impl Iterator<Item = (usize, &Entry<T>)> {
        let group = self.entries[at].group();
        self.entries.iter().enumerate().filter(move |(_, peer)| peer.group() == group)
    }

    /// Whether it fails clearly more often than the rest of its group has of late, whether that is short or long. It must
    /// do so even without the clients whose requests failed most, as few of them as eject nobody: one who always comes
    /// back to the same backend says nothing about it. Nor does one say anything about the others who fails everywhere.
    fn is_outlier(&self, at: usize) -> bool {
        let rule = self.config.ejection.as_ref().and_then(|eject| eject.request_failures);
        let without = rule.map_or(0, |rule| rule.clients.get() as usize - 1);
        [Span::This, Span::Both].into_iter().any(|span| {
            let (mut own, mut others) = (Rate::default(), Rate::default());
            for (index, peer) in self.peers(at) {
                let (rate, left_out) = if index == at { (&mut own, without) } else { (&mut others, without.min(1)) };
                rate.add(peer.recent(span, left_out));
            }
            own.stands_out(others)
        })
    }

    /// Whether requests of this client have failed at another backend too: then it is they that fail.
    fn fails_elsewhere(&self, at: usize, client: u64) -> bool {
        self.peers(at).any(|(index, peer)| index != at && peer.member.failing().knows(client))
    }

    /// Returns how long the windows are.
    fn begin_window(&mut self, now: Instant) -> Duration {
        let rule = self.config.ejection.as_ref().and_then(|eject| eject.request_failures);
        let length = rule.map_or(RATE_WINDOW, |rule| rule.window.max(RATE_WINDOW));
        // What nobody has looked at for so long is no window, but all the time before.
        let is_old = now.saturating_duration_since(self.rates_since) > length.saturating_mul(2);
        self.entries.iter_mut().for_each(if is_old { Entry::forget_rates } else { Entry::begin_window });
        self.rates_since = now;
        length
    }

    /// Half-opens the doors of those whose period is over. Returns whether there were any.
    pub(crate) fn end_ejections(&mut self, now: Instant) -> bool {
        self.entries.iter_mut().fold(false, |any, entry| entry.end_ejection(now) | any)
    }
}
