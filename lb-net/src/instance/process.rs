//! The instance as management sees it.

use std::sync::Arc;

use super::{Backends, Instance, Prepared, attendant::News, pool::RunningPool};
use crate::{
    causes::chain,
    config::{Model, Name},
    http::{Counters, HttpStats},
    manage::{Fleet, Managed, Process, ServiceState},
    resolve::Endpoint,
};

/// What runs at the moment, for those who only look.
#[derive(Default)]
pub(super) struct View {
    services: Vec<Shown>,
    pools: Vec<(Name, Seen)>,
}

/// A service for those who only look, and what is counted at its places if it is one of HTTP.
pub(super) struct Shown {
    pub(super) state: ServiceState,
    pub(super) counters: Option<Vec<Counters>>,
}

impl Shown {
    fn now(&self) -> ServiceState {
        let Some(counters) = &self.counters else { return self.state.clone() };
        let mut sum = HttpStats::default();
        counters.iter().for_each(|counters| sum.add(&counters.sum()));
        self.state.clone().with_http(sum)
    }
}

/// A pool for those who only look, or give orders.
pub(super) struct Seen {
    balancer: Arc<Backends>,
    fleet: Arc<Managed<Endpoint>>,
}

impl From<&RunningPool> for Seen {
    fn from(pool: &RunningPool) -> Self {
        Self { balancer: Arc::clone(&pool.balancer), fleet: Arc::clone(&pool.fleet) }
    }
}

impl View {
    pub(super) fn new(services: Vec<Shown>, pools: Vec<(Name, Seen)>) -> Self {
        Self { services, pools }
    }

    /// Of all backends.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let mut all = Vec::new();
        self.pools.iter().for_each(|(_, pool)| pool.balancer.for_each(|_, endpoint| all.push(endpoint.clone())));
        all
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.services.iter().map(|service| &service.state)).finish()
    }
}

impl Instance {
    /// The model in force, with what people have ordered since it was loaded.
    #[must_use]
    pub fn model(&self) -> Model {
        let state = self.state();
        let ordered = |name: &Name| state.pools.get(name).map(|running| running.as_ordered(&state.found));
        state.model.with_pools_as(ordered)
    }
}

impl Instance {
    fn reloaded(&self) -> Result<String, String> {
        // Before the file is read: of several that reload, the one that applies last has read last.
        let alone = self.alone();
        let model = self.attendant.load()?;
        let prepared = Prepared::new(self, alone, &model).map_err(|error| chain(&error))?;
        let changes = prepared.before().difference(&model).to_string();
        prepared.commit();
        Ok(changes)
    }
}

impl Process for Instance {
    fn services(&self) -> Vec<ServiceState> {
        self.view.load().services.iter().map(Shown::now).collect()
    }

    fn pools(&self) -> Vec<(String, Arc<dyn Fleet>)> {
        let view = self.view.load();
        let pool = |(name, pool): &(Name, Seen)| (name.to_string(), Arc::clone(&pool.fleet) as Arc<dyn Fleet>);
        view.pools.iter().map(pool).collect()
    }

    fn reload(&self) -> Result<String, String> {
        let reloaded = self.reloaded();
        self.attendant.tell(&News::Reloaded(reloaded.as_deref().map_err(String::as_str)));
        reloaded
    }

    fn difference(&self) -> Result<String, String> {
        let model = self.attendant.load()?;
        Ok(self.state().model.difference(&model).to_string())
    }

    fn dump(&self) -> String {
        self.model().to_toml()
    }

    fn loaded(&self) -> String {
        self.state().model.to_toml()
    }

    fn permanence(&self) -> Option<String> {
        self.attendant.permanence()
    }
}
