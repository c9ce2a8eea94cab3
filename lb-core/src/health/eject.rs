//! Passive: set outliers aside, for growing periods.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{Ejection, Evidence, HealthPolicy, Traffic, Verdict};
use crate::Outcome;

/// Sets a backend aside when its traffic fails, for a period that grows each time; then one request tries it.
///
/// Connects that fail in a row eject by themselves: no client can provoke them. What a request can provoke (a 5xx, an
/// answer that breaks off or never begins) ejects only where [`request_failures`](Self::request_failures) is set. The
/// last backend of a group that is up is never ejected.
/// ```
/// use lb_core::{Outcome, health::{Eject, Evidence, HealthPolicy, Traffic}};
/// let mut policy = Eject::default().for_backend();
/// let mut refused = || {
///     policy.observe(&Evidence::Traffic(Traffic::new(Outcome::ConnectFailed)), lb_core::sim::epoch()).eject
/// };
/// assert!(refused().is_none() && refused().is_none() && refused().is_some(), "three in a row");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Eject {
    /// Failed connects in a row.
    pub connect_failures: NonZeroU32,
    /// The rule for failures that a request can provoke; none by default.
    pub request_failures: Option<RequestFailures>,
    /// The first period. Each ejection that follows within the longest period doubles it.
    pub period: Duration,
    /// The longest period.
    pub longest: Duration,
    /// How much of a group may be ejected at a time, in percent, the new one included.
    pub most_percent: u8,
}

/// When failures that a request can provoke eject: enough of them, of distinct clients, within a window, and clearly
/// more often than at the other backends, by more than chance makes likely. A page that fails everywhere makes no outlier,
/// and one client alone ejects nobody, however often it comes: the clients with the most failures are left out of the
/// comparison, so many of them as are too few to eject.
///
/// The request that tries an ejected backend may be spoiled by its client, too: where that client's requests fail at other
/// backends as well, another one tries it.
/// ```
/// use lb_core::health::{Eject, RequestFailures};
/// let careful = Eject::default().with_request_failures(RequestFailures::default());
/// assert!(careful.request_failures.is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestFailures {
    /// Distinct clients whose requests failed, at most 8.
    pub clients: NonZeroU32,
    /// Within this time.
    pub window: Duration,
}

impl Default for RequestFailures {
    /// Three clients within 10 s.
    fn default() -> Self {
        Self { clients: NonZeroU32::MIN.saturating_add(2), window: Duration::from_secs(10) }
    }
}

impl RequestFailures {
    /// With this number of distinct clients, at most 8, within this time.
    #[must_use]
    pub fn new(clients: NonZeroU32, window: Duration) -> Self {
        Self { clients, window }
    }
}

impl Default for Eject {
    /// Three connects in a row, 10 s, at most 5 minutes, half of a group; requests never.
    fn default() -> Self {
        Self {
            connect_failures: NonZeroU32::MIN.saturating_add(2),
            request_failures: None,
            period: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            most_percent: 50,
        }
    }
}

impl Eject {
    /// With this number of failed connects in a row.
    #[must_use]
    pub fn with_connect_failures(self, connect_failures: NonZeroU32) -> Self {
        Self { connect_failures, ..self }
    }

    /// With a rule for failures that a request can provoke.
    #[must_use]
    pub fn with_request_failures(self, rule: RequestFailures) -> Self {
        Self { request_failures: Some(rule), ..self }
    }

    /// With these periods.
    #[must_use]
    pub fn with_periods(self, first: Duration, longest: Duration) -> Self {
        Self { period: first, longest, ..self }
    }

    /// With this cap, in percent of a group.
    #[must_use]
    pub fn with_most_percent(self, most_percent: u8) -> Self {
        Self { most_percent, ..self }
    }
}

/// Clients remembered a backend: more than the rule can ask for.
const CLIENTS: usize = 8;

/// The policy of one backend.
#[derive(Debug)]
struct Ejector {
    rule: Eject,
    refused_in_a_row: u32,
    successes: u64,
    /// Clients whose requests failed, and when last.
    clients: [Option<(u64, Instant)>; CLIENTS],
    /// Ejections so far that count for the next period.
    times: u32,
    readmitted: Option<Instant>,
}

impl HealthPolicy for Eject {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        let (rule, clients) = (self.clone(), [None; CLIENTS]);
        Box::new(Ejector { rule, refused_in_a_row: 0, successes: 0, clients, times: 0, readmitted: None })
    }

    fn observe(&mut self, _: &Evidence, _: Instant) -> Verdict {
        Verdict::default()
    }
}

impl Ejector {
    /// Whether this failure is one too many, and whether only an outlier may go for it.
    fn judge(&mut self, traffic: &Traffic, now: Instant) -> Option<bool> {
        if traffic.successes != self.successes {
            (self.successes, self.refused_in_a_row) = (traffic.successes, 0);
        }
        if traffic.outcome == Outcome::ConnectFailed {
            self.refused_in_a_row += 1;
            return (self.refused_in_a_row >= self.rule.connect_failures.get()).then_some(false);
        }
        let rule = self.rule.request_failures.filter(|_| traffic.outcome.is_provokable())?;
        let failing = self.remember(traffic.client?, rule.window, now);
        (failing >= (rule.clients.get() as usize).min(CLIENTS)).then_some(true)
    }

