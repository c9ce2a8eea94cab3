//! The model: pools, services, and what holds for the whole process.

use std::{collections::BTreeMap, fmt};

use super::{Control, Http, Listen, Name, Pool, Sessions, Time, UserName, Workers};
use crate::discover::Source;

/// What a service does with its clients.
/// ```
/// assert_eq!(lb_net::config::Role::default(), lb_net::config::Role::Tcp);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Each connection goes to a backend of its pool.
    #[default]
    Tcp,
    /// Each request goes to a backend of its pool.
    Http,
}

/// Where clients come to, and what happens to them.
/// ```
/// use lb_net::config::{Service, Sessions};
/// let service = Service::new("80".parse()?, "web".parse()?, Sessions::default());
/// assert_eq!(service.listen().len(), 1);
/// # Ok::<(), lb_net::config::WordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    listen: Vec<Listen>,
    pool: Name,
    sessions: Sessions,
    /// Of role http only.
    http: Option<Box<Http>>,
}

impl Service {
    /// A service that balances TCP connections over a pool.
    #[must_use]
    pub fn new(listen: Listen, pool: Name, sessions: Sessions) -> Self {
        Self { listen: vec![listen], pool, sessions, http: None }
    }

    /// The same for HTTP requests. How long nothing may move is said there: the idle timeout of sessions is not its own.
    #[must_use]
    pub fn with_http(mut self, http: Http) -> Self {
        self.sessions.idle_timeout = None;
        Self { http: Some(Box::new(http)), ..self }
    }

    /// That listens here as well.
    #[must_use]
    pub fn with_listen(mut self, listen: Listen) -> Self {
        self.listen.push(listen);
        self
    }

    /// What it does.
    #[must_use]
    pub fn role(&self) -> Role {
        if self.http.is_some() { Role::Http } else { Role::Tcp }
    }

    /// Where it listens: one place at least.
    #[must_use]
    pub fn listen(&self) -> &[Listen] {
        &self.listen
    }

    /// Where its backends are.
    #[must_use]
    pub fn pool(&self) -> &Name {
        &self.pool
    }

    /// How its sessions behave: its own settings and what it has inherited.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How its requests are balanced: its own settings and what it has inherited; `None` of role tcp.
    #[must_use]
    pub fn http(&self) -> Option<&Http> {
        self.http.as_deref()
    }
}

/// Where events go.
/// ```
/// assert_eq!(lb_net::config::LogTo::default(), lb_net::config::LogTo::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogTo {
    /// To stderr in the foreground, to syslog from the background.
    #[default]
    Auto,
    /// To stderr.
    Stderr,
    /// To syslog.
    Syslog,
}

/// How events are written.
/// ```
/// assert_eq!(lb_net::config::LogFormat::default(), lb_net::config::LogFormat::Human);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Human,
    /// A JSON object.
    Json,
}

/// What is told of what happens.
/// ```
/// assert!(!lb_net::config::Log::default().trace);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// Where to.
    pub to: LogTo,
    /// How.
    pub format: LogFormat,
    /// Each decision as well (`-d`).
    pub trace: bool,
    /// On stdout, what passes (`-p`).
    pub dump: bool,
}

/// The process as a whole.
/// ```
/// assert_eq!(lb_net::config::Process::default().workers, None, "as many as there are cores, at most 4");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Who it becomes once it listens (`--user`); `None`: who it is.
    pub user: Option<UserName>,
    /// Threads, each of which serves all services (`--workers`); `None`: as many as there are cores, at most 4.
    pub workers: Option<Workers>,
    /// How often host names are asked for again, those of backends and those whose addresses are backends
    /// (`--resolve-every`, which is 30 s by default); `None` is never.
    pub resolve_every: Option<Time>,
}

impl Default for Process {
    fn default() -> Self {
        Self { user: None, workers: None, resolve_every: Some(Time::from_millis(2_000)) }
    }
}

