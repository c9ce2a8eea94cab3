//! From a text to a model, or to all that is wrong with it.

use std::{cell::RefCell, ops::Range};

use lb_core::{SelectorKind, selector::Metric};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Control, ControlHttp, Directory, HttpAddress, Invalid, Log, LogFormat, LogTo, Model, Problem, Problems, Process,
    Service, Severity, Token, TokenFile, TokenSource, Warning, Workers,
    keys::{self, Key},
    meant::{self, advice},
    problem::Told,
    read_http,
    read_pool::pool,
    read_service::{service, sessions},
    syntax::plainly,
    value::{self, At, Wrong},
};
use crate::spelling::nearest;

/// What a text says, and what of it is hardly meant.
/// ```
/// let loaded = lb_net::config::parse("[pools.web]\ngroups = ''\n[services.www]\nlisten = 80\npool = 'web'")?;
/// assert_eq!(loaded.warnings[0].message, "the pool 'web' has no backend: its clients are turned away");
/// # Ok::<(), lb_net::config::Problems>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// What it says.
    pub model: Model,
    /// What is legal and hardly meant, in order, at most 20 of it.
    pub warnings: Vec<Problem>,
    /// How many more of that there is.
    pub more_warnings: usize,
}

/// Reads a model from TOML. Nothing else is looked at: no name is looked up, no file opened.
///
/// # Errors
/// All that is wrong with it, up to 20 things.
pub fn parse(text: &str) -> Result<Loaded, Problems> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let reader = Reader { text, told: RefCell::default() };
    let mut errors: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or_default(), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut line = None;
    for (span, complaint) in errors {
        // What follows in the same line follows from it.
        let begin = text.get(..span.start).and_then(|before| before.rfind('\n'));
        if line.replace(begin) != Some(begin) {
            reader.tell(Severity::Error, span.clone(), plainly(complaint, text, span));
        }
    }
    // What follows a mistake in the language itself would be guesses.
    reader.checked()?;
    let model = file(&reader, root.get_ref());
    reader.checked()?;
    reader.warn(root.get_ref(), model.warnings());
    let warnings = Problems::new(text, reader.told.into_inner());
    let more_warnings = warnings.count() - warnings.all().len();
    Ok(Loaded { model, warnings: warnings.all().to_vec(), more_warnings })
}

impl Loaded {
    /// With warnings of what this machine does not have of it: node files that are missing or bad. They are opened,
    /// nothing else is. The text is that which was read.
    /// ```
    /// let text = "[[pools.web.groups]]\nnodes = '/no/such/nodes'\n[services.www]\nlisten = 80\npool = 'web'";
    /// let loaded = lb_net::config::parse(text)?;
    /// assert_eq!(loaded.warnings, []);
    /// let warning = &loaded.with_system(text).warnings[0];
    /// assert_eq!((warning.line, warning.word.as_str()), (2, "/no/such/nodes"));
    /// # Ok::<(), lb_net::config::Problems>(())
    /// ```
    #[must_use]
    pub fn with_system(mut self, text: &str) -> Self {
        let (root, _) = DeTable::parse_recoverable(text);
        let reader = Reader { text, told: RefCell::default() };
        reader.warn(root.get_ref(), self.model.system_warnings());
        let more = Problems::new(text, reader.told.into_inner());
        self.more_warnings += more.count() - more.all().len();
        self.warnings.extend_from_slice(more.all());
        self.warnings.sort_by_key(|warning| (warning.line, warning.column));
        self
    }
}

/// The text, and what is wrong with it so far.
pub(super) struct Reader<'t> {
    text: &'t str,
    told: RefCell<Vec<Told>>,
}