    /// Notes a failing client; how many distinct ones there were within the window.
    fn remember(&mut self, client: u64, window: Duration, now: Instant) -> usize {
        let recent = |at: &Instant| now.saturating_duration_since(*at) <= window;
        for place in &mut self.clients {
            *place = place.filter(|(known, at)| *known != client && recent(at));
        }
        // A free place, or else the oldest.
        let oldest = self.clients.iter_mut().min_by_key(|place| place.map(|(_, at)| at));
        if let Some(place) = oldest {
            *place = Some((client, now));
        }
        self.clients.iter().flatten().count()
    }

    fn period(&self, now: Instant) -> Duration {
        let calm = self.readmitted.is_some_and(|at| now.saturating_duration_since(at) > self.rule.longest);
        let times = if calm { 0 } else { self.times };
        let grown = self.rule.period.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX));
        grown.min(self.rule.longest)
    }
}

impl HealthPolicy for Ejector {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        self.rule.for_backend()
    }

    fn observe(&mut self, evidence: &Evidence, now: Instant) -> Verdict {
        let eject = match evidence {
            Evidence::Traffic(traffic) => {
                let outlier = self.judge(traffic, now);
                // A trial that a client spoiled says nothing, unless such failures count.
                let spoiled = traffic.outcome.is_provokable() && self.rule.request_failures.is_none();
                let only_outliers = outlier.or((traffic.trial && !spoiled).then_some(false));
                only_outliers.map(|only_outliers| Ejection { period: self.period(now), only_outliers })
            }
            Evidence::Ejected => {
                let calm = self.readmitted.is_some_and(|at| now.saturating_duration_since(at) > self.rule.longest);
                self.times = if calm { 1 } else { self.times.saturating_add(1) };
                (self.refused_in_a_row, self.clients, self.readmitted) = (0, [None; CLIENTS], None);
                None
            }
            Evidence::Readmitted => {
                self.readmitted = Some(now);
                None
            }
            Evidence::Enabled => {
                (self.times, self.refused_in_a_row, self.clients) = (0, 0, [None; CLIENTS]);
                None
            }
            Evidence::Probe(_) => None,
        };
        Verdict { eject, ..Verdict::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::World;

    fn failed(outcome: Outcome, client: u64, successes: u64) -> Evidence {
        Evidence::Traffic(Traffic { client: Some(client), successes, ..Traffic::new(outcome) })
    }

    #[test]
    fn a_success_in_between_begins_a_new_row() {
        let (mut policy, world) = (Eject::default().for_backend(), World::new(1));
        let mut refused = |successes| policy.observe(&failed(Outcome::ConnectFailed, 1, successes), world.now());
        let ejects = [0, 0, 1, 1, 1].map(|successes| refused(successes).eject.is_some());
        assert_eq!(ejects, [false, false, false, false, true]);
    }

    #[test]
    fn what_a_request_can_provoke_is_ignored_unless_switched_on() {
        let (mut policy, world) = (Eject::default().for_backend(), World::new(1));
        for client in 0..100 {
            assert_eq!(policy.observe(&failed(Outcome::ServerError, client, 0), world.now()).eject, None);
        }
    }

    #[test]
    fn one_client_alone_ejects_nobody() {
        let eject = Eject::default().with_request_failures(RequestFailures::default());
        let (mut policy, world) = (eject.for_backend(), World::new(1));
        for _ in 0..1000 {
            assert_eq!(policy.observe(&failed(Outcome::ServerError, 7, 0), world.now()).eject, None);
        }
        let others = [8, 9].map(|client| policy.observe(&failed(Outcome::Broken, client, 0), world.now()).eject);
        assert!(others[0].is_none() && others[1].is_some_and(|wish| wish.only_outliers));
    }

    #[test]
    fn clients_outside_the_window_are_forgotten() {
        let eject = Eject::default().with_request_failures(RequestFailures::default());
        let (mut policy, mut world) = (eject.for_backend(), World::new(1));
        for client in 0..100 {
            assert_eq!(policy.observe(&failed(Outcome::TimedOut, client, 0), world.now()).eject, None);
            world.advance(Duration::from_secs(6));
        }
    }

    #[test]
    fn periods_grow_to_the_longest_and_begin_anew_after_a_calm_time() {
        let (mut policy, mut world) = (Eject::default().for_backend(), World::new(1));
        let trial = Evidence::Traffic(Traffic { trial: true, ..Traffic::new(Outcome::ConnectFailed) });
        let mut seconds = Vec::new();
        for _ in 0..7 {
            seconds.push(policy.observe(&trial, world.now()).eject.map(|wish| wish.period.as_secs()));
            policy.observe(&Evidence::Ejected, world.now());
        }
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300].map(Some));
        policy.observe(&Evidence::Readmitted, world.now());
        world.advance(Duration::from_secs(301));
        assert_eq!(policy.observe(&trial, world.now()).eject.map(|wish| wish.period.as_secs()), Some(10));
    }

    #[test]
    fn a_trial_that_a_client_spoils_prolongs_nothing_unless_such_failures_count() {
        let spoiled = Evidence::Traffic(Traffic { trial: true, ..Traffic::new(Outcome::ServerError) });
        let wishes = [Eject::default(), Eject::default().with_request_failures(RequestFailures::default())]
            .map(|rule| rule.for_backend().observe(&spoiled, crate::sim::epoch()).eject.is_some());
        assert_eq!(wishes, [false, true]);
    }
}
