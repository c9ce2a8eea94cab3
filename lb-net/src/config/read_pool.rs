//! Pools: groups in either form, ejection.

use std::num::{NonZeroU16, NonZeroU32};

use lb_core::{
    BackendConfig, Config, GroupConfig, SelectorKind, SpecError, Start, Status,
    health::{Eject, RequestFailures},
};
use toml::de::DeValue;

use super::{
    Pool, Severity, Time,
    keys::{self, SELECTORS, STATUSES},
    meant,
    pool::is_name,
    read_probes::probes,
    reader::Section,
    value::{self, At, Wrong},
};
use crate::discover::{Source, SourceError};

/// A pool in which this one chooses where nothing is said.
pub(super) fn pool(section: &Section<'_, '_>, selector: SelectorKind) -> Option<Pool> {
    let mut config = Config::default();
    let usual = usual(section, selector);
    let (groups, sources): (_, Vec<_>) = groups(section, usual).into_iter().unzip();
    config.groups = groups;
    if section.get("start", |value| value::choice(value, &["random", "first"])) == Some("first") {
        config.start = Start::First;
    }
    let slow_start = section.get("slow_start", |value| value::time_or(value, "off")).flatten();
    config.slow_start = slow_start.map(Time::get).unwrap_or_default();
    let autodisable = section.get("autodisable", |value| value::choice(value, &["off", "until enabled"]));
    config.autodisable = autodisable == Some("until enabled");
    config.ejection = section
        .section("ejection", keys::EJECTION, "[pools.NAME.ejection], or ejection = {}")
        .map(|own| ejection(&own));
    let probes = section.section("probes", keys::PROBES, "[pools.NAME.probes]").and_then(|own| probes(&own));
    let port = section.get("port", |value| value::number(value, 1, 65535)).and_then(NonZeroU16::new);
    let pool = Pool::new(config, probes, port).and_then(|pool| {
        let mut all = sources.into_iter().enumerate();
        all.try_fold(pool, |pool, (group, sources)| pool.with_sources(group, sources))
    });
    let pool = pool.map_err(|error| section.wrong(error.to_string())).ok()?;
    Some(pool.with_new_groups(usual.selector, usual.spill))
}

/// What holds for groups that do not say.
#[derive(Clone, Copy)]
struct Usual {
    selector: SelectorKind,
    spill: bool,
}

impl Usual {
    fn of(self, kind: SelectorKind) -> SelectorKind {
        if matches!(kind, SelectorKind::Hash { .. }) { SelectorKind::Hash { spill: self.spill } } else { kind }
    }
}

fn usual(section: &Section<'_, '_>, otherwise: SelectorKind) -> Usual {
    let selector = section.get("selector", selector).unwrap_or(otherwise);
    Usual { selector, spill: section.get("spill", value::flag).unwrap_or_default() }
}

/// A group, and where more of its backends come from.
type Group = (GroupConfig, Vec<Source>);

fn groups(section: &Section<'_, '_>, usual: Usual) -> Vec<Group> {
    let groups = match section.raw("groups").map(|value| (value, value.get_ref())) {
        Some((value, DeValue::String(text))) => line(section, value, text, usual),
        Some((_, DeValue::Array(list))) if list.iter().all(|value| value.get_ref().is_table()) => {
            list.iter().map(|value| group(section, value, usual)).collect()
        }
        Some((value, other)) => {
            let more = if other.is_table() { "; there may be several, so it has two brackets" } else { "" };
            let message = "expected groups in balance's words, such as \"alpha::256 ! beta\", or tables: \
                           [[pools.NAME.groups]] with backends = [\"alpha:80\", \"beta:80\"]";
            section.reader.wrong(Some("groups"), Wrong::at(value, format!("{message}{more}")));
            Vec::new()
        }
        None => Vec::new(),
    };
    let hashes = groups.iter().any(|(group, _): &Group| matches!(group.selector, SelectorKind::Hash { .. }));
    if let (false, true, Some(value)) = (hashes, usual.spill, section.raw("spill")) {
        let message = "spill changes nothing until a group is set to hash, because none does".to_owned();
        section.reader.tell(Severity::Warning, value.span(), message);
    }
    groups
}

