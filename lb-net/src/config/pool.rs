//! A pool: backends in groups, who chooses among them, and how it is known how they are.

use std::num::NonZeroU16;

use lb_core::{
    BackendConfig, Config, SelectorKind,
    health::{Eject, RiseFall},
};

use super::Time;
use crate::{discover::Source, probe::MonitorSpec};

/// What is known of a backend before its first check.
/// ```
/// assert_eq!(lb_net::config::Initial::default(), lb_net::config::Initial::Unknown);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initial {
    /// Nothing: it gets no work until a check has passed.
    #[default]
    Unknown,
    /// It is taken to be up, as by balance's `-m`.
    Up,
}

/// The checks of a pool, and what is known before the first.
/// ```
/// use lb_net::config::{Initial, Probes};
/// let probes = Probes::new("connect:interval=2".parse()?, Initial::Unknown);
/// assert_eq!(probes.policy().initial, lb_core::Health::Unknown);
/// # Ok::<(), lb_net::probe::MonitorSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Probes {
    spec: MonitorSpec,
    initial: Initial,
}

impl Probes {
    /// These checks.
    #[must_use]
    pub fn new(spec: MonitorSpec, initial: Initial) -> Self {
        Self { spec, initial }
    }

    /// The checks, as `-m` writes them.
    #[must_use]
    pub fn spec(&self) -> &MonitorSpec {
        &self.spec
    }

    /// What is known before the first.
    #[must_use]
    pub fn initial(&self) -> Initial {
        self.initial
    }

    /// How the balancer is to judge what is found.
    #[must_use]
    pub fn policy(&self) -> RiseFall {
        let said = self.spec.policy();
        if self.initial == Initial::Up {
            return said;
        }
        let mut policy = RiseFall::new(said.rise, said.fall).with_intervals(said.interval, said.fast_interval);
        policy.jitter = said.jitter;
        policy
    }
}

/// Why a configuration of the core is no pool.
/// ```
/// use lb_core::{BackendConfig, Config, GroupConfig};
/// use lb_net::config::{Pool, PoolError};
/// let config = Config::default().with_group(GroupConfig::new([BackendConfig::new("a b")]));
/// assert_eq!(Pool::new(config, None, None), Err(PoolError::Backend("a b".to_owned())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The name of a backend is no `host[:port]`.
    #[error("backend '{0}' is not host[:port]")]
    Backend(String),
    /// A time is zero or beyond all measure.
    #[error("{0} is not a time above zero and at most a hundred years")]
    Time(&'static str),
    /// The first period of ejection is longer than the longest.
    #[error("the first period of ejection is longer than the longest one")]
    Periods,
    /// No percentage that admits an ejection.
    #[error("{0} is not a percentage from 1 to 100")]
    Percent(u8),
    /// More clients than are remembered, which is 8.
    #[error("{0} is not a number of clients from 1 to 8")]
    Clients(u32),
    /// Sources of a group that does not exist.
    #[error("there is no group {0}")]
    Group(usize),
    /// A source that a group has already.
    #[error("'{0}' is in the group twice")]
    Twice(Source),
}

/// Backends in groups and what holds for all of them. Services name it; those that share one share its turns, limits and
/// counts.
/// ```
/// use lb_net::config::Pool;
/// let pool = Pool::new("alpha:80:256 ! beta:80".parse()?, None, None)?;
/// assert_eq!(pool.config().groups.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    config: Config,
    /// Those of each group: as many lists as there are groups.
    sources: Vec<Vec<Source>>,
    probes: Option<Probes>,
    port: Option<NonZeroU16>,
    selector: SelectorKind,
    spills: bool,
}

impl Pool {
    /// These groups and policies, these probes (those of the configuration are replaced), and the port of backends that
    /// have none.
    ///
    /// # Errors
    /// What of the configuration nobody can write.
    pub fn new(config: Config, probes: Option<Probes>, port: Option<NonZeroU16>) -> Result<Self, PoolError> {
        for (_, _, backend) in config.backends() {
            if !is_name(&backend.name) {
                return Err(PoolError::Backend(backend.name.clone()));
            }
        }
        if !config.slow_start.is_zero() {
            Time::new(config.slow_start).ok_or(PoolError::Time("slow_start"))?;
        }
        config.ejection.as_ref().map_or(Ok(()), ejection)?;
        let mut config = config;
        config.probes = probes.as_ref().map(Probes::policy);
        let sources = vec![Vec::new(); config.groups.len()];
        Ok(Self { config, sources, probes, port, selector: SelectorKind::default(), spills: false })
    }

