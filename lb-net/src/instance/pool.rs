//! One pool while it runs: its balancer, and what looks after that.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Config, EventKind,
    rand::{Rng as _, SeedableRng as _, rngs::SmallRng},
};

use super::{
    Backends, Instance, Task,
    attendant::{Attendant, News},
    failure::PrepareError,
};
use crate::{
    config::{Model, Name, Pool, PoolSize},
    connect::Addresses as _,
    discover::Found,
    http::HttpProxy,
    manage::{Managed, Process},
    probe::{Monitor, MonitorSpec, Switch},
    resolve::{self, Endpoint, ResolveError},
};

/// What is wanted of a pool, with everything known that could not be.
pub(super) struct Wanted {
    name: Name,
    pool: Pool,
    /// Of backends that have none of their own; a pool that has none needs none.
    port: u16,
    /// Where those are that are not there yet, by name.
    endpoints: HashMap<String, Endpoint>,
    watching: Option<Watching>,
}

/// What a monitor is made from: another one is another monitor.
#[derive(Clone, Debug, PartialEq)]
struct Watching {
    spec: MonitorSpec,
    connect_timeout: Duration,
    source: Option<IpAddr>,
}

/// A pool that has clients.
pub(super) struct RunningPool {
    pub(super) balancer: Arc<Backends>,
    /// Serves nobody: the HTTP services of the pool wait in its line.
    pub(super) line: HttpProxy<Endpoint>,
    pub(super) fleet: Arc<Managed<Endpoint>>,
    /// As the model has it.
    pool: Pool,
    /// The same with what was found, as it was last applied: what runs may differ by what people have ordered since.
    applied: Config,
    port: Arc<AtomicU16>,
    switch: Switch,
    monitor: Option<(Watching, Task)>,
    _driver: Task,
}

impl Wanted {
    /// Looks up the names of backends that `running` does not have. It may block.
    pub(super) fn new(
        model: &Model,
        name: &Name,
        pool: &Pool,
        running: Option<&Arc<Backends>>,
        found: &Found,
    ) -> Result<Self, PrepareError> {
        let port = model.port_of(name.as_str()).unwrap_or(0);
        let known = running.map(|running| running.config()).unwrap_or_default();
        let known: std::collections::HashSet<_> = known.backends().map(|(id, ..)| id).collect();
        let mut endpoints = HashMap::new();
        for (id, _, backend) in pool.expanded(found, Some(port)).backends() {
            if known.contains(&id) || endpoints.contains_key(&backend.name) {
                continue;
            }
            let failed = |source| PrepareError::Backend { pool: name.clone(), backend: backend.name.clone(), source };
            endpoints.insert(backend.name.clone(), endpoint(backend, port).map_err(failed)?);
        }
        let (timeout, source) = (model.defaults().connect_timeout.get(), model.defaults().source);
        let watching =
            pool.probes().map(|probes| Watching { spec: probes.spec().clone(), connect_timeout: timeout, source });
        Ok(Self { name: name.clone(), pool: pool.clone(), port, endpoints, watching })
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }
}

impl RunningPool {
    pub(super) fn start(wanted: Wanted, found: &Found, instance: &Instance) -> Self {
        let Wanted { name, pool, port, mut endpoints, watching } = wanted;
        let mut rng = rng();
        let config = pool.expanded(found, Some(port));
        // There is one for each; those of one name are at the same place.
        let make =
            |backend: &BackendConfig| endpoints.remove(&backend.name).unwrap_or_else(|| unresolved(backend, port));
        let balancer = Arc::new(Balancer::new(config.clone(), Instant::now(), &mut rng, make));
        let driver = drive(&name, &balancer, instance);
        let (port, switch) = (Arc::new(AtomicU16::new(port)), Switch::default());
        let process: Weak<dyn Process> = Weak::<Instance>::clone(&instance.home);
        let fleet = managed(&balancer, &port, process, &instance.attendant);
        let mut running = Self {
            pool,
            fleet: Arc::new(fleet),
            line: HttpProxy::new(Arc::clone(&balancer)),
            balancer,
            applied: config,
            port,
            switch,
            monitor: None,
            _driver: driver,
        };
        running.look_after(&name, watching, instance);
        running
    }

    /// Becomes what is wanted; what that does not mention stays as it is.
    pub(super) fn follow(&mut self, wanted: Wanted, found: &Found, instance: &Instance) {
        let Wanted { name, pool, port, endpoints, watching } = wanted;
        let moved = self.port.swap(port, Relaxed) != port;
        self.pool = pool;
        self.become_what_is_found(found, &endpoints);
        if moved {
            self.move_to(port);
        }
        self.look_after(&name, watching, instance);
    }

    /// The same pool with what sources say now.
    pub(super) fn rediscover(&mut self, found: &Found) {
        // Of names that are new the addresses are asked for, as soon as their backends are there.
        self.become_what_is_found(found, &HashMap::new());
    }

