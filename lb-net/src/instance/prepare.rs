//! A change of the model: first everything that may fail, then the change.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    sync::MutexGuard,
    thread,
    time::{Duration, Instant},
};

use super::{
    Backends, Instance, Refresh, State, Task,
    api::OpenApi,
    attendant::News,
    desk::{CLOSE, Desk, LOOK_AGAIN},
    door::{Door, Opened},
    failure::PrepareError,
    pool::{RunningPool, Wanted},
    process::{Shown, View},
    service::proxy,
};
use crate::{
    config::{Control, Http, Listen, Model, Name, Pool, Service, Time},
    discover::{Discovered, Found, Watcher},
    http::AccessLog,
    listener::BindError,
    manage::{ControlSocket, PlaceError, ServiceState},
    resolve::Refresher,
};

/// A change that nothing is in the way of: [`commit`](Self::commit) makes it, dropping it leaves everything as it is.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use lb_net::{config, instance::{Attendant, Instance, News}, manage::Process as _};
/// # struct Quiet;
/// # impl Attendant for Quiet {
/// #     fn tell(&self, _: &News<'_>) {}
/// # }
/// # let directory = std::env::temp_dir().join(format!("lb-doctest-prepared-{}", std::process::id()));
/// # let [_, _, high, low] = std::process::id().to_be_bytes();
/// # let place = format!("127.99.{high}.{low}:17481");
/// # let text = format!("control.directory = {directory:?}\npools.web.groups = '127.0.0.1:9'\n[services.www]\nlisten = '{place}'\npool = 'web'");
/// # let model = config::parse(&text)?.model;
/// # let instance = Instance::new(1, tokio::runtime::Handle::current(), std::sync::Arc::new(Quiet))?;
/// let prepared = instance.prepare(&model)?; // listens already, and serves nobody yet
/// drop(prepared);
/// assert!(instance.services().is_empty());
/// instance.prepare(&model)?.commit();
/// assert_eq!(instance.services()[0].name, "www");
/// # instance.stop();
/// # instance.ended().await;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(()) }
/// ```
#[must_use = "dropping it changes nothing"]
pub struct Prepared<'a> {
    instance: &'a Instance,
    _alone: MutexGuard<'a, ()>,
    model: Model,
    found: Found,
    pools: Vec<Wanted>,
    doors: BTreeMap<Listen, Opened>,
    /// Of places that are there and get another role.
    again: BTreeMap<Listen, Vec<TcpListener>>,
    sockets: BTreeMap<PathBuf, ControlSocket>,
    /// By service; those that are open already are the same.
    logs: BTreeMap<Name, AccessLog>,
    api: Option<OpenApi>,
    control: Control,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(instance: &'a Instance, alone: MutexGuard<'a, ()>, model: &Model) -> Result<Self, PrepareError> {
        let now = Now::of(instance)?;
        let found = now.found.looked(model.sources().cloned())?;
        sources(model).try_for_each(usable)?;
        let control = now.control.clone().unwrap_or_else(|| model.control().clone());
        let (mut pools, mut doors, mut again, mut sockets) =
            (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, pool) in used(model) {
            pools.push(Wanted::new(model, name, pool, now.pools.get(name), &found)?);
        }
        // All of them before the first client, and control before its port, because it knows who has it.
        for (name, service, listen) in places(model) {
            sockets.extend(socket(instance, &now, &control, name, listen)?);
            if now.places.contains(listen) {
                again.insert(listen.clone(), instance.sockets_again(name, service, listen)?);
                continue;
            }
            let opened = instance.open(name, listen, instance.share(model, listen))?;
            let refused = |source| PrepareError::Keepalive { service: name.clone(), source };
            opened.keep_alive(service.sessions().client_keepalive).map_err(refused)?;
            doors.insert(listen.clone(), opened);
        }
        let logs = logs(instance, model)?;
        // How it is controlled is settled at the start.
        let is_first = now.control.is_none();
        let api = control.http.as_ref().filter(|_| is_first).map(OpenApi::open).transpose()?;
        Ok(Self {
            instance,
            _alone: alone,
            model: model.clone(),
            found,
            pools,
            doors,
            again,
            sockets,
            logs,
            api,
            control,
        })
    }

    /// The model that holds until then.
    #[must_use]
    pub fn before(&self) -> Model {
        self.instance.state().model.clone()
    }

    /// Gives the control sockets that are new to another user, before this process becomes that one.
    ///
    /// # Errors
    /// What `chown` said: only root may.
    pub fn hand_over(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.sockets.values().try_for_each(|socket| socket.hand_over(uid, gid))?;
        self.api.as_ref().map_or(Ok(()), |api| api.hand_over(uid, gid))
    }

    /// Makes the change, at once.
    pub fn commit(mut self) {
        let gone = self.come_into_force(&mut self.instance.state());
        // To remove a socket may take a moment: nobody waits for the state any more, and the next change does.
        drop(gone);
    }

    /// The control sockets that nobody wants any more are still there.
    fn come_into_force(&mut self, state: &mut State) -> BTreeMap<PathBuf, Desk> {
        if state.stopping {
            return BTreeMap::new();
        }
        self.instance.attendant.applied(&self.model);
        // Who has said something meanwhile has said it last.
        self.found.take_over(&state.found);
        state.found = self.found.clone();
        let named = self.change_pools(&mut state.pools);
        let gone = self.change_doors(state);
        state.pools.retain(|name, _| named.contains(name));
        self.follow_names(&mut state.refresh);
        state.model = std::mem::take(&mut self.model);
        let is_first = state.control.replace(self.control.clone()).is_none();
        let all = state.pools.iter().map(|(name, pool)| (name.clone(), pool.into()));
        let services = state.model.services().iter().map(|(name, service)| shown(name, service, &state.doors));
        self.instance.view.store(Arc::new(View::new(services.collect(), all.collect())));
        if let Some((api, instance)) = self.api.take().zip(self.instance.home.upgrade()) {
            state.api = Some(api.serve(instance, &self.instance.runtime, &self.instance.attendant));
        }
        // There may be others to ask for. At the start all have just been.
        if !is_first {
            self.instance.refresh();
        }
        gone
    }

    /// Before services that use them. Those that nobody wants any more are still there.
    fn change_pools(&mut self, pools: &mut BTreeMap<Name, RunningPool>) -> BTreeSet<Name> {
        let instance = self.instance;
        let mut named = BTreeSet::new();
        for wanted in self.pools.drain(..) {
            let name = wanted.name().clone();
            match pools.get_mut(&name) {
                Some(pool) => pool.follow(wanted, &self.found, instance),
                None => drop(pools.insert(name.clone(), RunningPool::start(wanted, &self.found, instance))),
            }
            named.insert(name);
        }
        named
    }

    /// The control sockets that nobody wants any more are still there.
    fn change_doors(&mut self, state: &mut State) -> BTreeMap<PathBuf, Desk> {
        let Self { instance, model, doors, again, sockets, logs, control, .. } = self;
        let State { pools, doors: open, desks, closed, .. } = state;
        let mut before = std::mem::take(open);
        let mut wanted_desks = BTreeMap::new();
        for (name, service, listen) in places(model) {
            // Each service has a pool that runs by now.
            let Some(pool) = pools.get(service.pool()) else { continue };
            let proxy = proxy(instance, name, service, pool, logs.get(name));
            let door = match (before.remove(listen), doors.remove(listen)) {
                (Some(mut door), _) => {
                    let again = again.remove(listen).unwrap_or_default();
                    let keepalive = service.sessions().client_keepalive;
                    door.serve_with(name, (proxy, again), keepalive, &instance.workers);
                    door
                }
                (None, Some(opened)) => {
                    let door = opened.serve(name, proxy, &instance.workers, &instance.attendant);
                    tell_of(instance, name, &door, pool);
                    door
                }
                (None, None) => continue,
            };
            let place = instance.place(control, listen).map(|place| place.socket()).unwrap_or_default();
            let desk = match (desks.remove(&place), sockets.remove(&place)) {
                (Some(desk), _) => {
                    desk.follow(Arc::clone(&pool.fleet), door.address);
                    Some(desk)
                }
                (None, Some(socket)) => {
                    let fleet = Arc::clone(&pool.fleet);
                    Desk::serve(socket, fleet, door.address, &instance.runtime, &instance.attendant)
                }
                (None, None) => None,
            };
            wanted_desks.extend(desk.map(|desk| (place, desk)));
            open.insert(listen.clone(), door);
        }
        closed.retain(|(_, when)| when.elapsed() < CLOSE);
        for (listen, door) in before {
            door.close_for_good();
            closed.push((listen, Instant::now()));
        }
        std::mem::replace(desks, wanted_desks)
    }

    fn follow_names(&self, refresh: &mut Option<Refresh>) {
        let every = self.model.process().resolve_every;
        if refresh.as_ref().is_some_and(|refresh| refresh.every == every) {
            return;
        }
        let time = every.map_or(Duration::MAX, Time::get);
        let refresher = Refresher::default().with_now(Arc::clone(&self.instance.named)).with_every(time);
        let (home, attendant) = (self.instance.home.clone(), Arc::clone(&self.instance.attendant));
        let endpoints = move || home.upgrade().map(|instance| instance.view.load().endpoints()).unwrap_or_default();
        let names = refresher.run(endpoints, move |news| attendant.tell(&News::Resolved(&news)));
        let watcher = Watcher::default().with_now(Arc::clone(&self.instance.sourced)).with_every(time);
        let (home, other) = (self.instance.home.clone(), self.instance.home.clone());
        let found = move || home.upgrade().map(|instance| instance.state().found.clone()).unwrap_or_default();
        let discovered = move |news: Discovered<'_>| {
            if let Some(instance) = other.upgrade() {
                instance.discovered(&news);
            }
        };
        let runtime = &self.instance.runtime;
        let asking = [runtime.spawn(names), runtime.spawn(watcher.run(found, discovered))];
        *refresh = Some(Refresh { every, _asking: asking.map(|task| Task(task.abort_handle())) });
    }
}

