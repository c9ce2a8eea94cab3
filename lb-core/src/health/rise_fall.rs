//! Active: consecutive probe results.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{Cause, Evidence, Health, HealthPolicy, Probe, Said, Share, Verdict};
use crate::rand::Rng;

/// Up after `rise` good probes in a row, down after `fall` bad ones.
///
/// A backend starts unknown and gets no work until its first good probe, unless it is [assumed
/// up](Self::assuming_up). `rise` and `fall` are for silence: what the [application says](Said) counts at once, `UP` too
/// unless silence was before it. A good probe that says nothing is `UP`.
/// ```
/// use lb_core::health::{Evidence, HealthPolicy, Probe, RiseFall};
/// let mut policy = RiseFall::default().assuming_up().for_backend();
/// let mut fail = || policy.observe(&Evidence::Probe(Probe::Failed), lb_core::sim::epoch()).health;
/// assert!(fail().is_none() && fail().is_none() && fail().is_some(), "three in a row");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RiseFall {
    /// Good probes in a row that bring a backend back.
    pub rise: NonZeroU32,
    /// Bad probes in a row that take it down.
    pub fall: NonZeroU32,
    /// Time between two probes.
    pub interval: Duration,
    /// Time between two probes while a change is under way.
    pub fast_interval: Duration,
    /// By what fraction of it each interval is stretched or shortened at random, 0 to 1.
    pub jitter: f64,
    /// The health before the first probe.
    pub initial: Health,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    health: Health,
    /// Probes in a row that speak against `health`.
    streak: u32,
}

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

impl Default for RiseFall {
    /// Rise 2, fall 3, every 2 s, every 0.5 s while changing, 10 % jitter, unknown at first.
    fn default() -> Self {
        Self::new(TWO, THREE)
    }
}

impl RiseFall {
    /// With these numbers of consecutive probes, and the other settings at their defaults.
    #[must_use]
    pub fn new(rise: NonZeroU32, fall: NonZeroU32) -> Self {
        let (interval, fast_interval) = (Duration::from_secs(2), Duration::from_millis(500));
        let initial = Health::Unknown;
        Self { rise, fall, interval, fast_interval, jitter: 0.1, initial, state: State { health: initial, streak: 0 } }
    }

    /// With these times between probes.
    #[must_use]
    pub fn with_intervals(self, interval: Duration, while_changing: Duration) -> Self {
        Self { interval, fast_interval: while_changing, ..self }
    }

    /// A backend takes work before its first probe (balance's `-m`).
    #[must_use]
    pub fn assuming_up(self) -> Self {
        Self { initial: Health::Up, state: State { health: Health::Up, streak: 0 }, ..self }
    }

    /// The policy of a backend that is known to be of this health.
    pub(crate) fn resumed(&self, health: Health) -> Self {
        Self { state: State { health, streak: 0 }, ..self.clone() }
    }

    /// The pause until a probe, made longer or shorter at random so that many balancers do not probe in step.
    pub fn jittered(&self, pause: Duration, rng: &mut dyn Rng) -> Duration {
        let jitter = if self.jitter.is_nan() { 0.0 } else { self.jitter.clamp(0.0, 1.0) };
        let chance = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let pause = pause.as_secs_f64() * (1.0 + jitter * (2.0 * chance - 1.0));
        Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX)
    }

    fn judge(&mut self, probe: Probe) -> Option<Health> {
        let health = self.state.health;
        let to = match (probe.health(), health) {
            // Who has said that it goes may go: that is no news, and no reason to try it as a last resort.
            (Health::Down(Cause::Silent), Health::Down(Cause::Said | Cause::Maintenance)) => health,
            (to, _) => to,
        };
        let enough = match (to, health) {
            (Health::Up, Health::Down(Cause::Silent)) => self.rise.get(),
            (Health::Down(Cause::Silent), _) => self.fall.get(),
            _ => 1,
        };
        if to == health {
            self.state.streak = 0;
            return None;
        }
        self.state.streak += 1;
        (self.state.streak >= enough).then(|| {
            self.state = State { health: to, streak: 0 };
            to
        })
    }
}

/// How much of its share a backend takes that a probe found well.
fn share(probe: Probe) -> Option<Share> {
    match probe {
        Probe::Passed => Some(Share::FULL),
        Probe::Said(Said::Up(share)) => Some(share),
        _ => None,
    }
}

