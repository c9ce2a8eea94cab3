//! What looks bring to light.

use std::{collections::HashSet, fmt};

use lb_core::BackendConfig;

use super::{DiscoverError, Source};

/// What a look brought to light; its text is fit for a log.
/// ```
/// # fn f(news: lb_net::discover::Discovered<'_>) {
/// use lb_net::discover::Discovered;
/// if let Discovered::Changed { source, before, backends } = &news {
///     println!("{source} had {} backends and has {}", before.len(), backends.len());
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Discovered<'a> {
    /// A source has another list.
    Changed {
        /// Which one.
        source: &'a Source,
        /// What it had before.
        before: &'a [BackendConfig],
        /// What it has now: one at least.
        backends: Vec<BackendConfig>,
    },
    /// A source has no good answer: its last good list stays. Said once, until it has one; of a file also when something
    /// else is wrong with it.
    Failed {
        /// Which one.
        source: &'a Source,
        /// Why.
        error: DiscoverError,
    },
    /// A source that had no good answer has one again.
    Known {
        /// Which one.
        source: &'a Source,
    },
}

impl fmt::Display for Discovered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { source, before, backends } => {
                let names = |all: &[BackendConfig]| all.iter().map(|one| one.name.clone()).collect::<HashSet<_>>();
                let (old, new) = (names(before), names(backends));
                let (more, less) = (new.difference(&old).count(), old.difference(&new).count());
                let word = if backends.len() == 1 { "backend" } else { "backends" };
                write!(f, "{source}: {} {word} now: {more} added, {less} removed", backends.len())
            }
            Self::Failed { error, .. } => write!(f, "{}; the last good list stays in use", error.chain()),
            Self::Known { source } => write!(f, "{source}: there is a good list again"),
        }
    }
}
