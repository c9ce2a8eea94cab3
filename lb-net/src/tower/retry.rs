//! Which requests may go to another backend.

use http_body::Body;

/// Makes the copies that go to other backends.
///
/// A request that nobody has seen goes on until every backend has been asked. One that a backend may have begun with goes
/// once more, if that does no harm and the budget has one left. Either takes a copy, made before the request is sent.
/// ```
/// use lb_net::tower::Retry;
/// struct Reads;
/// impl Retry<(bool, String)> for Reads {
///     fn copy(&self, request: &(bool, String)) -> Option<(bool, String)> { Some(request.clone()) }
///     fn is_repeatable(&self, (writes, _): &(bool, String)) -> bool { !writes }
/// }
/// assert!(Reads.is_repeatable(&(false, "select 1".into())));
/// ```
pub trait Retry<Req> {
    /// The same request once more; `None` when there can be no other.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Whether to do it twice is the same as to do it once.
    fn is_repeatable(&self, request: &Req) -> bool;
}

/// No request goes to another backend.
/// ```
/// use lb_net::tower::{Never, Retry};
/// assert_eq!(Never.copy(&5), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl<Req> Retry<Req> for Never {
    fn copy(&self, _: &Req) -> Option<Req> {
        None
    }

    fn is_repeatable(&self, _: &Req) -> bool {
        false
    }
}

/// Any request that is `Clone`. By default only those go on that nobody has seen.
/// ```
/// use lb_net::tower::{Cloned, Retry};
/// assert_eq!(Cloned::default().copy(&5), Some(5));
/// assert!(!Cloned::default().is_repeatable(&5) && Cloned::repeatable().is_repeatable(&5));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Cloned {
    is_repeatable: bool,
}

impl Cloned {
    /// Where each request may be done twice.
    #[must_use]
    pub fn repeatable() -> Self {
        Self { is_repeatable: true }
    }
}

impl<Req: Clone> Retry<Req> for Cloned {
    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn is_repeatable(&self, _: &Req) -> bool {
        self.is_repeatable
    }
}

/// HTTP requests whose body is empty. They are repeatable with the idempotent methods of RFC 9110 section 9.2.2.
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use lb_net::tower::{EmptyBodies, Retry};
/// assert!(EmptyBodies.copy(&Request::new(Full::<&[u8]>::default())).is_some());
/// assert!(EmptyBodies.copy(&Request::new(Full::new(&b"x=1"[..]))).is_none());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBodies;

impl<B: Body + Default> Retry<http::Request<B>> for EmptyBodies {
    fn copy(&self, request: &http::Request<B>) -> Option<http::Request<B>> {
        request.body().is_end_stream().then(|| copy(request, B::default()))
    }

    fn is_repeatable(&self, request: &http::Request<B>) -> bool {
        request.method().is_idempotent()
    }
}

/// HTTP requests with a body that is `Clone`, as one in memory is. They are repeatable with the idempotent methods of
/// RFC 9110 section 9.2.2.
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use lb_net::tower::{ClonedBodies, Retry};
/// assert!(ClonedBodies.copy(&Request::new(Full::new(&b"x=1"[..]))).is_some());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ClonedBodies;

impl<B: Clone> Retry<http::Request<B>> for ClonedBodies {
    fn copy(&self, request: &http::Request<B>) -> Option<http::Request<B>> {
        Some(copy(request, request.body().clone()))
    }

    fn is_repeatable(&self, request: &http::Request<B>) -> bool {
        request.method().is_idempotent()
    }
}

fn copy<B>(request: &http::Request<B>, body: B) -> http::Request<B> {
    let mut copy = http::Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}
