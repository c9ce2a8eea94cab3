//! Answers that end their connection, once the application is about to stop.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Health;

/// A tower layer: answers over HTTP/1 carry `Connection: close` once the application is [about to
/// stop](Health::shut_down), so that no client or balancer keeps a connection that is about to go.
///
/// A server that stops closes its idle connections at some moment, and a request may just be on its way over one of them:
/// whoever sent it cannot know whether it was begun with, and must not repeat a POST. An answer that announces the end
/// leaves no such moment. `lb` closes its idle connections itself when it hears DOWN; others need this.
///
/// Only a shutdown does it: whoever is DOWN for another reason may be back in a second, and gets no requests meanwhile.
/// Answers over HTTP/2, which has no such field and its own way to say goodbye, and upgrades are left as they are.
/// ```
/// use lb_net::health_endpoint::{Closing, Endpoint, Health};
/// use tower_service::Service;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let health = Health::new();
/// let mut service = Closing::new(&health, Endpoint::new(&health));
/// let answer = service.call(http::Request::new(())).await.unwrap();
/// assert!(!answer.headers().contains_key("connection"));
/// health.shut_down();
/// let answer = service.call(http::Request::new(())).await.unwrap();
/// assert_eq!(answer.headers()["connection"], "close");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClosingLayer {
    health: Health,
}

impl ClosingLayer {
    /// For an application of this health.
    #[must_use]
    pub fn new(health: &Health) -> Self {
        Self { health: health.clone() }
    }
}

impl<S> Layer<S> for ClosingLayer {
    type Service = Closing<S>;

    fn layer(&self, inner: S) -> Closing<S> {
        Closing::new(&self.health, inner)
    }
}

/// The service that [`ClosingLayer`] makes.
/// ```
/// # use lb_net::health_endpoint::{Closing, ClosingLayer, Health};
/// # use tower_layer::Layer;
/// let _: Closing<&str> = ClosingLayer::new(&Health::new()).layer("any service");
/// ```
#[derive(Clone, Debug)]
pub struct Closing<S> {
    health: Health,
    inner: S,
}

impl<S> Closing<S> {
    /// This service, for an application of this health.
    #[must_use]
    pub fn new(health: &Health, inner: S) -> Self {
        Self { health: health.clone(), inner }
    }
}

impl<S, A, B> Service<Request<A>> for Closing<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ClosingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_kept = request.version() <= Version::HTTP_11;
        ClosingFuture { health: is_kept.then(|| self.health.clone()), future: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`Closing`].
    /// ```
    /// # use lb_net::health_endpoint::{Closing, ClosingFuture, Endpoint, Health};
    /// # use tower_service::Service;
    /// # let health = Health::new();
    /// let _: ClosingFuture<_> = Closing::new(&health, Endpoint::new(&health)).call(http::Request::new(()));
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ClosingFuture<F> {
        // None where the version has no such field.
        health: Option<Health>,
        #[pin]
        future: F,
    }
}

impl<F, B, E> Future for ClosingFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.future.poll(cx));
        // Asked now: it may have been told to stop while this request ran.
        if let (Ok(answer), Some(health)) = (&mut answer, this.health)
            && health.is_shutting_down()
            && answer.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::Ready};

    use super::*;

    #[derive(Debug)]
    struct Status(u16);

    impl Service<Request<()>> for Status {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = Ready<Result<Response<()>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            let answer = Response::builder().status(self.0).header(CONNECTION, "upgrade").body(());
            std::future::ready(Ok(answer.unwrap()))
        }
    }

    #[tokio::test]
    async fn upgrades_and_http_2_are_left_as_they_are() {
        let health = Health::new();
        health.shut_down();
        for (status, version, connection) in [
            (200, Version::HTTP_11, "close"),
            (200, Version::HTTP_10, "close"),
            (101, Version::HTTP_11, "upgrade"),
            (200, Version::HTTP_2, "upgrade"),
        ] {
            let mut request = Request::new(());
            *request.version_mut() = version;
            let answer = ClosingLayer::new(&health).layer(Status(status)).call(request).await.unwrap();
            assert_eq!(answer.headers()[CONNECTION], connection, "{status} {version:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_ran_when_the_end_came_closes_its_connection() {
        let health = Health::new();
        let answer = Closing::new(&health, Status(200)).call(Request::new(()));
        health.shut_down();
        assert_eq!(answer.await.unwrap().headers()[CONNECTION], "close");
    }
}
