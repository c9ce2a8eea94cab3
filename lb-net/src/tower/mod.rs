//! Balancing between tower services, in your own program.
//!
//! # Which door
//! - You have *one* HTTP client, and servers that differ by address: [`BalanceLayer`]. It points each request at a server.
//! - You have *one service for each backend*, of any protocol, with middleware of its own perhaps: [`Balance`].
//!
//! Both come with all that an [`lb_core::Balancer`] has: selectors, limits, draining, slow start, counts, and passive health
//! where the configuration has an [ejection](lb_core::Config::with_ejection). Run [`drive`](crate::drive) beside it; without,
//! nobody who was ejected comes back. [`Balancer::stats`](lb_core::Balancer::stats)
//! counts each backend; [`Balancer::update`](lb_core::Balancer::update), [`Origin::update`] or, with the feature
//! `tower-discover`, [`follow`] change the set while calls go on.
//!
//! Some lines more in an axum application (hyper-util with `client-legacy`, `http1`, `tokio`; tower with `util`):
//! ```
//! # async fn application() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, extract::Request};
//! use hyper_util::{client::legacy::{self, Client}, rt::TokioExecutor};
//! use lb_core::{Config, health::Eject};
//! use lb_net::tower::{BalanceLayer, Origin};
//! use tower::{Layer, ServiceExt};
//!
//! let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
//! let config = "127.0.0.1:8001 127.0.0.1:8002".parse::<Config>()?.with_ejection(Eject::default());
//! let balancer = Origin::balancer(config)?;
//! tokio::spawn(lb_net::drive(balancer.clone()));
//! let no_connection = |error: lb_net::tower::Failure<'_>| error.downcast_ref().is_some_and(legacy::Error::is_connect);
//! let client = BalanceLayer::new(balancer).with_connect_errors(no_connection).layer(client);
//! let application: Router = Router::new().fallback(async move |request: Request| match client.oneshot(request).await {
//!     Ok(response) => Ok(response.map(Body::new)),
//!     Err(error) => Err((http::StatusCode::BAD_GATEWAY, error.to_string())),
//! });
//! # drop(application);
//! # Ok(()) }
//! ```
//!
//! A timeout belongs below the balancer, around the client or each service: above it, a call that takes too long is one that
//! was dropped, which says nothing about its backend.
//!
//! # What becomes of a call
//! The backend is picked when the call is made, and its place is taken until the call is over: a limit is never exceeded.
//! When all are full the call fails at once with [`Error::NoPick`]: what should wait is best kept waiting in front of it.
//! A response ends the call, one of HTTP when its [body ends](BodyEnd); a call that is dropped counts as cancelled.
//!
//! What nobody has seen (there was no connection, or the service was never ready) goes to each other backend once. What a
//! backend may have begun with goes to one other, if it is repeatable and the budget has one left. For that a request is
//! copied before it is sent; [`Never`] saves it, and then a call allocates nothing here. A response is a response: a 5xx
//! counts against its backend and is handed on.
//!
//! [`Rules`] has all that can be set. None of this takes a lock where calls go well: each clone of a service has chance of
//! its own.

mod balance;
mod call;
mod classify;
#[cfg(feature = "tower-discover")]
mod discover;
mod error;
mod hints;
mod hold;
mod layer;
mod origin;
mod retry;
mod rules;
mod shared;

#[cfg(feature = "tower-discover")]
pub use self::discover::follow;
pub use self::{
    balance::Balance,
    call::Call,
    classify::{Classify, ErrorChain, Failure, HttpStatus},
    error::{BoxError, Error},
    hints::{Hint, Hints, NoHints},
    hold::{AtOnce, BodyEnd, End, HeldBody, Hold},
    layer::{BalanceClient, BalanceLayer},
    origin::{BadOrigin, Origin},
    retry::{Cloned, ClonedBodies, EmptyBodies, Never, Retry},
    rules::{HttpRules, PlainRules, Policy, Rules},
};
