//! Names are asked for again, beside the traffic: a backend that moved is found without a restart.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{Endpoint, Lookup, ResolveError, lookup, some};
use crate::{asking::ask, driver::later};

/// The shortest time between two rounds that nobody asked for.
pub(crate) const LEAST: Duration = Duration::from_millis(100);

/// Keeps the addresses of names fresh.
///
/// It asks in threads of its own, which end with each round: a name server that does not answer delays neither the
/// traffic nor the other names nor the end of the program.
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
    /// With a round every so often; not below 100 ms. A name that is still being asked for is left out of it.
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

    /// Told to have the next round at once. A name that is still being asked for is asked for once more then.
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
        let (sender, mut answers) = mpsc::unbounded_channel();
        let mut names = Names { lookup: self.lookup, sender, asked: BTreeMap::new(), failing: BTreeSet::new() };
        let (mut known, mut due) = (by_host(endpoints()), later(Instant::now(), self.every));
        loop {
            let is_told = tokio::select! {
                Some((host, answer)) = answers.recv() => {
                    names.note(host, answer, &known, &mut on_news);
                    continue;
                }
                () = self.now.notified() => true,
                () = sleep_until(due), if !known.is_empty() => false,
            };
            known = by_host(endpoints());
            names.begin(&known, is_told);
            due = later(Instant::now(), self.every);
        }
    }
}

/// Those whose hosts are names.
type Known = BTreeMap<String, Vec<Endpoint>>;

fn by_host(endpoints: Vec<Endpoint>) -> Known {
    let mut hosts = Known::new();
    for endpoint in endpoints.into_iter().filter(|endpoint| !endpoint.is_numeric()) {
        hosts.entry(endpoint.host().to_owned()).or_default().push(endpoint);
    }
    hosts
}

/// The names that are asked for.
struct Names {
    lookup: Arc<Lookup>,
    sender: mpsc::UnboundedSender<(String, io::Result<Vec<IpAddr>>)>,
    /// Those that have no answer yet, and whether they are to be asked for once more.
    asked: BTreeMap<String, bool>,
    failing: BTreeSet<String>,
}

impl Names {
    /// A round.
    fn begin(&mut self, known: &Known, is_told: bool) {
        self.failing.retain(|host| known.contains_key(host));
        let mut questions = Vec::new();
        for host in known.keys() {
            match self.asked.entry(host.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(false);
                    questions.push(host.clone());
                }
                // Its answer may be from before.
                Entry::Occupied(mut entry) => *entry.get_mut() |= is_told,
            }
        }
        self.ask(questions);
    }

    fn ask(&self, hosts: Vec<String>) {
        let lookup = Arc::clone(&self.lookup);
        ask(hosts, &self.sender, move |host: &String| lookup(host));
    }

    /// Puts one answer into force and says what is new about it.
    fn note(
        &mut self,
        host: String,
        answer: io::Result<Vec<IpAddr>>,
        known: &Known,
        on_news: &mut impl FnMut(Refreshed<'_>),
    ) {
        let is_asked_again = self.asked.remove(&host) == Some(true);
        // It may have gone meanwhile.
        let Some((name, endpoints)) = known.get_key_value(&host) else { return };
        match answer.and_then(some) {
            Err(error) => {
                if self.failing.insert(host.clone()) {
                    on_news(Refreshed::Failed { error: ResolveError::Host(host, error) });
                }
            }
            Ok(ips) => {
                if self.failing.remove(&host) {
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
        if is_asked_again {
            self.asked.insert(name.clone(), false);
            self.ask(vec![name.clone()]);
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