/// What is there when a change begins; nobody else adds to it meanwhile.
struct Now {
    pools: BTreeMap<Name, Arc<Backends>>,
    places: BTreeSet<Listen>,
    desks: BTreeSet<PathBuf>,
    control: Option<Control>,
    found: Found,
}

impl Now {
    fn of(instance: &Instance) -> Result<Self, PrepareError> {
        let state = instance.state();
        if state.stopping {
            return Err(PrepareError::Stopping);
        }
        let pools = state.pools.iter().map(|(name, pool)| (name.clone(), Arc::clone(&pool.balancer)));
        Ok(Self {
            pools: pools.collect(),
            places: state.doors.keys().cloned().collect(),
            desks: state.desks.keys().cloned().collect(),
            control: state.control.clone(),
            found: state.found.clone(),
        })
    }
}

impl Instance {
    /// Puts in force what a source has said.
    fn discovered(&self, news: &Discovered<'_>) {
        self.attendant.tell(&News::Discovered(news));
        let Discovered::Changed { source, backends, .. } = news else { return };
        let state = &mut *self.state();
        // Who was asked before a reload may be asked no more.
        if state.found.sources().any(|known| known == *source) {
            state.found.set((*source).clone(), backends.as_slice());
            state.pools.values_mut().for_each(|pool| pool.rediscover(&state.found));
        }
    }

