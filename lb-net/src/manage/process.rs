//! The whole process as a control session sees it: its services, its pools, and the file that they are from.

use std::sync::Arc;

use super::{Fleet, HttpStats};

/// One service of a process.
/// ```
/// use lb_net::manage::ServiceState;
/// let service = ServiceState::new("www", "web", vec!["0.0.0.0:80".to_owned()]);
/// assert_eq!(service.pool, "web");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceState {
    /// What the configuration calls it.
    pub name: String,
    /// The pool that its clients go to.
    pub pool: String,
    /// Where it listens, as the system says.
    pub listen: Vec<String>,
    /// What is counted of it, if it is one that balances HTTP requests.
    pub http: Option<HttpStats>,
}

impl ServiceState {
    /// A service of this name over this pool, which listens there.
    pub fn new(name: impl Into<String>, pool: impl Into<String>, listen: Vec<String>) -> Self {
        Self { name: name.into(), pool: pool.into(), listen, http: None }
    }

    /// The same, with what is counted of its HTTP requests.
    #[must_use]
    pub fn with_http(self, stats: HttpStats) -> Self {
        Self { http: Some(stats), ..self }
    }
}

/// Everything that runs in one process under one configuration.
///
/// Its methods may block for as long as names take to resolve: call them where that keeps nobody waiting.
/// ```
/// use lb_net::manage::Process;
/// fn backends(process: &dyn Process) -> usize {
///     process.pools().iter().map(|(_, fleet)| fleet.stats().backends.len()).sum()
/// }
/// ```
pub trait Process: Send + Sync {
    /// The services, by name.
    fn services(&self) -> Vec<ServiceState>;
    /// The pools that services use, by name.
    fn pools(&self) -> Vec<(String, Arc<dyn Fleet>)>;
    /// Applies what is new in the configuration file, and returns what that was, a line for each.
    ///
    /// # Errors
    /// Why nothing was changed.
    fn reload(&self) -> Result<String, String>;
    /// What [`reload`](Self::reload) would change, a line for each.
    ///
    /// # Errors
    /// Why it would change nothing.
    fn difference(&self) -> Result<String, String>;
    /// The configuration in force as TOML, with what was ordered since it was loaded.
    fn dump(&self) -> String;
    /// The configuration as it was loaded, as TOML.
    fn loaded(&self) -> String;
    /// What becomes of an order that is given now, as a sentence; `None` where nothing can be reloaded.
    fn permanence(&self) -> Option<String> {
        None
    }
}
