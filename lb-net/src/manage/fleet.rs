//! What a control session works on: the running balancer, whatever its backends are made of.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use lb_core::{
    BackendConfig, BackendId, Balancer, Config, Diff, Explanation, Request, SelectorKind, Stats, Status,
    UnknownBackend, key,
};

use super::Process;
use crate::driver::now;

/// A running balancer as a control session sees it. [`Managed`] makes one of a [`Balancer`].
///
/// Its methods may block for as long as a name takes to resolve: call them where that keeps nobody waiting.
/// ```
/// use lb_net::manage::Fleet;
/// fn backends(fleet: &dyn Fleet) -> usize {
///     fleet.stats().backends.len()
/// }
/// ```
pub trait Fleet: Send + Sync {
    /// All counters and gauges.
    fn stats(&self) -> Stats;
    /// The configuration in force, with what people have ordered since.
    fn config(&self) -> Config;
    /// The address in use of each backend that has one.
    fn addresses(&self) -> HashMap<BackendId, SocketAddr>;
    /// Carries out an order about one backend.
    ///
    /// # Errors
    /// When it is not configured (any more).
    fn order(&self, backend: BackendId, order: Order) -> Result<(), UnknownBackend>;
    /// Changes groups and membership: `edit` gets the configuration in force, and nobody else changes it meanwhile.
    /// `newcomer` is the backend that `edit` adds, if it adds one; it must have an address.
    ///
    /// # Errors
    /// What `edit` objects to, or why `newcomer` has no address; nothing is changed then.
    fn change(&self, newcomer: Option<&BackendConfig>, edit: &mut Edit<'_>) -> Result<(), ChangeError>;
    /// Where a client of this address would go.
    fn explain(&self, client: IpAddr) -> Explanation;
    /// Whether a group that is set to hash spills over to its other backends (balance's `-H`).
    fn hash_failover(&self) -> bool {
        false
    }
    /// Who chooses in a group that begins to exist.
    fn selector(&self) -> SelectorKind {
        SelectorKind::default()
    }
    /// Whether a monitor that runs checks, or pauses; `None` where none runs.
    fn is_monitored(&self) -> Option<bool> {
        None
    }
    /// Lets a monitor check or pause, and returns whether that is a change; `None` where none runs.
    fn set_monitored(&self, enabled: bool) -> Option<bool> {
        let _ = enabled;
        None
    }
    /// The process that serves.
    fn pid(&self) -> u32 {
        std::process::id()
    }
    /// The process as a whole; `None` where there is nothing but this balancer.
    fn process(&self) -> Option<Arc<dyn Process>> {
        None
    }
    /// Stops serving in an orderly way, as SIGTERM does, and returns at once.
    fn kill(&self);
}

/// A change of the configuration in force, or the text that says why it cannot be made.
/// ```
/// use lb_net::manage::{ChangeError, Edit, Fleet};
/// fn forget_spares(fleet: &dyn Fleet) -> Result<(), ChangeError> {
///     let edit: &mut Edit<'_> = &mut |config| {
///         let first = config.groups.first().cloned().ok_or("there is no group")?;
///         config.groups = vec![first];
///         Ok(())
///     };
///     fleet.change(None, edit)
/// }
/// # let mut world = lb_core::sim::World::new(1);
/// # let balancer = std::sync::Arc::new(world.balancer("alpha ! spare".parse()?));
/// # let fleet = lb_net::manage::Managed::new(balancer, |_| Ok(()), |_| (), |_: &()| None);
/// forget_spares(&fleet)?;
/// assert_eq!(fleet.config().to_string(), "alpha");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Edit<'a> = dyn FnMut(&mut Config) -> Result<(), &'static str> + 'a;

/// What can be ordered of one backend.
/// ```
/// use lb_net::manage::Order;
/// assert_ne!(Order::Limit(None), Order::Limit(Some(0)), "no limit, and nothing at all");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Enabled, and whatever was held against it is forgotten.
    Enable,
    /// Drained or disabled; health stays as it is.
    Status(Status),
    /// Its share, 0 for only what is pinned to it.
    Weight(u16),
    /// Connections at a time; `None` for any number, 0 for none.
    Limit(Option<u32>),
    /// Its counters begin at 0 again.
    ResetCounters,
}

/// Why a configuration was not changed.
/// ```
/// use lb_net::manage::ChangeError;
/// assert_eq!(ChangeError::Refused("unknown channel").to_string(), "unknown channel");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The new backend has no address; the text says why.
    #[error("invalid address: {0}")]
    Address(String),
    /// The edit does not fit the configuration in force.
    #[error("{0}")]
    Refused(&'static str),
}

type Resolve<T> = dyn Fn(&BackendConfig) -> Result<T, String> + Send + Sync;
type Unresolved<T> = dyn Fn(&BackendConfig) -> T + Send + Sync;
type Address<T> = dyn Fn(&T) -> Option<SocketAddr> + Send + Sync;

