//! One thing that is different between two models.

use std::fmt;

/// One thing that is different. Printed it is a line that begins with `+`, `-` or `~`, without its end.
/// ```
/// let new = lb_net::config::parse("[log]\nformat = 'json'")?.model;
/// let difference = lb_net::config::Model::default().difference(&new);
/// let change = difference.changes().next().ok_or("there is one")?;
/// assert_eq!(change.to_string(), "~ log: format human -> json (takes effect at the next start)");
/// assert!(change.needs_restart());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    sign: char,
    pub(super) subject: String,
    /// What of it; nothing, where it is all of it.
    what: String,
    needs_restart: bool,
    pub(super) is_of_backend: bool,
}

impl Change {
    /// A part of something that is there before and after.
    pub(super) fn within(subject: &str, what: String) -> Self {
        Self { sign: '~', subject: subject.to_owned(), what, needs_restart: false, is_of_backend: false }
    }

    pub(super) fn of_backend(subject: &str, what: String) -> Self {
        Self { is_of_backend: true, ..Self::within(subject, what) }
    }

    /// All of it: it comes (`+`) or goes (`-`).
    pub(super) fn whole(sign: char, subject: &str, what: String) -> Self {
        Self { sign, ..Self::within(subject, what) }
    }

    /// The same; whether it takes effect at the next start only.
    pub(super) fn with_restart(self, needs_restart: bool) -> Self {
        Self { needs_restart, ..self }
    }

    /// Whether a process that runs cannot take it over: it takes effect at the next start.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        self.needs_restart
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sign, self.subject)?;
        if !self.what.is_empty() {
            write!(f, ": {}", self.what)?;
        }
        f.write_str(if self.needs_restart { " (takes effect at the next start)" } else { "" })
    }
}
