//! What is different between two written pools: settings, groups, backends.

use std::collections::BTreeMap;

use lb_core::BackendConfig;
use toml::de::DeValue;

use super::{
    PoolSize,
    change::Change,
    difference_values::{Values, assignments, both, changed, list, settings, table, text},
};

/// `3 backends in 1 group`
pub(super) fn size(pool: &Values<'_>) -> String {
    let groups = groups(pool);
    match groups.iter().map(|group| list(group.get("backends").copied()).count()).sum() {
        0 => "no backend".to_owned(),
        backends => PoolSize { backends, groups: groups.len() }.to_string(),
    }
}

/// All that is different, in the order of the file.
pub(super) fn pool(subject: &str, old: &Values<'_>, new: &Values<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let [own_old, own_new] = [old, new].map(|pool| without("groups", pool));
    changes.extend(settings(&own_old, &own_new).into_iter().map(|setting| Change::within(subject, setting.text)));
    let [old, new] = [old, new].map(groups);
    for (number, sides) in both(numbered(&old), numbered(&new)) {
        changes.extend(group(number, sides).into_iter().map(|what| Change::within(subject, what)));
    }
    let [old, new] = [&old, &new].map(|groups| Backends::of(groups));
    changes.extend(old.changes(&new).into_iter().map(|what| Change::of_backend(subject, what)));
    changes.extend(
        old.reordered(&new)
            .into_iter()
            .map(|group| Change::within(subject, format!("group {group}: its backends in another order"))),
    );
    changes
}

fn groups<'a>(pool: &Values<'a>) -> Vec<Values<'a>> {
    list(pool.get("groups").copied()).map(|group| table(Some(group))).collect()
}

/// Without their backends.
fn numbered<'a>(groups: &[Values<'a>]) -> impl Iterator<Item = (usize, Values<'a>)> {
    groups.iter().map(|group| without("backends", group)).enumerate()
}

fn without<'a>(key: &str, values: &Values<'a>) -> Values<'a> {
    values.iter().filter(|(own, _)| **own != key).map(|(key, value)| (*key, *value)).collect()
}

fn group(number: usize, sides: [Option<Values<'_>>; 2]) -> Vec<String> {
    match sides {
        [Some(old), Some(new)] => {
            settings(&old, &new).into_iter().map(|setting| format!("group {number}: {}", setting.text)).collect()
        }
        [_, Some(new)] => vec![format!("+ group {number}: {}", assignments(&new))],
        _ => vec![format!("- group {number}")],
    }
}

/// A backend's name, and which of that name it is.
type Id<'a> = (&'a str, usize);

/// What a pool says of its backends.
#[derive(Default)]
struct Backends<'a> {
    in_order: Vec<Id<'a>>,
    found: BTreeMap<Id<'a>, Found>,
}

struct Found {
    group: usize,
    /// What is not the usual.
    settings: BTreeMap<String, String>,
}

impl<'a> Backends<'a> {
    fn of(groups: &[Values<'a>]) -> Self {
        let mut all = Self::default();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (group, values) in groups.iter().enumerate() {
            for backend in list(values.get("backends").copied()) {
                let (name, settings) = told(backend);
                let occurrence = seen.entry(name).or_default();
                all.in_order.push((name, *occurrence));
                all.found.insert((name, *occurrence), Found { group, settings });
                *occurrence += 1;
            }
        }
        all
    }

    /// Those that go, then the others as the new file has them.
    fn changes(&self, new: &Self) -> Vec<String> {
        let gone = self.in_order.iter().filter(|id| !new.found.contains_key(*id));
        let gone =
            gone.filter_map(|id| Some(format!("- backend {} in group {}", label(*id), self.found.get(id)?.group)));
        let mut lines: Vec<String> = gone.collect();
        for id in &new.in_order {
            match (self.found.get(id), new.found.get(id)) {
                (Some(old), Some(new)) => {
                    lines.extend(old.changes(new).into_iter().map(|what| format!("backend {}: {what}", label(*id))))
                }
                (None, Some(new)) => lines.push(format!("+ backend {} {}", label(*id), new.described())),
                _ => {}
            }
        }
        lines
    }

    /// The groups in which those of both stand in another order.
    fn reordered(&self, new: &Self) -> Vec<usize> {
        let common = |id: &&Id<'a>| self.group_of(id).is_some_and(|group| new.group_of(id) == Some(group));
        let by_group = |side: &Self| {
            let mut groups: BTreeMap<usize, Vec<Id<'a>>> = BTreeMap::new();
            for id in side.in_order.iter().filter(common) {
                groups.entry(side.group_of(id).unwrap_or_default()).or_default().push(*id);
            }
            groups
        };
        let (old, new) = (by_group(self), by_group(new));
        old.iter().filter(|(group, ids)| new.get(group) != Some(*ids)).map(|(group, _)| *group).collect()
    }

    fn group_of(&self, id: &Id<'a>) -> Option<usize> {
        self.found.get(id).map(|found| found.group)
    }
}

impl Found {
    fn changes(&self, new: &Self) -> Vec<String> {
        let moved = (self.group != new.group).then(|| format!("group {} -> {}", self.group, new.group));
        let mut lines: Vec<String> = moved.into_iter().collect();
        for (key, sides) in both(&self.settings, &new.settings) {
            if sides[0] != sides[1] {
                lines.extend(changed(key, key, sides.map(Option::<&String>::cloned)));
            }
        }
        lines
    }

    fn described(&self) -> String {
        let settings: Vec<String> = self.settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let before = if settings.is_empty() { "" } else { ": " };
        format!("in group {}{before}{}", self.group, settings.join(", "))
    }
}

/// A backend as a word or as a table: its name, and what else is said of it.
fn told<'a>(backend: &'a DeValue<'a>) -> (&'a str, BTreeMap<String, String>) {
    let mut settings = BTreeMap::new();
    if let Some(word) = backend.as_str() {
        let Ok(read) = word.parse::<BackendConfig>() else { return (word, settings) };
        settings.extend(read.limit.map(|limit| ("limit".to_owned(), limit.to_string())));
        settings.extend((read.weight != 1).then(|| ("weight".to_owned(), read.weight.to_string())));
        return (word.get(..read.name.len()).unwrap_or(word), settings);
    }
    let mut values = table(Some(backend));
    let name = values.remove("name").and_then(DeValue::as_str).unwrap_or_default();
    settings.extend(values.into_iter().map(|(key, value)| (key.to_owned(), text(value))));
    (name, settings)
}

/// `alpha:80`, and `alpha:80 #2` for the second one of that name.
fn label((name, occurrence): Id<'_>) -> String {
    if occurrence == 0 { name.to_owned() } else { format!("{name} #{}", occurrence + 1) }
}
