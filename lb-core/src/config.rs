//! A valid description of groups and policies.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    BackendId, Selector, Status,
    health::{Eject, RiseFall},
    selector::{BucketFill, Hash, LeastLoaded, Metric, Random, RoundRobin},
};

/// Groups in the order they are asked, and the policies for all of them. Every value is valid.
///
/// Written as balance writes it, or put together:
/// ```
/// use lb_core::{BackendConfig, Config, GroupConfig};
/// let written: Config = "alpha::256 ! beta".parse()?;
/// let made = Config::default()
///     .with_group(GroupConfig::new([BackendConfig::new("alpha").with_limit(256)]))
///     .with_group(GroupConfig::new([BackendConfig::new("beta")]));
/// assert_eq!(made.groups, written.groups);
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The groups; the first that has a backend for a request takes it.
    pub groups: Vec<GroupConfig>,
    /// Whose turn is first.
    pub start: Start,
    /// For how long a backend that joins or recovers gets a growing share; zero for the whole share at once.
    ///
    /// If all backends say DOWN after they were up, the first that comes back would get what was too much for all. With a
    /// slow start only a share of all requests is let in then: half, growing by as much as a slow start grows, and half as
    /// much for each backend that says DOWN meanwhile, until it is all again. The others have no pick:
    /// [`NoPick::Recovering`](crate::NoPick::Recovering). A longer slow start means fewer changes.
    pub slow_start: Duration,
    /// How probes are judged. Without it every backend starts up.
    pub probes: Option<RiseFall>,
    /// How traffic is judged. Without it nobody is ejected.
    pub ejection: Option<Eject>,
    /// Whether one failed connect takes a backend down until it is enabled (balance's `-a`).
    pub autodisable: bool,
}

/// Where turns begin.
/// ```
/// use lb_core::{Config, Start};
/// assert_eq!(Config::default().start, Start::Random);
/// assert_eq!("alpha beta".parse::<Config>()?.start, Start::First, "as balance does");
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Anywhere, so that balancers that start together do not meet at the first backend.
    #[default]
    Random,
    /// At the first backend.
    First,
}

/// Backends in order, and who chooses among them.
/// ```
/// use lb_core::{BackendConfig, GroupConfig, SelectorKind};
/// let group = GroupConfig::new(["alpha", "beta"].map(BackendConfig::new))
///     .with_selector(SelectorKind::Hash { spill: false });
/// assert_eq!(group.backends.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupConfig {
    /// Who chooses.
    pub selector: SelectorKind,
    /// The backends, in order.
    pub backends: Vec<BackendConfig>,
}

/// One backend as configured.
/// ```
/// use lb_core::BackendConfig;
/// let backend = BackendConfig::new("alpha:80").with_limit(256).with_weight(3);
/// assert_eq!((backend.name.as_str(), backend.limit, backend.weight), ("alpha:80", Some(256), 3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendConfig {
    /// Its name as written, `host[:port]` in lb's own configurations. It makes the [`BackendId`].
    pub name: String,
    /// Requests at a time; `None` for any number, 0 for none.
    pub limit: Option<u32>,
    /// Its share relative to the others of its group, 0 for only what is pinned to it.
    pub weight: u16,
    /// What it starts as; later what people order.
    pub status: Status,
}

/// The built-in selectors, by name.
/// ```
/// use lb_core::SelectorKind;
/// let kind: SelectorKind = "least-loaded".parse()?;
/// assert_eq!(kind.to_string(), "least-loaded");
/// let error = "fastest".parse::<SelectorKind>().unwrap_err().to_string();
/// assert!(error.starts_with("unknown selector 'fastest': one of round-robin, "));
/// # Ok::<(), lb_core::UnknownSelector>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectorKind {
    /// [`RoundRobin`]
    #[default]
    RoundRobin,
    /// [`LeastLoaded`]
    LeastLoaded(Metric),
    /// [`Random`]
    Random,
    /// [`Hash`](struct@Hash)
    Hash {
        /// Whether another backend of the group takes over when the owner of a key cannot (balance's `-H`).
        spill: bool,
    },
    /// [`BucketFill`]
    BucketFill,
}

