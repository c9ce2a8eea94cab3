//! One HTTP client made to call whichever backend is picked.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Version, header::HOST};
use lb_core::{Balancer, Lease, rand::rngs::SmallRng};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    BoxError, Call, Error, ErrorChain, Failure, HttpRules, HttpStatus, Origin, Policy, Rules,
    call::Aim,
    shared::{Settings, Shared},
};

/// Puts a balancer in front of one HTTP client: each request goes to the [`Origin`] of a backend.
///
/// The `Host` field is left to the client, which makes it of the URI, unless it is [kept](Self::with_host_kept). All else
/// of a request stays as it is: this is no proxy, which would take out the fields that are for one connection only.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use http::{Request, Response};
/// use lb_net::tower::{BalanceLayer, Origin};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
/// // In place of a client.
/// let client = service_fn(|request: Request<http_body_util::Empty<&'static [u8]>>| async move {
///     Ok::<_, std::io::Error>(Response::new(request.uri().to_string()))
/// });
/// let balancer = Origin::balancer("alpha:80 beta:80".parse()?)?;
/// let client = BalanceLayer::new(balancer).layer(client);
/// let request = || Request::builder().uri("/index.html").body(Default::default());
/// assert_eq!(client.clone().oneshot(request()?).await?.body().get_ref(), "http://alpha:80/index.html");
/// assert_eq!(client.oneshot(request()?).await?.body().get_ref(), "http://beta:80/index.html");
/// # Ok(()) }
/// ```
pub struct BalanceLayer<T = Origin, P = HttpRules> {
    shared: Arc<Shared<T, P>>,
    aim: ByUri,
}

impl<T: Send + Sync> BalanceLayer<T> {
    /// With [`Rules::http`].
    #[must_use]
    pub fn new(balancer: Arc<Balancer<T>>) -> Self {
        Self { shared: Shared::new(balancer, Rules::http(), Settings::default()), aim: ByUri { keeps_host: false } }
    }
}

impl<T: Send + Sync> BalanceLayer<T, HttpRules> {
    /// With this question about each error, and those behind it: whether it says that there was no connection. Without it
    /// only refused connects are known as such, and not those that came to no answer.
    ///
    /// Where it says so nobody has seen the request, which then goes elsewhere whatever it is: so the client must not make
    /// a second connection for one request, as those do that follow redirects.
    /// ```
    /// use hyper_util::client::legacy;
    /// use lb_net::tower::{BalanceLayer, Origin};
    /// let balancer = Origin::balancer("alpha:80 beta:80".parse()?)?;
    /// let layer = BalanceLayer::new(balancer)
    ///     .with_connect_errors(|error| error.downcast_ref().is_some_and(legacy::Error::is_connect));
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_connect_errors(self, is_connect: fn(Failure<'_>) -> bool) -> Self {
        let errors = ErrorChain::default().with_connect_errors(is_connect);
        self.with_rules(Rules::http().with_classifier(HttpStatus::default().with_errors(errors)))
    }
}

impl<T: Send + Sync, P> BalanceLayer<T, P> {
    /// With these rules, or a policy of your own.
    #[must_use]
    pub fn with_rules<Q>(self, rules: Q) -> BalanceLayer<T, Q> {
        BalanceLayer { shared: self.shared.with_policy(rules), aim: self.aim }
    }

    /// With the `Host` field that requests come with, for backends that serve several names. Over HTTP/1 only: in HTTP/2 the
    /// authority of the URI is what counts.
    #[must_use]
    pub fn with_host_kept(self) -> Self {
        Self { aim: ByUri { keeps_host: true }, ..self }
    }
}

impl<T: Send + Sync, P: Clone> BalanceLayer<T, P> {
    /// With repetitions of so many percent of the calls, and so many a second besides; 20 and 10 by default. What nobody
    /// has seen costs none of them.
    #[must_use]
    pub fn with_budget(self, percent: u8, per_second: u32) -> Self {
        let settings = Settings { percent, per_second, ..self.shared.settings };
        self.with(settings)
    }

