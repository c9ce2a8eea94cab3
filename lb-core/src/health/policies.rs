//! The policies of one backend, side by side.

use std::time::Instant;

use super::{Autodisable, Cause, Evidence, Health, HealthPolicy, Share, Verdict};
use crate::Config;

/// All see all evidence. Each has an opinion of its own, and the worst of them is the backend's health: so what the
/// application said stands, whatever another policy has to forgive. Of shares the smallest counts.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// Of probes, or the embedder's own in place of all.
    probes: Option<Judge>,
    ejection: Option<Judge>,
    autodisable: Option<Judge>,
}

#[derive(Debug)]
struct Judge {
    policy: Box<dyn HealthPolicy>,
    opinion: Health,
    share: Share,
}

impl Judge {
    fn new(prototype: &dyn HealthPolicy) -> Self {
        let policy = prototype.for_backend();
        Self { opinion: policy.initial(), share: Share::FULL, policy }
    }
}

impl Policies {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            probes: config.probes.as_ref().map(|rule| Judge::new(rule)),
            ejection: config.ejection.as_ref().map(|rule| Judge::new(rule)),
            autodisable: config.autodisable.then(|| Judge::new(&Autodisable)),
        }
    }

    pub(crate) fn custom(prototype: &dyn HealthPolicy) -> Self {
        Self { probes: Some(Judge::new(prototype)), ..Self::default() }
    }

    /// Follows a configuration where it has changed. New probes find the backend as it was, so that it keeps its work.
    pub(crate) fn follow(&mut self, old: &Config, new: &Config) {
        if old.probes != new.probes {
            let known = self.probes.as_ref().map(|judge| (judge.opinion, judge.share));
            let (opinion, share) = known.unwrap_or((Health::Up, Share::FULL));
            let resumed = |rule: &super::RiseFall| Judge { policy: Box::new(rule.resumed(opinion)), opinion, share };
            self.probes = new.probes.as_ref().map(resumed);
        }
        if old.ejection != new.ejection {
            self.ejection = Self::of(new).ejection;
        }
        if old.autodisable != new.autodisable {
            self.autodisable = Self::of(new).autodisable;
        }
    }

    pub(crate) fn observe(&mut self, evidence: &Evidence, now: Instant) -> Verdict {
        let (before, mut all) = ((self.health(), self.share()), Verdict::default());
        for judge in [&mut self.probes, &mut self.ejection, &mut self.autodisable].into_iter().flatten() {
            let one = judge.policy.observe(evidence, now);
            judge.opinion = one.health.unwrap_or(judge.opinion);
            judge.share = one.share.unwrap_or(judge.share);
            all.eject = one.eject.or(all.eject);
            all.next_probe = one.next_probe.or(all.next_probe);
        }
        all.health = Some(self.health()).filter(|health| *health != before.0);
        all.share = Some(self.share()).filter(|share| *share != before.1);
        all
    }

    /// The worst opinion.
    pub(crate) fn health(&self) -> Health {
        self.judges().map(|judge| judge.opinion).max_by_key(|health| gravity(*health)).unwrap_or(Health::Up)
    }

    /// The smallest share.
    pub(crate) fn share(&self) -> Share {
        self.judges().map(|judge| judge.share).min().unwrap_or(Share::FULL)
    }

    fn judges(&self) -> impl Iterator<Item = &Judge> {
        [&self.probes, &self.ejection, &self.autodisable].into_iter().flatten()
    }
}

/// What silence does to a backend the last resort may overlook; the rest it may not. So one that said that it drains
/// stays so beside another policy's silence.
fn gravity(health: Health) -> u8 {
    match health {
        Health::Up | Health::Ejected => 0,
        Health::Down(Cause::Silent) => 1,
        Health::Draining => 2,
        Health::Unknown => 3,
        Health::Down(Cause::Said) => 4,
        Health::Down(Cause::Maintenance) => 5,
    }
}