impl Reader<'_> {
    pub(super) fn tell(&self, severity: Severity, span: Range<usize>, message: String) {
        self.told.borrow_mut().push(Told { severity, span, message });
    }

    pub(super) fn wrong(&self, name: Option<&str>, wrong: Wrong) {
        let message = name.map_or(wrong.message.clone(), |name| format!("{name}: {}", wrong.message));
        self.tell(Severity::Error, self.narrow(wrong.span, wrong.word.as_deref()), message);
    }

    fn warn(&self, root: &DeTable<'_>, warnings: Vec<Warning>) {
        for warning in warnings {
            let (span, word) = (locate(root, &warning.path), warning.word.as_deref());
            self.tell(Severity::Warning, self.narrow(span, word), warning.message);
        }
    }

    /// Tells of a word that can be a backend and was hardly meant to be this one.
    pub(super) fn doubt(&self, value: At<'_, '_>, word: &str) {
        if let Some(why) = meant::strange_backend(word) {
            self.tell(Severity::Warning, self.narrow(value.span(), Some(word)), why);
        }
    }

    /// Where a word stands within a part of the text; all of it, where it is not found as it was written.
    fn narrow(&self, span: Range<usize>, word: Option<&str>) -> Range<usize> {
        let part = self.text.get(span.clone()).unwrap_or_default();
        let ends =
            |at: usize| part[at..].chars().next().is_none_or(|letter| letter.is_whitespace() || "\"'".contains(letter));
        let found = word.filter(|word| !word.is_empty()).and_then(|word| {
            let mut all = part.match_indices(word).map(|(at, _)| at);
            let begins = |at: usize| {
                part[..at].chars().next_back().is_none_or(|letter| letter.is_whitespace() || "\"'".contains(letter))
            };
            all.find(|at| begins(*at) && ends(at + word.len())).map(|at| span.start + at..span.start + at + word.len())
        });
        found.unwrap_or(span)
    }

    fn checked(&self) -> Result<(), Problems> {
        let told = self.told.borrow();
        let errors: Vec<Told> = told.iter().filter(|told| told.severity == Severity::Error).cloned().collect();
        if errors.is_empty() { Ok(()) } else { Err(Problems::new(self.text, errors)) }
    }
}

/// A table whose keys are known.
pub(super) struct Section<'a, 't> {
    pub(super) reader: &'a Reader<'t>,
    table: &'a DeTable<'t>,
    /// Where it stands.
    pub(super) span: Range<usize>,
}

impl<'a, 't> Section<'a, 't> {
    /// Tells of keys that are none.
    pub(super) fn new(reader: &'a Reader<'t>, span: Range<usize>, table: &'a DeTable<'t>, known: &[Key]) -> Self {
        for (key, _) in table.iter().filter(|(key, _)| known.iter().all(|known| known.name != key.get_ref().as_ref())) {
            reader.tell(
                Severity::Error,
                key.span(),
                format!("unknown key '{}': {}", key.get_ref(), advice(key.get_ref(), known)),
            );
        }
        Self { reader, table, span }
    }

    /// A value, if the key is there.
    pub(super) fn raw(&self, name: &str) -> Option<At<'a, 't>> {
        self.table.get(name)
    }

    /// What is behind a key, if it is there and good; what is wrong with it is told.
    pub(super) fn get<T>(&self, name: &str, read: impl FnOnce(At<'a, 't>) -> Result<T, Wrong>) -> Option<T> {
        let value = self.raw(name)?;
        read(value).map_err(|wrong| self.reader.wrong(Some(name), wrong)).ok()
    }

    /// The table behind a key.
    pub(super) fn section(&self, name: &str, known: &[Key], what: &str) -> Option<Self> {
        let table = self.get(name, |value| value::table(value, what))?;
        let span = self.table.get_key_value(name).map_or(self.span.clone(), |(key, _)| key.span());
        Some(Self::new(self.reader, span, table, known))
    }

    /// The tables behind a key, by their names.
    fn named(&self, name: &str, known: &[Key]) -> Vec<(&'a Spanned<std::borrow::Cow<'t, str>>, Self)> {
        let what = format!("[{name}.NAME]");
        let Some(all) = self.get(name, |value| value::table(value, &what)) else { return Vec::new() };
        let section = |(key, value): (&'a Spanned<_>, At<'a, 't>)| match value::table(value, &what) {
            Ok(table) => Some((key, Self::new(self.reader, key.span(), table, known))),
            Err(wrong) => {
                self.reader.wrong(None, wrong);
                None
            }
        };
        let mut all: Vec<_> = all.iter().collect();
        // As they stand in the file: of two that do not fit it is the later one that is wrong.
        all.sort_by_key(|(key, _)| key.span().start);
        all.into_iter().filter_map(section).collect()
    }