/// A [`Balancer`] under management. Changes of groups and membership should all go through one of these.
/// ```
/// use lb_net::manage::{Fleet, Managed};
/// use std::{net::SocketAddr, sync::Arc};
/// # let mut world = lb_core::sim::World::new(1);
/// # type Address = Option<SocketAddr>;
/// # let resolve = |backend: &lb_core::BackendConfig| -> Result<Address, String> {
/// #     backend.name.parse().map(Some).map_err(|_| "unknown".into())
/// # };
/// let config = "127.0.0.1:9000".parse()?;
/// let balancer = lb_core::Balancer::new(config, world.now(), world.rng(), |backend| resolve(backend).unwrap());
/// let fleet = Managed::new(Arc::new(balancer), resolve, |_| None, |payload: &Address| *payload);
/// assert_eq!(fleet.addresses().values().next(), Some(&"127.0.0.1:9000".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Managed<T> {
    balancer: Arc<Balancer<T>>,
    resolve: Box<Resolve<T>>,
    unresolved: Box<Unresolved<T>>,
    address: Box<Address<T>>,
    manner: Mutex<Manner>,
    process: Option<Weak<dyn Process>>,
    kill: Box<dyn Fn() + Send + Sync>,
    /// Held from reading the configuration until the changed one is in force, and by orders: one that came between the
    /// two would be undone.
    changing: Mutex<()>,
}

/// What a reload may change.
#[derive(Default)]
struct Manner {
    hash_failover: bool,
    selector: SelectorKind,
    monitor: Option<Monitor>,
}

struct Monitor {
    is_enabled: Box<dyn Fn() -> bool + Send + Sync>,
    set_enabled: Box<dyn Fn(bool) -> bool + Send + Sync>,
}

impl<T> fmt::Debug for Managed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").field("balancer", &self.balancer).finish_non_exhaustive()
    }
}

impl<T: Send + Sync> Managed<T> {
    /// A balancer and what is to be known of its payload. `resolve` makes it for a new backend, and may block; the error
    /// says why there is no address. `unresolved` makes it for one that somebody else has just removed, without
    /// blocking. `address` is the address in use.
    pub fn new(
        balancer: Arc<Balancer<T>>,
        resolve: impl Fn(&BackendConfig) -> Result<T, String> + Send + Sync + 'static,
        unresolved: impl Fn(&BackendConfig) -> T + Send + Sync + 'static,
        address: impl Fn(&T) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Self {
            balancer,
            resolve: Box::new(resolve),
            unresolved: Box::new(unresolved),
            address: Box::new(address),
            manner: Mutex::default(),
            process: None,
            kill: Box::new(|| {}),
            changing: Mutex::default(),
        }
    }

    /// Whether groups that are set to hash spill over (balance's `-H`).
    #[must_use]
    pub fn with_hash_failover(self, hash_failover: bool) -> Self {
        self.manner().hash_failover = hash_failover;
        self
    }

    /// Who chooses in groups that begin to exist while it runs; without it they take turns.
    #[must_use]
    pub fn with_selector(self, selector: SelectorKind) -> Self {
        self.manner().selector = selector;
        self
    }

    /// With a monitor that runs: whether it checks, and what lets it check or pause and returns whether that is a change.
    #[must_use]
    pub fn with_monitor(
        self,
        is_enabled: impl Fn() -> bool + Send + Sync + 'static,
        set_enabled: impl Fn(bool) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.manner().monitor = Some(Monitor { is_enabled: Box::new(is_enabled), set_enabled: Box::new(set_enabled) });
        self
    }

    /// Takes over the manner of another one, which is then without: who chooses in new groups, the monitor. Everything
    /// else stays, sessions too.
    pub fn follow(&self, other: &Self) {
        let manner = std::mem::take(&mut *other.manner());
        *self.manner() = manner;
    }

    /// Puts another configuration in force in one step: nobody else changes it between `edit`, which gets the one in force,
    /// and then. `make` as for [`update`](Balancer::update), but it may have no payload for a backend that somebody has
    /// just removed.
    pub fn reconfigure(
        &self,
        edit: impl FnOnce(Config) -> Config,
        mut make: impl FnMut(&BackendConfig) -> Option<T>,
    ) -> Diff {
        let _alone = self.alone();
        let config = edit(self.balancer.config());
        let make = |backend: &BackendConfig| make(backend).unwrap_or_else(|| (self.unresolved)(backend));
        let diff = self.balancer.update(config.clone(), now(), make);
        self.enforce(&config);
        diff
    }

    /// As a part of this process, for as long as there is one.
    #[must_use]
    pub fn with_process(self, process: Weak<dyn Process>) -> Self {
        Self { process: Some(process), ..self }
    }

    /// With what `kill` does: begin an orderly stop, and return at once. Without it nothing.
    #[must_use]
    pub fn with_kill(self, kill: impl Fn() + Send + Sync + 'static) -> Self {
        Self { kill: Box::new(kill), ..self }
    }

