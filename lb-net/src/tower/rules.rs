//! All that can be set for the calls of a balanced service.

use lb_core::Outcome;

use super::{
    AtOnce, BodyEnd, Classify, Cloned, EmptyBodies, End, ErrorChain, Failure, Hint, Hints, Hold, HttpStatus, NoHints,
    Retry,
};

/// What a balanced service asks about each call. [`Rules`] answers all of it; whoever needs a type that is short to name
/// implements it for one of their own.
/// ```
/// use lb_core::Outcome;
/// use lb_net::tower::{End, Failure, Hints, Policy};
/// struct Shards;
/// impl<T> Policy<u64, String, T> for Shards {
///     type Held = String;
///     fn hints(&self, customer: &u64) -> Hints { Hints::default().with_key(*customer) }
///     fn copy(&self, customer: &u64) -> Option<u64> { Some(*customer) }
///     fn is_repeatable(&self, _: &u64) -> bool { true }
///     fn outcome(&self, result: Result<&String, Failure<'_>>) -> Outcome {
///         if result.is_ok() { Outcome::Success } else { Outcome::Broken }
///     }
///     fn hold(&self, response: String, end: End<T>) -> String { end.at_once(); response }
/// }
/// ```
pub trait Policy<Req, Res, T> {
    /// What the caller gets for a response.
    type Held;

    /// See [`Hint`].
    fn hints(&self, request: &Req) -> Hints;
    /// See [`Retry::copy`].
    fn copy(&self, request: &Req) -> Option<Req>;
    /// See [`Retry::is_repeatable`].
    fn is_repeatable(&self, request: &Req) -> bool;
    /// See [`Classify`].
    fn outcome(&self, result: Result<&Res, Failure<'_>>) -> Outcome;
    /// See [`Hold`].
    fn hold(&self, response: Res, end: End<T>) -> Self::Held;
}

/// The rules for each call: who asks (`H`), how it went (`C`), whether it may go to another backend (`R`), when it is over
/// (`E`).
/// ```
/// use lb_core::key;
/// use lb_net::tower::{ClonedBodies, Hints, Rules};
/// type Request = http::Request<http_body_util::Full<&'static [u8]>>;
/// let rules = Rules::http()
///     .with_hints(|request: &Request| Hints::default().with_key(key::of_bytes(request.uri().path().as_bytes())))
///     .with_retry(ClonedBodies);
/// # drop(rules);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<H, C, R, E> {
    hints: H,
    classify: C,
    retry: R,
    end: E,
}

/// What [`Rules::plain`] gives.
/// ```
/// use lb_net::tower::{PlainRules, Policy};
/// assert_eq!(Policy::<u32, (), ()>::copy(&PlainRules::plain(), &5), Some(5));
/// ```
pub type PlainRules = Rules<NoHints, ErrorChain, Cloned, AtOnce>;

/// What [`Rules::http`] gives.
/// ```
/// use lb_core::Outcome;
/// use lb_net::tower::{Classify as _, HttpRules, HttpStatus};
/// let rules: HttpRules = HttpRules::http().with_classifier(HttpStatus::default());
/// # drop(rules);
/// assert_eq!(HttpStatus::default().outcome(Ok(&http::Response::new(()))), Outcome::Success);
/// ```
pub type HttpRules = Rules<NoHints, HttpStatus, EmptyBodies, BodyEnd>;

impl PlainRules {
    /// For any values: what is no error is a success, a call is over with its response, and requests that are `Clone` go
    /// to another backend as long as nobody has seen them.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }
}

impl HttpRules {
    /// For HTTP: a 5xx is a failure, a call is over with its response's body, and requests without a body go to another
    /// backend: all as long as nobody has seen them, later the idempotent ones.
    #[must_use]
    pub fn http() -> Self {
        Self::default()
    }
}

impl<H, C, R, E> Rules<H, C, R, E> {
    /// With this to tell who asks.
    #[must_use]
    pub fn with_hints<I>(self, hints: I) -> Rules<I, C, R, E> {
        let Self { classify, retry, end, .. } = self;
        Rules { hints, classify, retry, end }
    }

    /// With this to tell how a call went.
    #[must_use]
    pub fn with_classifier<D>(self, classify: D) -> Rules<H, D, R, E> {
        let Self { hints, retry, end, .. } = self;
        Rules { hints, classify, retry, end }
    }

    /// With this to tell what may go to another backend.
    #[must_use]
    pub fn with_retry<S>(self, retry: S) -> Rules<H, C, S, E> {
        let Self { hints, classify, end, .. } = self;
        Rules { hints, classify, retry, end }
    }

    /// With this to tell when a call is over.
    #[must_use]
    pub fn with_end<F>(self, end: F) -> Rules<H, C, R, F> {
        let Self { hints, classify, retry, .. } = self;
        Rules { hints, classify, retry, end }
    }
}

impl<Req, Res, T, H, C, R, E> Policy<Req, Res, T> for Rules<H, C, R, E>
where
    H: Hint<Req>,
    C: Classify<Res>,
    R: Retry<Req>,
    E: Hold<Res, T>,
{
    type Held = E::Held;

    fn hints(&self, request: &Req) -> Hints {
        self.hints.hints(request)
    }

    fn copy(&self, request: &Req) -> Option<Req> {
        self.retry.copy(request)
    }

    fn is_repeatable(&self, request: &Req) -> bool {
        self.retry.is_repeatable(request)
    }

    fn outcome(&self, result: Result<&Res, Failure<'_>>) -> Outcome {
        self.classify.outcome(result)
    }

    fn hold(&self, response: Res, end: End<T>) -> E::Held {
        self.end.hold(response, end)
    }
}
