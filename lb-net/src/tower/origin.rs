//! Where an HTTP server is.

use std::{fmt, str::FromStr, sync::Arc};

use http::{
    Uri,
    uri::{Authority, InvalidUriParts, PathAndQuery, Scheme},
};
use lb_core::{
    Balancer, Config, Diff,
    rand::{SeedableRng as _, rngs::SmallRng},
};

use crate::driver::now;

/// The scheme, host and port of a server, as a backend's payload: what the URI of a request to it begins with.
///
/// A payload of your own will do as well: it gives its origin by [`AsRef`]. In the text of a configuration a backend is
/// `host[:port[:max[:weight]]]`, and no URL: for `https` make the backends by
/// [`BackendConfig::new`](lb_core::BackendConfig::new)`("https://alpha:8443")`.
/// ```
/// use lb_net::tower::Origin;
/// let origin: Origin = "https://alpha:8443".parse()?;
/// assert_eq!(origin.to_string(), "https://alpha:8443");
/// assert_eq!("127.0.0.1:8080".parse::<Origin>()?.to_string(), "http://127.0.0.1:8080");
/// # Ok::<(), lb_net::tower::BadOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
}

/// A text that is no origin.
/// ```
/// let error = "alpha/index".parse::<lb_net::tower::Origin>().unwrap_err();
/// assert_eq!(error.to_string(), "alpha/index: no origin: [http[s]://]host[:port]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: no origin: [http[s]://]host[:port]")]
pub struct BadOrigin(pub String);

impl Origin {
    /// This scheme at this host and port.
    #[must_use]
    pub fn new(scheme: Scheme, authority: Authority) -> Self {
        Self { scheme, authority }
    }

    /// A balancer over the servers that a configuration names.
    /// ```
    /// use lb_net::tower::Origin;
    /// let balancer = Origin::balancer("127.0.0.1:8001 127.0.0.1:8002".parse()?)?;
    /// assert_eq!(balancer.stats().backends.len(), 2);
    ///
    /// let secure = ["https://alpha:8443", "https://beta:8443"].map(lb_core::BackendConfig::new);
    /// let (mut config, mut group) = (lb_core::Config::default(), lb_core::GroupConfig::default());
    /// group.backends.extend(secure);
    /// config.groups.push(group);
    /// Origin::balancer(config)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first name that is no origin.
    pub fn balancer(config: Config) -> Result<Arc<Balancer<Self>>, BadOrigin> {
        use std::hash::{BuildHasher as _, RandomState};
        Self::check(&config)?;
        let mut rng = SmallRng::seed_from_u64(RandomState::new().hash_one(now()));
        Ok(Arc::new(Balancer::new(config, now(), &mut rng, |backend| Self::of(&backend.name))))
    }

    /// Has a balancer take over another configuration.
    /// ```
    /// use lb_net::tower::Origin;
    /// let balancer = Origin::balancer("127.0.0.1:8001".parse()?)?;
    /// let diff = Origin::update(&balancer, "127.0.0.1:8001 127.0.0.1:8002".parse()?)?;
    /// assert_eq!(diff.added, ["127.0.0.1:8002"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first name that is no origin; then nothing has changed.
    pub fn update(balancer: &Balancer<Self>, config: Config) -> Result<Diff, BadOrigin> {
        Self::check(&config)?;
        Ok(balancer.update(config, now(), |backend| Self::of(&backend.name)))
    }

    fn check(config: &Config) -> Result<(), BadOrigin> {
        config.backends().try_for_each(|(_, _, backend)| backend.name.parse::<Self>().map(drop))
    }

    /// Of a name that has been checked; of any other it is one that has no address (RFC 6761 section 6.4).
    fn of(name: &str) -> Self {
        name.parse().unwrap_or_else(|_| Self::new(Scheme::HTTP, Authority::from_static("nowhere.invalid")))
    }

    /// Sends a request's URI there: path and query stay.
    pub(super) fn aim(&self, uri: &mut Uri) -> Result<(), InvalidUriParts> {
        let mut parts = std::mem::take(uri).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        *uri = Uri::from_parts(parts)?;
        Ok(())
    }
}

impl AsRef<Self> for Origin {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (scheme, authority) = match text.split_once("://") {
            Some(("http", authority)) => (Scheme::HTTP, authority),
            Some(("https", authority)) => (Scheme::HTTPS, authority),
            Some(_) => return Err(BadOrigin(text.to_owned())),
            None => (Scheme::HTTP, text),
        };
        let authority: Authority = authority.parse().map_err(|_| BadOrigin(text.to_owned()))?;
        let port = authority.as_str().strip_prefix(authority.host());
        let is_whole =
            !authority.host().is_empty() && port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some());
        if is_whole { Ok(Self { scheme, authority }) } else { Err(BadOrigin(text.to_owned())) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aimed(origin: &str, uri: &str) -> String {
        let mut uri: Uri = uri.parse().unwrap();
        origin.parse::<Origin>().unwrap().aim(&mut uri).unwrap();
        uri.to_string()
    }

    #[test]
    fn path_and_query_stay_whatever_the_uri_was() {
        let rows = [
            ("/", "http://alpha:80/"),
            ("/a/b?c=d", "http://alpha:80/a/b?c=d"),
            ("https://elsewhere:1/a?b", "http://alpha:80/a?b"),
            ("elsewhere:443", "http://alpha:80/"),
        ];
        for (uri, aimed_uri) in rows {
            assert_eq!(aimed("alpha:80", uri), aimed_uri, "{uri}");
        }
        assert_eq!(aimed("https://[::1]:8443", "/a"), "https://[::1]:8443/a");
    }

    #[test]
    fn what_is_no_origin_is_told_as_it_was_written() {
        for text in
            ["", "http://", ":80", "alpha/a", "ftp://alpha", "user@alpha", "alpha:http", "alpha:65536", "a b", "alpha:"]
        {
            assert_eq!(text.parse::<Origin>(), Err(BadOrigin(text.to_owned())));
        }
        let error = Origin::balancer("alpha beta_/".parse().unwrap()).unwrap_err();
        assert_eq!(error, BadOrigin("beta_/".to_owned()));
    }

    #[test]
    fn a_configuration_with_a_bad_name_changes_nothing() {
        let balancer = Origin::balancer("alpha".parse().unwrap()).unwrap();
        Origin::update(&balancer, "beta gamma/".parse().unwrap()).unwrap_err();
        assert_eq!(balancer.config().to_string(), "alpha");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_an_origin_is_read_as_it_is_written(text in "(https?://)?[a-z0-9.:\\[\\]@/-]{0,20}") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.to_string().parse::<Origin>(), Ok(origin));
            }
        }
    }
}
