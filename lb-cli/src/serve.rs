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
};
use tokio::{
    runtime::{self, Runtime},
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    control,
    daemon::Starter,
    failure::{Failure, Status},
    log::{Entry, Level, Log},
    signals::{Signals, Stopped},
    tell::Tell,
};

/// What a backend is to the proxy: a name and its addresses.
pub(crate) type Backends = Balancer<Endpoint>;

/// Backends and what looks after them.
pub(crate) struct RunningPool {
    pub(crate) balancer: Arc<Backends>,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) log: Log,
}

/// One address that clients come to.
pub(crate) struct Front {
    pub(crate) proxy: TcpProxy<Endpoint>,
    /// Where that is, as the system says.
    pub(crate) address: Option<SocketAddr>,
    /// One for each worker.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) socket: ControlSocket,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) log: Log,
}

impl Front {
    /// Says that it listens, and returns what it says.
    fn ready(&self) -> String {
        let backends = self.fleet.stats().backends;
        let groups = backends.last().map_or(0, |last| last.group + 1);
        let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let place = self.place();
        let line =
            format!("listening on {place}: {} in {}", plural(backends.len(), "backend"), plural(groups, "group"));
        let entry = Entry::new(Level::Notice, "ready", line.as_str()).with("address", place);
        let entry = entry.with("backends", backends.len()).with("groups", groups).with("pid", std::process::id());
        self.log.write(&entry.with("version", env!("CARGO_PKG_VERSION")));
        line
    }

    fn place(&self) -> String {
        self.address.map_or_else(|| "nothing".to_owned(), |address| address.to_string())
    }
}

/// Everything that serves: nothing of it can fail for what a user has said.
pub(crate) struct Serving {
    pub(crate) pools: Vec<RunningPool>,
    pub(crate) fronts: Vec<Front>,
    /// The longest time that a session may go on after a stop.
    pub(crate) grace: Duration,
    pub(crate) resolve_every: Option<Duration>,
    /// Whether stderr is nobody's once it serves.
    pub(crate) leaves_terminal: bool,
}

