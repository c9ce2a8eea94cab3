//! Workers, and what runs beside them, until a signal.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use lb_core::{Balancer, EventKind};
use lb_net::{
    TcpProxy,
    connect::Addresses,
    manage::{ControlSocket, Fleet},
    probe::Monitor,
    resolve::{Endpoint, Refresher},
    tcp::Served,
};
use tokio::{
    runtime::{self, Runtime},
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    args::Balance,
    control,
    daemon::Starter,
    failure::{Failure, Status},
    log::{Entry, Level, Log},
    signals::{Signals, Stopped},
    tell::Tell,
};

/// What a backend is to the proxy: a name and its addresses.
pub(crate) type Backends = Balancer<Endpoint>;

/// Everything that serves: nothing of it can fail for what a user has said.
pub(crate) struct Service {
    pub(crate) balancer: Arc<Backends>,
    pub(crate) proxy: TcpProxy<Endpoint>,
    /// One for each worker.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) socket: ControlSocket,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) monitor: Option<Monitor>,
}

impl Service {
    /// Starts the workers, and stays until a signal has stopped them.
    pub(crate) fn serve(self, args: &Balance, starter: Option<Starter>, tell: &Tell) -> Result<(), Failure> {
        let system = |error: io::Error| Failure::chain(Status::System, &error);
        let address = self.listeners.first().and_then(|listener| listener.local_addr().ok());
        let runtime = single_threaded().map_err(system)?;
        let refresher = refresher(args);
        // Before the first worker: a signal that comes early is not lost.
        let signals = {
            let _inside = runtime.enter();
            Signals::new(refresher.now()).map_err(system)?
        };
        // Before the first client: nothing that happens is missed.
        let driver = drive(&self.balancer, refresher.now(), tell.log.clone());
        let (stop, stopped) = watch::channel(());
        let start = |listener| worker(self.proxy.clone(), listener, stopped.clone());
        let workers: Vec<_> = self.listeners.into_iter().map(start).collect::<io::Result<_>>().map_err(system)?;
        drop(stopped);
        ready(address, &self.balancer, starter, tell)?;
        let stopped = runtime.block_on(async {
            // They end with it, and a monitor's commands with them.
            let mut beside = JoinSet::new();
            beside.spawn(driver);
            beside.spawn(refresh(refresher, Arc::clone(&self.balancer), tell.log.clone()));
            if let Some(monitor) = self.monitor {
                beside.spawn(monitor.run(self.balancer, Addresses::all_addresses));
            }
            // Control ends before the sessions of clients do: the next instance wants the place.
            let begun = Arc::new(Notify::new());
            beside.spawn(control::serve(self.socket, self.fleet, Arc::clone(&begun), address, tell.log.clone()));
            tokio::select! {
                stopped = signals.stopped(&stop, &begun, args.grace, tell) => stopped,
                never = tell.log.summaries() => match never {},
            }
        });
        // With all that ran beside the workers: neither a command nor the control socket is to outlive us.
        drop(runtime);
        if stopped == Stopped::AtOnce {
            tell.log.end();
            tell.log.notice("stopped", "stopped at once by a second signal");
            std::process::exit(1);
        }
        drop(stop);
        finish(workers, &tell.log)
    }
}

/// Puts changes into force and logs them; a backend that was added may have a name to ask for.
fn drive(balancer: &Arc<Backends>, named: Arc<Notify>, log: Log) -> impl Future<Output = ()> + Send + use<> {
    lb_net::drive_with(Arc::clone(balancer), move |event| {
        if matches!(event.kind, EventKind::Changed { .. }) {
            named.notify_one();
        }
        log.write(&Entry::from(&event));
    })
}

/// Asks for names again, in time and at HUP.
fn refresher(args: &Balance) -> Refresher {
    let every = Some(args.resolve_every).filter(|every| !every.is_zero());
    Refresher::default().with_every(every.unwrap_or(Duration::MAX))
}

async fn refresh(refresher: Refresher, balancer: Arc<Backends>, log: Log) {
    let endpoints = move || {
        let mut all = Vec::new();
        balancer.for_each(|_, endpoint| all.push(endpoint.clone()));
        all
    };
    refresher.run(endpoints, move |news| log.write(&Entry::from(&news))).await;
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
