//! What a service's result says about its backend.

use std::{error::Error, io};

use lb_core::Outcome;

/// What a service says that has failed, as far as anybody can look into it.
/// ```
/// use lb_net::tower::Failure;
/// let is_io = |error: Failure<'_>| error.is::<std::io::Error>();
/// assert!(!is_io(&std::fmt::Error));
/// ```
pub type Failure<'a> = &'a (dyn Error + 'static);

/// Judges a result. A closure will do, if it names its argument's type.
///
/// [`Outcome::ConnectFailed`] is a promise that nobody has seen the request: it goes to another backend whatever it is, if
/// there is a copy. [`Outcome::Cancelled`] says nothing about the backend, and ends the call.
/// ```
/// use lb_core::Outcome;
/// use lb_net::tower::{Classify, Failure};
/// let classify = |result: Result<&u32, Failure<'_>>| match result {
///     Ok(0) => Outcome::ServerError,
///     Ok(_) => Outcome::Success,
///     Err(_) => Outcome::Broken,
/// };
/// assert_eq!(classify.outcome(Ok(&0)), Outcome::ServerError);
/// ```
pub trait Classify<Res> {
    /// How it went.
    fn outcome(&self, result: Result<&Res, Failure<'_>>) -> Outcome;
}

impl<Res, F: Fn(Result<&Res, Failure<'_>>) -> Outcome> Classify<Res> for F {
    fn outcome(&self, result: Result<&Res, Failure<'_>>) -> Outcome {
        self(result)
    }
}

/// Whether an error, one of a chain, says that there was no connection.
type IsConnect = fn(Failure<'_>) -> bool;

/// Judges errors by what is in their chain: a refused connection is [`Outcome::ConnectFailed`], an I/O error that
/// something took too long [`Outcome::TimedOut`], all others are [`Outcome::Broken`]. What is no error is a success.
///
/// A connector that gives up on a silent host does not say *refused*: [`with_connect_errors`](Self::with_connect_errors)
/// tells how your client names it.
/// ```
/// use lb_core::Outcome;
/// use lb_net::tower::{Classify, ErrorChain};
/// use std::io;
/// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
/// assert_eq!(Classify::<()>::outcome(&ErrorChain::default(), Err(&refused)), Outcome::ConnectFailed);
/// assert_eq!(ErrorChain::default().outcome(Ok(&"anything")), Outcome::Success);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorChain {
    is_connect: Option<IsConnect>,
}

impl ErrorChain {
    /// With this question about each error of a chain as well: whether it says that there was no connection.
    /// ```
    /// use hyper_util::client::legacy;
    /// use lb_net::tower::ErrorChain;
    /// let errors = ErrorChain::default()
    ///     .with_connect_errors(|error| error.downcast_ref().is_some_and(legacy::Error::is_connect));
    /// # drop(errors);
    /// ```
    #[must_use]
    pub fn with_connect_errors(self, is_connect: fn(Failure<'_>) -> bool) -> Self {
        Self { is_connect: Some(is_connect) }
    }

    fn judge(self, error: Failure<'_>) -> Outcome {
        if self.is_connect.is_some_and(|is_connect| chain(error).any(is_connect)) {
            return Outcome::ConnectFailed;
        }
        let mut kinds = chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
        // On a connection that stands neither can be refused; whether the other kinds came before or after is open.
        let known = kinds.find_map(|kind| match kind {
            io::ErrorKind::ConnectionRefused => Some(Outcome::ConnectFailed),
            io::ErrorKind::TimedOut => Some(Outcome::TimedOut),
            _ => None,
        });
        known.unwrap_or(Outcome::Broken)
    }
}

/// An error and its causes.
fn chain(error: Failure<'_>) -> impl Iterator<Item = Failure<'_>> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

impl<Res> Classify<Res> for ErrorChain {
    fn outcome(&self, result: Result<&Res, Failure<'_>>) -> Outcome {
        result.map_or_else(|error| self.judge(error), |_| Outcome::Success)
    }
}

/// Judges responses by their status, 5xx being [`Outcome::ServerError`], and errors by their [chain](ErrorChain).
/// ```
/// use http::{Response, StatusCode};
/// use lb_core::Outcome;
/// use lb_net::tower::{Classify, HttpStatus};
/// let mut response = Response::new(());
/// *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
/// assert_eq!(HttpStatus::default().outcome(Ok(&response)), Outcome::ServerError);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpStatus {
    errors: ErrorChain,
}

impl HttpStatus {
    /// With errors judged so.
    #[must_use]
    pub fn with_errors(self, errors: ErrorChain) -> Self {
        Self { errors }
    }
}

impl<B> Classify<http::Response<B>> for HttpStatus {
    fn outcome(&self, result: Result<&http::Response<B>, Failure<'_>>) -> Outcome {
        match result {
            Ok(response) if response.status().is_server_error() => Outcome::ServerError,
            Ok(_) => Outcome::Success,
            Err(error) => self.errors.judge(error),
        }
    }
}
