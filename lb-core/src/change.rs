//! A new configuration taken over by one that runs, where people have changed something as well.

use std::collections::BTreeMap;

use crate::{BackendConfig, BackendId, Config, GroupConfig, SelectorKind};

impl Config {
    /// This configuration, which runs, as it follows a written one from `base` to `theirs`: what the two say alike stays
    /// as it is here, and what they say differently becomes what `theirs` says. So what people have ordered of a running
    /// balancer survives a new file, unless the file says something new about the same thing.
    ///
    /// Each setting is one thing, and of each backend its limit, its weight, its status and its group. Backends are known
    /// by their [`BackendId`], groups and their selectors by position.
    ///
    /// - Backends that `base` has and `theirs` has not go. Those that `theirs` has and `base` has not come as `theirs` has
    ///   them, behind those that stand before them there.
    /// - Backends of neither, which people have made, stay in their group. A group that `theirs` has no longer stays for
    ///   them alone, with its selector, so that their rank does not change.
    /// - Backends of both that people have taken out stay out.
    /// - Backends have the order they have here. Where `theirs` has brought those of a group into another order, it is
    ///   that one, with the backends that people have made behind the others.
    /// - A name that is used more than once is counted in each of the three configurations: when one of the backends of
    ///   that name goes, it is the last of them whose settings go.
    /// ```
    /// use lb_core::Config;
    /// let config = |text: &str| text.parse::<Config>();
    /// let (base, theirs) = (config("alpha beta ! spare")?, config("alpha:::3 beta gamma")?);
    /// let running = config("alpha::9 delta beta::5 ! spare")?;
    /// assert_eq!(running.following(&base, &theirs), config("alpha::9:3 delta beta::5 gamma")?);
    /// # Ok::<(), lb_core::SpecError>(())
    /// ```
    #[must_use]
    pub fn following(&self, base: &Self, theirs: &Self) -> Self {
        let probes = three_way(&self.probes, &base.probes, &theirs.probes);
        let ejection = three_way(&self.ejection, &base.ejection, &theirs.ejection);
        Self {
            groups: Sides { ours: Side::of(self), base: Side::of(base), theirs: Side::of(theirs) }.merged(),
            start: *three_way(&self.start, &base.start, &theirs.start),
            slow_start: *three_way(&self.slow_start, &base.slow_start, &theirs.slow_start),
            probes: probes.clone(),
            ejection: ejection.clone(),
            autodisable: *three_way(&self.autodisable, &base.autodisable, &theirs.autodisable),
        }
    }
}

/// The whole of it: what has changed elsewhere counts, or else what is here.
fn three_way<'a, V: PartialEq>(ours: &'a V, base: &V, theirs: &'a V) -> &'a V {
    if base == theirs { ours } else { theirs }
}

/// One configuration, to look things up.
struct Side<'a> {
    groups: Vec<(SelectorKind, Vec<BackendId>)>,
    backends: BTreeMap<BackendId, (usize, &'a BackendConfig)>,
}

impl<'a> Side<'a> {
    fn of(config: &'a Config) -> Self {
        let mut groups: Vec<_> = config.groups.iter().map(|group| (group.selector, Vec::new())).collect();
        let mut backends = BTreeMap::new();
        for (id, group, backend) in config.backends() {
            groups[group].1.push(id);
            backends.insert(id, (group, backend));
        }
        Self { groups, backends }
    }

    fn group_of(&self, id: BackendId) -> Option<usize> {
        self.backends.get(&id).map(|(group, _)| *group)
    }

    fn backend(&self, id: BackendId) -> Option<&'a BackendConfig> {
        self.backends.get(&id).map(|(_, backend)| *backend)
    }

    fn selector(&self, group: usize) -> Option<SelectorKind> {
        self.groups.get(group).map(|(selector, _)| *selector)
    }

    fn members(&self, group: usize) -> impl Iterator<Item = BackendId> {
        self.groups.get(group).into_iter().flat_map(|(_, members)| members.iter().copied())
    }
}

