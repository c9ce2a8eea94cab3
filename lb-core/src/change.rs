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
            groups: Merge::of([self, base, theirs]).groups(),
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

/// A backend's group and settings in the three configurations, where it is there.
type Known<'a> = [Option<(usize, &'a BackendConfig)>; 3];

/// Where each of the three stands in an array of them.
const OURS: usize = 0;
const BASE: usize = 1;
const THEIRS: usize = 2;

/// The three side by side. Backends are numbered, so that each is looked up by its id only once.
struct Merge<'a> {
    backends: Vec<Known<'a>>,
    /// The selectors and the backends of the groups.
    groups: [Vec<(SelectorKind, Vec<usize>)>; 3],
}

impl<'a> Merge<'a> {
    fn of(configs: [&'a Config; 3]) -> Self {
        let empty = |config: &Config| config.groups.iter().map(|group| (group.selector, Vec::new())).collect();
        let mut merge = Self { backends: Vec::new(), groups: configs.map(empty) };
        let mut numbers: BTreeMap<BackendId, usize> = BTreeMap::new();
        for (side, config) in configs.into_iter().enumerate() {
            for (id, group, backend) in config.backends() {
                let number = *numbers.entry(id).or_insert(merge.backends.len());
                merge.backends.resize(merge.backends.len().max(number + 1), [None; 3]);
                merge.backends[number][side] = Some((group, backend));
                merge.groups[side][group].1.push(number);
            }
        }
        merge
    }

    fn groups(&self) -> Vec<GroupConfig> {
        (0..self.group_count()).map(|group| self.group(group)).collect()
    }

    /// As many as `theirs` has, and those that people have made or still need.
    fn group_count(&self) -> usize {
        let [ours, base, theirs] = self.groups.each_ref().map(Vec::len);
        let told = *three_way(&ours, &base, &theirs);
        let made = if ours > base { ours } else { 0 };
        let needed = (0..self.backends.len()).filter_map(|number| self.home(number)).max().map_or(0, |last| last + 1);
        told.max(made).max(needed)
    }

    fn group(&self, group: usize) -> GroupConfig {
        let selectors = self.groups.each_ref().map(|groups| groups.get(group).map(|(selector, _)| *selector));
        let [ours, base, theirs] = selectors;
        let selector = three_way(&ours, &base, &theirs).or(ours).unwrap_or_default();
        let backends = self.members(group).into_iter().filter_map(|number| self.backend(number));
        GroupConfig { selector, backends: backends.collect() }
    }

    /// The groups that a backend is in.
    fn places(&self, number: usize) -> [Option<usize>; 3] {
        self.backends[number].map(|known| known.map(|(group, _)| group))
    }

    /// The group that a backend will be in, if it will be there.
    fn home(&self, number: usize) -> Option<usize> {
        let [ours, base, theirs] = self.places(number);
        let is_taken_out = ours.is_none() && base.is_some();
        if is_taken_out { None } else { *three_way(&ours, &base, &theirs) }
    }

    /// Whether its place is the one that it has in `theirs`: it is new there, or has been moved to another group.
    fn is_placed(&self, number: usize) -> bool {
        let [_, base, theirs] = self.places(number);
        base != theirs
    }

    /// Those of a group of one configuration who will be in that group.
    fn staying(&self, side: usize, group: usize) -> impl Iterator<Item = usize> {
        let members = self.groups[side].get(group).map_or(&[][..], |(_, members)| members);
        members.iter().copied().filter(move |number| self.home(*number) == Some(group))
    }

    fn members(&self, group: usize) -> Vec<usize> {
        let kept = || self.staying(OURS, group).filter(|number| !self.is_placed(*number));
        let told = self.staying(THEIRS, group);
        let common = |side| self.staying(side, group).filter(|number| !self.is_placed(*number));
        if !common(BASE).eq(common(THEIRS)) {
            return told.chain(kept().filter(|number| self.places(*number)[THEIRS] != Some(group))).collect();
        }
        // Newcomers by the one that they stand behind, as there may be many.
        let mut behind: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        let mut before = None;
        for number in told {
            if self.is_placed(number) {
                behind.entry(before).or_default().push(number);
            } else {
                before = Some(number);
            }
        }
        let mut newcomers = |before| behind.remove(&before).unwrap_or_default();
        let mut members = newcomers(None);
        for number in kept() {
            members.push(number);
            members.append(&mut newcomers(Some(number)));
        }
        members
    }

    fn backend(&self, number: usize) -> Option<BackendConfig> {
        let [ours, base, theirs] = self.backends[number].map(|known| known.map(|(_, backend)| backend));
        let (Some(ours), Some(base), Some(theirs)) = (ours, base, theirs) else { return theirs.or(ours).cloned() };
        Some(BackendConfig {
            name: ours.name.clone(),
            limit: *three_way(&ours.limit, &base.limit, &theirs.limit),
            weight: *three_way(&ours.weight, &base.weight, &theirs.weight),
            status: *three_way(&ours.status, &base.status, &theirs.status),
        })
    }
}