/// Groups in balance's words.
fn line(section: &Section<'_, '_>, value: At<'_, '_>, text: &str, usual: Usual) -> Vec<Group> {
    if let Some((word, why)) = text.split_whitespace().find_map(|word| Some((word, meant::no_backend(word)?))) {
        section.reader.wrong(Some("groups"), Wrong::at(value, why).with_word(word));
        return Vec::new();
    }
    for word in text.split_whitespace() {
        section.reader.doubt(value, word);
    }
    let words = match text.parse::<Config>() {
        Ok(config) => config.groups,
        Err(error) => {
            section.reader.wrong(Some("groups"), misspelt(value, &error));
            return Vec::new();
        }
    };
    let own = |group: GroupConfig| {
        let kind = if group.selector == SelectorKind::default() { usual.selector } else { group.selector };
        (group.with_selector(usual.of(kind)), Vec::new())
    };
    words.into_iter().map(own).collect()
}

fn misspelt(value: At<'_, '_>, error: &SpecError) -> Wrong {
    let wrong = Wrong::at(value, error.to_string());
    match error {
        SpecError::EmptyGroup(_, word) | SpecError::Host(word) => wrong.with_word(word),
        SpecError::Port(word, _) | SpecError::Limit(word, _) | SpecError::Weight(word, _) => wrong.with_word(word),
        SpecError::Excess(word, _) => wrong.with_word(word),
        _ => wrong,
    }
}

fn group(section: &Section<'_, '_>, value: At<'_, '_>, usual: Usual) -> Group {
    let reader = section.reader;
    let table = match value::table(value, "[[pools.NAME.groups]]") {
        Ok(table) => table,
        Err(wrong) => {
            reader.wrong(Some("groups"), wrong);
            return Group::default();
        }
    };
    let own = Section::new(reader, value.span(), table, keys::GROUP);
    let kind = own.get("selector", selector).unwrap_or(usual.selector);
    let spill = own.get("spill", |value| match (value::flag(value)?, kind) {
        (spill, SelectorKind::Hash { .. }) => Ok(spill),
        _ => Err(Wrong::at(value, format!("it belongs to selector = \"hash\", and this group's is \"{kind}\""))),
    });
    let kind = match (usual.of(kind), spill) {
        (SelectorKind::Hash { .. }, Some(spill)) => SelectorKind::Hash { spill },
        (kind, _) => kind,
    };
    if !["nodes", "dns"].iter().any(|key| own.has_like(key)) {
        own.require("backends", "backends = [\"host:port\"], nodes = \"/path\" or dns = \"name:port\"");
    }
    let all = own.get("backends", |value| value::list(value, "backends, such as [\"alpha:80\", \"beta:80\"]"));
    let backends = all.into_iter().flatten().filter_map(|value| backend(&own, value));
    (GroupConfig::new(backends).with_selector(kind), sources(&own))
}

fn sources(own: &Section<'_, '_>) -> Vec<Source> {
    let files = own.get("nodes", |value| {
        some_sources(value, "the path of a file with a backend a line, such as \"/etc/lb/nodes\",", |word| {
            word.parse().map(Source::Nodes)
        })
    });
    let names = own.get("dns", |value| {
        some_sources(value, "a name and a port, such as \"web.internal:8080\",", |word| word.parse().map(Source::Dns))
    });
    [files, names].into_iter().flatten().flatten().collect()
}

/// Sources of a kind: one, or a list of one at least.
fn some_sources(
    value: At<'_, '_>,
    what: &str,
    read: impl Fn(&str) -> Result<Source, SourceError>,
) -> Result<Vec<Source>, Wrong> {
    let mut known = Vec::new();
    value::each(value, |value| {
        let source = read(value::text(value, what)?).map_err(|error| match error {
            SourceError::Spec(error) => misspelt(value, &error),
            error => Wrong::at(value, error.to_string()),
        })?;
        if known.contains(&source) {
            return Err(Wrong::at(value, format!("'{source}' stands here twice")));
        }
        known.push(source);
        Ok(())
    })?;
    if known.is_empty() { Err(Wrong::at(value, format!("expected {what} at least"))) } else { Ok(known) }
}