    /// Tells that a key is missing, unless one is there that was meant to be it.
    pub(super) fn require(&self, name: &str, example: &str) {
        if !self.has_like(name) {
            self.wrong(format!("'{name}' is missing: add {example}"));
        }
    }

    /// Whether a key is there, or one that was meant to be it.
    pub(super) fn has_like(&self, name: &str) -> bool {
        self.table.keys().any(|key| nearest(key.get_ref(), [name]).is_some())
    }

    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.reader.tell(Severity::Error, self.span.clone(), message.into());
    }
}

fn file(reader: &Reader<'_>, root: &DeTable<'_>) -> Model {
    let file = Section::new(reader, 0..0, root, keys::FILE);
    let section = file.section("defaults", keys::DEFAULTS, "[defaults]");
    let defaults = section.as_ref().map(|section| sessions(section, &Default::default())).unwrap_or_default();
    let http = section.and_then(|section| section.section("http", keys::HTTP, "[defaults.http]"));
    let http = http.map(|section| read_http::http(&section, &Default::default())).unwrap_or_default();
    let mut model = Model::default().with_defaults(defaults.clone()).with_http_defaults(http).with_log(log(&file));
    model = model.with_control(control(&file)).with_process(process(&file));
    let mut pools = Vec::new();
    for (key, section) in file.named("pools", keys::POOL) {
        pools.push(key.get_ref().as_ref());
        let (name, pool) = (named(reader, key), pool(&section, usual_selector(root, key.get_ref())));
        if let Some((name, pool)) = name.zip(pool) {
            joined(reader, root, &pools, model.add_pool(name, pool));
        }
    }
    for (key, section) in file.named("services", keys::SERVICE) {
        let (name, service): (_, Option<Service>) =
            (named(reader, key), service(&section, &defaults, model.http_defaults()));
        let Some((name, service)) = name.zip(service) else { continue };
        let is_broken = pools.contains(&service.pool().as_str()) && !model.pools().contains_key(service.pool());
        if !is_broken {
            joined(reader, root, &pools, model.add_service(name, service));
        }
    }
    model
}

/// Who chooses in a pool that does not say: requests are many and differ, so where nothing else comes to it, who has least
/// to do.
fn usual_selector(root: &DeTable<'_>, pool: &str) -> SelectorKind {
    let services = root.get("services").and_then(|services| services.get_ref().as_table());
    let all = services.into_iter().flat_map(|services| services.iter().filter_map(|(_, own)| own.get_ref().as_table()));
    let says = |service: &DeTable<'_>, key: &str, word: &str| {
        service.get(key).is_some_and(|value| value.get_ref().as_str() == Some(word))
    };
    let mut own = all.filter(|service| says(service, "pool", pool)).map(|service| says(service, "role", "http"));
    let is_of_http = own.next().is_some_and(|first| first && own.all(|next| next));
    if is_of_http { SelectorKind::LeastLoaded(Metric::InFlight) } else { SelectorKind::default() }
}

/// What does not fit in is told where it stands, with the pool that may have been meant.
fn joined(reader: &Reader<'_>, root: &DeTable<'_>, pools: &[&str], made: Result<(), Invalid>) {
    if let Err(error) = made {
        let span = locate(root, &error.path);
        let mut message = error.message;
        let is_misspelt = |key: &Spanned<std::borrow::Cow<'_, str>>| {
            key.get_ref() != "pools" && nearest(key.get_ref(), ["pools"]).is_some()
        };
        if pools.is_empty() && root.keys().any(is_misspelt) {
            // That has been told of.
            return;
        }
        if error.path.last().is_some_and(|key| key == "pool") && message.starts_with("there is no pool") {
            let word = reader.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
            let near = nearest(word, pools.iter().copied()).map(|near| format!("did you mean '{near}'?"));
            let all = || match pools {
                [] => "there is none at all: add [pools.NAME]".to_owned(),
                pools => format!("expected one of {}", pools.join(", ")),
            };
            message = format!("{message}: {}", near.unwrap_or_else(all));
        }
        reader.tell(Severity::Error, span, message);
    }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
    reader: &Reader<'_>,
    key: &Spanned<std::borrow::Cow<'_, str>>,
) -> Option<T> {
    let told = |error: T::Err| reader.tell(Severity::Error, key.span(), error.to_string());
    key.get_ref().parse().map_err(told).ok()
}

