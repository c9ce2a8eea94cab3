//! From a text to a model, or to all that is wrong with it.

use lb_core::{SelectorKind, selector::Metric};
use toml::{Spanned, de::DeTable};

use super::{
    Control, ControlHttp, Directory, HttpAddress, Invalid, Log, LogFormat, LogTo, Model, Problem, Problems, Process,
    Service, Severity, Token, TokenFile, TokenSource, Workers, keys, read_http,
    read_pool::pool,
    read_service::{service, sessions},
    reader::{Reader, Section, locate},
    syntax::plainly,
    value::{self, Wrong},
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
    let reader = Reader::new(text);
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
    let warnings = reader.into_problems();
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
        let reader = Reader::new(text);
        reader.warn(root.get_ref(), self.model.system_warnings());
        let more = reader.into_problems();
        self.more_warnings += more.count() - more.all().len();
        self.warnings.extend_from_slice(more.all());
        self.warnings.sort_by_key(|warning| (warning.line, warning.column));
        self
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
