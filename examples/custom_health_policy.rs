//! A health policy of your own: a backend that fails more than one request in five is set aside for a while. In simulated
//! time, so that the story is the same each time.
//!
//! It counts whatever fails, so it is for clients that you trust, such as the services of one house: among strangers one
//! who reloads a broken page would count as well. `Eject::with_request_failures` is made for those.
#![allow(clippy::print_stdout)]

use std::{
    collections::VecDeque,
    error::Error,
    time::{Duration, Instant},
};

use lb_core::{
    Balancer, Config, Outcome, Request,
    health::{Eject, Ejection, Evidence, HealthPolicy, Traffic, Verdict},
    sim::{World, epoch},
};

/// Failures within this time count.
const WINDOW: Duration = Duration::from_secs(20);
/// Fewer of them prove nothing. More are not remembered.
const ENOUGH: usize = 8;
/// Of a hundred requests so many may fail.
const MOST_PERCENT: u64 = 20;
/// So long a backend is left alone before one request tries it again.
const PERIOD: Duration = Duration::from_secs(15);

/// Judges one backend by the rate at which its requests fail of late.
#[derive(Debug)]
struct ErrorRate {
    /// A policy of your own takes the place of all others. This one is kept inside: it judges failed connects.
    connects: Box<dyn HealthPolicy>,
    /// The latest failures: when each was, and how many successes the backend had had by then.
    failures: VecDeque<(Instant, u64)>,
}

impl ErrorRate {
    fn new() -> Self {
        Self { connects: Eject::default().for_backend(), failures: VecDeque::new() }
    }

    /// Whether this failure is one too many. Successes are evidence that costs nothing: a failure brings their number.
    fn is_too_much(&mut self, traffic: &Traffic, now: Instant) -> bool {
        self.failures.push_back((now, traffic.successes));
        while self.failures.len() > ENOUGH
            || self.failures.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW)
        {
            self.failures.pop_front();
        }
        let (failed, before) = (self.failures.len() as u64, self.failures.front().map_or(0, |(_, count)| *count));
        let all = failed + traffic.successes.saturating_sub(before);
        self.failures.len() == ENOUGH && failed * 100 > all * MOST_PERCENT
    }
}

impl HealthPolicy for ErrorRate {
    fn for_backend(&self) -> Box<dyn HealthPolicy> {
        Box::new(Self::new())
    }

    fn observe(&mut self, evidence: &Evidence, now: Instant) -> Verdict {
        let mut verdict = self.connects.observe(evidence, now);
        match evidence {
            // Whoever fails the request that it is tried with stays out.
            Evidence::Traffic(traffic) if self.is_too_much(traffic, now) || traffic.trial => {
                // A wish: the balancer spares the last backend of a group, and more than half of one.
                verdict.eject = verdict.eject.or(Some(Ejection { period: PERIOD, only_outliers: false }));
            }
            Evidence::Ejected | Evidence::Enabled => self.failures.clear(),
            _ => {}
        }
        verdict
    }
}

/// How a request ends there then: two of three fail at beta from the 10th second to the 40th.
fn outcome(backend: &str, second: u64, number: u64) -> Outcome {
    match (backend, second) {
        ("beta", 10..40) if !(number / 3).is_multiple_of(3) => Outcome::ServerError,
        // What happens everywhere now and then harms nobody.
        _ if number.is_multiple_of(17) => Outcome::ServerError,
        _ => Outcome::Success,
    }
}

fn tell(balancer: &Balancer<()>) {
    for event in balancer.take_events() {
        println!("{:>3} s  {event}", (event.at - epoch()).as_secs());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut world = World::new(7);
    let config: Config = "alpha beta gamma".parse()?;
    let balancer = world.balancer(config).with_health_policy(Box::new(ErrorRate::new()));
    balancer.record_events();
    for second in 0..60 {
        for number in 0..30 {
            let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
            let outcome = outcome(lease.name(), second, second * 30 + number);
            lease.finish(outcome, world.now());
        }
        // `lb_net::drive` does so whenever something has changed; here the clock is ours.
        balancer.settle(world.now());
        tell(&balancer);
        world.advance(Duration::from_secs(1));
    }
    for backend in balancer.stats().backends {
        println!("{:<6} {:>4} went well, {:>3} failed", backend.name, backend.succeeded, backend.failed);
    }
    Ok(())
}
