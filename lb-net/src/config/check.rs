//! What is legal and hardly meant.

use std::collections::{HashMap, HashSet};

use lb_core::{GroupConfig, SelectorKind, Status, health::Said};

use super::{Http, HttpAddress, Initial, Listen, Model, Name, Pool, Probes, Role, Service, Time, TokenSource};
use crate::{
    discover::Source,
    http::KeySource,
    probe::{CheckKind, Expect, StatusSet},
};

/// Something that is legal and hardly meant.
/// ```
/// use lb_net::config::{Model, Pool};
/// let model = Model::default().with_pool("web".parse()?, Pool::new("alpha:80".parse()?, None, None)?)?;
/// assert_eq!(model.warnings()[0].message, "there is no service, so nobody is served: add [services.NAME]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where, as keys from the top of the file, and numbers in lists.
    pub path: Vec<String>,
    /// The word that it is about, where the value says more.
    pub word: Option<String>,
    /// What, and what it comes to.
    pub message: String,
}

/// All that is said of a model so far.
#[derive(Default)]
struct Found(Vec<Warning>);

impl Found {
    fn say(&mut self, path: &[&str], message: impl Into<String>) {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        self.0.push(Warning { path, word: None, message: message.into() });
    }

    fn say_of(&mut self, word: &str, path: &[&str], message: impl Into<String>) {
        self.say(path, message);
        if let Some(last) = self.0.last_mut() {
            last.word = Some(word.to_owned());
        }
    }
}

impl Model {
    /// What of it is legal and hardly meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut found = Found::default();
        if self.services().is_empty() {
            found.say(&["services"], "there is no service, so nobody is served: add [services.NAME]");
        }
        control(&mut found, self);
        http(&mut found, self);
        let used: HashSet<&Name> = self.services().values().map(Service::pool).collect();
        for (name, pool) in self.pools() {
            if !self.services().is_empty() && !used.contains(name) {
                found.say(&["pools", name.as_str()], format!("no service uses the pool '{name}'"));
            }
            self::pool(&mut found, name.as_str(), pool);
        }
        let mut taken = Taken::default();
        for (name, service) in self.services() {
            self::service(&mut found, name.as_str(), service);
            taken.take(&mut found, name, service);
        }
        found.0
    }

    /// What of it this machine does not have: node files that are missing or bad. They are opened, nothing else is.
    #[must_use]
    pub fn system_warnings(&self) -> Vec<Warning> {
        let mut found = Found::default();
        for (name, pool) in self.pools() {
            for (group, sources) in pool.all_sources() {
                for source in sources.iter().filter(|source| matches!(source, Source::Nodes(_))) {
                    if let Err(error) = source.look() {
                        let path = ["pools", name.as_str(), "groups", &group.to_string(), "nodes"];
                        found.say_of(&source.to_string(), &path, error.chain());
                    }
                }
            }
        }
        found.0
    }
}

/// Who listens where so far, by port.
#[derive(Default)]
struct Taken<'a>(HashMap<u16, Vec<(&'a Name, &'a Listen)>>);

impl<'a> Taken<'a> {
    fn take(&mut self, found: &mut Found, name: &'a Name, service: &'a Service) {
        for (at, listen) in service.listen().iter().enumerate() {
            let others = self.0.entry(listen.port()).or_default();
            if let Some((other, place)) = others.iter().find(|(_, place)| place.overlaps(listen)) {
                let message = format!("service '{other}' listens on {place}, which is in the way of {listen}");
                found.say(&["services", name.as_str(), "listen", &at.to_string()], message);
            }
            others.push((name, listen));
        }
    }
}

/// The shortest token that nobody guesses.
const GUESSED: usize = 16;

