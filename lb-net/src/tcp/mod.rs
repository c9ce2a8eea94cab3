//! L4 balancing: accept, pick, connect, relay, report.

mod race;
mod session;

use std::{fmt, io, net::TcpListener, sync::Arc, time::Duration};

use lb_core::{
    Balancer, Lease,
    rand::{Rng as _, SeedableRng, rngs::SmallRng},
};
use tokio::{
    net::TcpStream,
    task::coop::consume_budget,
    time::{Instant, timeout},
};

use self::{race::Race, session::Session};
use crate::{
    alarm::Alarms,
    connect::{Addresses, Connect, Dialer},
    drain::Sessions,
    driver::now,
    listener::Listener,
    relay,
};

/// How connections are balanced.
/// ```
/// use std::time::Duration;
/// let settings = lb_net::tcp::Settings::default().with_race(None).with_connect_timeout(Duration::from_secs(1));
/// assert_eq!(settings.grace, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long each attempt to connect may take (balance's `-t`).
    pub connect_timeout: Duration,
    /// How long a backend may be silent before the next one is tried alongside, at most: once connect times are known
    /// it is eight times their average, but not below 100 ms. `None` tries one after the other.
    pub race: Option<Duration>,
    /// How sessions behave once they are connected.
    pub relay: relay::Settings,
    /// How long sessions may go on after a stop.
    pub grace: Duration,
}

impl Default for Settings {
    /// 5 s to connect, the next backend after 250 ms, no idle timeout, 30 s of grace.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            race: Some(Duration::from_millis(250)),
            relay: relay::Settings::default(),
            grace: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// With this time for each attempt to connect.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// With this time for a backend to be silent before the next is tried alongside; `None` for one after the other.
    #[must_use]
    pub fn with_race(self, race: Option<Duration>) -> Self {
        Self { race, ..self }
    }

    /// With these settings for sessions.
    #[must_use]
    pub fn with_relay(self, relay: relay::Settings) -> Self {
        Self { relay, ..self }
    }

    /// With this time for sessions to end after a stop.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}

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
    race: Race,
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
        let (settings, race) = (Settings::default(), Race::default());
        Self { inner: Arc::new(Inner { balancer, connector, settings, seed: None, race }) }
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

    fn with(mut self, change: impl FnOnce(&mut Inner<T>)) -> Self {
        if Arc::get_mut(&mut self.inner).is_none() {
            let Inner { balancer, connector, settings, seed, .. } = &*self.inner;
            let (balancer, connector) = (Arc::clone(balancer), Arc::clone(connector));
            let inner = Inner { balancer, connector, settings: *settings, seed: *seed, race: Race::default() };
            self.inner = Arc::new(inner);
        }
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            change(inner);
        }
        self
    }

    /// Serves a listener until `shutdown`: then those who wait in its queue are accepted, it is closed, and sessions may
    /// go on for the grace period. Dropping the future ends them at once.
    ///
    /// # Errors
    /// When the listener cannot be used any more.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> io::Result<Served> {
        let alarms = Arc::<Alarms>::default();
        tokio::select! {
            biased;
            served = self.serve_with(&alarms, listener, shutdown) => served,
            never = Arc::clone(&alarms).ring() => match never {},
        }
    }

    async fn serve_with(
        &self,
        alarms: &Arc<Alarms>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<Served> {
        let mut listener = Listener::new(listener)?;
        let mut sessions = Sessions::default();
        let mut rng = self.rng();
        let mut begin = |sessions: &mut Sessions, (client, peer)| {
            sessions.spawn(Session::new(&self.inner, client, peer, rng.next_u64(), alarms));
        };
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                // First, because under a load that never lets the queue run empty nothing behind it would be asked.
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => begin(&mut sessions, accepted?),
            }
        }
        let (grace, stopped) = (self.inner.settings.grace, Instant::now());
        // Within the grace: without descriptors the queue does not run empty, nor while clients come faster than this.
        let emptied = timeout(grace, async {
            while let Some(accepted) = listener.accept_queued().await? {
                begin(&mut sessions, accepted);
                consume_budget().await;
            }
            io::Result::Ok(())
        });
        emptied.await.unwrap_or(Ok(()))?;
        drop(listener);
        Ok(Served { cut: sessions.drain(grace.saturating_sub(stopped.elapsed())).await })
    }

    fn rng(&self) -> SmallRng {
        let seed = self.inner.seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher as _, RandomState};
            RandomState::new().hash_one(now())
        });
        SmallRng::seed_from_u64(seed)
    }
}

impl<T> fmt::Debug for TcpProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxy").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

type Connected<T> = (TcpStream, Lease<T>);
