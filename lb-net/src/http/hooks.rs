//! What embedders may see and change.

use std::{fmt, net::SocketAddr, sync::Arc};

use super::{
    Edit, EditError, OwnAnswer, Record,
    message::head::{AnswerHead, RequestHead},
};

/// Looks at requests and answers, changes them, and answers by itself. It is called inside the exchange, on its thread: it
/// must not block. A method that is left as it is costs a call. Behind the body of a message whose head is changed no trailers
/// are passed on: they could bring back what was taken away.
/// ```
/// use lb_net::http::{Hooks, OwnAnswer, RequestView};
/// struct Gate;
/// impl Hooks for Gate {
///     fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
///         let _ = request.set("X-Gate", "open");
///         request.path().starts_with("/private").then(|| OwnAnswer::new(403).with_body("Not for you.\n"))
///     }
/// }
/// ```
#[allow(unused_variables, reason = "the names say what the arguments are")]
pub trait Hooks: Send + Sync + 'static {
    /// A request has come, and is good. An answer is sent in place of asking a backend.
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        None
    }

    /// A backend has answered; not called for interim answers, nor for those that lb makes by itself.
    fn on_answer(&self, answer: &mut AnswerView<'_, '_>) {}

    /// A request has ended, however that came.
    fn on_end(&self, record: &Record<'_>) {}
}

/// A request on its way to a backend.
/// ```
/// # use lb_net::http::{EditError, RequestView};
/// fn tag(request: &mut RequestView<'_, '_>) -> Result<(), EditError> {
///     if request.field("user-agent").is_none() {
///         request.set("X-Robot", "perhaps")?;
///     }
///     Ok(())
/// }
/// ```
pub struct RequestView<'a, 'b> {
    head: &'a RequestHead<'a, 'b>,
    client: SocketAddr,
    edits: &'a mut Vec<Edit>,
}

/// An answer on its way to its client.
/// ```
/// # use lb_net::http::{AnswerView, EditError};
/// fn hide(answer: &mut AnswerView<'_, '_>) -> Result<(), EditError> {
///     if answer.status() == 200 { answer.remove("Server") } else { Ok(()) }
/// }
/// ```
pub struct AnswerView<'a, 'b> {
    head: &'a AnswerHead<'a, 'b>,
    edits: &'a mut Vec<Edit>,
}

impl<'b> RequestView<'_, 'b> {
    /// Its method.
    #[must_use]
    pub fn method(&self) -> &'b str {
        self.head.method
    }

    /// Path and query, or `*`; empty for a target that is a host alone.
    #[must_use]
    pub fn path(&self) -> &'b str {
        self.head.path
    }

    /// The host that it is for, as the client wrote it.
    #[must_use]
    pub fn host(&self) -> Option<&'b [u8]> {
        self.head.host()
    }

    /// Who asks: the peer, or whom a trusted proxy has introduced.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The value of the first field of this name, as the client sent it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.head.fields.named(name).next()
    }

    /// All fields, in their order, as the client sent them.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.head.fields.iter().map(|field| (field.name, field.value))
    }

    /// The backend gets this field, in place of all others of its name.
    ///
    /// # Errors
    /// When name or value are none, or the field is lb's own business.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        Edit::set(name, value).map(|edit| self.edits.push(edit))
    }

    /// The backend gets this field besides others of its name.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        Edit::add(name, value).map(|edit| self.edits.push(edit))
    }

    /// The backend gets no field of this name.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        Edit::remove(name).map(|edit| self.edits.push(edit))
    }
}

impl<'b> AnswerView<'_, 'b> {
    /// Its status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The value of the first field of this name, as the backend sent it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.head.fields.named(name).next()
    }

    /// All fields, in their order, as the backend sent them.
    pub fn fields(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.head.fields.iter().map(|field| (field.name, field.value))
    }

    /// The client gets this field, in place of all others of its name.
    ///
    /// # Errors
    /// When name or value are none, or the field is lb's own business.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        Edit::set(name, value).map(|edit| self.edits.push(edit))
    }

    /// The client gets this field besides others of its name.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        Edit::add(name, value).map(|edit| self.edits.push(edit))
    }

    /// The client gets no field of this name.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        Edit::remove(name).map(|edit| self.edits.push(edit))
    }
}

impl fmt::Debug for RequestView<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.method(), self.path(), self.client)
    }
}

impl fmt::Debug for AnswerView<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer {}", self.status())
    }
}

/// What hooks say of a request.
pub(super) fn ask(
    hooks: Option<&Arc<dyn Hooks>>,
    head: &RequestHead<'_, '_>,
    client: SocketAddr,
    edits: &mut Vec<Edit>,
) -> Option<OwnAnswer> {
    hooks.and_then(|hooks| hooks.on_request(&mut RequestView { head, client, edits }))
}

/// What hooks make of an answer.
pub(super) fn show(hooks: Option<&Arc<dyn Hooks>>, head: &AnswerHead<'_, '_>, edits: &mut Vec<Edit>) {
    if let Some(hooks) = hooks {
        hooks.on_answer(&mut AnswerView { head, edits });
    }
}