struct Sides<'a> {
    ours: Side<'a>,
    base: Side<'a>,
    theirs: Side<'a>,
}

impl Sides<'_> {
    fn merged(&self) -> Vec<GroupConfig> {
        (0..self.group_count()).map(|group| self.group(group)).collect()
    }

    /// As many groups as `theirs` has, and those that people have made or still need.
    fn group_count(&self) -> usize {
        let [ours, base, theirs] = [&self.ours, &self.base, &self.theirs].map(|side| side.groups.len());
        let told = *three_way(&ours, &base, &theirs);
        let made = if ours > base { ours } else { 0 };
        let ids = self.ours.backends.keys().chain(self.theirs.backends.keys());
        let needed = ids.filter_map(|id| self.home(*id)).max().map_or(0, |last| last + 1);
        told.max(made).max(needed)
    }

    fn group(&self, group: usize) -> GroupConfig {
        let [ours, base, theirs] = [&self.ours, &self.base, &self.theirs].map(|side| side.selector(group));
        let selector = three_way(&ours, &base, &theirs).or(ours).unwrap_or_default();
        let backends = self.members(group).into_iter().filter_map(|id| self.backend(id));
        GroupConfig { selector, backends: backends.collect() }
    }

    /// The group that a backend will be in, if it will be there.
    fn home(&self, id: BackendId) -> Option<usize> {
        let [ours, base, theirs] = [&self.ours, &self.base, &self.theirs].map(|side| side.group_of(id));
        let is_taken_out = ours.is_none() && base.is_some();
        if is_taken_out { None } else { *three_way(&ours, &base, &theirs) }
    }

    /// Whether its place is the one that it has in `theirs`: it is new there, or has been moved to another group.
    fn is_placed(&self, id: BackendId) -> bool {
        self.base.group_of(id) != self.theirs.group_of(id)
    }

    fn members(&self, group: usize) -> Vec<BackendId> {
        let is_here = |id: &BackendId| self.home(*id) == Some(group);
        let has_kept_place = |id: &BackendId| is_here(id) && !self.is_placed(*id);
        let kept = || self.ours.members(group).filter(has_kept_place);
        let common = |side: &Side<'_>| -> Vec<BackendId> {
            let known = |id: &BackendId| has_kept_place(id) && self.base.group_of(*id) == Some(group);
            side.members(group).filter(known).collect()
        };
        let told = self.theirs.members(group).filter(is_here);
        if common(&self.base) != common(&self.theirs) {
            return told.chain(kept().filter(|id| self.theirs.group_of(*id) != Some(group))).collect();
        }
        // Newcomers by the one that they stand behind, as there may be many.
        let mut behind: BTreeMap<Option<BackendId>, Vec<BackendId>> = BTreeMap::new();
        let mut before = None;
        for id in told {
            if self.is_placed(id) {
                behind.entry(before).or_default().push(id);
            } else {
                before = Some(id);
            }
        }
        let mut newcomers = |before| behind.remove(&before).unwrap_or_default();
        let mut members = newcomers(None);
        for id in kept() {
            members.push(id);
            members.append(&mut newcomers(Some(id)));
        }
        members
    }

    fn backend(&self, id: BackendId) -> Option<BackendConfig> {
        let [ours, base, theirs] = [&self.ours, &self.base, &self.theirs].map(|side| side.backend(id));
        let (Some(ours), Some(base), Some(theirs)) = (ours, base, theirs) else { return theirs.or(ours).cloned() };
        Some(BackendConfig {
            name: ours.name.clone(),
            limit: *three_way(&ours.limit, &base.limit, &theirs.limit),
            weight: *three_way(&ours.weight, &base.weight, &theirs.weight),
            status: *three_way(&ours.status, &base.status, &theirs.status),
        })
    }
}
