//! What the scenarios share: a balancer in a world of simulated time.
#![allow(dead_code, reason = "each file of scenarios uses its share")]

use std::time::{Duration, Instant};

use lb_core::{
    BackendConfig, BackendId, BackendStats, Balancer, Config, GroupConfig, Health, Lease, NoPick, Outcome, Request,
    SelectorKind, Start, Status, Tried,
    health::{Evidence, Probe},
    sim::World,
};

/// A balancer, its time and its chance.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) balancer: Balancer<()>,
}

/// The id of the only backend of this name.
pub(crate) fn id(name: &str) -> BackendId {
    BackendId::new(name, 0)
}

pub(crate) fn config(text: &str) -> Config {
    text.parse().expect("the text is a configuration")
}

/// Backends `b0`, `b1` and so on in one group, in turn from the first.
pub(crate) fn numbered(count: usize, selector: SelectorKind) -> Config {
    let backends = (0..count).map(|k| BackendConfig::new(format!("b{k}")));
    Config::default().with_start(Start::First).with_group(GroupConfig::new(backends).with_selector(selector))
}

/// The backends of this text, chosen by this selector.
pub(crate) fn chosen_by(selector: SelectorKind, text: &str) -> Config {
    let mut config = config(text);
    config.groups.iter_mut().for_each(|group| group.selector = selector);
    config
}

pub(crate) fn tried(names: &[&str]) -> Tried {
    let mut tried = Tried::default();
    names.iter().for_each(|name| tried.insert(id(name)));
    tried
}

impl Scene {
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(1, config)
    }

    pub(crate) fn seeded(seed: u64, config: Config) -> Self {
        let mut world = World::new(seed);
        let balancer = world.balancer(config);
        Self { world, balancer }
    }

    pub(crate) fn spec(text: &str) -> Self {
        Self::new(config(text))
    }

    pub(crate) fn now(&self) -> Instant {
        self.world.now()
    }

    pub(crate) fn plain(&self) -> Request<'static> {
        Request::new(self.now())
    }

    pub(crate) fn pick(&mut self, request: &Request<'_>) -> Result<Lease<()>, NoPick> {
        self.balancer.pick(request, self.world.rng())
    }

    pub(crate) fn take(&mut self) -> Lease<()> {
        let request = self.plain();
        self.pick(&request).expect("there is a backend with room")
    }

    /// Where a request goes that then ends well, or why it goes nowhere.
    pub(crate) fn sent(&mut self, request: &Request<'_>) -> String {
        match self.pick(request) {
            Ok(lease) => {
                let name = lease.name().to_owned();
                lease.finish(Outcome::Success, self.now());
                name
            }
            Err(no_pick) => no_pick.to_string(),
        }
    }

    /// Where so many requests go, one after the other.
    pub(crate) fn order(&mut self, requests: usize) -> String {
        let request = self.plain();
        let order: Vec<String> = (0..requests).map(|_| self.sent(&request)).collect();
        order.join(" ")
    }

    /// One request of this client that goes to this backend, whoever's turn it is, and ends so.
    pub(crate) fn end_at(&mut self, name: &str, outcome: Outcome, client: u64) {
        let request = self.plain().with_pin(id(name)).with_client(client);
        let lease = self.pick(&request).expect("the backend takes what is pinned to it");
        lease.finish(outcome, self.now());
    }

    pub(crate) fn refuse(&mut self, name: &str, times: u64) {
        (0..times).for_each(|client| self.end_at(name, Outcome::ConnectFailed, client));
    }

    pub(crate) fn probe(&mut self, name: &str, probe: Probe) {
        let known = self.balancer.observe(id(name), &Evidence::Probe(probe), self.now());
        known.expect("the backend is configured");
    }

    pub(crate) fn order_status(&mut self, name: &str, status: Status) {
        self.balancer.set_status(id(name), status, self.now()).expect("the backend is configured");
    }

    pub(crate) fn enable(&mut self, name: &str) {
        self.balancer.enable(id(name), self.now()).expect("the backend is configured");
    }

    pub(crate) fn update(&mut self, config: Config) -> lb_core::Diff {
        self.balancer.update(config, self.now(), |_| ())
    }

    /// Lets time pass and does what has become due.
    pub(crate) fn pass(&mut self, time: Duration) -> Option<Instant> {
        self.world.advance(time);
        self.balancer.settle(self.now())
    }

    /// Puts into force what was observed.
    pub(crate) fn settle(&mut self) {
        self.pass(Duration::from_millis(10));
    }

    pub(crate) fn stats(&self, name: &str) -> BackendStats {
        let all = self.balancer.stats().backends;
        all.into_iter().find(|backend| backend.id == id(name)).expect("the backend is configured")
    }

    pub(crate) fn health(&self, name: &str) -> Health {
        self.stats(name).health
    }
}
