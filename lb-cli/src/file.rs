//! What a configuration file says, and what is wrong with it.

use std::{io::Write as _, path::Path};

use lb_net::config::{self, Loaded};

use crate::failure::{Failure, Status};

/// Reads a file. What is wrong with it goes to stderr, a line of how much of that there is into the failure.
///
/// # Errors
/// When it cannot be read, or is wrong.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    let file = path.display().to_string();
    let unread = |failure: Failure| failure.about(&file);
    let bytes = std::fs::read(path).map_err(|error| unread(Failure::chain(Status::System, &error)))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        unread(Failure::new(Status::Usage, format!("line {line} is no text: the file must be UTF-8")))
    })?;
    config::parse(&text).map_err(|problems| {
        say(&problems.in_file(&file));
        let count = problems.count();
        unread(Failure::new(Status::Usage, format!("{count} {}", if count == 1 { "error" } else { "errors" })))
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
    let warnings = match loaded.warnings.len() {
        0 => String::new(),
        count => format!("; {}", plural(count, "warning")),
    };
    Ok(format!("{file}: good: {services}, {pools}, {}{warnings}\n", plural(backends, "backend")))
}

/// To whoever reads it: several lines, so it is no event.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