fn control(found: &mut Found, model: &Model) {
    let Some(http) = &model.control().http else { return };
    if let Some(TokenSource::Written(token)) = http.token()
        && token.reveal().len() < GUESSED
    {
        let message = "so short a token can be guessed: `openssl rand -hex 32` prints a good one";
        found.say(&["control", "token"], message);
    }
    let HttpAddress::Tcp(address) = http.address() else { return };
    let Ok(place) = address.to_string().parse::<Listen>() else { return };
    let mut services = model.services().iter();
    if let Some((name, _)) = services.find(|(_, service)| service.listen().iter().any(|other| other.overlaps(&place))) {
        found.say(&["control", "http"], format!("service '{name}' listens there too, and one of the two will not"));
    }
}

/// What is only for requests, and none come; or the other way round.
fn http(found: &mut Found, model: &Model) {
    let of_http = || model.services().iter().filter(|(_, service)| service.role() == Role::Http);
    if *model.http_defaults() != Http::default() && of_http().next().is_none() {
        found.say(&["defaults", "http"], "no service inherits this: none has role = \"http\"");
    }
    if let Some((name, _)) = of_http().next().filter(|_| model.log().dump) {
        let message =
            format!("what passes through service '{name}' is not dumped: its role is http, which has access_log");
        found.say(&["log", "dump"], message);
    }
    let hashes = |service: &Service| {
        let groups = model.pools().get(service.pool()).map(|pool| pool.config().groups.as_slice()).unwrap_or_default();
        groups.iter().any(|group| matches!(group.selector, SelectorKind::Hash { .. }))
    };
    let inherited = &model.http_defaults().own().key;
    let message = "nobody asks for the key: no group of the pool has selector = \"hash\"";
    if *inherited != KeySource::Client && of_http().next().is_some() && !of_http().any(|(_, service)| hashes(service)) {
        found.say(&["defaults", "http", "key"], message);
    }
    for (name, service) in of_http().filter(|(_, service)| !hashes(service)) {
        let key = service.http().map(|http| &http.own().key).filter(|key| **key != KeySource::Client);
        if key.is_some_and(|key| key != inherited) {
            found.say(&["services", name.as_str(), "http", "key"], message);
        }
    }
}

fn service(found: &mut Found, name: &str, service: &Service) {
    let sessions = service.sessions();
    if let Some(race) = sessions.race.filter(|race| *race >= sessions.connect_timeout) {
        let timeout = sessions.connect_timeout;
        let message = format!(
            "no race ever begins: a connect is given up after {timeout}, and the race would begin after {race}"
        );
        found.say(&["services", name, "race"], message);
    }
}

fn pool(found: &mut Found, name: &str, pool: &Pool) {
    let (config, path) = (pool.config(), ["pools", name]);
    let finds_more = |group: usize| !pool.sources(group).is_empty();
    if config.backends().next().is_none() && pool.all_sources().next().is_none() {
        found.say(&path, format!("the pool '{name}' has no backend: its clients are turned away"));
    }
    for (at, group) in config.groups.iter().enumerate() {
        self::group(found, name, at, group, finds_more(at));
    }
    if config.autodisable && config.ejection.is_none() && pool.probes().is_none() {
        let message = "without probes a backend that fails once stays out until it is enabled by hand";
        found.say(&[path[0], path[1], "autodisable"], message);
    }
    if let Some(eject) = &config.ejection {
        let cap = |group: &GroupConfig| 100 <= usize::from(eject.most_percent) * group.backends.len();
        if !config.groups.iter().any(|group| group.backends.len() > 1 && cap(group))
            && config.backends().next().is_some()
            && pool.all_sources().next().is_none()
        {
            let message = format!(
                "nobody is ever ejected: one backend is more than {} % of every group, or its last one",
                eject.most_percent
            );
            found.say(&[path[0], path[1], "ejection", "most_percent"], message);
        }
    }
    if let Some(probes) = pool.probes() {
        self::probes(found, name, probes);
    }
}

