//! What tests of control share: a fleet, a place for its socket, and a server.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Config,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::{Client, ControlSocket, Fleet, Managed, Place, Settings, serve};
use tokio::sync::Notify;

/// Longer than anything here takes: who waits that long has hung.
pub(crate) const HUNG: Duration = Duration::from_secs(20);

/// A directory that is gone when the test is.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static USED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lb-manage-{}-{}", std::process::id(), USED.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The control directory, which does not exist at first.
    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    pub(crate) fn place(&self, port: u16) -> Place {
        Place::new(Some(&self.control()), port, None).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) type Payload = Option<SocketAddr>;

pub(crate) fn fleet(words: &str) -> Managed<Payload> {
    slow_fleet(words, |_| {})
}

/// One that takes its time to resolve.
pub(crate) fn slow_fleet(words: &str, wait: impl Fn(&str) + Send + Sync + 'static) -> Managed<Payload> {
    let config: Config = words.parse().unwrap();
    let balancer = Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), |_| None);
    let resolve = move |backend: &BackendConfig| {
        wait(&backend.name);
        Ok(None)
    };
    Managed::new(Arc::new(balancer), resolve, |_| None, |address| *address)
}

/// A server on a thread of its own, until it is dropped or killed.
pub(crate) struct Running {
    pub(crate) place: Place,
    pub(crate) stop: Arc<Notify>,
    /// Told when nothing accepts any more.
    pub(crate) closed: Arc<Notify>,
    pub(crate) thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(place: &Place, fleet: Managed<Payload>, settings: Settings) -> Self {
        let socket = ControlSocket::claim(place).unwrap();
        Self::with(place, socket, fleet, settings)
    }

    pub(crate) fn with(place: &Place, socket: ControlSocket, fleet: Managed<Payload>, settings: Settings) -> Self {
        let (stop, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let killed = Arc::clone(&stop);
        let fleet: Arc<dyn Fleet> = Arc::new(fleet.with_kill(move || killed.notify_one()));
        Self::serving(place, socket, move || Arc::clone(&fleet), settings, (stop, closed))
    }

    /// One whose fleet may become another one.
    pub(crate) fn serving(
        place: &Place,
        socket: ControlSocket,
        fleet: impl Fn() -> Arc<dyn Fleet> + Clone + Send + Sync + 'static,
        settings: Settings,
        (stop, closed): (Arc<Notify>, Arc<Notify>),
    ) -> Self {
        let (stopped, port_closed) = (Arc::clone(&stop), Arc::clone(&closed));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(socket, fleet, settings, stopped.notified(), port_closed.notified())).unwrap();
        });
        Self { place: place.clone(), stop, closed, thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.place).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.closed.notify_one();
        let _ = self.thread.take().unwrap().join();
    }
}

/// Waits for something that has no event of its own.
pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < HUNG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What is in a directory, and below.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()));
        }
    }
    all
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
