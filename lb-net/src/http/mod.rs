//! The HTTP reverse proxy: HTTP/1.0 and 1.1 on both sides.

#[allow(dead_code, reason = "until the exchange uses it")]
mod chunked;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod edit;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod field;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod forward;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod framing;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod head;
#[allow(dead_code, unused_imports, reason = "until the exchange uses it")]
mod host;
mod key;
mod pool;
mod settings;
mod sticky;

use std::{fmt, io, net::TcpListener, sync::Arc};

use lb_core::Balancer;
use tokio::sync::watch;

pub use self::{
    edit::{Edit, EditError},
    forward::Forward,
    key::{KeySource, UnknownKeySource},
    refusal::Reason,
    settings::{Keep, Limits, Queueing, Retry, Settings, Times},
    sticky::{CookieNameError, Sticky},
};
use crate::{
    connect::{Addresses, Connect, Dialer},
    listener::Listener,
};

/// An HTTP reverse proxy in front of a balancer's backends.
pub struct HttpProxy<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    balancer: Arc<Balancer<T>>,
    connector: Arc<dyn Connect<T>>,
    settings: Settings,
}

impl<T> Clone for HttpProxy<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Clone for Inner<T> {
    fn clone(&self) -> Self {
        let (balancer, connector) = (Arc::clone(&self.balancer), Arc::clone(&self.connector));
        Self { balancer, connector, settings: self.settings.clone() }
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
        Self { inner: Arc::new(Inner { balancer, connector, settings: Settings::default() }) }
    }

    /// The same with these settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        Arc::make_mut(&mut self.inner).settings = settings;
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
        let mut listener = Listener::new(listener)?;
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(Served { cut: 0 }),
                accepted = listener.accept() => drop((accepted?, &proxies)),
            }
        }
    }
}

impl<T> fmt::Debug for HttpProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { balancer: _, connector: _, settings } = &*self.inner;
        f.debug_struct("HttpProxy").field("settings", settings).finish_non_exhaustive()
    }
}