impl HealthPolicy for RiseFall {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        Box::new(Self { state: State { health: self.initial, streak: 0 }, ..self.clone() })
    }

    fn observe(&mut self, evidence: &Evidence, _: Instant) -> Verdict {
        match evidence {
            Evidence::Probe(probe) => {
                let health = self.judge(*probe);
                let pause = if self.state.streak > 0 { self.fast_interval } else { self.interval };
                Verdict { health, share: share(*probe), next_probe: Some(pause), ..Verdict::default() }
            }
            Evidence::Enabled if self.state.health == Health::Down(Cause::Silent) => {
                self.state = State { health: Health::Up, streak: 0 };
                Verdict::health(Health::Up)
            }
            _ => Verdict::default(),
        }
    }

    fn initial(&self) -> Health {
        self.initial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    fn healths(mut policy: Box<dyn HealthPolicy>, probes: &[Probe]) -> Vec<Option<Health>> {
        probes.iter().map(|probe| policy.observe(&Evidence::Probe(*probe), sim::epoch()).health).collect()
    }

    #[test]
    fn one_lost_probe_moves_no_traffic() {
        let policy = RiseFall::new(TWO, TWO).assuming_up().for_backend();
        let probes = [Probe::Failed, Probe::Passed, Probe::Failed, Probe::Failed];
        assert_eq!(healths(policy, &probes), [None, None, None, Some(Health::Down(Cause::Silent))]);
    }

    #[test]
    fn the_first_good_answer_ends_the_unknown_and_silence_must_rise() {
        let policy = RiseFall::new(TWO, NonZeroU32::MIN).for_backend();
        let probes = [Probe::Passed, Probe::Failed, Probe::Passed, Probe::Passed];
        let down = Some(Health::Down(Cause::Silent));
        assert_eq!(healths(policy, &probes), [Some(Health::Up), down, None, Some(Health::Up)]);
    }

    #[test]
    fn the_application_is_believed_at_once() {
        let policy = RiseFall::default().assuming_up().for_backend();
        let up = Said::Up(Share::FULL);
        let words = [Said::Down, Said::Down, up, Said::Drain, Said::Maintenance, Said::Drain, up].map(Probe::Said);
        let (down, maintenance) = (Health::Down(Cause::Said), Health::Down(Cause::Maintenance));
        let healths = healths(policy, &words);
        assert_eq!(healths[..3], [Some(down), None, Some(Health::Up)]);
        assert_eq!(healths[3..], [Health::Draining, maintenance, Health::Draining, Health::Up].map(Some));
    }

    #[test]
    fn a_word_of_being_up_must_rise_from_silence_and_from_nothing_else() {
        let policy = || RiseFall::new(TWO, NonZeroU32::MIN).for_backend();
        let (up, failed) = (Probe::Said(Said::Up(Share::FULL)), Probe::Failed);
        let silent = Some(Health::Down(Cause::Silent));
        assert_eq!(healths(policy(), &[failed, up, up]), [silent, None, Some(Health::Up)]);
        let drain = Probe::Said(Said::Drain);
        assert_eq!(healths(policy(), &[failed, drain, up]), [silent, Some(Health::Draining), Some(Health::Up)]);
    }

    #[test]
    fn a_share_counts_at_once_and_a_probe_that_says_nothing_restores_it() {
        let mut policy = RiseFall::default().for_backend();
        let mut share = |probe| policy.observe(&Evidence::Probe(probe), sim::epoch()).share.map(Share::get);
        let forty = Share::percent(40).map(|share| Probe::Said(Said::Up(share))).unwrap();
        let probes = [forty, Probe::Said(Said::Down), Probe::Failed, forty, Probe::Passed];
        assert_eq!(probes.map(&mut share), [Some(40), None, None, Some(40), Some(100)]);
    }

    #[test]
    fn probes_come_faster_while_a_change_is_under_way() {
        let mut policy = RiseFall::default().assuming_up();
        let mut pause = |probe| policy.observe(&Evidence::Probe(probe), sim::epoch()).next_probe.unwrap().as_millis();
        assert_eq!([pause(Probe::Passed), pause(Probe::Failed), pause(Probe::Passed)], [2000, 500, 2000]);
    }

    #[test]
    fn jitter_stays_within_its_fraction() {
        let (policy, mut world) = (RiseFall::default(), sim::World::new(3));
        for _ in 0..1000 {
            let pause = policy.jittered(Duration::from_secs(10), world.rng()).as_secs_f64();
            assert!((9.0..=11.0).contains(&pause));
        }
    }
}
