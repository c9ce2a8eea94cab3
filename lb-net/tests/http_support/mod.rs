//! An HTTP proxy that runs on a thread of its own, and tables of cases.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, BackendStats, Balancer, Config,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    connect::Connect,
    http::{HttpProxy, Served, Settings},
    listener,
};
use tokio::sync::{oneshot, watch};

use crate::wire::{Backend, Client, PATIENCE};

/// An HTTP proxy that runs on a thread of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) balancer: Arc<Balancer<SocketAddr>>,
    proxies: watch::Sender<HttpProxy<SocketAddr>>,
    stop: Option<oneshot::Sender<()>>,
    abort: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Option<io::Result<Served>>>>,
}

impl Front {
    /// In front of these backends, written as balance writes them.
    pub(crate) fn new(config: &str) -> Self {
        Self::with(config, |_| {})
    }

    /// With other settings than usual.
    pub(crate) fn with(config: &str, change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(config.parse().unwrap(), change)
    }

    pub(crate) fn of(config: Config, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        Self::serving(balancer(config), HttpProxy::new, |proxy| proxy.with_settings(settings))
    }

    /// With connections to backends that are made in another way.
    pub(crate) fn connecting(config: &str, connector: Arc<dyn Connect<SocketAddr>>) -> Self {
        let balancer = balancer(config.parse().unwrap());
        Self::serving(balancer, |balancer| HttpProxy::with_connector(balancer, connector), |proxy| proxy)
    }

    /// With another proxy than usual.
    pub(crate) fn by(config: &str, change: impl FnOnce(HttpProxy<SocketAddr>) -> HttpProxy<SocketAddr>) -> Self {
        Self::serving(balancer(config.parse().unwrap()), HttpProxy::new, change)
    }

    fn serving(
        balancer: Balancer<SocketAddr>,
        proxy: impl FnOnce(Arc<Balancer<SocketAddr>>) -> HttpProxy<SocketAddr>,
        change: impl FnOnce(HttpProxy<SocketAddr>) -> HttpProxy<SocketAddr>,
    ) -> Self {
        let balancer = Arc::new(balancer);
        let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let proxy = change(proxy(Arc::clone(&balancer)));
        let (proxies, latest) = watch::channel(proxy);
        let ((stop, stopped), (abort, aborted)) = (oneshot::channel(), oneshot::channel::<()>());
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    served = HttpProxy::serve_latest(latest, listener, async { drop(stopped.await) }) => Some(served),
                    _ = aborted => None,
                }
            })
        });
        Self { address, balancer, proxies, stop: Some(stop), abort: Some(abort), serving: Some(serving) }
    }

    /// From now on this one serves, which goes on where the one before was.
    pub(crate) fn goes_on(&self, proxy: HttpProxy<SocketAddr>) {
        self.proxies.send_modify(|latest| *latest = proxy.succeeding(latest));
    }

    /// The same over its balancer, with other settings than usual.
    pub(crate) fn goes_on_with(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::default();
        change(&mut settings);
        self.goes_on(HttpProxy::new(Arc::clone(&self.balancer)).with_settings(settings));
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// What one client is answered who says this and no more.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> crate::wire::Message {
        self.client().ask(request)
    }

    pub(crate) fn stats(&self) -> Vec<BackendStats> {
        self.balancer.stats().backends
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.stats().iter().map(|backend| backend.in_flight).sum()
    }

    /// Requests that wait in line.
    pub(crate) fn waiting(&self) -> u64 {
        self.proxies.borrow().stats().waiting
    }

    /// Every place has been given back.
    pub(crate) fn idle(&self) {
        wait_for("all leases to come back", || self.in_flight() == 0);
    }

    /// Tells it to end in order.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.serving.as_ref().unwrap().is_finished()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self) -> Served {
        wait_for("the end of serving", || self.has_ended());
        self.serving.take().unwrap().join().unwrap().expect("it was aborted").unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.abort.take().unwrap().send(());
        if let Some(serving) = self.serving.take() {
            let ended = serving.join();
            assert!(thread::panicking() || ended.is_ok(), "the proxy panicked");
        }
    }
}

/// Over these backends, whose names are where they are.
pub(crate) fn balancer(config: Config) -> Balancer<SocketAddr> {
    let address = |backend: &BackendConfig| backend.name.parse().unwrap();
    Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), address)
}

/// Waits for something that has no event of its own.
pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Long for one byte, also on a machine that has much else to do.
pub(crate) const ROOMY: Duration = Duration::from_millis(1_500);

/// Moments that are much less than this apart, for longer than this: whoever does something at each is never silent for
/// as long.
pub(crate) fn moments() -> impl Iterator<Item = ()> {
    let begin = Instant::now();
    std::iter::from_fn(move || (begin.elapsed() < ROOMY.mul_f32(1.5)).then(|| thread::sleep(ROOMY / 30)))
}

/// One backend and a proxy in front of it.
pub(crate) fn pair(backend: Backend) -> (Backend, Front) {
    let front = Front::new(&backend.word());
    (backend, front)
}

/// The words for several backends in one group.
pub(crate) fn words(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| backend.word()).collect::<Vec<_>>().join(" ")
}

/// Runs all cases, a few at a time, and says which of them failed.
pub(crate) fn each<C: Sync>(cases: &[(&str, C)], run: impl Fn(&C) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, SeqCst)) {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(case))) {
                        failed.lock().unwrap().push(format!("{name}: {}", said(&*panic)));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    assert!(failed.is_empty(), "{} of {} failed:\n  {}", failed.len(), cases.len(), failed.join("\n  "));
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("?").to_owned()
}
