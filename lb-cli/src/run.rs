//! A plan to running listeners, until a signal.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lb_core::{
    Balancer, SelectorKind,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    connect::Dialer,
    resolve::{Endpoint, Refresher},
    tcp::{AcceptProxy, Served},
};
use tokio::{
    runtime::{self, Runtime},
    sync::watch,
};

use crate::{
    args::Balance,
    daemon::Starter,
    failure::{Failure, Status},
    log::{Entry, Level, Log},
    notify::Notifier,
    plan::{Plan, settings},
    signals::Signals,
};

/// What a backend is to the proxy: a name and its addresses.
type Backends = Balancer<Endpoint>;

/// Who hears how it goes.
#[derive(Debug)]
pub(crate) struct Tell {
    pub(crate) log: Log,
    pub(crate) notifier: Notifier,
}

/// Balances until it is told to stop. As the part in the background of a `starter`, tells it when it serves.
pub(crate) fn run(args: &Balance, starter: Option<Starter>, tell: &Tell) -> Result<(), Failure> {
    tell.log.hear_panics();
    let plan = Plan::new(args)?;
    let (place, source, user) = (plan.place, plan.source, plan.user);
    let (config, mut endpoints) = (plan.config, plan.endpoints.into_iter());
    let mut rng = SmallRng::seed_from_u64(RandomSeed::new().0);
    // There is one for each; without it a backend would have no address and be passed over.
    let make = |_: &_| endpoints.next().unwrap_or_else(|| Endpoint::with_addresses("", 0, Vec::new()));
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, make));
    let proxy = proxy(&balancer, source, args);
    let listeners = place.listen(args.worker_count())?;
    if let Some(keepalive) = args.client_keepalive {
        let set = listeners.iter().try_for_each(|listener| keepalive.set(listener));
        set.map_err(|error| Failure::chain(Status::System, &error).about("-k"))?;
    }
    // Without the right to raise it the limit stays, and accepting pauses when it is reached.
    let _ = lb_net::sys::raise_descriptor_limit();
    // LEAD: wire: what needs the rights of root besides the port (the control socket) is made here.
    if let Some(user) = user {
        user.assume()?;
    }
    note_idle_options(args, &tell.log);
    serve(&proxy, &balancer, listeners, args, starter, tell)
}

fn proxy(balancer: &Arc<Backends>, source: Option<IpAddr>, args: &Balance) -> TcpProxy<Endpoint> {
    let dialer = Dialer::default().with_late_acknowledgement();
    let dialer = source.map_or(dialer, |source| dialer.with_source(source));
    let dialer = args.backend_keepalive.map_or(dialer, |keepalive| dialer.with_keepalive(keepalive));
    TcpProxy::with_connector(Arc::clone(balancer), Arc::new(dialer))
        .with_settings(settings(args))
        .with_accept_proxy(args.accept_proxy.clone().map(AcceptProxy::new))
        .with_send_proxy(args.send_proxy)
}

