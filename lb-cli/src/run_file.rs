//! A configuration file to everything that serves it.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use lb_core::rand::{SeedableRng as _, rngs::SmallRng};
use lb_net::{
    TcpProxy,
    config::{self, Listen, Loaded, LogFormat, LogTo, Model, Name, Pool, Sessions, Time},
    connect::Dialer,
    manage::{ControlSocket, Fleet},
    probe::Monitor,
    resolve::Endpoint,
    tcp::AcceptProxy,
};

use crate::{
    args::{Run, default_workers},
    control,
    daemon::Starter,
    dumper::Dumper,
    failure::{Failure, Status},
    listen::Place,
    log::{Entry, Format, Level, Log},
    notify::Notifier,
    plan::{endpoint, usable_source},
    run::{RandomSeed, balancing, keep_alive, told},
    serve::{Backends, Front, RunningPool, Serving},
    target::Target,
    tell::Tell,
    user::Identity,
    watch::Watch,
};

/// The log that a file asks for.
///
/// # Errors
/// When it goes where there is nothing in the background.
pub(crate) fn log(model: &Model, in_background: bool) -> Result<Log, Failure> {
    if in_background && model.log().dump {
        let line = "log.dump = true and --daemon: there is no stdout in the background";
        return Err(Failure::new(Status::Usage, line).with_remedy("leave out one of the two"));
    }
    let format = if model.log().format == LogFormat::Json { Format::Json } else { Format::Human };
    match (model.log().to, in_background) {
        (LogTo::Stderr, true) => {
            let line = "log.to = \"stderr\" and --daemon: there is no stderr in the background";
            Err(Failure::new(Status::Usage, line).with_remedy("write to = \"auto\" or \"syslog\""))
        }
        (LogTo::Syslog, _) | (LogTo::Auto, true) => Ok(Log::to_syslog(format)),
        _ => Ok(Log::to_stderr(format)),
    }
}

/// Serves what a file says until it is told to stop.
pub(crate) fn run(
    args: &Run,
    loaded: &Loaded,
    starter: Option<Starter>,
    log: &Log,
    notifier: Notifier,
) -> Result<(), Failure> {
    let tell = Tell { log: log.clone(), notifier };
    log.hear_panics();
    for warning in &loaded.warnings {
        let line = format!("{}:{}:{}: {}", args.config.display(), warning.line, warning.column, warning.message);
        log.write(&Entry::new(Level::Warning, "configuration", line));
    }
    let model = &loaded.model;
    if model.services().is_empty() {
        let line = format!("{}: there is no service: add [services.NAME]", args.config.display());
        return Err(Failure::new(Status::Usage, line));
    }
    let user = model.process().user.as_ref().map(|user| Identity::find(user, "process.user")).transpose()?;
    user.as_ref().map_or(Ok(()), |_| Identity::allowed("process.user"))?;
    for sessions in model.services().values().map(config::Service::sessions).chain([model.defaults()]) {
        sessions.source.map_or(Ok(()), |source| usable_source(source, "source"))?;
    }
    let endpoints = endpoints(model)?;
    // All of them before the first client, and control before its port, because it knows who has it.
    let doors = doors(model)?;
    // Without the right to raise it the limit stays, and accepting pauses when it is reached.
    let _ = lb_net::sys::raise_descriptor_limit();
    if let Some(user) = &user {
        doors.iter().try_for_each(|door| control::hand_over(&door.socket, user))?;
        user.assume()?;
    }
    // The commands of checks get nothing that is not theirs. Without /proc they may.
    let _ = lb_net::sys::close_descriptors_on_exec();
    let dumper = model.log().dump.then(|| Dumper::start(std::io::stdout()).map(Arc::new)).transpose();
    let dumper = dumper.map_err(|error| Failure::chain(Status::System, &error).about("log.dump"))?;
    serving(model, endpoints, doors, log, dumper.as_ref(), starter.is_some()).serve(starter, &tell)
}

/// Where the backends of each pool that is used are.
fn endpoints(model: &Model) -> Result<BTreeMap<&Name, Vec<Endpoint>>, Failure> {
    let mut all = BTreeMap::new();
    for (name, pool) in used(model) {
        // A pool that has no port needs none.
        let port = model.port_of(name.as_str()).unwrap_or(0);
        let known = |(_, _, backend): (_, _, &lb_core::BackendConfig)| {
            endpoint(backend, port).map_err(|error| Failure::chain(Status::Backend, &error).about(&backend.name))
        };
        all.insert(name, pool.config().backends().map(known).collect::<Result<_, _>>()?);
    }
    Ok(all)
}

/// The pools that have clients.
fn used(model: &Model) -> impl Iterator<Item = (&Name, &Pool)> {
    model.pools().iter().filter(|(name, _)| model.services().values().any(|service| service.pool() == *name))
}