/// Why a pool or service does not fit in. `path` says where, as keys from the top of the file: `services`, `www`, `pool`.
/// ```
/// use lb_net::config::{Model, Service, Sessions};
/// let service = Service::new("80".parse()?, "wbe".parse()?, Sessions::default());
/// let error = Model::default().with_service("www".parse()?, service).unwrap_err();
/// assert_eq!(error.to_string(), "there is no pool 'wbe'");
/// assert_eq!(error.path, ["services", "www", "pool"]);
/// # Ok::<(), lb_net::config::WordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// Where.
    pub path: Vec<String>,
    /// What and why.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

/// Everything that one `lb` does, as a value. Every value is valid: each service has a pool, each backend a port, and no
/// two services listen at the same place.
/// ```
/// use lb_net::config::{Model, Pool, Service, Sessions};
/// let model = Model::default()
///     .with_pool("web".parse()?, Pool::new("alpha beta".parse()?, None, None)?)?
///     .with_service("www".parse()?, Service::new("80".parse()?, "web".parse()?, Sessions::default()))?;
/// assert_eq!(model.port_of("web"), Some(80), "as on balance's command line");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pools: BTreeMap<Name, Pool>,
    services: BTreeMap<Name, Service>,
    defaults: Sessions,
    http_defaults: Http,
    log: Log,
    control: Control,
    process: Process,
}

impl Model {
    /// With these settings for what services say nothing about, and for checks: of these their connections have the
    /// timeout and the source. A [`Service`] has inherited already.
    #[must_use]
    pub fn with_defaults(self, defaults: Sessions) -> Self {
        Self { defaults, ..self }
    }

    /// With these settings for what services of role http say nothing about. A [`Service`] has inherited already.
    #[must_use]
    pub fn with_http_defaults(self, http_defaults: Http) -> Self {
        Self { http_defaults, ..self }
    }

    /// With this log.
    #[must_use]
    pub fn with_log(self, log: Log) -> Self {
        Self { log, ..self }
    }

    /// With this control.
    #[must_use]
    pub fn with_control(self, control: Control) -> Self {
        Self { control, ..self }
    }

    /// With this process.
    #[must_use]
    pub fn with_process(self, process: Process) -> Self {
        Self { process, ..self }
    }

