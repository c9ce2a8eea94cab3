//! Arguments to running listeners; signals.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};

use lb_core::{
    BackendConfig, Balancer, Config, SelectorKind, SpecError,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    connect::Dialer,
    listener::{BindError, bind},
    relay, resolve,
    tcp::{self, Served},
};
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    args::{Balance, address},
    failure::{Failure, Status, say},
};

/// What a backend is to the proxy: its addresses.
type Backends = Balancer<Vec<SocketAddr>>;

/// Balances until it is told to stop.
pub(crate) fn run(args: &Balance) -> Result<(), Failure> {
    let port = resolve::port(&args.port).map_err(|error| {
        Failure::chain(Status::Usage, &error)
            .with_remedy("first comes the port to listen on: lb [options] PORT backend...")
    })?;
    let config = configuration(args)?;
    let balancer = balancer(config, port, &args.words)?;
    let source = args.source.as_deref().map(source).transpose().map_err(|failure| failure.about("-B"))?;
    let dialer = Dialer::default().with_late_acknowledgement();
    let dialer = source.map_or(dialer, |source| dialer.with_source(source));
    let proxy = TcpProxy::with_connector(Arc::clone(&balancer), Arc::new(dialer)).with_settings(settings(args));
    let listeners = listen(args, port)?;
    // Without the right to raise it the limit stays, and accepting pauses when it is reached.
    let _ = lb_net::sys::raise_descriptor_limit();
    note_idle_options(args);
    serve(&proxy, &balancer, listeners, args)
}

/// An address to connect from; that it is one of this machine shows when it is bound to.
fn source(word: &str) -> Result<IpAddr, Failure> {
    let address = address(word, false)?;
    std::net::UdpSocket::bind((address, 0))
        .map_err(|error| Failure::chain(Status::System, &error).about(word))
        .map(|_| address)
}

/// An option that changes nothing here is said to do so: it may be a misunderstanding.
fn note_idle_options(args: &Balance) {
    let hashes = args.select == SelectorKind::Hash { spill: false } || args.words.iter().any(|word| word == "%");
    if args.hash_failover && !hashes {
        say("note: -H changes nothing, because no group ends in '%'");
    }
}

fn configuration(args: &Balance) -> Result<Config, Failure> {
    let mut config = Config::from_words(args.words.iter().map(String::as_str)).map_err(|error| {
        let status = if matches!(error, SpecError::EmptyGroup(..)) { Status::Groups } else { Status::Backend };
        let failure = Failure::chain(status, &error);
        match &error {
            SpecError::Port(word, _) | SpecError::Limit(word, _) | SpecError::Weight(word, _) => {
                bracketed(failure, word)
            }
            SpecError::Excess(word, _) => bracketed(failure, word),
            _ => failure,
        }
    })?;
    for group in &mut config.groups {
        if group.selector == SelectorKind::default() {
            group.selector = args.select;
        }
        if let SelectorKind::Hash { spill } = &mut group.selector {
            *spill = args.hash_failover;
        }
    }
    Ok(if args.autodisable { config.with_autodisable() } else { config })
}

/// With the remedy for an IPv6 address that was taken for a host with port, limit and weight.
fn bracketed(failure: Failure, word: &str) -> Failure {
    match word.parse::<Ipv6Addr>() {
        Ok(_) => failure.with_remedy(&format!("an IPv6 address goes in brackets: [{word}]")),
        Err(_) => failure,
    }
}

/// A balancer over resolved backends: what cannot be resolved is said before anything is served.
fn balancer(config: Config, default_port: u16, words: &[String]) -> Result<Arc<Backends>, Failure> {
    let (mut failure, default_port) = (None, default_port.to_string());
    let seed = RandomSeed::new();
    let balancer = Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(seed.0), |backend| {
        let (host, port) = backend.host_and_port();
        resolve::addresses(host, port.unwrap_or(&default_port)).unwrap_or_else(|error| {
            failure.get_or_insert_with(|| {
                let word =
                    words.iter().find(|word| word.parse().is_ok_and(|one: BackendConfig| one.name == backend.name));
                let failure = Failure::chain(Status::Backend, &error).about(&backend.name);
                word.map_or(failure.clone(), |word| bracketed(failure, word))
            });
            Vec::new()
        })
    });
    failure.map_or_else(|| Ok(Arc::new(balancer)), Err)
}

/// Different at each start.
pub(crate) struct RandomSeed(pub(crate) u64);

impl RandomSeed {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        Self(RandomState::new().hash_one(std::process::id()))
    }
}