fn log(file: &Section<'_, '_>) -> Log {
    let mut log = Log::default();
    let Some(section) = file.section("log", keys::LOG, "[log]") else { return log };
    match section.get("to", |value| value::choice(value, &["auto", "stderr", "syslog"])) {
        Some("stderr") => log.to = LogTo::Stderr,
        Some("syslog") => log.to = LogTo::Syslog,
        _ => {}
    }
    if section.get("format", |value| value::choice(value, &["human", "json"])) == Some("json") {
        log.format = LogFormat::Json;
    }
    log.trace = section.get("trace", value::flag).unwrap_or_default();
    log.dump = section.get("dump", value::flag).unwrap_or_default();
    log
}

fn control(file: &Section<'_, '_>) -> Control {
    let mut control = Control::default();
    let Some(section) = file.section("control", keys::CONTROL, "[control]") else { return control };
    let directory = |value| value::parsed::<Directory>(value, "a directory, such as \"/run/lb\",");
    control.directory = section.get("directory", directory);
    control.http = control_http(&section);
    control
}

fn control_http(section: &Section<'_, '_>) -> Option<ControlHttp> {
    let token = token(section);
    let address = |value| value::parsed::<HttpAddress>(value, "address:port or unix:/path");
    if section.raw("http").is_none() {
        for key in ["token", "token_file"] {
            let homeless = |value| Err::<(), _>(Wrong::at(value, "it belongs to http: add http = \"127.0.0.1:9480\""));
            section.get(key, homeless);
        }
        return None;
    }
    let address = section.get("http", address)?;
    let is_meant = section.raw("token").is_some() || section.raw("token_file").is_some();
    if token.is_none() && is_meant {
        // What is wrong with it is told already.
        return None;
    }
    let joined = |value| ControlHttp::new(address, token).map_err(|error| Wrong::at(value, error.to_string()));
    section.get("http", joined)
}

fn token(section: &Section<'_, '_>) -> Option<TokenSource> {
    let written = section.get("token", |value| value::parsed::<Token>(value, "a token"));
    if section.raw("token").is_some() {
        let another = |value| Err::<(), _>(Wrong::at(value, "there is a token already: leave one of the two out"));
        section.get("token_file", another);
        return written.map(TokenSource::Written);
    }
    let file = |value| value::parsed::<TokenFile>(value, "a file, such as \"/etc/lb/token\",");
    section.get("token_file", file).map(TokenSource::File)
}

fn process(file: &Section<'_, '_>) -> Process {
    let mut process = Process::default();
    let Some(section) = file.section("process", keys::PROCESS, "[process]") else { return process };
    process.user = section.get("user", |value| value::parsed(value, "USER or USER:GROUP"));
    process.workers = section
        .get("workers", |value| value::number(value, 1, 1024))
        .and_then(|number: u16| Workers::new(number.into()));
    if let Some(every) = section.get("resolve_every", |value| value::time_or(value, "never")) {
        process.resolve_every = every;
    }
    process
}

/// Where the end of a path stands, or else what of it there is.
fn locate(root: &DeTable<'_>, path: &[String]) -> Range<usize> {
    let (mut span, mut table, mut list) = (0..0, Some(root), None);
    for (at, step) in path.iter().enumerate() {
        let found = match (table, list) {
            (Some(table), _) => table.get_key_value(step.as_str()).map(|(key, value)| (key.span(), value)),
            (None, Some(list)) => {
                let list: &toml::de::DeArray<'_> = list;
                step.parse().ok().and_then(|index: usize| list.get(index)).map(|value| (value.span(), value))
            }
            (None, None) => None,
        };
        let Some((key, value)) = found else { break };
        let is_last = at + 1 == path.len();
        (table, list) = (None, None);
        match value.get_ref() {
            DeValue::Table(inner) => (span, table) = (key, Some(inner)),
            DeValue::Array(inner) => (span, list) = (if is_last { value.span() } else { key }, Some(inner)),
            _ => span = value.span(),
        }
    }
    span
}
