//! What a configuration file says, and what is wrong with it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use lb_net::{
    config::{self, Loaded, LogTo, Model, Problems, Service},
    http::AccessTo,
};
use rustix::fs::OFlags;

use crate::{
    failure::{Failure, Status},
    log::{Entry, Level, Log},
};

/// More is no configuration that anybody meant, and its many mistakes would take all memory: it has room for a hundred
/// thousand backends.
const MOST: u64 = 16 << 20;

/// Why a file says nothing.
pub(crate) enum Trouble {
    /// It cannot be read.
    Unread(Failure),
    /// It is wrong, in these places.
    Wrong(Problems),
}

impl Trouble {
    /// Everything that is to be said of it; of each place in the file the line is shown.
    pub(crate) fn text(&self, path: &Path) -> String {
        match self {
            Self::Unread(failure) => failure.to_string(),
            Self::Wrong(problems) => problems.in_file(&path.display().to_string()).to_string(),
        }
    }
}

/// Reads a file, or a pipe or a terminal to its end: whoever has named one waits for its writer, or interrupts us.
pub(crate) fn read(path: &Path) -> Result<Loaded, Trouble> {
    let is_file = fs::metadata(path).is_ok_and(|known| known.is_file());
    parse(path, if is_file { open_without_waiting(path) } else { File::open(path) })
}

/// Reads what was read before, while others wait: nothing that could keep it for ever, as a pipe without a writer does.
pub(crate) fn read_again(path: &Path) -> Result<Loaded, Trouble> {
    let file = open_without_waiting(path).and_then(|file| {
        let is_file = file.metadata()?.is_file();
        // A directory says what it is when it is read.
        if is_file || file.metadata()?.is_dir() { Ok(file) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    parse(path, file)
}

/// What only looks like a file may be waited for too, as the kernel's log.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn parse(path: &Path, file: io::Result<File>) -> Result<Loaded, Trouble> {
    let unread = |failure: Failure| Trouble::Unread(failure.about(&path.display().to_string()));
    let mut bytes = Vec::new();
    let read = file.and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => unread(Failure::new(Status::System, "it is no regular file")),
        _ => unread(Failure::chain(Status::System, &error)),
    })?;
    if bytes.len() as u64 > MOST {
        return Err(unread(Failure::new(Status::Usage, "it has more than 16 MiB")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        unread(Failure::new(Status::Usage, format!("line {line} is no text: the file must be UTF-8")))
    })?;
    config::parse(&text).map(|loaded| loaded.with_system(&text)).map_err(Trouble::Wrong)
}

/// The same. What is wrong with it goes to stderr, a line of how much of that there is into the failure.
///
/// # Errors
/// When it cannot be read, or is wrong.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    read(path).map_err(|trouble| match &trouble {
        Trouble::Unread(failure) => failure.clone(),
        Trouble::Wrong(problems) => {
            say(&trouble.text(path));
            let count = problems.count();
            let errors = if count == 1 { "error" } else { "errors" };
            Failure::new(Status::Usage, format!("{count} {errors}")).about(&path.display().to_string())
        }
    })
}

/// Reads a file, and says on stderr what is hardly meant as well.
///
/// # Errors
/// When it cannot be read, or is wrong.
pub(crate) fn load_with_warnings(path: &Path) -> Result<Loaded, Failure> {
    let loaded = load(path)?;
    let file = path.display().to_string();
    loaded.warnings.iter().for_each(|warning| say(&warning.in_file(&file)));
    if loaded.more_warnings > 0 {
        say(&format!("and {} more", loaded.more_warnings));
    }
    Ok(loaded)
}

/// `lb check`: says what is wrong, and starts nothing.
///
/// # Errors
/// When it cannot be read, or is wrong.
pub(crate) fn check(path: &Path) -> Result<String, Failure> {
    let loaded = load_with_warnings(path)?;
    let file = path.display().to_string();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let model = &loaded.model;
    let backends = model.pools().values().map(|pool| pool.config().backends().count()).sum();
    let (services, pools) = (plural(model.services().len(), "service"), plural(model.pools().len(), "pool"));
    let warnings = match loaded.warnings.len() + loaded.more_warnings {
        0 => String::new(),
        count => format!("; {}", plural(count, "warning")),
    };
    let sources = match model.sources().count() {
        0 => String::new(),
        count => format!(" and those of {}", plural(count, "source")),
    };
    Ok(format!("{file}: good: {services}, {pools}, {}{sources}{warnings}\n", plural(backends, "backend")))
}

/// Whether there is anything to serve, and it can be told of.
///
/// # Errors
/// Why not.
pub(crate) fn serveable(path: &Path, model: &Model, in_background: bool) -> Result<(), Failure> {
    let unusable = |line: &str| Err(Failure::new(Status::Usage, line));
    if model.services().is_empty() {
        return unusable(&format!("{}: there is no service: add [services.NAME]", path.display()));
    }
    if in_background && model.log().dump {
        let said = unusable("log.dump = true and --daemon: there is no stdout in the background");
        return said.map_err(|failure| failure.with_remedy("leave out one of the two"));
    }
    let terminal = |service: &Service| {
        let to = service.http()?.access_log()?.to.clone();
        [AccessTo::Stdout, AccessTo::Stderr].contains(&to).then_some(to)
    };
    let services = model.services().iter();
    if let Some((name, to)) =
        services.filter(|_| in_background).find_map(|(name, service)| Some((name, terminal(service)?)))
    {
        let line =
            format!("access_log.to = \"{to}\" of service '{name}' and --daemon: there is no {to} in the background");
        return unusable(&line).map_err(|failure| failure.with_remedy("name a file"));
    }
    if in_background && model.log().to == LogTo::Stderr {
        let said = unusable("log.to = \"stderr\" and --daemon: there is no stderr in the background");
        return said.map_err(|failure| failure.with_remedy("write to = \"auto\" or \"syslog\""));
    }
    Ok(())
}

/// What is legal and hardly meant goes to the log.
pub(crate) fn warn(path: &Path, loaded: &Loaded, log: &Log) {
    for warning in &loaded.warnings {
        let line = format!("{}:{}:{}: {}", path.display(), warning.line, warning.column, warning.message);
        log.write(&Entry::new(Level::Warning, "configuration", line));
    }
}

/// To whoever reads it: several lines, so it is no event.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
