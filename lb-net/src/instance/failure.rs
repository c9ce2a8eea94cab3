//! Why a model cannot be applied.

use std::io;

use crate::{
    config::{Listen, Name, TokenFileError},
    discover::DiscoverError,
    http::OpenAccessLogError,
    listener::BindError,
    manage::PlaceError,
    resolve::ResolveError,
    serve::ListenError,
};

/// Why a model cannot be applied.
/// ```
/// let error = lb_net::instance::PrepareError::Stopping;
/// assert_eq!(error.to_string(), "it is stopping");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The instance has begun to stop.
    #[error("it is stopping")]
    Stopping,
    /// A backend has no address.
    #[error("pool '{pool}': {backend}")]
    Backend {
        /// The pool.
        pool: Name,
        /// The backend as it was written.
        backend: String,
        /// Why.
        source: ResolveError,
    },
    /// A source of backends has no good answer.
    #[error("no backends from a source")]
    Discover(#[from] DiscoverError),
    /// The host of a place to listen on has no address.
    #[error("service '{service}': {listen}")]
    Host {
        /// The service.
        service: Name,
        /// The place.
        listen: Listen,
        /// Why.
        source: ResolveError,
    },
    /// The access log of a service cannot be written.
    #[error("service '{service}'")]
    AccessLog {
        /// The service.
        service: Name,
        /// Why.
        source: OpenAccessLogError,
    },
    /// A place cannot be listened on.
    #[error("service '{service}'")]
    Bind {
        /// The service.
        service: Name,
        /// Why.
        source: BindError,
    },
    /// The control socket of a place cannot be had.
    #[error("service '{service}'")]
    Control {
        /// The service.
        service: Name,
        /// Why.
        source: PlaceError,
    },
    /// Control cannot be offered over HTTP.
    #[error("control.http")]
    Http(#[source] ListenError),
    /// The token that protects control is not to be had.
    #[error("control.token_file")]
    Token(#[source] TokenFileError),
    /// The system refuses `client_keepalive`.
    #[error("service '{service}': client_keepalive")]
    Keepalive {
        /// The service.
        service: Name,
        /// Why.
        source: io::Error,
    },
    /// Connections to backends cannot come from there.
    #[error("source = \"{address}\"")]
    Source {
        /// The address.
        address: std::net::IpAddr,
        /// Why.
        source: io::Error,
    },
}