    /// Listens at a place. What a change before this one has closed there is there for a moment more.
    fn open(&self, service: &Name, listen: &Listen, beside: bool) -> Result<Opened, PrepareError> {
        let just_closed = || {
            let closed = &self.state().closed;
            closed.iter().any(|(other, when)| when.elapsed() < CLOSE && other.overlaps(listen))
        };
        loop {
            match Opened::open(service, listen, self.workers.count(), beside) {
                Err(PrepareError::Bind { source, .. })
                    if source.source.kind() == io::ErrorKind::AddrInUse && just_closed() =>
                {
                    thread::sleep(LOOK_AGAIN);
                }
                opened => return opened,
            }
        }
    }

    /// The sockets of a place that is there, for tasks of this service's role, if it has none yet.
    fn sockets_again(&self, name: &Name, service: &Service, listen: &Listen) -> Result<Vec<TcpListener>, PrepareError> {
        let state = self.state();
        let Some(door) = state.doors.get(listen) else { return Ok(Vec::new()) };
        let failed = |source| BindError { address: door.address, source };
        let sockets = door.sockets_for(service.role()).map_err(failed);
        sockets.map_err(|source| PrepareError::Bind { service: name.clone(), source })
    }

    /// Lets the places that `model` has no more, and that are in the way of this one, be listened on beside us. Whether
    /// there are any.
    fn share(&self, model: &Model, listen: &Listen) -> bool {
        let state = self.state();
        let leaving = |door: &(&Listen, &Door)| !places(model).any(|(_, _, kept)| kept == door.0);
        let in_the_way = state.doors.iter().filter(leaving).filter(|(other, _)| other.overlaps(listen));
        in_the_way.map(|(_, door)| door.share()).count() > 0
    }
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("model", &self.model).finish_non_exhaustive()
    }
}