impl Serving {
    /// Starts the workers, and stays until a signal has stopped them.
    pub(crate) fn serve(mut self, starter: Option<Starter>, tell: &Tell) -> Result<(), Failure> {
        let system = |error: io::Error| Failure::chain(Status::System, &error);
        let runtime = single_threaded().map_err(system)?;
        let refresher = Refresher::default().with_every(self.resolve_every.unwrap_or(Duration::MAX));
        // Before the first worker: a signal that comes early is not lost.
        let signals = {
            let _inside = runtime.enter();
            Signals::new(refresher.now()).map_err(system)?
        };
        // Before the first client: nothing that happens is missed.
        let drivers: Vec<_> =
            self.pools.iter().map(|pool| drive(&pool.balancer, refresher.now(), pool.log.clone())).collect();
        let (stop, stopped) = watch::channel(());
        let start = |share| worker(share, stopped.clone());
        let workers: Vec<_> = self.shares().into_iter().map(start).collect::<io::Result<_>>().map_err(system)?;
        drop(stopped);
        self.ready(starter, tell)?;
        lb_net::sys::give_back_code();
        let grace = self.grace;
        let stopped = runtime.block_on(async {
            // They end with it, and a monitor's commands with them.
            let mut beside = JoinSet::new();
            drivers.into_iter().for_each(|driver| drop(beside.spawn(driver)));
            // Control ends before the sessions of clients do: the next instance wants the place.
            let (begun, begins) = watch::channel(false);
            self.spawn(&mut beside, refresher, &begins, tell);
            tokio::select! {
                stopped = signals.stopped(&stop, &begun, grace, tell) => stopped,
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

    /// What each worker serves.
    fn shares(&mut self) -> Vec<Vec<Share>> {
        let mut shares: Vec<Vec<Share>> = Vec::new();
        for front in &mut self.fronts {
            for (at, listener) in std::mem::take(&mut front.listeners).into_iter().enumerate() {
                if shares.len() <= at {
                    shares.push(Vec::new());
                }
                shares[at].push((front.proxy.clone(), listener));
            }
        }
        shares
    }

    /// Begins what runs beside the workers.
    fn spawn(self, beside: &mut JoinSet<()>, refresher: Refresher, begins: &watch::Receiver<bool>, tell: &Tell) {
        let balancers = self.pools.iter().map(|pool| Arc::clone(&pool.balancer)).collect();
        beside.spawn(refresh(refresher, balancers, tell.log.clone()));
        for RunningPool { balancer, monitor, .. } in self.pools {
            if let Some(monitor) = monitor {
                beside.spawn(monitor.run(balancer, Addresses::all_addresses));
            }
        }
        for Front { socket, fleet, address, log, .. } in self.fronts {
            beside.spawn(control::serve(socket, fleet, begins.clone(), address, log));
        }
    }

    /// Says so to all who want to know.
    fn ready(&self, starter: Option<Starter>, tell: &Tell) -> Result<(), Failure> {
        let lines: Vec<String> = self.fronts.iter().map(Front::ready).collect();
        let line = match &lines[..] {
            [line] => line.clone(),
            _ => format!("listening on {}", self.fronts.iter().map(Front::place).collect::<Vec<_>>().join(", ")),
        };
        match starter {
            Some(starter) => {
                let failed = |error| Failure::chain(Status::System, &error).about("cannot go to the background");
                starter.ready(&line).map_err(failed)?;
            }
            None => tell.notifier.ready(&line),
        }
        if self.leaves_terminal {
            tell.log.leave_terminal();
        }
        Ok(())
    }
}

/// A listener, and who serves it.
type Share = (TcpProxy<Endpoint>, TcpListener);

/// Puts changes into force and logs them; a backend that was added may have a name to ask for.
fn drive(balancer: &Arc<Backends>, named: Arc<Notify>, log: Log) -> impl Future<Output = ()> + Send + use<> {
    lb_net::drive_with(Arc::clone(balancer), move |event| {
        if matches!(event.kind, EventKind::Changed { .. }) {
            named.notify_one();
        }
        log.write(&Entry::from(&event));
    })
}

async fn refresh(refresher: Refresher, balancers: Vec<Arc<Backends>>, log: Log) {
    let endpoints = move || {
        let mut all = Vec::new();
        balancers.iter().for_each(|balancer| balancer.for_each(|_, endpoint| all.push(endpoint.clone())));
        all
    };
    refresher.run(endpoints, move |news| log.write(&Entry::from(&news))).await;
}

pub(crate) fn single_threaded() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// A thread with a runtime and listeners of its own: a connection lives and dies where it was accepted.
fn worker(share: Vec<Share>, stopped: watch::Receiver<()>) -> io::Result<JoinHandle<io::Result<usize>>> {
    let (runtime, working) = (single_threaded()?, stopped.clone());
    std::thread::Builder::new().name("lb-worker".to_owned()).spawn(move || {
        let cut = runtime.block_on(serve_all(share, &stopped));
        // Until its sessions have ended: that no receiver is left is how the main thread learns that all workers have.
        drop(working);
        cut
    })
}

/// Serves each of them until it is to stop; how many sessions had to be cut.
async fn serve_all(mut share: Vec<Share>, stopped: &watch::Receiver<()>) -> io::Result<usize> {
    let serve = |(proxy, listener): Share| {
        let mut stopped = stopped.clone();
        async move {
            let stop = async move {
                // An error is the end of the sender: a stop as well.
                let _ = stopped.changed().await;
            };
            proxy.serve(listener, stop).await.map(|served| served.cut)
        }
    };
    // The last one without a task of its own: most often there is one only.
    let last = share.pop().map(serve);
    let mut others: JoinSet<io::Result<usize>> = share.into_iter().map(serve).collect();
    let mut cut = match last {
        Some(last) => last.await,
        None => Ok(0),
    };
    while let Some(other) = others.join_next().await {
        let more = other.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        cut = cut.and_then(|cut| Ok(cut + more?));
    }
    cut
}

/// Waits for the workers. One that failed makes `lb` fail once the others have ended.
fn finish(workers: Vec<JoinHandle<io::Result<usize>>>, log: &Log) -> Result<(), Failure> {
    let mut cut = 0;
    let mut failure = None;
    for worker in workers {
        match worker.join() {
            Ok(Ok(more)) => cut += more,
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