/// A backend as a word, or as a table.
fn backend(section: &Section<'_, '_>, value: At<'_, '_>) -> Option<BackendConfig> {
    let reader = section.reader;
    let read = match value.get_ref() {
        DeValue::Table(table) => return told(&Section::new(reader, value.span(), table, keys::BACKEND)),
        _ => value::text(value, "a backend, such as \"alpha:80\" or { name = \"alpha:80\" },").and_then(|text| {
            meant::no_backend(text).map_or(Ok(()), |why| Err(Wrong::at(value, why)))?;
            reader.doubt(value, text);
            let read = text.parse::<BackendConfig>().map_err(|error| misspelt(value, &error))?;
            if is_name(&read.name) { Ok(read) } else { Err(Wrong::at(value, format!("'{text}' is not host[:port]"))) }
        }),
    };
    read.map_err(|wrong| reader.wrong(None, wrong)).ok()
}

fn told(own: &Section<'_, '_>) -> Option<BackendConfig> {
    let name = own.get("name", |value| {
        let text = value::text(value, "host[:port]")?;
        meant::no_backend(text).map_or(Ok(()), |why| Err(Wrong::at(value, why)))?;
        own.reader.doubt(value, text);
        let message = || format!("'{text}' is not host[:port]: limit and weight have keys of their own");
        if is_name(text) { Ok(text) } else { Err(Wrong::at(value, message())) }
    });
    own.require("name", "name = \"host:port\"");
    let limit = own.get("limit", |value| value::number_or(value, 0, u32::MAX.into(), "none"));
    let weight = own.get("weight", |value| value::number(value, 0, 65535));
    let status = own.get("status", |value| value::choice(value, STATUSES));
    let mut backend = BackendConfig::new(name?).with_weight(weight.unwrap_or(1));
    backend.limit = limit.flatten();
    let status: Option<Status> = status.and_then(|word| word.parse().ok());
    Some(backend.with_status(status.unwrap_or_default()))
}

fn selector(value: At<'_, '_>) -> Result<SelectorKind, Wrong> {
    let word = value::choice(value, SELECTORS)?;
    word.parse().map_err(|error: lb_core::UnknownSelector| Wrong::at(value, error.to_string()))
}

fn ejection(own: &Section<'_, '_>) -> Eject {
    let mut eject = Eject::default();
    let failures = own.get("connect_failures", |value| value::number(value, 1, u32::MAX.into()));
    eject.connect_failures = failures.and_then(NonZeroU32::new).unwrap_or(eject.connect_failures);
    eject.period = own.get("period", value::time).map_or(eject.period, Time::get);
    let longest = own.get("longest", value::time).map(Time::get);
    // Who asks for a long first period has not asked for an error.
    eject.longest = longest.unwrap_or_else(|| eject.longest.max(eject.period));
    if eject.period > eject.longest {
        let message = "'period' is longer than 'longest': make longest at least as long".to_owned();
        let span = own.raw("longest").or_else(|| own.raw("period")).map_or(own.span.clone(), |value| value.span());
        own.reader.tell(Severity::Error, span, message);
        eject.period = eject.longest;
    }
    eject.most_percent = own.get("most_percent", |value| value::number(value, 1, 100)).unwrap_or(eject.most_percent);
    if let Some(rule) = own.section("request_failures", keys::REQUEST_FAILURES, "{ clients = 3, window = \"10s\" }") {
        let usual = RequestFailures::default();
        let clients = rule.get("clients", |value| value::number(value, 1, 8)).and_then(NonZeroU32::new);
        let window = rule.get("window", value::time).map_or(usual.window, Time::get);
        eject.request_failures = Some(RequestFailures::new(clients.unwrap_or(usual.clients), window));
    }
    eject
}