    /// With one more pool.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn with_pool(mut self, name: Name, pool: Pool) -> Result<Self, Invalid> {
        self.add_pool(name, pool).map(|()| self)
    }

    /// Takes one more pool in.
    ///
    /// # Errors
    /// When there is one of that name; nothing is changed then.
    pub fn add_pool(&mut self, name: Name, pool: Pool) -> Result<(), Invalid> {
        if self.pools.contains_key(&name) {
            return Err(invalid(["pools", name.as_str()], format!("there is another pool '{name}'")));
        }
        self.pools.insert(name, pool);
        Ok(())
    }

    /// With one more service.
    ///
    /// # Errors
    /// As [`add_service`](Self::add_service).
    pub fn with_service(mut self, name: Name, service: Service) -> Result<Self, Invalid> {
        self.add_service(name, service).map(|()| self)
    }

    /// Takes one more service in.
    ///
    /// # Errors
    /// When there is one of that name or at that place, its pool does not exist, a backend of it has no port, or may
    /// come without one, or backends are to be told of clients in a way that its role does not have; nothing is changed
    /// then.
    pub fn add_service(&mut self, name: Name, service: Service) -> Result<(), Invalid> {
        let at = |key: &str| ["services".to_owned(), name.to_string(), key.to_owned()];
        if self.services.contains_key(&name) {
            return Err(invalid(["services", name.as_str()], format!("there is another service '{name}'")));
        }
        let Some(pool) = self.pools.get(service.pool()) else {
            return Err(invalid(at("pool"), format!("there is no pool '{}'", service.pool())));
        };
        for (number, listen) in service.listen().iter().enumerate() {
            if let Some(other) = self.listening(listen, &name, &service.listen()[..number]) {
                let path = at("listen").into_iter().chain([number.to_string()]);
                return Err(invalid(path, format!("service '{other}' listens on {listen} already")));
            }
        }
        self.ported(pool, &service).map_err(|message| invalid(at("pool"), message))?;
        if service.role() == Role::Http && service.sessions().send_proxy.is_some() {
            let message = "send_proxy is for role tcp: of role http a backend connection serves one client after the \
                           other, and each request says who it is from in X-Forwarded-For: send_proxy = \"off\"";
            return Err(invalid(at("send_proxy"), message.to_owned()));
        }
        self.services.insert(name, service);
        Ok(())
    }

    /// Who listens there: the service of this name at these places, or another one.
    fn listening<'a>(&'a self, place: &Listen, name: &'a Name, own: &[Listen]) -> Option<&'a Name> {
        let mine = own.contains(place).then_some(name);
        let others = || self.services.iter().find(|(_, other)| other.listen().contains(place));
        mine.or_else(|| others().map(|(name, _)| name))
    }

    /// Whether each backend of a pool has a port once this service uses it, or else why not.
    fn ported(&self, pool: &Pool, service: &Service) -> Result<(), String> {
        let mut ports = self.ports(service.pool().as_str()).chain(service.listen().iter().map(Listen::port));
        let first = ports.next();
        if pool.port().is_some() || ports.all(|port| Some(port) == first) {
            return Ok(());
        }
        let (name, port) = (service.pool(), first.unwrap_or(80));
        let told = |who: String| {
            Err(format!("{who}, and its services listen on different ones; give it one, or the pool: port = {port}"))
        };
        match (pool.portless(), pool.portless_source()) {
            (Some(backend), _) => told(format!("backend '{}' of pool '{name}' has no port", backend.name)),
            (None, Some(Source::Dns(dns))) => told(format!("dns '{dns}' of pool '{name}' has no port")),
            (None, Some(source)) => Err(format!(
                "a line of {source} of pool '{name}' may have no port, and its services listen on different ones; give \
                 the pool one: port = {port}"
            )),
            (None, None) => Ok(()),
        }
    }

    /// The pools by name.
    #[must_use]
    pub fn pools(&self) -> &BTreeMap<Name, Pool> {
        &self.pools
    }

    /// The services by name.
    #[must_use]
    pub fn services(&self) -> &BTreeMap<Name, Service> {
        &self.services
    }

    /// With those pools replaced that `other` has something for: what runs of them, say.
    #[cfg(feature = "instance")]
    pub(crate) fn with_pools_as(&self, other: impl Fn(&Name) -> Option<Pool>) -> Self {
        let mut model = self.clone();
        for (name, pool) in &mut model.pools {
            if let Some(other) = other(name) {
                *pool = other;
            }
        }
        model
    }

    /// What services inherit.
    #[must_use]
    pub fn defaults(&self) -> &Sessions {
        &self.defaults
    }

    /// What services of role http inherit besides.
    #[must_use]
    pub fn http_defaults(&self) -> &Http {
        &self.http_defaults
    }

    /// What is told of what happens.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log
    }

    /// Where services are controlled.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The process as a whole.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The port of a pool's backends that have none: its own, or the one that all of its services listen on. `None` when
    /// nobody uses it, or no backend needs it.
    #[must_use]
    pub fn port_of(&self, pool: &str) -> Option<u16> {
        let known = self.pools.get(pool)?;
        known.port().or_else(|| self.ports(pool).next())
    }

    /// Where the backends of its pools come from that nobody lists; of those that services use.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let is_used = |name: &Name| self.services.values().any(|service| service.pool() == name);
        let used = self.pools.iter().filter(move |(name, _)| is_used(name));
        used.flat_map(|(_, pool)| pool.all_sources().flat_map(|(_, sources)| sources))
    }

    fn ports<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = u16> + 'a {
        let using = self.services.values().filter(move |service| service.pool().as_str() == pool);
        using.flat_map(|service| service.listen()).map(Listen::port)
    }
}

fn invalid(path: impl IntoIterator<Item = impl Into<String>>, message: String) -> Invalid {
    Invalid { path: path.into_iter().map(Into::into).collect(), message }
}
