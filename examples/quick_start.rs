//! Balance anything: pick a backend, use it, say how it went. No network, no runtime.
#![allow(clippy::print_stdout)]

use std::{error::Error, time::Instant};

use lb_core::{
    Balancer, Config, Outcome, Request,
    rand::{SeedableRng as _, rngs::SmallRng},
};

fn main() -> Result<(), Box<dyn Error>> {
    // Two backends that take two requests each, and a spare for when both are full or down.
    let config: Config = "alpha:80:2 beta:80:2 ! spare:80".parse()?;
    let mut rng = SmallRng::seed_from_u64(7);
    let balancer = Balancer::new(config, Instant::now(), &mut rng, |backend| format!("http://{}/", backend.name));

    let mut running = Vec::new();
    for number in 1..=5 {
        let lease = balancer.pick(&Request::new(Instant::now()), &mut rng)?;
        println!("request {number} goes to {}", lease.payload());
        running.push(lease);
    }
    for lease in running {
        lease.finish(Outcome::Success, Instant::now());
    }
    print!("now: {}", balancer.explain(&Request::new(Instant::now())));
    Ok(())
}
