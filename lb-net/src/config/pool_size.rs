//! How large a pool is, in words.

use std::fmt;

use lb_core::Config;

/// How large a pool is.
/// ```
/// use lb_net::config::PoolSize;
/// let config: lb_core::Config = "alpha beta ! spare".parse()?;
/// assert_eq!(PoolSize::from(&config).to_string(), "3 backends in 2 groups");
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSize {
    /// In all groups.
    pub backends: usize,
    /// Those without backends too.
    pub groups: usize,
}

impl From<&Config> for PoolSize {
    fn from(config: &Config) -> Self {
        Self { backends: config.backends().count(), groups: config.groups.len() }
    }
}

impl fmt::Display for PoolSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = |count: usize| if count == 1 { "" } else { "s" };
        let Self { backends, groups } = *self;
        write!(f, "{backends} backend{} in {groups} group{}", ending(backends), ending(groups))
    }
}
