//! A shell, and the balancer that it works on.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use lb_core::{
    BackendConfig, Balancer, Config, Lease, Request,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::{Managed, Reply, Shell};

pub(crate) type Payload = Option<SocketAddr>;

/// A shell, and the balancer that it works on.
pub(crate) struct Desk {
    pub(crate) balancer: Arc<Balancer<Payload>>,
    pub(crate) fleet: Managed<Payload>,
    pub(crate) shell: Shell,
}

/// Names are numbers here; everything else is unknown.
pub(crate) fn resolve(backend: &BackendConfig) -> Result<Payload, String> {
    let (host, port) = backend.host_and_port();
    let address = host.parse().ok().zip(port.and_then(|port| port.parse().ok()));
    address.map(|(ip, port)| Some(SocketAddr::new(ip, port))).ok_or_else(|| format!("unknown host '{host}'"))
}

impl Desk {
    pub(crate) fn new(words: &str) -> Self {
        Self::of(words.parse().unwrap())
    }

    pub(crate) fn of(config: Config) -> Self {
        let mut rng = SmallRng::seed_from_u64(1);
        let make = |backend: &BackendConfig| resolve(backend).unwrap_or_default();
        let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, make));
        let fleet = Managed::new(Arc::clone(&balancer), resolve, |_| None, |address| *address);
        Self { balancer, fleet, shell: Shell::default() }
    }

    pub(crate) fn run(&mut self, line: &str) -> Reply {
        self.shell.execute(line, &self.fleet)
    }

    /// The text of a line that goes well.
    pub(crate) fn said(&mut self, line: &str) -> String {
        let reply = self.run(line);
        assert!(!reply.failed, "{line}: {}", reply.text);
        reply.text
    }

    /// The text of a line that fails.
    pub(crate) fn refused(&mut self, line: &str) -> String {
        let reply = self.run(line);
        assert!(reply.failed, "{line}: {}", reply.text);
        reply.text
    }

    pub(crate) fn pick(&self) -> Lease<Payload> {
        self.try_pick().unwrap()
    }

    pub(crate) fn try_pick(&self) -> Option<Lease<Payload>> {
        self.balancer.pick(&Request::new(Instant::now()), &mut SmallRng::seed_from_u64(1)).ok()
    }

    /// The ports of the backends that so many clients get.
    pub(crate) fn ports(&self, times: usize) -> Vec<u16> {
        (0..times).map(|_| self.pick().payload().unwrap().port()).collect()
    }

    pub(crate) fn row(&mut self, at: usize) -> String {
        self.said("show").lines().nth(at + 1).unwrap().to_owned()
    }
}