/// A word that names no selector.
/// ```
/// assert!("".parse::<lb_core::SelectorKind>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown selector '{0}': one of round-robin, least-loaded, peak-ewma, random, hash, bucket-fill")]
pub struct UnknownSelector(pub String);

impl SelectorKind {
    /// Every kind with every setting, to try them all.
    pub const ALL: [Self; 7] = [
        Self::RoundRobin,
        Self::LeastLoaded(Metric::InFlight),
        Self::LeastLoaded(Metric::PeakEwma),
        Self::Random,
        Self::Hash { spill: false },
        Self::Hash { spill: true },
        Self::BucketFill,
    ];

    pub(crate) fn sees_latency(self) -> bool {
        self == Self::LeastLoaded(Metric::PeakEwma)
    }

    /// A selector of this kind that has no group yet; turns begin at `phase`.
    pub(crate) fn build(self, phase: u64) -> Box<dyn Selector> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::starting_at(phase)),
            Self::LeastLoaded(metric) => Box::new(LeastLoaded::new(metric)),
            Self::Random => Box::new(Random::default()),
            Self::Hash { spill: true } => Box::new(Hash::new().spilling()),
            Self::Hash { spill: false } => Box::new(Hash::new()),
            Self::BucketFill => Box::new(BucketFill),
        }
    }
}

impl fmt::Display for SelectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded(Metric::InFlight) => "least-loaded",
            Self::LeastLoaded(Metric::PeakEwma) => "peak-ewma",
            Self::Random => "random",
            Self::Hash { .. } => "hash",
            Self::BucketFill => "bucket-fill",
        })
    }
}

impl FromStr for SelectorKind {
    type Err = UnknownSelector;
    fn from_str(word: &str) -> Result<Self, UnknownSelector> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == word).ok_or_else(|| UnknownSelector(word.to_owned()))
    }
}

impl Config {
    /// With one more group behind the others.
    #[must_use]
    pub fn with_group(mut self, group: GroupConfig) -> Self {
        self.groups.push(group);
        self
    }

    /// With turns that begin there.
    #[must_use]
    pub fn with_start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// With this time for a backend to reach its whole share.
    #[must_use]
    pub fn with_slow_start(self, slow_start: Duration) -> Self {
        Self { slow_start, ..self }
    }

    /// With probes judged so.
    #[must_use]
    pub fn with_probes(self, probes: RiseFall) -> Self {
        Self { probes: Some(probes), ..self }
    }

    /// With traffic judged so.
    #[must_use]
    pub fn with_ejection(self, ejection: Eject) -> Self {
        Self { ejection: Some(ejection), ..self }
    }

    /// With a backend taken down by one failed connect until it is enabled (balance's `-a`).
    #[must_use]
    pub fn with_autodisable(self) -> Self {
        Self { autodisable: true, ..self }
    }

    /// All backends in order, with their ids and the number of their group.
    pub fn backends(&self) -> impl Iterator<Item = (BackendId, usize, &BackendConfig)> {
        let mut seen: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        let all = self.groups.iter().enumerate().flat_map(|(at, group)| group.backends.iter().map(move |b| (at, b)));
        all.map(move |(group, backend)| {
            let occurrence = seen.entry(&backend.name).or_default();
            *occurrence += 1;
            (BackendId::new(&backend.name, *occurrence - 1), group, backend)
        })
    }
}

impl GroupConfig {
    /// These backends, in turn.
    #[must_use]
    pub fn new(backends: impl IntoIterator<Item = BackendConfig>) -> Self {
        Self { selector: SelectorKind::default(), backends: backends.into_iter().collect() }
    }

    /// With this selector.
    #[must_use]
    pub fn with_selector(self, selector: SelectorKind) -> Self {
        Self { selector, ..self }
    }
}

impl BackendConfig {
    /// A backend of this name: no limit, weight 1, enabled.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), limit: None, weight: 1, status: Status::Enabled }
    }

    /// With this many requests at a time; at 0 it gets none at all.
    #[must_use]
    pub fn with_limit(self, limit: u32) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// With this share relative to the others of its group; at 0 it gets only what is pinned to it.
    #[must_use]
    pub fn with_weight(self, weight: u16) -> Self {
        Self { weight, ..self }
    }

    /// With this status to start with.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        Self { status, ..self }
    }
}
