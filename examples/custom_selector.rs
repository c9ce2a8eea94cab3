//! A selector of your own: the heaviest backend first. Limits, health, status and counts come with the balancer.
#![allow(clippy::print_stdout)]

use std::{error::Error, time::Instant};

use lb_core::{
    Balancer, Config, Fit, Group, Request, Selector,
    rand::{Rng, SeedableRng as _, rngs::SmallRng},
};

/// Prefers the heaviest backend that has room.
#[derive(Clone, Copy, Debug)]
struct Heaviest;

impl Selector for Heaviest {
    fn pick(&self, group: &dyn Group, request: &Request<'_>, _: &mut dyn Rng) -> Option<usize> {
        let open = (0..group.len()).filter(|slot| group.backend(*slot).fit(request) == Fit::Yes);
        open.max_by_key(|slot| group.backend(*slot).weight())
    }

    fn rebuild(&self, _: &dyn Group, _: &Request<'_>) -> Box<dyn Selector> {
        Box::new(*self)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let config: Config = "small:80::1 large:80:2:9 medium:80::5".parse()?;
    let mut rng = SmallRng::seed_from_u64(7);
    let balancer = Balancer::new(config, Instant::now(), &mut rng, |_| ()).with_selector(&Heaviest);
    let leases: Result<Vec<_>, _> = (0..3).map(|_| balancer.pick(&Request::new(Instant::now()), &mut rng)).collect();
    for lease in &leases? {
        println!("{}", lease.name());
    }
    Ok(())
}
