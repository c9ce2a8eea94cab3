//! Names are asked for again, beside the traffic: a backend that moved is found without a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout_at},
};

use super::{Endpoint, Lookup, ResolveError, lookup, some};
use crate::{asking::ask, driver::later};

/// The shortest time between two rounds that nobody asked for.
pub(crate) const LEAST: Duration = Duration::from_millis(100);

/// Keeps the addresses of names fresh.
///
/// It asks in threads of its own, which end with each round: a name server that does not answer delays neither the
/// traffic nor the end of the program.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_core::{Balancer, Config, rand::{SeedableRng, rngs::SmallRng}};
/// use lb_net::resolve::{Endpoint, Refresher};
/// use std::{sync::Arc, time::{Duration, Instant}};
/// let config: Config = "localhost:8001 127.0.0.1:8002".parse()?;
/// let mut rng = SmallRng::seed_from_u64(1);
/// let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, |backend| {
///     let (host, port) = backend.host_and_port();
///     Endpoint::with_addresses(host, port.and_then(|port| port.parse().ok()).unwrap_or(80), Vec::new())
/// }));
/// let refresher = Refresher::default().with_every(Duration::from_secs(30));
/// refresher.now().notify_one(); // as SIGHUP does
/// tokio::spawn(refresher.run(
///     move || {
///         let mut all = Vec::new();
///         balancer.for_each(|_, endpoint| all.push(endpoint.clone()));
///         all
///     },
///     |news| println!("{news}"),
/// ));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Refresher {
    every: Duration,
    lookup: Arc<Lookup>,
    now: Arc<Notify>,
}

/// What a round brought to light; its text is fit for a log.
/// ```
/// # fn f(news: lb_net::resolve::Refreshed<'_>) {
/// use lb_net::resolve::Refreshed;
/// if let Refreshed::Changed { endpoint, before } = &news {
///     println!("{endpoint} had {} addresses and has {}", before.len(), endpoint.addresses().len());
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Refreshed<'a> {
    /// A backend has other addresses from now on.
    Changed {
        /// Which one; its addresses are the new ones.
        endpoint: &'a Endpoint,
        /// The old ones.
        before: Arc<[SocketAddr]>,
    },
    /// A name got no answer: its last good addresses stay. Said once, until it is known again.
    Failed {
        /// The name and the cause.
        error: ResolveError,
    },
    /// A name that got no answer has one again.
    Known {
        /// The name.
        host: &'a str,
    },
}

impl Default for Refresher {
    /// Every 30 s, with the system's resolver.
    fn default() -> Self {
        Self { every: Duration::from_secs(30), lookup: Arc::new(lookup), now: Arc::default() }
    }
}

impl Refresher {
    /// With a round every so often, from the end of one to the begin of the next; not below 100 ms.
    #[must_use]
    pub fn with_every(self, every: Duration) -> Self {
        Self { every: every.max(LEAST), ..self }
    }

    /// With a way of your own to find a host's addresses. It may block.
    #[must_use]
    pub fn with_lookup(self, lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), ..self }
    }

    /// With this one to tell in place of its own: it may be there before and after.
    #[must_use]
    pub fn with_now(self, now: Arc<Notify>) -> Self {
        Self { now, ..self }
    }

    /// Told to have the next round at once.
    #[must_use]
    pub fn now(&self) -> Arc<Notify> {
        Arc::clone(&self.now)
    }

    /// Has one round after the other, for as long as it is polled; the first is due after the time between two.
    ///
    /// `endpoints` is called at the begin of each round, so that it finds who was added or removed meanwhile. A host that
    /// several have is asked for once, a numeric one never: while all are numeric it sleeps until it is told
    /// [`now`](Self::now), as it should be when backends were added.
    pub async fn run<S, F>(self, mut endpoints: S, mut on_news: F)
    where
        S: FnMut() -> Vec<Endpoint> + Send,
        F: FnMut(Refreshed<'_>) + Send,
    {
        let mut failing = BTreeSet::new();
        loop {
            if endpoints().iter().all(Endpoint::is_numeric) {
                self.now.notified().await;
            } else {
                // An error is the time's passing.
                let _ = timeout_at(later(Instant::now(), self.every), self.now.notified()).await;
            }
            let mut hosts: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
            for endpoint in endpoints().into_iter().filter(|endpoint| !endpoint.is_numeric()) {
                hosts.entry(endpoint.host().to_owned()).or_default().push(endpoint);
            }
            failing.retain(|host| hosts.contains_key(host));
            let (sender, mut answers) = mpsc::unbounded_channel();
            let lookup = Arc::clone(&self.lookup);
            ask(hosts.keys().cloned().collect(), &sender, move |host: &String| lookup(host));
            // What is left of it is with the threads: it ends with the last answer.
            drop(sender);
            while let Some((host, answer)) = answers.recv().await {
                let known = hosts.get(&host).map(Vec::as_slice).unwrap_or_default();
                note(known, host, answer, &mut failing, &mut on_news);
            }
        }
    }
}

/// Puts one answer into force and says what is new about it.
fn note(
    endpoints: &[Endpoint],
    host: String,
    answer: io::Result<Vec<IpAddr>>,
    failing: &mut BTreeSet<String>,
    on_news: &mut impl FnMut(Refreshed<'_>),
) {
    match answer.and_then(some) {
        Err(error) if failing.contains(&host) => drop(error),
        Err(error) => {
            failing.insert(host.clone());
            on_news(Refreshed::Failed { error: ResolveError::Host(host, error) });
        }
        Ok(ips) => {
            if failing.remove(&host) {
                on_news(Refreshed::Known { host: &host });
            }
            for endpoint in endpoints {
                let before = endpoint.addresses();
                if endpoint.set_ips(&ips) {
                    on_news(Refreshed::Changed { endpoint, before });
                }
            }
        }
    }
}

impl fmt::Display for Refreshed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { endpoint, .. } => {
                let now: Vec<_> = endpoint.addresses().iter().map(|address| address.ip().to_string()).collect();
                write!(f, "{endpoint}: the address is now {}", now.join(", "))
            }
            Self::Failed { error } => {
                write!(f, "{error}")?;
                if let Some(cause) = std::error::Error::source(error) {
                    write!(f, ": {cause}")?;
                }
                write!(f, "; its last known addresses stay in use")
            }
            Self::Known { host } => write!(f, "host '{host}' is known again"),
        }
    }
}

impl fmt::Debug for Refresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresher").field("every", &self.every).finish_non_exhaustive()
    }
}