    /// With backends of this group from these sources as well, in their order, and files before names.
    ///
    /// # Errors
    /// When there is no such group, or it has one of them already.
    pub fn with_sources(mut self, group: usize, sources: impl IntoIterator<Item = Source>) -> Result<Self, PoolError> {
        let own = self.sources.get_mut(group).ok_or(PoolError::Group(group))?;
        for source in sources {
            if own.contains(&source) {
                return Err(PoolError::Twice(source));
            }
            own.push(source);
        }
        // As they are written. Those of a kind stay as they are.
        own.sort_by_key(|source| !matches!(source, Source::Nodes(_)));
        Ok(self)
    }

    /// With this selector in groups that begin to exist while it runs, and whether those that are set to hash spill over.
    #[must_use]
    pub fn with_new_groups(self, selector: SelectorKind, spills: bool) -> Self {
        let hashes = matches!(selector, SelectorKind::Hash { .. });
        let selector = if hashes { SelectorKind::Hash { spill: spills } } else { selector };
        Self { selector, spills, ..self }
    }

    /// Who chooses in groups that begin to exist while it runs.
    #[must_use]
    pub fn selector(&self) -> SelectorKind {
        self.selector
    }

    /// Whether groups that are set to hash while it runs spill over (balance's `-H`).
    #[must_use]
    pub fn spills(&self) -> bool {
        self.spills
    }

    /// What a balancer takes: the backends that are listed. With those of its sources it is [`expanded`](Self::expanded).
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where backends of a group come from that nobody lists.
    #[must_use]
    pub fn sources(&self, group: usize) -> &[Source] {
        self.sources.get(group).map(Vec::as_slice).unwrap_or_default()
    }

    /// The groups that have sources, and which.
    pub(super) fn all_sources(&self) -> impl Iterator<Item = (usize, &[Source])> {
        let all = self.sources.iter().enumerate().filter(|(_, sources)| !sources.is_empty());
        all.map(|(group, sources)| (group, sources.as_slice()))
    }

    /// What a monitor takes.
    #[must_use]
    pub fn probes(&self) -> Option<&Probes> {
        self.probes.as_ref()
    }

    /// The port of backends that have none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port.map(NonZeroU16::get)
    }

    /// The first backend that has no port of its own.
    pub(super) fn portless(&self) -> Option<&BackendConfig> {
        let mut all = self.config.groups.iter().flat_map(|group| &group.backends);
        all.find(|backend| backend.host_and_port().1.is_none())
    }

    /// The first source that may have such a backend.
    pub(super) fn portless_source(&self) -> Option<&Source> {
        self.sources.iter().flatten().find(|source| source.may_lack_ports())
    }
}

/// Whether a text is a backend's `host[:port]` and nothing else.
pub(super) fn is_name(text: &str) -> bool {
    text.parse().is_ok_and(|read: BackendConfig| read.name == text)
        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == ',')
        && !text.contains("://")
}

fn ejection(eject: &Eject) -> Result<(), PoolError> {
    let times = [("period", Some(eject.period)), ("longest", Some(eject.longest))];
    let window = ("window", eject.request_failures.map(|rule| rule.window));
    for (name, time) in times.into_iter().chain([window]) {
        time.map_or(Ok(()), |time| Time::new(time).map(|_| ()).ok_or(PoolError::Time(name)))?;
    }
    let clients = eject.request_failures.map_or(1, |rule| rule.clients.get());
    match eject {
        _ if eject.period > eject.longest => Err(PoolError::Periods),
        _ if !(1..=100).contains(&eject.most_percent) => Err(PoolError::Percent(eject.most_percent)),
        _ if clients > 8 => Err(PoolError::Clients(clients)),
        _ => Ok(()),
    }
}
