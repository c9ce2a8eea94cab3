//! L4 balancing: accept, pick, connect, relay, report.

#[cfg(feature = "proxy-protocol")]
mod introduce;
mod serve;
mod session;
mod settings;

use std::{fmt, io, net::TcpListener, sync::Arc};

use lb_core::Balancer;
use tokio::sync::watch;

#[cfg(feature = "proxy-protocol")]
pub use self::introduce::NoIntroduction;
use self::serve::{Host, serve};
pub use self::settings::Settings;
pub use crate::observe::{Direction, NoConnection, Observer, Tap};
#[cfg(feature = "proxy-protocol")]
pub use crate::proxy_protocol::AcceptProxy;
#[cfg(feature = "proxy-protocol")]
use crate::proxy_protocol::Version;
use crate::{
    alarm::Alarms,
    connect::{Addresses, Connect, Dialer, race::Race},
    listener::Listener,
    room::Room,
};

/// A TCP proxy in front of a balancer's backends.
///
/// Clone it to serve several listeners; all clones share the balancer, and so its turns, limits and counts. The
/// balancer needs someone to [`drive`](crate::drive) it.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_core::{Balancer, Config, rand::{SeedableRng, rngs::SmallRng}};
/// use lb_net::{TcpProxy, listener};
/// use std::{net::SocketAddr, sync::Arc, time::Instant};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let config: Config = server.local_addr()?.to_string().parse()?;
/// let address = |backend: &lb_core::BackendConfig| backend.name.parse::<SocketAddr>().expect("an address");
/// let mut rng = SmallRng::seed_from_u64(1);
/// let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, address));
/// tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
///
/// let listener = listener::bind("127.0.0.1:0".parse()?, 1)?.remove(0);
/// let front = listener.local_addr()?;
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let proxy = TcpProxy::new(balancer);
/// let serving = tokio::spawn(async move { proxy.serve(listener, async { drop(stopped.await) }).await });
///
/// let mut client = tokio::net::TcpStream::connect(front).await?;
/// server.accept().await?.0.write_all(b"hello").await?;
/// let mut said = String::new();
/// client.read_to_string(&mut said).await?;
/// assert_eq!(said, "hello");
/// drop((client, stop));
/// assert_eq!(serving.await??.cut, 0);
/// # Ok(()) }
/// ```
pub struct TcpProxy<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for TcpProxy<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<T> {
    balancer: Arc<Balancer<T>>,
    connector: Arc<dyn Connect<T>>,
    settings: Settings,
    seed: Option<u64>,
    observer: Option<Arc<dyn Observer>>,
    #[cfg(feature = "proxy-protocol")]
    accept_proxy: Option<AcceptProxy>,
    #[cfg(feature = "proxy-protocol")]
    send_proxy: Option<Version>,
    race: Arc<Race>,
    room: Arc<Room>,
}

/// All but what connecting has learned.
impl<T> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self {
            balancer: Arc::clone(&self.balancer),
            connector: Arc::clone(&self.connector),
            settings: self.settings,
            seed: self.seed,
            observer: self.observer.clone(),
            #[cfg(feature = "proxy-protocol")]
            accept_proxy: self.accept_proxy.clone(),
            #[cfg(feature = "proxy-protocol")]
            send_proxy: self.send_proxy,
            race: Arc::default(),
            room: Arc::clone(&self.room),
        }
    }
}

impl<T> Inner<T> {
    fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            tell(&**observer);
        }
    }
}

/// What is left to say when a listener has been served.
/// ```
/// # fn show(served: lb_net::tcp::Served) {
/// println!("{} sessions had to be cut", served.cut);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Sessions that were still running when the grace period was over, and were ended.
    pub cut: usize,
}

impl<T: Addresses> TcpProxy<T> {
    /// A proxy with the default settings.
    #[must_use]
    pub fn new(balancer: Arc<Balancer<T>>) -> Self {
        Self::with_connector(balancer, Arc::new(Dialer::default().with_late_acknowledgement()))
    }
}

impl<T: Send + Sync + 'static> TcpProxy<T> {
    /// A proxy that connects in a way of your own.
    #[must_use]
    pub fn with_connector(balancer: Arc<Balancer<T>>, connector: Arc<dyn Connect<T>>) -> Self {
        let inner = Inner {
            balancer,
            connector,
            settings: Settings::default(),
            seed: None,
            observer: None,
            #[cfg(feature = "proxy-protocol")]
            accept_proxy: None,
            #[cfg(feature = "proxy-protocol")]
            send_proxy: None,
            race: Arc::default(),
            room: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same with these settings.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        self.with(|inner| inner.settings = settings)
    }

    /// The same with chance that begins with this seed, for tests that must repeat.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.with(|inner| inner.seed = Some(seed))
    }

    /// The same with someone who is told what happens to clients.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|inner| inner.observer = Some(observer))
    }

    /// The same, with PROXY headers expected from these peers: their clients are then who is hashed, observed and told to
    /// backends.
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn with_accept_proxy(self, accept: Option<AcceptProxy>) -> Self {
        self.with(|inner| inner.accept_proxy = accept)
    }

    /// The same, with a PROXY header to each backend before anything else that it hears.
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn with_send_proxy(self, version: Option<Version>) -> Self {
        self.with(|inner| inner.send_proxy = version)
    }

    /// The same in the place of another one: its clients count, and over the same balancer what it has learned about
    /// connecting goes on.
    #[must_use]
    pub fn succeeding(self, other: &Self) -> Self {
        self.with(|inner| {
            inner.room = Arc::clone(&other.inner.room);
            if Arc::ptr_eq(&inner.balancer, &other.inner.balancer) {
                inner.race = Arc::clone(&other.inner.race);
            }
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Inner<T>)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Serves a listener until `shutdown`: then everybody who has connected is accepted, it is closed, and sessions may go
    /// on for the grace period. Dropping the future ends them at once.
    ///
    /// Nobody else comes through its socket any more, not even where a clone of the listener is still open. Meanwhile as
    /// many are accepted as there are descriptors for, each with one to its backend; others wait in the queue.
    ///
    /// # Errors
    /// When the listener cannot be used any more.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> io::Result<Served> {
        // Without a sender there is no other one.
        Self::serve_latest(watch::channel(self.clone()).1, listener, shutdown).await
    }

    /// As [`serve`](Self::serve), by the proxy that the channel has at the moment: one that is sent serves the clients
    /// that come from then on, and those that are there keep what they began with. The listener stays open meanwhile.
    ///
    /// # Errors
    /// When the listener cannot be used any more.
    pub async fn serve_latest(
        proxies: watch::Receiver<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<Served> {
        Self::serve_on(proxies, Listener::new(listener)?, shutdown).await
    }

    /// The same on a listener that may have to wait for its turn.
    pub(crate) async fn serve_on(
        proxies: watch::Receiver<Self>,
        listener: Listener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<Served> {
        let alarms = Arc::<Alarms>::default();
        let cut = tokio::select! {
            biased;
            cut = serve(Host::new(proxies, Arc::clone(&alarms)), listener, shutdown) => cut?,
            never = Arc::clone(&alarms).ring() => match never {},
        };
        Ok(Served { cut })
    }
}

impl<T> fmt::Debug for TcpProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxy").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}