    /// Puts in force what an update leaves alone: where a name is used more than once, its backends may have exchanged
    /// their ids, and what was ordered of one would stay with the other.
    fn enforce(&self, config: &Config) {
        let stats = self.balancer.stats().backends;
        let found: HashMap<BackendId, _> = stats.iter().map(|backend| (backend.id, backend)).collect();
        for (id, _, wanted) in config.backends() {
            let Some(is) = found.get(&id) else { continue };
            let orders = [
                (is.status != wanted.status).then_some(Order::Status(wanted.status)),
                (is.weight != wanted.weight).then_some(Order::Weight(wanted.weight)),
                (is.limit != wanted.limit).then_some(Order::Limit(wanted.limit)),
            ];
            for order in orders.into_iter().flatten() {
                // Who is gone needs no order.
                let _ = self.carry_out(id, order);
            }
        }
    }

    fn carry_out(&self, backend: BackendId, order: Order) -> Result<(), UnknownBackend> {
        match order {
            Order::Enable => self.balancer.enable(backend, now()),
            Order::Status(status) => self.balancer.set_status(backend, status, now()),
            Order::Weight(weight) => self.balancer.set_weight(backend, weight, now()),
            Order::Limit(limit) => self.balancer.set_limit(backend, limit, now()),
            Order::ResetCounters => self.balancer.reset_counters(backend),
        }
    }

    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync> Fleet for Managed<T> {
    fn stats(&self) -> Stats {
        self.balancer.stats()
    }

    fn config(&self) -> Config {
        self.balancer.config()
    }

    fn addresses(&self) -> HashMap<BackendId, SocketAddr> {
        let mut addresses = HashMap::new();
        self.balancer.for_each(|id, payload| addresses.extend((self.address)(payload).map(|address| (id, address))));
        addresses
    }

    fn order(&self, backend: BackendId, order: Order) -> Result<(), UnknownBackend> {
        let _alone = self.alone();
        self.carry_out(backend, order)
    }

    fn change(&self, newcomer: Option<&BackendConfig>, edit: &mut Edit<'_>) -> Result<(), ChangeError> {
        // Before the lock, because it may take long.
        let payload = newcomer.map(|newcomer| (self.resolve)(newcomer)).transpose().map_err(ChangeError::Address)?;
        let mut named = newcomer.map(|newcomer| &newcomer.name).zip(payload);
        let _alone = self.alone();
        let mut config = self.balancer.config();
        edit(&mut config).map_err(ChangeError::Refused)?;
        self.balancer.update(config.clone(), now(), |backend| {
            let own = named.take_if(|(name, _)| **name == backend.name);
            own.map_or_else(|| (self.unresolved)(backend), |(_, payload)| payload)
        });
        self.enforce(&config);
        Ok(())
    }

    fn explain(&self, client: IpAddr) -> Explanation {
        let key = key::of_address(client);
        self.balancer.explain(&Request::new(now()).with_key(key).with_client(key))
    }

    fn hash_failover(&self) -> bool {
        self.manner().hash_failover
    }

    fn selector(&self) -> SelectorKind {
        self.manner().selector
    }

    fn is_monitored(&self) -> Option<bool> {
        self.manner().monitor.as_ref().map(|monitor| (monitor.is_enabled)())
    }

    fn set_monitored(&self, enabled: bool) -> Option<bool> {
        self.manner().monitor.as_ref().map(|monitor| (monitor.set_enabled)(enabled))
    }

    fn process(&self) -> Option<Arc<dyn Process>> {
        self.process.as_ref()?.upgrade()
    }

    fn kill(&self) {
        (self.kill)();
    }
}

/// `HOST` and `PORT` as `create` and `assign` take them: a port that HOST carries wins, and an IPv6 address needs no
/// brackets. `None` when they are not of that form.
pub(super) fn backend_named(host: &str, port: &str) -> Option<BackendConfig> {
    let bare = host.parse::<std::net::Ipv6Addr>().is_ok();
    let host = if bare { format!("[{host}]") } else { host.to_owned() };
    let own: BackendConfig = host.parse().ok()?;
    let is_plain = |backend: &BackendConfig| backend.limit.is_none() && backend.weight == 1;
    // The name, without what a colon at its end may have been for.
    let word = if own.host_and_port().1.is_some() { own.name.clone() } else { format!("{}:{port}", own.name) };
    let named: BackendConfig = word.parse().ok()?;
    let whole = named.host_and_port().1.is_some() && is_plain(&own) && is_plain(&named);
    whole.then(|| named.with_status(Status::Disabled))
}

/// A group's selector for `hash` and `rr`.
pub(super) fn selector(fleet: &dyn Fleet, hashes: bool) -> SelectorKind {
    if hashes { SelectorKind::Hash { spill: fleet.hash_failover() } } else { SelectorKind::RoundRobin }
}
