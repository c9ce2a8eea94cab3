//! The HTTP reverse proxy: HTTP/1.0 and 1.1 on both sides.
//!
//! Start from [`HttpProxy`]. A request is parsed where it lies, judged once and strictly, written again as one unambiguous
//! message, and given to a backend over a kept connection where there is one. What a client or a backend says that can be
//! understood in two ways goes no further.

mod access;
mod answer;
mod asked;
mod asker;
mod body;
mod books;
mod buffer;
mod chance;
mod client;
mod common;
mod connection;
mod counters;
mod exchange;
mod hooks;
mod introduced;
mod key;
mod message;
mod own_answer;
mod pace;
mod page;
mod parts;
mod place;
mod pool;
mod record;
mod relaying;
mod retry;
mod servant;
mod serve;
mod settings;
mod splice;
mod sticky;
mod story;
mod tunnel;
mod upstream;
mod waiting;
mod wire;
mod worker;

use std::{fmt, io, net::TcpListener, sync::Arc};

use lb_core::Balancer;
use tokio::sync::watch;

use self::common::Common;
pub use self::{
    access::{
        AccessFormat, AccessLog, AccessLogError, AccessLogNews, AccessLogSettings, AccessLogs, AccessTo, AccessWriter,
        OpenAccessLogError, UnknownAccessFormat,
    },
    counters::{Cells, Counters},
    hooks::{AnswerView, Hooks, RequestView},
    key::{KeySource, UnknownKeySource},
    message::{
        edit::{Edit, EditError},
        forward::Forward,
        refusal::Reason,
    },
    own_answer::OwnAnswer,
    page::{Page, PageError},
    record::Record,
    settings::{Keep, Limits, Queueing, Retry, Settings, Times},
    sticky::{CookieNameError, Sticky},
};
use crate::{
    connect::{Addresses, Connect, Dialer},
    driver::now,
    listener::{self, Listener},
};
pub use crate::{
    http_stats::{Histogram, HttpStats},
    observe::{NoConnection, Observer},
    proxy_protocol::AcceptProxy,
};

/// An HTTP reverse proxy in front of a balancer's backends.
///
/// Clone it to serve several listeners; all clones share the balancer, the line of those who wait, and the counters.
/// Proxies that were made apart over one balancer are best put [in one line](Self::in_line_with). The balancer needs
/// someone to [`drive`](crate::drive) it.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_core::{Balancer, Config, rand::{SeedableRng, rngs::SmallRng}};
/// use lb_net::{http::HttpProxy, listener};
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
/// let proxy = HttpProxy::new(balancer);
/// tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
///
/// let mut client = tokio::net::TcpStream::connect(front).await?;
/// client.write_all(b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n").await?;
/// let mut backend = server.accept().await?.0;
/// let mut asked = [0; 16];
/// backend.read_exact(&mut asked).await?;
/// assert_eq!(&asked, b"GET / HTTP/1.1\r\n");
/// backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer).await?;
/// assert!(answer.ends_with("\r\n\r\nhello"));
/// # Ok(()) }
/// ```
pub struct HttpProxy<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    balancer: Arc<Balancer<T>>,
    connector: Arc<dyn Connect<T>>,
    settings: Settings,
    seed: Option<u64>,
    observer: Option<Arc<dyn Observer>>,
    hooks: Option<Arc<dyn Hooks>>,
    accept_proxy: Option<AcceptProxy>,
    access_log: Option<AccessLog>,
    common: Common,
}

impl<T> Clone for HttpProxy<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self {
            balancer: Arc::clone(&self.balancer),
            connector: Arc::clone(&self.connector),
            settings: self.settings.clone(),
            seed: self.seed,
            observer: self.observer.clone(),
            hooks: self.hooks.clone(),
            accept_proxy: self.accept_proxy.clone(),
            access_log: self.access_log.clone(),
            common: self.common.clone(),
        }
    }
}

/// What is left to say when a listener has been served.
/// ```
/// # fn show(served: lb_net::http::Served) {
/// println!("{} connections had to be cut", served.cut);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections with a request that was still running when the grace period was over, and were ended.
    pub cut: usize,
}

