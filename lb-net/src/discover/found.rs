//! What sources have said last.

use std::{collections::BTreeMap, sync::Arc};

use lb_core::BackendConfig;

use super::{DiscoverError, Source};

/// What each source has said last, and which sources there are: a plain value, kept beside the backends that were made
/// of it. A clone shares the lists.
/// ```
/// use lb_core::BackendConfig;
/// use lb_net::discover::{Found, Source};
/// let source: Source = "web.internal:80".parse()?;
/// let mut found = Found::default();
/// found.set(source.clone(), vec![BackendConfig::new("10.0.0.1:80")]);
/// assert_eq!((found.of(&source).len(), found.sources().count()), (1, 1));
/// # Ok::<(), lb_net::discover::SourceError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(BTreeMap<Source, Arc<[BackendConfig]>>);

impl Found {
    /// What is known of these sources; who is not known yet is looked at, which blocks. So it is for the start, and for
    /// another configuration.
    ///
    /// # Errors
    /// The first source without a good answer.
    pub fn looked(&self, sources: impl IntoIterator<Item = Source>) -> Result<Self, DiscoverError> {
        let look = |source: Source| {
            let known = self.0.get(&source).filter(|known| !known.is_empty()).cloned();
            known.map_or_else(|| source.look().map(Arc::from), Ok).map(|backends| (source, backends))
        };
        sources.into_iter().map(look).collect::<Result<_, _>>().map(Self)
    }

    /// What a source has said; nothing, for one that is not watched or has said nothing yet.
    #[must_use]
    pub fn of(&self, source: &Source) -> &[BackendConfig] {
        self.0.get(source).map(AsRef::as_ref).unwrap_or_default()
    }

    /// Puts in what a source has said. An empty list is a source that is to be watched and has said nothing yet.
    pub fn set(&mut self, source: Source, backends: impl Into<Arc<[BackendConfig]>>) {
        self.0.insert(source, backends.into());
    }

    /// Takes over what another one knows of the sources that are in both.
    pub fn take_over(&mut self, other: &Self) {
        for (source, backends) in &mut self.0 {
            if let Some(known) = other.0.get(source) {
                backends.clone_from(known);
            }
        }
    }

    /// Forgets a source.
    pub fn remove(&mut self, source: &Source) {
        self.0.remove(source);
    }

    /// The sources that there are.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.0.keys()
    }

    pub(super) fn contains(&self, source: &Source) -> bool {
        self.0.contains_key(source)
    }
}