    fn become_what_is_found(&mut self, found: &Found, endpoints: &HashMap<String, Endpoint>) {
        let theirs = self.pool.expanded(found, Some(self.port.load(Relaxed)));
        if theirs != self.applied {
            let edit = |ours: Config| ours.following(&self.applied, &theirs);
            self.fleet.reconfigure(edit, |backend| endpoints.get(&backend.name).cloned());
            self.applied = theirs;
        }
    }

    /// Backends without a port of their own are at another one.
    fn move_to(&self, port: u16) {
        let config = self.balancer.config();
        let portless: std::collections::HashSet<_> = config
            .backends()
            .filter(|(_, _, backend)| backend.host_and_port().1.is_none())
            .map(|(id, ..)| id)
            .collect();
        self.balancer.for_each(|id, endpoint| {
            if portless.contains(&id) {
                endpoint.set_port(port);
            }
        });
    }

    /// Everything beside the balancer's own configuration.
    fn look_after(&mut self, name: &Name, watching: Option<Watching>, instance: &Instance) {
        if self.monitor.as_ref().map(|(watching, _)| watching) != watching.as_ref() {
            // The old one ends first, and its checks with it.
            self.monitor = None;
            self.monitor = watching.map(|watching| {
                let task = watch(name, &watching, &self.balancer, &self.switch, instance);
                (watching, task)
            });
        }
        let manner = managed(&self.balancer, &self.port, Weak::<Instance>::new(), &instance.attendant);
        let manner = manner.with_selector(self.pool.selector()).with_hash_failover(self.pool.spills());
        let manner = match &self.monitor {
            Some(_) => {
                let (seen, switch) = (self.switch.clone(), self.switch.clone());
                manner.with_monitor(move || seen.is_enabled(), move |enabled| switch.set_enabled(enabled))
            }
            None => manner,
        };
        self.fleet.follow(&manner);
    }

    /// The pool of the model with what people have ordered since.
    pub(super) fn as_ordered(&self, found: &Found) -> Pool {
        let contracted = self.pool.contracted(&self.balancer.config(), found, Some(self.port.load(Relaxed)));
        // Whatever runs was written once, here or by control: it can be.
        contracted.unwrap_or_else(|_| self.pool.clone())
    }

    /// As it is now.
    pub(super) fn size(&self) -> PoolSize {
        PoolSize::from(&self.balancer.config())
    }
}

fn rng() -> SmallRng {
    use std::hash::{BuildHasher as _, RandomState};
    SmallRng::seed_from_u64(RandomState::new().hash_one(std::process::id()))
}

/// Where a backend is. It may block, while the system asks for a name.
fn endpoint(backend: &BackendConfig, default_port: u16) -> Result<Endpoint, ResolveError> {
    let (host, port) = backend.host_and_port();
    Endpoint::new(host, port.map_or(Ok(default_port), resolve::port)?)
}

/// The same without asking anybody: whoever refreshes names does.
fn unresolved(backend: &BackendConfig, default_port: u16) -> Endpoint {
    let (host, port) = backend.host_and_port();
    let port = port.map_or(default_port, |port| port.parse().unwrap_or(default_port));
    let ip: Option<IpAddr> = host.parse().ok();
    Endpoint::with_addresses(host, port, ip.map(|ip| (ip, port).into()).into_iter().collect())
}

fn managed(
    balancer: &Arc<Backends>,
    port: &Arc<AtomicU16>,
    process: Weak<dyn Process>,
    attendant: &Arc<dyn Attendant>,
) -> Managed<Endpoint> {
    let (own, other, attendant) = (Arc::clone(port), Arc::clone(port), Arc::clone(attendant));
    let resolve =
        move |backend: &BackendConfig| endpoint(backend, own.load(Relaxed)).map_err(|error| error.to_string());
    let unresolved = move |backend: &BackendConfig| unresolved(backend, other.load(Relaxed));
    Managed::new(Arc::clone(balancer), resolve, unresolved, |endpoint: &Endpoint| endpoint.address(0))
        .with_process(process)
        .with_kill(move || attendant.kill())
}

/// Puts changes into force and tells of them; a backend that was added may have a name to ask for.
fn drive(name: &Name, balancer: &Arc<Backends>, instance: &Instance) -> Task {
    let (pool, attendant, named) = (name.clone(), Arc::clone(&instance.attendant), Arc::clone(&instance.named));
    let driving = crate::drive_with(Arc::clone(balancer), move |event| {
        if matches!(event.kind, EventKind::Changed { .. }) {
            named.notify_one();
        }
        attendant.tell(&News::Pool { pool: &pool, event: &event });
    });
    Task(instance.runtime.spawn(driving).abort_handle())
}

fn watch(name: &Name, watching: &Watching, balancer: &Arc<Backends>, switch: &Switch, instance: &Instance) -> Task {
    let (pool, attendant) = (name.clone(), Arc::clone(&instance.attendant));
    let monitor = Monitor::new(&watching.spec, watching.connect_timeout, watching.source)
        .with_seed(rng().next_u64())
        .with_switch(switch.clone())
        .with_trace(move |finding| attendant.tell(&News::Checked { pool: &pool, finding }));
    let checking = monitor.run(Arc::clone(balancer), Endpoint::all_addresses);
    Task(instance.runtime.spawn(checking).abort_handle())
}
