//! What a request's affinity key is made of.

use std::{fmt, str::FromStr};

use super::edit::is_token;

/// What a request's affinity key is made of, where a selector hashes. A request without it has its client's address.
/// ```
/// use lb_net::http::KeySource;
/// let key: KeySource = "cookie session".parse()?;
/// assert_eq!(key, KeySource::Cookie("session".to_owned()));
/// assert_eq!(key.to_string(), "cookie session");
/// assert!("cookie".parse::<KeySource>().is_err());
/// # Ok::<(), lb_net::http::UnknownKeySource>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// The client's address.
    #[default]
    Client,
    /// The first field of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// The target: path and query.
    Uri,
    /// The parameter of this name in the query.
    Query(String),
}

/// A text that names no source of keys.
/// ```
/// # use lb_net::http::{KeySource, UnknownKeySource};
/// assert_eq!("moon".parse::<KeySource>(), Err(UnknownKeySource("moon".to_owned())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no key: client, uri, 'header NAME', 'cookie NAME' or 'query NAME'")]
pub struct UnknownKeySource(pub String);

impl FromStr for KeySource {
    type Err = UnknownKeySource;

    fn from_str(text: &str) -> Result<Self, UnknownKeySource> {
        let unknown = || UnknownKeySource(text.to_owned());
        let (kind, name) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let name = name.trim();
        let token = || (!name.is_empty() && name.bytes().all(is_token)).then(|| name.to_owned()).ok_or_else(unknown);
        match kind {
            "client" if name.is_empty() => Ok(Self::Client),
            "uri" if name.is_empty() => Ok(Self::Uri),
            "header" => token().map(Self::Header),
            "cookie" => token().map(Self::Cookie),
            "query" if !name.is_empty() && !name.contains(['&', '=', '#', ' ']) => Ok(Self::Query(name.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Uri => f.write_str("uri"),
            Self::Query(name) => write!(f, "query {name}"),
        }
    }
}