impl<T: Addresses> HttpProxy<T> {
    /// A proxy with the default settings.
    #[must_use]
    pub fn new(balancer: Arc<Balancer<T>>) -> Self {
        Self::with_connector(balancer, Arc::new(Dialer::default()))
    }
}

impl<T: Send + Sync + 'static> HttpProxy<T> {
    /// A proxy that connects in a way of your own.
    #[must_use]
    pub fn with_connector(balancer: Arc<Balancer<T>>, connector: Arc<dyn Connect<T>>) -> Self {
        let inner = Inner {
            balancer,
            connector,
            settings: Settings::default(),
            seed: None,
            observer: None,
            hooks: None,
            accept_proxy: None,
            access_log: None,
            common: Common::new(now()),
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

    /// The same with someone who is told how clients come to their backends. Of requests tell the access log and
    /// [`Hooks::on_end`].
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.with(|inner| inner.observer = Some(observer))
    }

    /// The same with someone who may look at requests and answers, change them, and answer by themselves.
    #[must_use]
    pub fn with_hooks(self, hooks: Arc<dyn Hooks>) -> Self {
        self.with(|inner| inner.hooks = Some(hooks))
    }

    /// The same, with PROXY headers expected from these peers: their clients are then who asks.
    #[must_use]
    pub fn with_accept_proxy(self, accept: Option<AcceptProxy>) -> Self {
        self.with(|inner| inner.accept_proxy = accept)
    }

    /// The same with a line for each request in this log.
    #[must_use]
    pub fn with_access_log(self, log: Option<AccessLog>) -> Self {
        self.with(|inner| inner.access_log = log)
    }

    /// The same that counts here: for several proxies that count together.
    #[must_use]
    pub fn with_counters(self, counters: Counters) -> Self {
        self.with(|inner| inner.common.counters = counters)
    }

    /// The same in the place of another one: it goes on counting, and over the same balancer those who wait stay in line,
    /// and what has been learned of connecting is known.
    #[must_use]
    pub fn succeeding(self, other: &Self) -> Self {
        let is_same = Arc::ptr_eq(&self.inner.balancer, &other.inner.balancer);
        self.with(|inner| inner.common.succeed(&other.inner.common, is_same))
    }

    /// The same, whose requests wait in one line with those of another one over the same balancer: a place that either
    /// gives back is for who has waited longest. How many of its own may wait, and for how long, its settings say; it
    /// counts, and has its limit of connections, by itself, which a clone has in common with what it was made from.
    /// Over another balancer it stays as it is.
    #[must_use]
    pub fn in_line_with(self, other: &Self) -> Self {
        if !Arc::ptr_eq(&self.inner.balancer, &other.inner.balancer) {
            return self;
        }
        self.with(|inner| inner.common.join(&other.inner.common))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner<T>)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Where it counts.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.common.counters
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> HttpStats {
        self.inner.common.counters.sum()
    }

    /// Serves a listener until `shutdown`: then everybody who has connected is accepted, it is closed, and requests may go
    /// on for the grace period. Dropping the future ends them at once.
    ///
    /// Nobody else comes through its socket any more, not even where a clone of the listener is still open.
    ///
    /// # Errors
    /// When the listener cannot be used any more.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> io::Result<Served> {
        Self::serve_latest(watch::channel(self.clone()).1, listener, shutdown).await
    }

    /// As [`serve`](Self::serve), by the proxy that the channel has at the moment: requests that come from then on are
    /// served by it. The listener stays open meanwhile.
    ///
    /// # Errors
    /// When the listener cannot be used any more.
    pub async fn serve_latest(
        proxies: watch::Receiver<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<Served> {
        // A system without this gives clients out before they have said anything: slower, and all the same.
        let _ = listener::await_bytes(&listener, true);
        Self::serve_on(proxies, Listener::new(listener)?, shutdown).await
    }

    /// The same on a listener that may have to wait for its turn.
    pub(crate) async fn serve_on(
        proxies: watch::Receiver<Self>,
        listener: Listener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<Served> {
        serve::serve(proxies, listener, shutdown).await
    }
}

impl<T> fmt::Debug for HttpProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProxy").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}