/// An option that changes nothing here, or less than one may think, is said to do so.
fn note_idle_options(args: &Balance, log: &Log) {
    let note = |text: &str| log.notice("note", format!("note: {text}"));
    let hashes = args.select == SelectorKind::Hash { spill: false } || args.words.iter().any(|word| word == "%");
    if args.hash_failover && !hashes {
        note("-H changes nothing, because no group ends in '%'");
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

/// Starts the workers, and stays until a signal has stopped them.
fn serve(
    proxy: &TcpProxy<Endpoint>,
    balancer: &Arc<Backends>,
    listeners: Vec<TcpListener>,
    args: &Balance,
    starter: Option<Starter>,
    tell: &Tell,
) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::chain(Status::System, &error);
    let address = listeners.first().and_then(|listener| listener.local_addr().ok());
    let runtime = single_threaded().map_err(system)?;
    // Before the first worker: a signal that comes early is not lost.
    let refresher = refresher(args);
    let signals = {
        let _inside = runtime.enter();
        Signals::new(refresher.now()).map_err(system)?
    };
    let log = tell.log.clone();
    // Before the first client: nothing that happens is missed.
    let driver = lb_net::drive_with(Arc::clone(balancer), move |event| log.write(&Entry::from(&event)));
    let (stop, stopped) = watch::channel(());
    let start = |listener| worker(proxy.clone(), listener, stopped.clone());
    let workers: Vec<_> = listeners.into_iter().map(start).collect::<io::Result<_>>().map_err(system)?;
    drop(stopped);
    ready(address, balancer, starter, tell)?;
    runtime.block_on(async {
        let driver = tokio::spawn(driver);
        let (named, log) = (Arc::clone(balancer), tell.log.clone());
        let refreshing = refresher.run(move || endpoints(&named), move |news| log.write(&Entry::from(&news)));
        let refreshing = tokio::spawn(refreshing);
        tokio::select! {
            () = signals.stopped(&stop, args.grace, tell) => {}
            never = tell.log.summaries() => match never {},
        }
        driver.abort();
        refreshing.abort();
    });
    drop(stop);
    finish(workers, &tell.log)
}

/// Asks for names again, in time and at HUP.
fn refresher(args: &Balance) -> Refresher {
    let every = Some(args.resolve_every).filter(|every| !every.is_zero());
    Refresher::default().with_every(every.unwrap_or(Duration::MAX))
}

fn endpoints(balancer: &Backends) -> Vec<Endpoint> {
    let mut all = Vec::new();
    balancer.for_each(|_, endpoint| all.push(endpoint.clone()));
    all
}

/// Says so to all who want to know.
fn ready(
    address: Option<SocketAddr>,
    balancer: &Backends,
    starter: Option<Starter>,
    tell: &Tell,
) -> Result<(), Failure> {
    let backends = balancer.stats().backends;
    let groups = backends.last().map_or(0, |last| last.group + 1);
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let place = address.map_or_else(|| "nothing".to_owned(), |address| address.to_string());
    let line = format!("listening on {place}: {} in {}", plural(backends.len(), "backend"), plural(groups, "group"));
    let entry = Entry::new(Level::Notice, "ready", line.as_str()).with("address", place);
    let entry = entry.with("backends", backends.len()).with("groups", groups).with("pid", std::process::id());
    tell.log.write(&entry.with("version", env!("CARGO_PKG_VERSION")));
    match starter {
        Some(starter) => {
            let failed = |error| Failure::chain(Status::System, &error).about("cannot go to the background");
            starter.ready(&line).map_err(failed)?;
            tell.log.leave_terminal();
        }
        None => tell.notifier.ready(&line),
    }
    Ok(())
}

pub(crate) fn single_threaded() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// A thread with a runtime and a listener of its own: a connection lives and dies where it was accepted.
fn worker(
    proxy: TcpProxy<Endpoint>,
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
) -> io::Result<JoinHandle<io::Result<Served>>> {
    let (runtime, working) = (single_threaded()?, stopped.clone());
    std::thread::Builder::new().name("lb-worker".to_owned()).spawn(move || {
        let served = runtime.block_on(proxy.serve(listener, async move {
            // An error is the end of the sender: a stop as well.
            let _ = stopped.changed().await;
        }));
        // Until its sessions have ended: that no receiver is left is how the main thread learns that all workers have.
        drop(working);
        served
    })
}

/// Waits for the workers. One that failed makes `lb` fail once the others have ended.
fn finish(workers: Vec<JoinHandle<io::Result<Served>>>, log: &Log) -> Result<(), Failure> {
    let mut cut = 0;
    let mut failure = None;
    for worker in workers {
        match worker.join() {
            Ok(Ok(served)) => cut += served.cut,
            Ok(Err(error)) => failure = Some(Failure::chain(Status::System, &error)),
            Err(_) => failure = Some(Failure::new(Status::System, "a worker has panicked")),
        }
    }
    if cut > 0 {
        let sessions = if cut == 1 { "session was" } else { "sessions were" };
        let line = format!("stopped; {cut} {sessions} cut after the grace period");
        log.write(&Entry::new(Level::Warning, "stopped", line).with("cut", cut));
    }
    log.end();
    failure.map_or(Ok(()), Err)
}
