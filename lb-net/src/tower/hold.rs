//! When a call is over, and its backend's place free again.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http_body::{Body, Frame, SizeHint};
use lb_core::{Lease, Outcome};
use pin_project_lite::pin_project;

use crate::driver::now;

/// A call that has its response: dropped, it ends, and says how it went.
///
/// A rule of your own keeps it in the response for as long as the backend works on that.
/// ```
/// use lb_net::tower::{End, Hold};
/// /// A stream of rows, and the place at the database that they come from.
/// struct Rows<T>(Vec<u32>, End<T>);
/// struct WithRows;
/// impl<T> Hold<Vec<u32>, T> for WithRows {
///     type Held = Rows<T>;
///     fn hold(&self, rows: Vec<u32>, end: End<T>) -> Rows<T> { Rows(rows, end) }
/// }
/// ```
#[must_use = "dropping it ends the call at once"]
pub struct End<T> {
    lease: Option<Lease<T>>,
    outcome: Outcome,
    answered: Instant,
    /// Whether anybody wants to know when: else `answered` is any moment.
    is_timed: bool,
}

impl<T> End<T> {
    /// Of a call that began at `any` moment, as nobody wants to know when, or it has to be timed.
    pub(super) fn new(mut lease: Lease<T>, outcome: Outcome, any: Option<Instant>) -> Self {
        let answered = any.unwrap_or_else(now);
        if any.is_none() {
            lease.answered(answered);
        }
        Self { lease: Some(lease), outcome, answered, is_timed: any.is_none() }
    }

    /// How it will have gone, if nothing else is said.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Says how it went, where the end of a response tells more than its beginning.
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Ends it with its response: nothing is read of it later.
    pub fn at_once(mut self) {
        if let Some(lease) = self.lease.take() {
            let ended = if self.is_timed { self.answered } else { self.now_if_needed() };
            lease.finish(self.outcome, ended);
        }
    }
}

impl<T> End<T> {
    /// A failure has its time in any case.
    fn now_if_needed(&self) -> Instant {
        if self.is_timed || self.outcome != Outcome::Success { now() } else { self.answered }
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish(self.outcome, self.now_if_needed());
        }
    }
}

impl<T> fmt::Debug for End<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("lease", &self.lease).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Says when a response is over; `T` is the balancer's payload. A rule of your own keeps the [`End`] where it likes.
/// ```
/// use lb_net::tower::{End, Hold};
/// struct WithEnd;
/// impl<Res, T> Hold<Res, T> for WithEnd {
///     type Held = (Res, End<T>);
///     fn hold(&self, response: Res, end: End<T>) -> (Res, End<T>) { (response, end) }
/// }
/// ```
pub trait Hold<Res, T> {
    /// What the caller gets.
    type Held;

    /// The response, with its end kept in it or not.
    fn hold(&self, response: Res, end: End<T>) -> Self::Held;
}

/// A call is over as soon as there is a response.
/// ```
/// use lb_net::tower::{AtOnce, Rules};
/// let rules = Rules::http().with_end(AtOnce);
/// # drop(rules);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl<Res, T> Hold<Res, T> for AtOnce {
    type Held = Res;

    fn hold(&self, response: Res, end: End<T>) -> Res {
        end.at_once();
        response
    }
}

/// A call is over when the body of its HTTP response ends, breaks off or is dropped.
///
/// How it went is told from the head: a body that breaks off is no failure to connect, and one that the caller drops says
/// nothing against the backend. What an upgraded connection carries afterwards is no body.
/// ```
/// use lb_net::tower::{BodyEnd, Rules};
/// let rules = Rules::plain().with_end(BodyEnd);
/// # drop(rules);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyEnd;

impl<B: Body, T> Hold<http::Response<B>, T> for BodyEnd {
    type Held = http::Response<HeldBody<B, T>>;

    fn hold(&self, response: http::Response<B>, end: End<T>) -> Self::Held {
        response.map(|body| {
            if body.is_end_stream() {
                end.at_once();
                return HeldBody { body, end: None };
            }
            HeldBody { body, end: Some(end) }
        })
    }
}

pin_project! {
    /// A response's body, unchanged; its backend counts as busy until it ends or is dropped.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use lb_net::tower::{BalanceLayer, Origin};
    /// use tower::{Layer as _, ServiceExt as _, service_fn};
    /// type Body = Full<&'static [u8]>;
    /// let hello = || std::future::ready(Ok::<_, std::io::Error>(Response::new(Body::new(b"hello"))));
    /// let client = BalanceLayer::new(Origin::balancer("alpha".parse()?)?).layer(service_fn(move |_| hello()));
    /// let balancer = client.balancer().clone();
    /// let response = client.oneshot(Request::new(Body::default())).await?;
    /// assert_eq!(balancer.stats().backends[0].in_flight, 1);
    /// drop(response);
    /// assert_eq!(balancer.stats().backends[0].succeeded, 1);
    /// # Ok(()) }
    /// ```
    pub struct HeldBody<B, T> {
        #[pin]
        body: B,
        end: Option<End<T>>,
    }
}

impl<B, T> HeldBody<B, T> {
    /// The body as the service gave it.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.body
    }
}

impl<B: Body, T> Body for HeldBody<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            drop(this.end.take());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug, T> fmt::Debug for HeldBody<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody").field("body", &self.body).field("end", &self.end).finish()
    }
}