fn settings(args: &Balance) -> tcp::Settings {
    let idle = Some(args.idle_timeout).filter(|time| !time.is_zero());
    tcp::Settings::default()
        .with_connect_timeout(args.connect_timeout)
        .with_race(args.race.0)
        .with_grace(args.grace)
        .with_relay(relay::Settings::default().with_idle_timeout(idle))
}

/// One listener for each worker.
fn listen(args: &Balance, port: u16) -> Result<Vec<TcpListener>, Failure> {
    let count = args.worker_count();
    let listeners = match &args.bind {
        Some(word) => {
            bind(SocketAddr::new(address(word, args.ipv6).map_err(|failure| failure.about("-b"))?, port), count)
        }
        None => bind_everywhere(port, count, args.ipv6),
    };
    listeners.map_err(|error| cannot_listen(&error))
}

/// Why, and what can be done about it.
pub(crate) fn cannot_listen(error: &BindError) -> Failure {
    let failure = Failure::chain(Status::System, error);
    match remedy(error) {
        Some(remedy) => failure.with_remedy(&remedy),
        None => failure,
    }
}

/// On all addresses of both families; on a machine without IPv6, on those of IPv4.
fn bind_everywhere(port: u16, count: usize, ipv6: bool) -> Result<Vec<TcpListener>, BindError> {
    let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let [v6, v4] = all.map(|ip| SocketAddr::new(ip, port));
    bind(v6, count).or_else(|error| {
        let no_ipv6 = matches!(error.source.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
            || error.source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        if no_ipv6 && !ipv6 { bind(v4, count) } else { Err(error) }
    })
}

fn remedy(error: &BindError) -> Option<String> {
    match error.source.kind() {
        io::ErrorKind::AddrInUse => Some("another lb, or another program, listens there".to_owned()),
        io::ErrorKind::PermissionDenied if error.address.port() < 1024 => Some(format!(
            "start lb as root, or give it the right to ports below 1024: setcap cap_net_bind_service=+ep {}",
            std::env::current_exe().map_or_else(|_| "lb".to_owned(), |path| path.display().to_string())
        )),
        io::ErrorKind::AddrNotAvailable => Some("it is no address of this machine".to_owned()),
        _ => None,
    }
}

/// Starts the workers, and stays until a signal has stopped them.
fn serve(
    proxy: &TcpProxy<Vec<SocketAddr>>,
    balancer: &Arc<Backends>,
    listeners: Vec<TcpListener>,
    args: &Balance,
) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::chain(Status::System, &error);
    let address = listeners.first().and_then(|listener| listener.local_addr().ok());
    let runtime = single_threaded().map_err(system)?;
    // Before the first worker: a signal that comes early is not lost.
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(system)?
    };
    let (stop, stopped) = watch::channel(());
    let start = |listener| worker(proxy.clone(), listener, stopped.clone());
    let workers: Vec<_> = listeners.into_iter().map(start).collect::<io::Result<_>>().map_err(system)?;
    drop(stopped);
    say(&ready_line(address, balancer));
    runtime.block_on(async {
        let driver = tokio::spawn(lb_net::drive(Arc::clone(balancer)));
        signals.stopped(&stop, args).await;
        driver.abort();
    });
    drop(stop);
    finish(workers)
}

fn ready_line(address: Option<SocketAddr>, balancer: &Backends) -> String {
    let backends = balancer.stats().backends;
    let groups = backends.last().map_or(0, |last| last.group + 1);
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let place = address.map_or_else(|| "nothing".to_owned(), |address| address.to_string());
    format!("listening on {place}: {} in {}", plural(backends.len(), "backend"), plural(groups, "group"))
}

pub(crate) fn single_threaded() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// A thread with a runtime and a listener of its own: a connection lives and dies where it was accepted.
fn worker(
    proxy: TcpProxy<Vec<SocketAddr>>,
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
fn finish(workers: Vec<JoinHandle<io::Result<Served>>>) -> Result<(), Failure> {
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
        say(&format!("stopped; {cut} {sessions} cut after the grace period"));
    }
    failure.map_or(Ok(()), Err)
}

/// The signals that `lb` listens to.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    /// Caught so that it does not end us: there is nothing to read again yet.
    _hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            _hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }

    /// Returns when the workers have ended after the first signal. A second one ends `lb` at once.
    async fn stopped(mut self, stop: &watch::Sender<()>, args: &Balance) {
        tokio::select! {
            () = self.next() => {}
            // All workers have ended by themselves: nothing accepts any more.
            () = stop.closed() => return,
        }
        say(&format!("stopping: sessions may go on for {:?}", args.grace));
        let _ = stop.send(());
        tokio::select! {
            () = self.next() => {
                say("stopped at once by a second signal");
                std::process::exit(1);
            }
            () = stop.closed() => {}
        }
    }
}