    /// With chance that is the same in each run.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let settings = Settings { seed: Some(seed), ..self.shared.settings };
        self.with(settings)
    }

    fn with(self, settings: Settings) -> Self {
        let (balancer, policy) = (Arc::clone(&self.shared.balancer), self.shared.policy.clone());
        Self { shared: Shared::new(balancer, policy, settings), aim: self.aim }
    }
}

impl<S, T: Send + Sync, P> Layer<S> for BalanceLayer<T, P> {
    type Service = BalanceClient<S, T, P>;

    fn layer(&self, inner: S) -> Self::Service {
        BalanceClient { inner, rng: self.shared.rng(), shared: Arc::clone(&self.shared), aim: self.aim }
    }
}

impl<T, P> Clone for BalanceLayer<T, P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), aim: self.aim }
    }
}

impl<T, P> fmt::Debug for BalanceLayer<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceLayer").field("balancer", &self.shared.balancer).finish_non_exhaustive()
    }
}

/// What [`BalanceLayer`] makes of a client. It is ready when the client is.
///
/// A clone shares backends, counts and budget.
/// ```
/// use hyper_util::{client::legacy::{Client, connect::HttpConnector}, rt::TokioExecutor};
/// use lb_net::tower::{BalanceClient, BalanceLayer, Origin};
/// use http_body_util::Empty;
/// use tower::Layer as _;
/// type Body = Empty<&'static [u8]>;
/// let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
/// let balancer = Origin::balancer("alpha:80 beta:80".parse()?)?;
/// let client: BalanceClient<Client<HttpConnector, Body>> = BalanceLayer::new(balancer).layer(client);
/// assert_eq!(client.balancer().stats().backends.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BalanceClient<S, T = Origin, P = HttpRules> {
    inner: S,
    shared: Arc<Shared<T, P>>,
    rng: SmallRng,
    aim: ByUri,
}

impl<S, T, P> BalanceClient<S, T, P> {
    /// The balancer, for its counts, changes and orders.
    #[must_use]
    pub fn balancer(&self) -> &Arc<Balancer<T>> {
        &self.shared.balancer
    }
}

impl<S: Clone, T: Send + Sync, P> Clone for BalanceClient<S, T, P> {
    fn clone(&self) -> Self {
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Self { inner, rng: shared.rng(), shared, aim: self.aim }
    }
}

impl<S, T, P> fmt::Debug for BalanceClient<S, T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceClient").field("balancer", &self.shared.balancer).finish_non_exhaustive()
    }
}

impl<S, T, B, P> Service<Request<B>> for BalanceClient<S, T, P>
where
    S: Service<Request<B>, Error: Into<BoxError>> + Clone,
    T: AsRef<Origin> + Send + Sync,
    P: Policy<Request<B>, S::Response, T>,
{
    type Response = P::Held;
    type Error = Error;
    type Future = Call<S, Request<B>, T, P, ByUri>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| Error::NotReady(error.into()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes with the call, and a clone of it takes its place.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        Call::begin(&self.shared, &mut self.rng, request, Some(ready), self.aim)
    }
}

/// The backends have one client, which goes by the URI.
#[derive(Clone, Copy, Debug)]
pub struct ByUri {
    keeps_host: bool,
}

impl<S, T: AsRef<Origin>, B> Aim<T, S, Request<B>> for ByUri {
    const IS_SHARED: bool = true;

    fn aim(&self, backend: &Lease<T>, _: &mut Option<S>, request: &mut Request<B>) -> Result<(), Error> {
        let aimed = backend.payload().as_ref().aim(request.uri_mut());
        aimed.map_err(|source| Error::Uri { backend: backend.name().to_owned(), source })?;
        if !self.keeps_host {
            request.headers_mut().remove(HOST);
        }
        // How a request came says nothing about how it goes on: the client's connection has a version of its own.
        if request.version() > Version::HTTP_11 {
            *request.version_mut() = Version::HTTP_11;
        }
        Ok(())
    }
}
