//! What a command came to: done, or refused and why.

/// What a command that went well came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) text: String,
    /// What balance does not know of, a line on its own: scripts know the text word for word.
    pub(super) note: Option<String>,
    /// Whether something is now as somebody has ordered it to be.
    pub(super) is_change: bool,
}

impl Done {
    /// An order that was carried out.
    pub(super) fn changed(text: impl Into<String>) -> Self {
        Self { text: text.into(), note: None, is_change: true }
    }

    pub(super) fn with_note(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }
}

/// An answer to a question.
impl<T: Into<String>> From<T> for Done {
    fn from(text: T) -> Self {
        Self { text: text.into(), note: None, is_change: false }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing of that name or number.
    Unknown(String),
    /// A word is none of its kind: what balance says, and what is wrong with it.
    Invalid(String, Option<String>),
    /// It does not fit what is in force.
    Conflict(String),
}

impl Refusal {
    /// As balance says it.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Unknown(text) | Self::Invalid(text, _) | Self::Conflict(text) => text,
        }
    }
}

pub(super) type Said = Result<Done, Refusal>;
