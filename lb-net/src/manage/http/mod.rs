//! Management over HTTP: a JSON API with the commands of a control session, and metrics for Prometheus.
//!
//! `GET /` lists what there is. An order is a POST and is answered
//! `{"ok":true,"text":"channel 0 disabled","permanence":"..."}`: what a control session would say, and what becomes of the
//! order at a reload. A refusal has a status of 4xx or 5xx and says why: `{"ok":false,"error":"there is no pool 'wbe'"}`.
//! The order to end the process, `kill`, is not offered.
//!
//! # Who is answered
//! On a loopback address or a unix socket everybody who can reach it (at a unix socket that is root and the user of the
//! process), as long as there is no token; any other address takes a [`Token`], which every request shows then:
//! `Authorization: Bearer TOKEN`. Without a token no page in a browser gets through: names other than `localhost` are
//! refused as hosts, orders with an `Origin` too, and a body counts as JSON only if it is called so.
//!
//! The configuration is told without its token.

mod access;
mod act;
mod answer;
mod body;
mod numbers;
mod percent;
mod route;
mod secret;

use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Bytes;
use tower_service::Service;

pub use self::access::{Access, NoToken};
use self::{answer::Answer, body::Fields};
use super::{Process, aside::aside};
use crate::serve::{self, Limits, Listener};
pub use crate::{
    http_address::{HttpAddress, HttpAddressError},
    token::{Token, TokenError},
};

/// The API as a tower service, for a server of your own. [`serve`](self::serve()) has one.
///
/// Requests are carried out on threads of their own: a name that takes long to resolve keeps nobody else waiting.
/// ```
/// use lb_net::{manage::{Process, http::{Access, Api}}, serve::HttpAddress};
/// use std::sync::Arc;
/// fn api(process: Arc<dyn Process>) -> Api {
///     let address = HttpAddress::Unix("/run/lb/http".into());
///     Api::new(process, Access::new(&address, None).expect("a unix socket takes no token"))
/// }
/// ```
#[derive(Clone)]
pub struct Api {
    process: Arc<dyn Process>,
    access: Arc<Access>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Api {
    /// Of this process, for those who may.
    #[must_use]
    pub fn new(process: Arc<dyn Process>, access: Access) -> Self {
        Self { process, access: Arc::new(access) }
    }

    async fn answer<B>(self, request: Request<B>) -> Result<Answer, Answer>
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        let (head, body) = request.into_parts();
        if let Some(objection) = self.access.objection(&head) {
            return Err(objection);
        }
        let route = route::find(&head.method, &head.uri)?;
        let fields = Fields::read(&head.headers, body).await?;
        let acted = aside(move || act::act(&route, &fields, &*self.process, self.access.token())).await;
        acted.map_err(|error| Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

impl<B> Service<Request<B>> for Api
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async { Ok(answer.await.unwrap_or_else(|refused| refused).into_response()) })
    }
}

/// Why HTTP is not served.
/// ```
/// let error = lb_net::manage::http::ServeError::from(std::io::Error::other("no means"));
/// assert_eq!(error.to_string(), "cannot serve HTTP");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Others could give orders.
    #[error(transparent)]
    NoToken(#[from] NoToken),
    /// What the system said.
    #[error("cannot serve HTTP")]
    Io(#[from] io::Error),
}

/// Serves the API of a process at a [`Listener`] until `stopping` completes, and then answers what has begun.
/// ```no_run
/// # async fn example(process: std::sync::Arc<dyn lb_net::manage::Process>) -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::{manage::http, serve::{Limits, Listener}};
/// let listener = Listener::bind(&"127.0.0.1:9480".parse()?)?;
/// http::serve(listener, process, None, Limits::default(), std::future::pending()).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Without a token where others can reach the listener; when its socket cannot be watched.
pub async fn serve(
    listener: Listener,
    process: Arc<dyn Process>,
    token: Option<Token>,
    limits: Limits,
    stopping: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let access = Access::new(&listener.address()?, token)?;
    Ok(serve::serve(listener, Api::new(process, access), limits, stopping).await?)
}
