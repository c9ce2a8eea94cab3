//! A plan to everything that serves it.

use std::{io, net::TcpListener, sync::Arc, time::Instant};

use crate::{
    args::Balance,
    control,
    daemon::Starter,
    dumper::Dumper,
    failure::{Failure, Status},
    log::{Entry, Level, Log},
    plan::{Plan, selector, settings},
    serve::{Backends, Front, RunningPool, Serving},
    target::Target,
    tell::Tell,
    user::Identity,
    watch::Watch,
};
use lb_core::{
    Balancer, Config, SelectorKind,
    rand::{Rng as _, SeedableRng as _, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    connect::Dialer,
    probe::{Answer, Finding, Monitor},
    resolve::Endpoint,
    sys::Keepalive,
    tcp::AcceptProxy,
};

/// Balances until it is told to stop. As the part in the background of a `starter`, tells it when it serves.
pub(crate) fn run(args: &Balance, starter: Option<Starter>, tell: &Tell) -> Result<(), Failure> {
    tell.log.hear_panics();
    let mut plan = Plan::new(args)?;
    plan.user.as_ref().map_or(Ok(()), |_| Identity::allowed("--user"))?;
    // Before the port, because it knows who has it.
    let socket = Target::new(args)?.claim()?;
    let listeners = listen(&plan, args)?;
    // Without the right to raise it the limit stays, and accepting pauses when it is reached.
    let _ = lb_net::sys::raise_descriptor_limit();
    if let Some(user) = &plan.user {
        control::hand_over(&socket, user)?;
        user.assume()?;
    }
    // The commands of checks get nothing that is not theirs. Without /proc they may.
    let _ = lb_net::sys::close_descriptors_on_exec();
    note_idle_options(args, &tell.log);
    let mut rng = SmallRng::seed_from_u64(RandomSeed::new().0);
    let balancer = balancer(&mut plan, &mut rng);
    let monitor = monitor(&plan, args, &tell.log, &mut rng);
    let switch = monitor.as_ref().map(Monitor::switch);
    let front = Front {
        proxy: proxy(&balancer, &plan, args, &tell.log)?,
        address: listeners.first().and_then(|listener| listener.local_addr().ok()),
        listeners,
        socket,
        fleet: control::fleet(&balancer, plan.port, selector(args), args.hash_failover, switch),
        log: tell.log.clone(),
    };
    let serving = Serving {
        pools: vec![RunningPool { balancer, monitor, log: tell.log.clone() }],
        fronts: vec![front],
        grace: args.grace,
        resolve_every: Some(args.resolve_every).filter(|every| !every.is_zero()),
        leaves_terminal: starter.is_some(),
    };
    serving.serve(starter, tell)
}

fn listen(plan: &Plan, args: &Balance) -> Result<Vec<TcpListener>, Failure> {
    let listeners = plan.place.listen(args.worker_count())?;
    keep_alive(&listeners, args.client_keepalive, "-k")?;
    Ok(listeners)
}

/// What these listeners accept is asked in this rhythm whether it is there.
pub(crate) fn keep_alive(listeners: &[TcpListener], keepalive: Option<Keepalive>, place: &str) -> Result<(), Failure> {
    let set = |keepalive: Keepalive| listeners.iter().try_for_each(|listener| keepalive.set(listener));
    keepalive.map_or(Ok(()), set).map_err(|error| Failure::chain(Status::System, &error).about(place))
}

fn balancer(plan: &mut Plan, rng: &mut SmallRng) -> Arc<Backends> {
    let (config, endpoints) = (std::mem::take(&mut plan.config), std::mem::take(&mut plan.endpoints));
    balancing(config, endpoints, rng)
}

/// These backends, each at its endpoint, in order.
pub(crate) fn balancing(config: Config, endpoints: Vec<Endpoint>, rng: &mut SmallRng) -> Arc<Backends> {
    let mut endpoints = endpoints.into_iter();
    // There is one for each; without it a backend would have no address and be passed over.
    let make = |_: &_| endpoints.next().unwrap_or_else(|| Endpoint::with_addresses("", 0, Vec::new()));
    Arc::new(Balancer::new(config, Instant::now(), rng, make))
}

fn proxy(balancer: &Arc<Backends>, plan: &Plan, args: &Balance, log: &Log) -> Result<TcpProxy<Endpoint>, Failure> {
    let dialer = Dialer::default().with_late_acknowledgement();
    let dialer = plan.source.map_or(dialer, |source| dialer.with_source(source));
    let dialer = args.backend_keepalive.map_or(dialer, |keepalive| dialer.with_keepalive(keepalive));
    let dumper = args.dump.then(|| Dumper::start(io::stdout()).map(Arc::new)).transpose();
    let dumper = dumper.map_err(|error| Failure::chain(Status::System, &error).about("-p"))?;
    let watch = Watch { log: log.clone(), traces: args.trace, idle_timeout: args.idle_timeout, dumper };
    Ok(TcpProxy::with_connector(Arc::clone(balancer), Arc::new(dialer))
        .with_settings(settings(args))
        .with_observer(Arc::new(watch))
        .with_accept_proxy(args.accept_proxy.clone().map(AcceptProxy::new))
        .with_send_proxy(args.send_proxy))
}

fn monitor(plan: &Plan, args: &Balance, log: &Log, rng: &mut SmallRng) -> Option<Monitor> {
    let monitor = Monitor::new(plan.monitor.as_ref()?, args.connect_timeout, plan.source);
    Some(told(monitor, log, args.trace, rng))
}

/// A monitor of whose findings the log hears.
pub(crate) fn told(monitor: Monitor, log: &Log, traces: bool, rng: &mut SmallRng) -> Monitor {
    let log = log.clone();
    let told = move |found: &Finding| {
        let line = |verb| format!("{}: {verb}: {}", found.backend, found.reason);
        if matches!(found.answer, Answer::Inconclusive(_)) {
            let entry = Entry::new(Level::Warning, "check-inconclusive", line("not checked"));
            log.write(&entry.with("backend", found.backend.as_str()).with("reason", found.reason.as_str()));
        } else if traces {
            log.write(&Entry::new(Level::Debug, "checked", line("checked")));
        }
    };
    monitor.with_seed(rng.next_u64()).with_trace(told)
}

/// An option that changes nothing here, or less than one may think, is said to do so.
fn note_idle_options(args: &Balance, log: &Log) {
    let note = |text: &str| log.notice("note", format!("note: {text}"));
    let hashes = args.select == SelectorKind::Hash { spill: false } || args.words.iter().any(|word| word == "%");
    if args.hash_failover && !hashes {
        note("-H changes nothing until a group is set to hash, because none ends in '%'");
    }
    if args.mapped {
        note("-M changes nothing, because lb never keeps its state in shared files");
    }
    if args.autodisable && args.autodisable_for.is_none() && args.monitor.is_none() {
        note(
            "with -a alone a backend that fails once stays out until it is enabled by hand; \
             --autodisable-for SECONDS lets it come back, -m as soon as it is well",
        );
    }
}

/// Different at each start.
pub(crate) struct RandomSeed(pub(crate) u64);

impl RandomSeed {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        Self(RandomState::new().hash_one(std::process::id()))
    }
}