fn group(found: &mut Found, name: &str, at: usize, group: &GroupConfig, finds_more: bool) {
    let number = at.to_string();
    let all =
        |is: &dyn Fn(&lb_core::BackendConfig) -> bool| !group.backends.is_empty() && group.backends.iter().all(is);
    let why = match () {
        // Who they are is not known here.
        () if finds_more => None,
        () if group.backends.is_empty() => Some("it has no backends"),
        () if all(&|backend| backend.limit == Some(0)) => Some("all of its limits are 0"),
        () if all(&|backend| backend.weight == 0) => Some("all of its weights are 0"),
        () if all(&|backend| backend.status != Status::Enabled) => Some("none of its backends is enabled"),
        () => None,
    };
    if let Some(why) = why {
        found.say(
            &["pools", name, "groups", &number],
            format!("group {at} of pool '{name}' can never be reached: {why}"),
        );
    }
    for (slot, backend) in group.backends.iter().enumerate().filter(|(_, backend)| backend.limit == Some(0)) {
        let message =
            format!("backend '{}' has a limit of 0 and takes nothing: leave limit out for any number", backend.name);
        found.say_of("0", &["pools", name, "groups", &number, "backends", &slot.to_string(), "limit"], message);
    }
}

fn probes(found: &mut Found, name: &str, probes: &Probes) {
    let spec = probes.spec();
    let path = |key| ["pools", name, "probes", key];
    match (spec.enables(), spec.disables(), probes.initial()) {
        (false, false, Initial::Up) => found.say(&path("enables"), "with enables and disables false the checks change nothing"),
        (false, _, Initial::Unknown) => found.say(
            &path("enables"),
            "no backend ever gets work: it is unknown until a check has passed, and none may bring it up; add initial = \"up\"",
        ),
        _ => {}
    }
    for (at, check) in spec.checks().iter().enumerate() {
        let at = at.to_string();
        let path = |key| ["pools", name, "probes", "checks", &at, key];
        if let Some(timeout) = check.timeout.filter(|timeout| *timeout > spec.interval()) {
            let time = |duration| Time::new(duration).map(|time| time.to_string()).unwrap_or_default();
            let message = format!(
                "a check may take {}, and the next is due after {}: make timeout shorter than interval",
                time(timeout),
                time(spec.interval())
            );
            found.say(&path("timeout"), message);
        }
        if let CheckKind::Http { expect: Some(expect), .. } | CheckKind::Exchange { expect: Some(expect), .. } =
            &check.kind
        {
            unwilling(found, &path("expect"), expect);
        }
        if let CheckKind::Exchange { expect: Some(Expect::Part(text)), .. } = &check.kind
            && Said::of_body(text.as_bytes()).is_some()
        {
            let message = "words such as UP 40% and DOWN mean nothing where a part of what is said is enough: expect understands them";
            found.say(&path("expect_contains"), message);
        }
        if let CheckKind::Http { expect, status, .. } = &check.kind {
            impossible(found, &path("status"), expect.is_some(), status);
        }
    }
}

/// Words that are never the good answer that they are taken for.
fn unwilling(found: &mut Found, path: &[&str], expect: &Expect) {
    let Expect::Whole(text) = expect else { return };
    if let Some(word) = Said::of_body(text.as_bytes()).filter(|word| !matches!(word, Said::Up(_))) {
        let message = format!("no backend can pass this check: {word} is the word of applications that want no work");
        found.say(path, message);
    }
}

/// Answers that there are none of.
fn impossible(found: &mut Found, path: &[&str], expects: bool, status: &StatusSet) {
    // Interim answers are passed over (RFC 9110, section 15.2), and three have no body.
    let good = (100..=599).filter(|code| status.contains(*code)).filter(|code| *code >= 200 || *code == 101);
    let (any, with_body) =
        good.fold((false, false), |(_, body), code| (true, body || ![101, 204, 304].contains(&code)));
    if !any {
        found.say(path, "no backend can pass this check: statuses below 200 are no final answers");
    } else if expects && !with_body {
        found.say(path, "no backend can pass this check: answers of these statuses have no body, and one is expected");
    }
}
