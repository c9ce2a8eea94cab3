//! Why a call came to nothing.

use std::error::Error as StdError;

use lb_core::NoPick;

/// Any error of a service, as tower's own middleware takes and gives it.
/// ```
/// let error: lb_net::tower::BoxError = "no room".into();
/// assert_eq!(error.to_string(), "no room");
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a call has no response. What the service itself said is the source.
/// ```
/// use lb_net::tower::Error;
/// use std::error::Error as _;
/// let error = Error::NoPick(lb_core::NoPick::AllFull);
/// assert_eq!(error.to_string(), "no backend for the request");
/// assert_eq!(error.source().unwrap().to_string(), "all backends are full");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no backend that may take the request now; nobody has seen it.
    #[error("no backend for the request")]
    NoPick(#[source] NoPick),
    /// The backend that had the request last has failed.
    #[error("{backend}: the request failed")]
    Failed {
        /// Its name as configured.
        backend: String,
        /// What its service said.
        source: BoxError,
    },
    /// The client that all backends share cannot take another request.
    #[error("the client is not ready")]
    NotReady(#[source] BoxError),
    /// The request's path does not go with the backend's origin.
    #[error("{backend}: the request's URI cannot be sent there")]
    Uri {
        /// Its name as configured.
        backend: String,
        /// What is wrong with the URI.
        source: http::uri::InvalidUriParts,
    },
}
