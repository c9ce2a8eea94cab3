//! The HTTP reverse proxy: HTTP/1.0 and 1.1 on both sides.

mod access;
mod answer;
mod asked;
mod body;
mod buffer;
mod chunked;
mod client;
mod connection;
mod counters;
mod cookie;
mod edit;
mod exchange;
mod field;
mod forward;
mod framing;
#[cfg(test)]
mod fuzz;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod head;
mod host;
mod key;
mod own_answer;
mod pace;
mod pool;
mod refusal;
mod relaying;
mod retry;
mod record;
mod retry;
mod settings;
mod splice;
mod sticky;
mod tunnel;
mod upstream;
mod waiting;
mod wire;
mod worker;

use std::{fmt, io, net::TcpListener, sync::Arc};

use lb_core::{
    BackendId, Balancer,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use tokio::{
    sync::watch,
    task::coop::consume_budget,
    time::{Instant, timeout},
};

pub use self::{
    access::{
        AccessFormat, AccessLog, AccessLogError, AccessLogNews, AccessLogSettings, AccessLogs, AccessTo, AccessWriter,
        OpenAccessLogError, UnknownAccessFormat,
    },
    counters::{Cells, Counters},
    edit::{Edit, EditError},
    forward::Forward,
    key::{KeySource, UnknownKeySource},
    refusal::Reason,
    record::Record,
    settings::{Keep, Limits, Queueing, Retry, Settings, Times},
    sticky::{CookieNameError, Sticky},
};
use self::{connection::Connection, worker::Worker};
pub use crate::http_stats::{Histogram, HttpStats};
use crate::{
    connect::{Addresses, Connect, Dialer},
    drain::Sessions,
    driver::now,
    listener::{self, Listener},
    listener::Listener,
    tcp::{AcceptProxy, Observer},
};

/// An HTTP reverse proxy in front of a balancer's backends.
pub struct HttpProxy<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    balancer: Arc<Balancer<T>>,
    connector: Arc<dyn Connect<T>>,
    settings: Settings,
    seed: Option<u64>,
    #[allow(dead_code, reason = "until requests are served")]
    observer: Option<Arc<dyn Observer>>,
    #[allow(dead_code, reason = "until requests are served")]
    accept_proxy: Option<AcceptProxy>,
}

impl<T> Clone for HttpProxy<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Clone for Inner<T> {
    fn clone(&self) -> Self {
        let (balancer, connector) = (Arc::clone(&self.balancer), Arc::clone(&self.connector));
        Self { balancer, connector, settings: self.settings.clone(), seed: self.seed }
        let (settings, observer) = (self.settings.clone(), self.observer.clone());
        Self { balancer, connector, settings, observer, accept_proxy: self.accept_proxy.clone() }
    }
}

/// What is left to say when a listener has been served.
/// ```
/// # fn show(served: lb_net::http::Served) {
/// println!("{} requests had to be cut", served.cut);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Connections with a request that was still running when the grace period was over.
    pub cut: usize,
}

impl<T: Addresses> HttpProxy<T> {
    /// A proxy with the default settings.
    #[must_use]
    pub fn new(balancer: Arc<Balancer<T>>) -> Self {
        Self::with_connector(balancer, Arc::new(Dialer::default().with_late_acknowledgement()))
    }
}

impl<T: Send + Sync + 'static> HttpProxy<T> {
    /// A proxy that connects in a way of your own.
    #[must_use]
    pub fn with_connector(balancer: Arc<Balancer<T>>, connector: Arc<dyn Connect<T>>) -> Self {
        Self { inner: Arc::new(Inner { balancer, connector, settings: Settings::default(), seed: None }) }
        let settings = Settings::default();
        Self { inner: Arc::new(Inner { balancer, connector, settings, observer: None, accept_proxy: None }) }
    }

    /// The same with these settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        Arc::make_mut(&mut self.inner).settings = settings;
        self
    }

    /// The same with someone who is told what happens to clients.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        Arc::make_mut(&mut self.inner).observer = Some(observer);
        self
    }

    /// The same, with PROXY headers expected from these peers: their clients are then who asks.
    #[must_use]
    pub fn with_accept_proxy(mut self, accept: Option<AcceptProxy>) -> Self {
        Arc::make_mut(&mut self.inner).accept_proxy = accept;
        self
    }

    /// The same in the place of another one over the same balancer: its connections and what it has learned go on.
    #[must_use]
    pub fn succeeding(self, _other: &Self) -> Self {
        self
    }

    /// Serves a listener until `shutdown`: then those who wait in its queue are accepted, it is closed, and requests may go
    /// on for the grace period. Dropping the future ends them at once.
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
        // Only a kernel without the option refuses; clients then come before their first bytes.
        let _ = listener::await_bytes(&listener);
        let rng = proxies.borrow().rng();
        let local = listener.local_addr()?;
        let worker = Arc::new(Worker::new(proxies, rng, local));
        let wanted = |id| worker.known().inner.wants(id);
        tokio::select! {
            biased;
            served = accept_all(&worker, listener, shutdown) => served,
            never = Arc::clone(&worker.sweep).run() => match never {},
            never = Arc::clone(&worker.alarms).ring() => match never {},
            never = worker.pool.keep_swept(wanted) => match never {},
        Self::serve_on(proxies, Listener::new(listener)?, shutdown).await
    }

    /// The same on a listener that may have to wait for its turn.
    pub(crate) async fn serve_on(
        proxies: watch::Receiver<Self>,
        mut listener: Listener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<Served> {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(Served { cut: 0 }),
                accepted = listener.accept() => drop((accepted?, &proxies)),
            }
        }
    }

    fn rng(&self) -> SmallRng {
        let seed = self.inner.seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher as _, RandomState};
            RandomState::new().hash_one(now())
        });
        SmallRng::seed_from_u64(seed)
    }
}

impl<T> Inner<T> {
    /// Whether requests may still go to this backend.
    fn wants(&self, id: BackendId) -> bool {
        let _ = id;
        true
    }
}

async fn accept_all<T: Send + Sync + 'static>(
    worker: &Arc<Worker<T>>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<Served> {
    let mut listener = Listener::new(listener)?;
    let mut sessions = Sessions::default();
    let begin = |sessions: &mut Sessions, (client, peer)| {
        worker.follow();
        sessions.spawn(Connection::new(worker, client, peer));
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
    let (grace, stopped) = (worker.known().inner.settings.times.grace, Instant::now());
    let emptied = timeout(grace, async {
        while let Some(accepted) = listener.accept_queued().await? {
            begin(&mut sessions, accepted);
            consume_budget().await;
        }
        io::Result::Ok(())
    });
    emptied.await.unwrap_or(Ok(()))?;
    drop(listener);
    worker.stop();
    Ok(Served { cut: sessions.drain(grace.saturating_sub(stopped.elapsed())).await })
}

impl<T> fmt::Debug for HttpProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProxy").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}
