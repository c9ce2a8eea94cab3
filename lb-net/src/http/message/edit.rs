//! Changes to a message's fields.

use std::{fmt, str::FromStr};

use crate::field_text::{is_name, is_value};

/// Fields that frame a message, route it or belong to one connection: lb decides about them.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One change to a message's fields. Names are compared without regard to case. Fields that frame a message or belong to
/// one connection (`Content-Length`, `Connection`, `Host` and so on) are lb's own business.
/// ```
/// use lb_net::http::Edit;
/// let edit: Edit = "set X-Served-By: lb".parse()?;
/// assert_eq!(edit, Edit::set("X-Served-By", "lb")?);
/// assert_eq!(edit.to_string(), "set X-Served-By: lb");
/// assert!("set Content-Length: 5".parse::<Edit>().is_err());
/// # Ok::<(), lb_net::http::EditError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    kind: Kind,
    name: Box<str>,
    value: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One more field, whatever there is.
    Add,
    /// This field in place of all of its name.
    Set,
    /// None of this name.
    Remove,
}

/// What is wrong with a change of fields.
/// ```
/// let error = "put X: y".parse::<lb_net::http::Edit>().unwrap_err();
/// assert_eq!(error.to_string(), "'put X: y' is no change of fields: 'add NAME: VALUE', 'set NAME: VALUE' or 'remove NAME'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// It is none of the three.
    #[error("'{0}' is no change of fields: 'add NAME: VALUE', 'set NAME: VALUE' or 'remove NAME'")]
    Unknown(String),
    /// The name has letters that names of fields cannot have (RFC 9110 section 5.1).
    #[error("'{0}' cannot be the name of a field")]
    Name(String),
    /// The value has letters that values cannot have (RFC 9110 section 5.5).
    #[error("'{0}' cannot be the value of a field")]
    Value(String),
    /// It frames messages, or belongs to one connection.
    #[error("the field '{0}' is lb's own business and cannot be changed")]
    Ours(String),
}

impl Edit {
    /// One more field of this name.
    ///
    /// # Errors
    /// When name or value are none, or the field is not to be changed.
    pub fn add(name: &str, value: &str) -> Result<Self, EditError> {
        Self::new(Kind::Add, name, value)
    }

    /// This field, in place of all others of its name.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn set(name: &str, value: &str) -> Result<Self, EditError> {
        Self::new(Kind::Set, name, value)
    }

    /// No field of this name.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn remove(name: &str) -> Result<Self, EditError> {
        Self::new(Kind::Remove, name, "")
    }

    fn new(kind: Kind, name: &str, value: &str) -> Result<Self, EditError> {
        if !is_name(name) {
            return Err(EditError::Name(name.to_owned()));
        }
        if !is_value(value) || value.trim_matches([' ', '\t']).len() != value.len() {
            return Err(EditError::Value(value.to_owned()));
        }
        if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            return Err(EditError::Ours(name.to_owned()));
        }
        Ok(Self { kind, name: name.into(), value: value.into() })
    }

    /// Of which field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says then; empty where the field is removed.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The edits of a message, in their order: those of the settings, then those of a hook.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edits<'a> {
    first: &'a [Edit],
    more: &'a [Edit],
}

impl<'a> Edits<'a> {
    pub(super) fn new(first: &'a [Edit], more: &'a [Edit]) -> Self {
        Self { first, more }
    }

    /// Whether fields of this name that were there before are gone.
    pub(super) fn replace(self, name: &str) -> bool {
        !(self.first.is_empty() && self.more.is_empty()) && self.replace_after(0, name)
    }

    /// Those whose field is there in the end.
    pub(super) fn added(self) -> impl Iterator<Item = &'a Edit> {
        let last =
            move |(at, edit): &(usize, &Edit)| edit.kind != Kind::Remove && !self.replace_after(at + 1, edit.name());
        self.iter().enumerate().filter(last).map(|(_, edit)| edit)
    }

    fn replace_after(self, skipped: usize, name: &str) -> bool {
        self.iter().skip(skipped).any(|edit| edit.kind != Kind::Add && edit.name.eq_ignore_ascii_case(name))
    }

    fn iter(self) -> impl Iterator<Item = &'a Edit> {
        self.first.iter().chain(self.more)
    }
}

impl FromStr for Edit {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        let unknown = || EditError::Unknown(text.to_owned());
        let (kind, rest) = text.trim().split_once(' ').ok_or_else(unknown)?;
        let pair = || rest.split_once(':').map(|(name, value)| (name.trim(), value.trim())).ok_or_else(unknown);
        match kind {
            "add" => pair().and_then(|(name, value)| Self::add(name, value)),
            "set" => pair().and_then(|(name, value)| Self::set(name, value)),
            "remove" => Self::remove(rest.trim()),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Add => write!(f, "add {}: {}", self.name, self.value),
            Kind::Set => write!(f, "set {}: {}", self.name, self.value),
            Kind::Remove => write!(f, "remove {}", self.name),
        }
    }
}
