//! A cookie that brings a client back to its backend.

use std::time::Duration;

use super::edit::is_token;

/// A cookie that brings a client back to its backend, for as long as that is there, even while it drains. It needs no
/// table: every instance with the same backends understands it.
/// ```
/// use std::time::Duration;
/// let sticky = lb_net::http::Sticky::new("lb")?.with_lifetime(Duration::from_secs(600));
/// assert_eq!((sticky.cookie(), sticky.lifetime()), ("lb", Duration::from_secs(600)));
/// # Ok::<(), lb_net::http::CookieNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    cookie: Box<str>,
    lifetime: Duration,
}

/// What cannot be the name of a cookie (RFC 6265 section 4.1.1).
/// ```
/// assert!(lb_net::http::Sticky::new("a b").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot be the name of a cookie")]
pub struct CookieNameError(pub String);

impl Sticky {
    /// A cookie of this name that holds for an hour from the last time it was set.
    ///
    /// # Errors
    /// When that is no name of a cookie.
    pub fn new(cookie: &str) -> Result<Self, CookieNameError> {
        if cookie.is_empty() || !cookie.bytes().all(is_token) {
            return Err(CookieNameError(cookie.to_owned()));
        }
        Ok(Self { cookie: cookie.into(), lifetime: Duration::from_secs(3600) })
    }

    /// That holds for so long, in whole seconds.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// For how long it holds.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}
