//! What a choice may depend on, told from a request.

use lb_core::BackendId;

/// What is known of a request beside that it is one: whose it is, and where it should go.
/// ```
/// use lb_core::key;
/// use lb_net::tower::Hints;
/// let hints = Hints::default().with_key(key::of_bytes(b"customer 17"));
/// assert!(hints.key.is_some() && hints.client.is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// The affinity key: equal keys go to one backend where the selector hashes. See [`lb_core::key`].
    pub key: Option<u64>,
    /// Who asks, so that one client alone can eject nobody: ejection for failed requests
    /// ([`RequestFailures`](lb_core::health::RequestFailures)) counts clients, and without this it knows none.
    pub client: Option<u64>,
    /// The one backend that may take it, even while that one drains.
    pub pin: Option<BackendId>,
}

impl Hints {
    /// With an affinity key.
    #[must_use]
    pub fn with_key(self, key: u64) -> Self {
        Self { key: Some(key), ..self }
    }

    /// With the client that asks.
    #[must_use]
    pub fn with_client(self, client: u64) -> Self {
        Self { client: Some(client), ..self }
    }

    /// With the one backend that may take it.
    #[must_use]
    pub fn with_pin(self, pin: BackendId) -> Self {
        Self { pin: Some(pin), ..self }
    }
}

/// Tells the hints from a request. A closure will do, if it names the request's type.
/// ```
/// use lb_core::key;
/// use lb_net::tower::{Hint, Hints};
/// let by_path = |request: &http::Request<()>| Hints::default().with_key(key::of_bytes(request.uri().path().as_bytes()));
/// assert_ne!(by_path.hints(&http::Request::new(())), Hints::default());
/// ```
pub trait Hint<Req> {
    /// What this request says.
    fn hints(&self, request: &Req) -> Hints;
}

/// Every request is like every other.
/// ```
/// use lb_net::tower::{Hint, Hints, NoHints};
/// assert_eq!(NoHints.hints(&"any"), Hints::default());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHints;

impl<Req> Hint<Req> for NoHints {
    fn hints(&self, _: &Req) -> Hints {
        Hints::default()
    }
}

impl<Req, F: Fn(&Req) -> Hints> Hint<Req> for F {
    fn hints(&self, request: &Req) -> Hints {
        self(request)
    }
}
