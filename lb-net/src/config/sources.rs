//! A pool with the backends that its sources have, and without them.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    num::NonZeroU16,
};

use lb_core::{BackendConfig, Config, GroupConfig, Status};

use super::{Pool, PoolError};
use crate::discover::Found;

/// Where a backend is: host and port. Two names of one place are one backend; a service's name is another port than its
/// number, because only the system knows that it is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place(String, Option<String>);

/// The place of a backend, with this port if it has none.
fn place(backend: &BackendConfig, port: Option<u16>) -> Place {
    let (host, own) = backend.host_and_port();
    let host = host.parse().map_or_else(|_| host.to_ascii_lowercase(), |ip: IpAddr| ip.to_string());
    let number = |port: &str| port.parse::<u16>().map_or_else(|_| port.to_owned(), |port| port.to_string());
    Place(host, own.map(number).or_else(|| port.map(|port| port.to_string())))
}

impl Pool {
    /// What a balancer takes, with what its sources have said: in each group those that are listed, then those that were
    /// found, in the order of the sources. `port` is that of backends that have none:
    /// [`Model::port_of`](super::Model::port_of).
    ///
    /// A backend that is found and listed in the same group is there as it is listed: so one of many gets a status, a
    /// limit or a weight of its own. One that several sources of a group have is there as the first has it.
    /// ```
    /// use lb_net::{config::Pool, discover::{Found, Source}};
    /// let source: Source = "/etc/lb/nodes.web".parse()?;
    /// let pool = Pool::new("alpha::9".parse()?, None, None)?.with_sources(0, [source.clone()])?;
    /// let mut found = Found::default();
    /// found.set(source, ["alpha:80".parse()?, "beta:80".parse()?]);
    ///
    /// let mut running = pool.expanded(&found, Some(80));
    /// assert_eq!(running.to_string(), "alpha::9 beta:80");
    /// assert_eq!(pool.contracted(&running, &found, Some(80))?, pool);
    ///
    /// running.groups[0].backends[1].limit = Some(5); // somebody has ordered it
    /// assert_eq!(pool.contracted(&running, &found, Some(80))?.config().to_string(), "alpha::9 beta:80:5");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expanded(&self, found: &Found, port: Option<u16>) -> Config {
        let mut config = self.config().clone();
        for (at, _) in self.all_sources() {
            let more = self.found(at, found, port, self.listed(at, port)).into_iter().map(|(_, one)| one.clone());
            config.groups[at].backends.extend(more);
        }
        config
    }

    /// What to write of a configuration that runs, when this pool has been [`expanded`](Self::expanded) with what was
    /// found last and changed since: an equal pool, if it was not.
    ///
    /// The sources stay. A backend that they have is left out where it runs as it was found, and listed where it does
    /// not: where people have changed its status, limit or weight, or added it once more. One that no longer runs in its
    /// group, because people have taken it out or moved it to another one, is listed as disabled: it would be found again.
    ///
    /// So the contraction expands to what runs, but for two things: who is listed now stands before those that are found,
    /// and who was taken out is there, disabled.
    ///
    /// # Errors
    /// As [`Pool::new`]: what runs and cannot be written.
    pub fn contracted(&self, running: &Config, found: &Found, port: Option<u16>) -> Result<Self, PoolError> {
        let mut config = running.clone();
        let groups = self.all_sources().map(|(at, _)| at + 1).max().unwrap_or(0);
        while config.groups.len() < groups {
            config
                .groups
                .push(GroupConfig::default().with_selector(self.config().groups[config.groups.len()].selector));
        }
        for (at, _) in self.all_sources() {
            self.contract(at, &mut config.groups[at].backends, found, port);
        }
        let pool = Self::new(config, self.probes().cloned(), self.port().and_then(NonZeroU16::new))?;
        let pool = self.all_sources().try_fold(pool, |pool, (at, own)| pool.with_sources(at, own.iter().cloned()))?;
        Ok(pool.with_new_groups(self.selector(), self.spills()))
    }

    /// Leaves of the backends that run in a group those that are to be listed.
    fn contract(&self, group: usize, backends: &mut Vec<BackendConfig>, found: &Found, port: Option<u16>) {
        let (listed, found) = (self.listed(group, port), self.found(group, found, port, HashSet::new()));
        let as_found: HashMap<&Place, &BackendConfig> = found.iter().map(|(place, one)| (place, *one)).collect();
        let mut times: HashMap<Place, usize> = HashMap::new();
        backends.iter().for_each(|backend| *times.entry(place(backend, port)).or_default() += 1);
        backends.retain(|backend| {
            let place = place(backend, port);
            let is_as_found = as_found.get(&place).is_some_and(|found| *found == backend);
            // Of one that runs twice both are listed: who is listed once is found no more.
            listed.contains(&place) || !is_as_found || times.get(&place) != Some(&1)
        });
        let gone = found.iter().filter(|(place, _)| !times.contains_key(place));
        backends.extend(gone.map(|(_, backend)| (*backend).clone().with_status(Status::Disabled)));
    }

    /// Where the backends are that a group lists.
    fn listed(&self, group: usize, port: Option<u16>) -> HashSet<Place> {
        let group = self.config().groups.get(group);
        group.into_iter().flat_map(|group| &group.backends).map(|backend| place(backend, port)).collect()
    }

    /// What the sources of a group have beyond what is known, each once.
    fn found<'a>(
        &self,
        group: usize,
        found: &'a Found,
        port: Option<u16>,
        mut known: HashSet<Place>,
    ) -> Vec<(Place, &'a BackendConfig)> {
        let all = self.sources(group).iter().flat_map(|source| found.of(source));
        let placed = all.map(|backend| (place(backend, port), backend));
        placed.filter(|(place, _)| known.insert(place.clone())).collect()
    }
}