/// The pools that have clients.
fn used(model: &Model) -> impl Iterator<Item = (&Name, &Pool)> {
    model.pools().iter().filter(|(name, _)| model.services().values().any(|service| service.pool() == *name))
}

/// All places that clients come to.
fn places(model: &Model) -> impl Iterator<Item = (&Name, &Service, &Listen)> {
    model
        .services()
        .iter()
        .flat_map(|(name, service)| service.listen().iter().map(move |listen| (name, service, listen)))
}

/// The access logs of all services that have one.
fn logs(instance: &Instance, model: &Model) -> Result<BTreeMap<Name, AccessLog>, PrepareError> {
    let mut logs = BTreeMap::new();
    for (name, service) in model.services() {
        let settings = service.http().and_then(Http::access_log);
        if let Some(settings) = settings {
            let failed = |source| PrepareError::AccessLog { service: name.clone(), source };
            logs.insert(name.clone(), instance.logs.open(settings).map_err(failed)?);
        }
    }
    Ok(logs)
}

/// All addresses that connections to backends come from.
fn sources(model: &Model) -> impl Iterator<Item = IpAddr> {
    let all = model.services().values().map(Service::sessions).chain([model.defaults()]);
    all.filter_map(|sessions| sessions.source)
}

/// Whether it is an address of this machine.
fn usable(address: IpAddr) -> Result<(), PrepareError> {
    let bound = std::net::UdpSocket::bind((address, 0));
    bound.map(|_| ()).map_err(|source| PrepareError::Source { address, source })
}

/// The control socket for a place, unless a place that is there already has the same one. At the start there must be one;
/// later rights may be missing that were there then. A place that has been without goes on like that, or gets one now.
fn socket(
    instance: &Instance,
    now: &Now,
    control: &Control,
    service: &Name,
    listen: &Listen,
) -> Result<Option<(PathBuf, ControlSocket)>, PrepareError> {
    let failed = |source| PrepareError::Control { service: service.clone(), source };
    let place = instance.place(control, listen).map_err(failed)?;
    let path = place.socket();
    if now.desks.contains(&path) {
        return Ok(None);
    }
    match ControlSocket::claim(&place) {
        Ok(socket) => Ok(Some((path, socket))),
        Err(_) if now.places.contains(listen) => Ok(None),
        Err(error @ (PlaceError::Io { .. } | PlaceError::Foreign { .. })) if !now.places.is_empty() => {
            instance.attendant.tell(&News::Uncontrolled { service, error: &error });
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

fn tell_of(instance: &Instance, service: &Name, door: &Door, pool: &RunningPool) {
    instance.attendant.tell(&News::Listening { service, address: door.address, size: pool.size() });
}

fn shown(name: &Name, service: &Service, doors: &BTreeMap<Listen, Door>) -> Shown {
    let listen = service.listen().iter().filter_map(|listen| doors.get(listen)).map(|door| door.address.to_string());
    let state = ServiceState::new(name.as_str(), service.pool().as_str(), listen.collect());
    let counted = service.listen().iter().filter_map(|listen| doors.get(listen)?.counters());
    Shown { state, counters: service.http().map(|_| counted.collect()) }
}
