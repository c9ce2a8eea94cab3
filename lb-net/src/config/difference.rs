//! What is different between two models, for people to read.

use std::fmt;

use toml::de::DeTable;

use super::{
    Http, Model, Service,
    change::Change,
    difference_pool::{pool, size},
    difference_values::{Values, both, settings, table, text, values},
};
use crate::http::Page;

/// How many lines about backends of one pool are printed.
const PRINTED: usize = 20;

/// Everything that is different between two models, in one order always. It is empty exactly when they are equal.
///
/// Printed it has a line for each change, but of each pool at most 20 about its backends, and how many more there are;
/// [`changes`](Self::changes) has them all.
/// ```
/// let old = lb_net::config::parse("[process]\nworkers = 2\n[pools.web]\ngroups = 'alpha beta'")?.model;
/// let new = lb_net::config::parse("[process]\nworkers = 4\n[pools.web]\ngroups = 'alpha::9 gamma'\n[pools.api]")?.model;
/// assert_eq!(
///     old.difference(&new).to_string(),
///     "+ pool api: no backend\n\
///      ~ pool web: - backend beta in group 0\n\
///      ~ pool web: backend alpha: limit none -> 9\n\
///      ~ pool web: + backend gamma in group 0\n\
///      ~ process: workers 2 -> 4 (takes effect at the next start)\n"
/// );
/// assert!(old.difference(&old).is_empty());
/// # Ok::<(), lb_net::config::Problems>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    changes: Vec<Change>,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// All of it.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = &Change> {
        self.changes.iter()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for of_one in self.changes.chunk_by(|one, next| one.subject == next.subject) {
            let all = of_one.iter().filter(|change| change.is_of_backend).count();
            let mut printed = 0;
            for change in of_one {
                printed += usize::from(change.is_of_backend);
                if !change.is_of_backend || printed <= PRINTED {
                    writeln!(f, "{change}")?;
                }
                if change.is_of_backend && printed == all && all > PRINTED {
                    writeln!(f, "~ {}: {} more changes of backends", change.subject, all - PRINTED)?;
                }
            }
        }
        Ok(())
    }
}

impl Model {
    /// What is different in `new`.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let rewritten = pages(self, new);
        // The written form has every key that there is, so that none can be forgotten here.
        let [old, new] = [self, new].map(Self::to_whole_toml);
        let [old, new] = [&old, &new].map(|text| DeTable::parse_recoverable(text).0);
        let [old, new] = [&old, &new].map(|root| values(root.get_ref()));
        let mut changes = pools(&old, &new);
        changes.extend(services(&old, &new));
        changes.extend(rest(&old, &new));
        changes.extend(rewritten);
        Difference { changes }
    }
}

/// Pages whose file is the same and says something else now: what is written does not tell.
fn pages(old: &Model, new: &Model) -> Vec<Change> {
    let of = |http: &Http| http.own().unavailable_page.clone();
    let mut changes = Vec::new();
    let mut compare = |subject: &str, old: Option<Page>, new: Option<Page>| {
        let (Some(old), Some(new)) = (old, new) else { return };
        if let Some(file) = new.file().filter(|file| old.file() == Some(file) && old != new) {
            let what = format!("http.unavailable_page {} has other content", file.display());
            changes.push(Change::within(subject, what));
        }
    };
    for (name, service) in new.services() {
        let before = old.services().get(name).and_then(Service::http);
        compare(&format!("service {name}"), before.and_then(of), service.http().and_then(of));
    }
    compare("defaults", of(old.http_defaults()), of(new.http_defaults()));
    changes
}

/// What a process that runs cannot change: who it is, how many threads it has, where it is controlled and where it logs.
fn is_read_at_the_start(section: &str, key: &str) -> bool {
    match section {
        "control" => true,
        "process" => ["user", "workers"].contains(&key),
        "log" => ["dump", "format", "to"].contains(&key),
        _ => false,
    }
}

fn pools(old: &Values<'_>, new: &Values<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, sides) in both(tables(old, "pools"), tables(new, "pools")) {
        let subject = format!("pool {name}");
        match sides {
            [Some(old), Some(new)] => changes.extend(pool(&subject, &old, &new)),
            [_, Some(new)] => changes.push(Change::whole('+', &subject, size(&new))),
            _ => changes.push(Change::whole('-', &subject, String::new())),
        }
    }
    changes
}

/// Keys that not every role has.
const OF_ONE_ROLE: [&str; 2] = ["http", "idle_timeout"];

/// Each with what it inherits, because that is how it behaves.
fn services(old: &Values<'_>, new: &Values<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, sides) in both(tables(old, "services"), tables(new, "services")) {
        let subject = format!("service {name}");
        match sides {
            [Some(mut old), Some(mut new)] => {
                if old.get("role").map(|role| text(role)) != new.get("role").map(|role| text(role)) {
                    // What only one of the two has follows from that.
                    [&mut old, &mut new].into_iter().for_each(|own| own.retain(|key, _| !OF_ONE_ROLE.contains(key)));
                }
                changes.extend(settings(&old, &new).into_iter().map(|setting| Change::within(&subject, setting.text)));
            }
            [_, Some(new)] => {
                let said = |key| new.get(key).map(|value| text(value)).unwrap_or_default();
                let what = format!("listens on {}, pool {}", said("listen"), said("pool"));
                changes.push(Change::whole('+', &subject, what));
            }
            _ => changes.push(Change::whole('-', &subject, String::new())),
        }
    }
    changes
}

/// The tables in a table, by name.
fn tables<'a>(root: &Values<'a>, name: &str) -> Vec<(&'a str, Values<'a>)> {
    table(root.get(name).copied()).into_iter().map(|(name, own)| (name, table(Some(own)))).collect()
}

/// What is neither pool nor service.
fn rest(old: &Values<'_>, new: &Values<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, [old, new]) in both(old.iter(), new.iter()) {
        if !["pools", "services"].contains(name) {
            let told = settings(&table(old.copied()), &table(new.copied()));
            changes.extend(told.into_iter().map(|setting| {
                let needs_restart = is_read_at_the_start(name, &setting.key);
                Change::within(name, setting.text).with_restart(needs_restart)
            }));
        }
    }
    changes
}
