//! A process for tests of management: pools of [`Managed`] fleets, and answers as they were prepared.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use lb_core::{
    BackendConfig, Balancer, Config,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::{Fleet, Managed, Process, ServiceState};

pub(crate) type Payload = Option<SocketAddr>;

/// Its name, what manages it, and the balancer itself.
type Pool = (String, Arc<Managed<Payload>>, Arc<Balancer<Payload>>);

/// What a process has been told to be.
pub(crate) struct Staged {
    pools: Mutex<Vec<Pool>>,
    pub(crate) services: Mutex<Vec<ServiceState>>,
    pub(crate) reload: Mutex<Result<String, String>>,
    /// How many reloads have begun.
    pub(crate) reloads: AtomicUsize,
    pub(crate) difference: Mutex<Result<String, String>>,
    pub(crate) dump: Mutex<String>,
    pub(crate) permanence: Mutex<Option<String>>,
    this: Weak<Self>,
}

/// Names are numbers here; `unknown` is unknown, and other names have no address.
fn resolve(backend: &BackendConfig) -> Result<Payload, String> {
    let (host, port) = backend.host_and_port();
    match host {
        "unknown" => Err("unknown host 'unknown'".to_owned()),
        host => {
            let ip = host.parse::<std::net::IpAddr>().ok();
            Ok(ip.zip(port.and_then(|port| port.parse().ok())).map(SocketAddr::from))
        }
    }
}

pub(crate) const PERMANENCE: &str = "this lasts until the file says something else, and ends with the process";

impl Staged {
    pub(crate) fn new(pools: &[(&str, &str)]) -> Arc<Self> {
        let staged = Arc::new_cyclic(|this| Self {
            pools: Mutex::default(),
            services: Mutex::new(vec![
                ServiceState::new("internal", "web", vec!["127.0.0.1:8088".to_owned()]),
                ServiceState::new("www", "web", vec!["0.0.0.0:80".to_owned(), "[::1]:8443".to_owned()]),
            ]),
            reloads: AtomicUsize::new(0),
            reload: Mutex::new(Ok("pool 'web': backend 'gamma' added\n".to_owned())),
            difference: Mutex::new(Ok("pool 'web': backend 'delta' would be added\n".to_owned())),
            dump: Mutex::new("[log]\nto = \"auto\"\n".to_owned()),
            permanence: Mutex::new(Some(PERMANENCE.to_owned())),
            this: Weak::clone(this),
        });
        pools.iter().for_each(|(name, words)| staged.put(name, words));
        staged
    }

    /// Gives a name to a new pool.
    pub(crate) fn put(&self, name: &str, words: &str) {
        let config: Config = words.parse().unwrap();
        let make = |backend: &BackendConfig| resolve(backend).unwrap_or_default();
        let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), make));
        let process: Weak<dyn Process> = self.this.clone();
        let fleet = Managed::new(Arc::clone(&balancer), resolve, |_| None, |address| *address).with_process(process);
        let monitor = Arc::new(Mutex::new(true));
        let seen = Arc::clone(&monitor);
        let fleet = fleet.with_monitor(
            move || *seen.lock().unwrap(),
            move |enabled| std::mem::replace(&mut *monitor.lock().unwrap(), enabled) != enabled,
        );
        let mut pools = self.pools.lock().unwrap();
        pools.retain(|(other, ..)| other != name);
        pools.push((name.to_owned(), Arc::new(fleet), balancer));
    }

    pub(crate) fn fleet(&self, name: &str) -> Arc<dyn Fleet> {
        let found = self.pools().into_iter().find(|(other, _)| other == name);
        found.unwrap().1
    }

    pub(crate) fn balancer(&self, name: &str) -> Arc<Balancer<Payload>> {
        let pools = self.pools.lock().unwrap();
        Arc::clone(&pools.iter().find(|(other, ..)| other == name).unwrap().2)
    }
}

impl Process for Staged {
    fn services(&self) -> Vec<ServiceState> {
        self.services.lock().unwrap().clone()
    }

    fn pools(&self) -> Vec<(String, Arc<dyn Fleet>)> {
        let pools = self.pools.lock().unwrap();
        pools.iter().map(|(name, fleet, _)| (name.clone(), Arc::clone(fleet) as Arc<dyn Fleet>)).collect()
    }

    fn reload(&self) -> Result<String, String> {
        self.reloads.fetch_add(1, SeqCst);
        self.reload.lock().unwrap().clone()
    }

    fn difference(&self) -> Result<String, String> {
        self.difference.lock().unwrap().clone()
    }

    fn dump(&self) -> String {
        self.dump.lock().unwrap().clone()
    }

    fn loaded(&self) -> String {
        "[log]\nto = \"syslog\"\n".to_owned()
    }

    fn permanence(&self) -> Option<String> {
        self.permanence.lock().unwrap().clone()
    }
}