/// A place that clients come to, before anybody serves it.
struct Door<'a> {
    service: &'a Name,
    listeners: Vec<std::net::TcpListener>,
    socket: ControlSocket,
}

fn doors(model: &Model) -> Result<Vec<Door<'_>>, Failure> {
    let workers = model.process().workers.map_or_else(default_workers, |workers| workers.get().get());
    let directory = model.control().directory.as_ref().map(|directory| Path::new(directory.as_str()));
    let mut doors = Vec::new();
    for (name, service) in model.services() {
        let open = |listen: &Listen| {
            let socket = Target::at(listen, directory)?.claim()?;
            let listeners = Place::of(listen)?.listen(workers)?;
            keep_alive(&listeners, service.sessions().client_keepalive, "client_keepalive")?;
            Ok(Door { service: name, listeners, socket })
        };
        for listen in service.listen() {
            doors.push(open(listen).map_err(|failure: Failure| failure.about(&format!("service '{name}'")))?);
        }
    }
    Ok(doors)
}

fn serving(
    model: &Model,
    mut endpoints: BTreeMap<&Name, Vec<Endpoint>>,
    doors: Vec<Door<'_>>,
    log: &Log,
    dumper: Option<&Arc<Dumper>>,
    in_background: bool,
) -> Serving {
    let mut rng = SmallRng::seed_from_u64(RandomSeed::new().0);
    let (mut pools, mut running) = (Vec::new(), BTreeMap::new());
    for (name, pool) in used(model) {
        let log = log.of("pool", name.as_str());
        let balancer = balancing(pool.config().clone(), endpoints.remove(name).unwrap_or_default(), &mut rng);
        let monitor = monitor(model, pool, &log, &mut rng);
        let switch = monitor.as_ref().map(Monitor::switch);
        let port = model.port_of(name.as_str()).unwrap_or(0);
        let fleet = control::fleet(&balancer, port, pool.selector(), pool.spills(), switch);
        running.insert(name, (Arc::clone(&balancer), fleet));
        pools.push(RunningPool { balancer, monitor, log });
    }
    let front = |door| front(model, &running, door, log, dumper);
    let grace = |service: &config::Service| service.sessions().grace.map(Time::get).unwrap_or_default();
    Serving {
        pools,
        fronts: doors.into_iter().filter_map(front).collect(),
        grace: model.services().values().map(grace).max().unwrap_or(Duration::ZERO),
        resolve_every: model.process().resolve_every.map(Time::get),
        leaves_terminal: in_background || model.log().to == LogTo::Syslog,
    }
}

/// One balancer for all services that share a pool, and one who changes it.
type Running<'a> = BTreeMap<&'a Name, (Arc<Backends>, Arc<dyn Fleet>)>;

/// There is a service and a pool for each door.
fn front(
    model: &Model,
    running: &Running<'_>,
    door: Door<'_>,
    log: &Log,
    dumper: Option<&Arc<Dumper>>,
) -> Option<Front> {
    let service = model.services().get(door.service)?;
    let (balancer, fleet) = running.get(service.pool())?;
    let log = log.of("service", door.service.as_str());
    let idle_timeout = service.sessions().idle_timeout.map(Time::get).unwrap_or_default();
    let watch = Watch { log: log.clone(), traces: model.log().trace, idle_timeout, dumper: dumper.cloned() };
    let proxy = proxy(balancer, service.sessions()).with_observer(Arc::new(watch));
    let address = door.listeners.first().and_then(|listener| listener.local_addr().ok());
    Some(Front { proxy, address, listeners: door.listeners, socket: door.socket, fleet: Arc::clone(fleet), log })
}

fn proxy(balancer: &Arc<Backends>, sessions: &Sessions) -> TcpProxy<Endpoint> {
    let dialer = Dialer::default().with_late_acknowledgement();
    let dialer = sessions.source.map_or(dialer, |source| dialer.with_source(source));
    let dialer = sessions.backend_keepalive.map_or(dialer, |keepalive| dialer.with_keepalive(keepalive));
    let believed = Some(sessions.accept_proxy.clone()).filter(|networks| !networks.is_empty());
    TcpProxy::with_connector(Arc::clone(balancer), Arc::new(dialer))
        .with_settings(sessions.settings())
        .with_accept_proxy(believed.map(AcceptProxy::new))
        .with_send_proxy(sessions.send_proxy)
}

fn monitor(model: &Model, pool: &Pool, log: &Log, rng: &mut SmallRng) -> Option<Monitor> {
    let defaults = model.defaults();
    let monitor = Monitor::new(pool.probes()?.spec(), defaults.connect_timeout.get(), defaults.source);
    Some(told(monitor, log, model.log().trace, rng))
}
