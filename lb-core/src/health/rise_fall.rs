//! Active: consecutive probe results.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{Cause, Evidence, Health, HealthPolicy, Probe, Said, Verdict};
use crate::rand::Rng;

/// Up after `rise` good probes in a row, down after `fall` bad ones.
///
/// A backend starts unknown and gets no work until its first good probe, unless it is [assumed
/// up](Self::assuming_up). What the application says counts at once: `fall` is for silence.
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
        let (enough, to) = match (probe, health) {
            (Probe::Said(Said::Down | Said::Drain | Said::Maintenance), _) => (1, Health::Down(Cause::Said)),
            (Probe::Passed | Probe::Said(Said::Up(_)), Health::Down(Cause::Silent)) => (self.rise.get(), Health::Up),
            (Probe::Passed | Probe::Said(Said::Up(_)), _) => (1, Health::Up),
            (Probe::Failed, _) => (self.fall.get(), Health::Down(Cause::Silent)),
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

impl HealthPolicy for RiseFall {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        Box::new(Self { state: State { health: self.initial, streak: 0 }, ..self.clone() })
    }

    fn observe(&mut self, evidence: &Evidence, _: Instant) -> Verdict {
        match evidence {
            Evidence::Probe(probe) => {
                let health = self.judge(*probe);
                let pause = if self.state.streak > 0 { self.fast_interval } else { self.interval };
                Verdict { health, next_probe: Some(pause), ..Verdict::default() }
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
        let probes = [Probe::Said(Said::Down), Probe::Said(Said::Down), Probe::Passed];
        assert_eq!(healths(policy, &probes), [Some(Health::Down(Cause::Said)), None, Some(Health::Up)]);
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
