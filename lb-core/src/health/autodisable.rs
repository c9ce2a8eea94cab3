//! balance's `-a`: one failed connect, and the backend is down until it is enabled.

use std::time::Instant;

use super::{Cause, Evidence, Health, HealthPolicy, Probe, Said, Verdict};
use crate::Outcome;

/// One failed connect takes a backend down; only an operator, or a probe that passes, brings it back.
/// ```
/// use lb_core::{Outcome, health::{Autodisable, Cause, Evidence, Health, HealthPolicy, Traffic}};
/// let verdict = Autodisable.observe(&Evidence::Traffic(Traffic::new(Outcome::ConnectFailed)), lb_core::sim::epoch());
/// assert_eq!(verdict.health, Some(Health::Down(Cause::Silent)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Autodisable;

impl HealthPolicy for Autodisable {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        Box::new(*self)
    }

    fn observe(&mut self, evidence: &Evidence, _: Instant) -> Verdict {
        match evidence {
            Evidence::Traffic(traffic) if traffic.outcome == Outcome::ConnectFailed => {
                Verdict::health(Health::Down(Cause::Silent))
            }
            Evidence::Enabled | Evidence::Probe(Probe::Passed | Probe::Said(Said::Up(_))) => {
                Verdict::health(Health::Up)
            }
            _ => Verdict::default(),
        }
    }
}
