//! What a request's affinity key is made of.

use std::{fmt, net::IpAddr, str::FromStr};

use lb_core::key;

use super::message::cookie;
use crate::field_text::is_name;

/// What a request's affinity key is made of, where a selector hashes. A request without it, or with an empty one, has its
/// client's address. Bytes are taken as they are: nothing is decoded, and case counts.
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
    /// The target: path and query, without the host where a client sends it along.
    Uri,
    /// The first parameter of this name in the query, between `&`.
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
        let token = || is_name(name).then(|| name.to_owned()).ok_or_else(unknown);
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

impl KeySource {
    /// The key of a request with this target and these fields.
    pub(crate) fn key<'a>(
        &self,
        target: &[u8],
        mut fields: impl Iterator<Item = (&'a str, &'a [u8])>,
        client: IpAddr,
    ) -> u64 {
        let of = |name: &str, found: &str| found.eq_ignore_ascii_case(name);
        let found = match self {
            Self::Client => None,
            Self::Header(name) => fields.find(|(found, _)| of(name, found)).map(|(_, value)| value),
            Self::Cookie(name) => {
                let cookies = fields.filter(|(found, _)| of("cookie", found)).map(|(_, value)| value);
                cookie::named(cookies, name).next()
            }
            Self::Uri => Some(path_and_query(target)),
            Self::Query(name) => parameter(target, name),
        };
        let found = found.filter(|value| !value.is_empty());
        found.map_or_else(|| key::of_address(client), key::of_bytes)
    }
}

/// Without scheme and host (RFC 9112 section 3.2.2), so that both ways to ask for a thing have one key.
fn path_and_query(target: &[u8]) -> &[u8] {
    let Some(host) = target.windows(3).position(|bytes| bytes == b"://").filter(|_| !target.starts_with(b"/")) else {
        return target;
    };
    let rest = target.get(host + 3..).unwrap_or_default();
    let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    path.and_then(|at| rest.get(at..)).unwrap_or(b"/")
}

fn parameter<'a>(target: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = target.iter().position(|byte| *byte == b'?')?;
    let mut pairs = target.get(at + 1..)?.split(|byte| *byte == b'&');
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const FIELDS: &[(&str, &str)] = &[
        ("Host", "example.org"),
        ("X-User", "anna"),
        ("cookie", "theme=dark; session=17"),
        ("x-user", "bert"),
        ("Cookie", "session=18; late=yes"),
        ("X-Empty", ""),
    ];

    /// What the key is made of; `None` is the client's address.
    #[track_caller]
    fn assert_key(source: &str, target: &str, expected: Option<&str>) {
        let source: KeySource = source.parse().unwrap();
        let fields = FIELDS.iter().map(|(name, value)| (*name, value.as_bytes()));
        let expected = expected.map_or(key::of_address(CLIENT), |value| key::of_bytes(value.as_bytes()));
        assert_eq!(source.key(target.as_bytes(), fields, CLIENT), expected);
    }

    #[test]
    fn a_client_is_its_address() {
        assert_key("client", "/", None);
    }

    #[test]
    fn a_header_is_the_first_of_its_name_in_any_case() {
        assert_key("header x-USER", "/", Some("anna"));
        assert_key("header X-Other", "/", None);
        assert_key("header X-Empty", "/", None);
    }

    #[test]
    fn a_cookie_is_found_in_any_of_its_fields() {
        assert_key("cookie session", "/", Some("17"));
        assert_key("cookie late", "/", Some("yes"));
        assert_key("cookie Session", "/", None);
    }

    #[test]
    fn a_uri_is_path_and_query_however_it_was_asked_for() {
        assert_key("uri", "/a?b=c", Some("/a?b=c"));
        assert_key("uri", "http://example.org:80/a?b=c", Some("/a?b=c"));
        assert_key("uri", "HTTP://example.org", Some("/"));
        assert_key("uri", "/go?to=http://example.org/x", Some("/go?to=http://example.org/x"));
        assert_key("uri", "http://example.org?x", Some("?x"));
        assert_key("uri", "*", Some("*"));
        assert_key("uri", "", None);
    }

    #[test]
    fn a_parameter_of_the_query_is_taken_as_it_is() {
        assert_key("query id", "/a?id=7", Some("7"));
        assert_key("query id", "/id=1?x=1&id=%37+&id=8", Some("%37+"));
        assert_key("query id", "/a?kid=1&id2=2&id=a=b?c", Some("a=b?c"));
        for target in ["/a", "/a?", "/a?id", "/a?id=", "/a?ID=7", "/id=7"] {
            assert_key("query id", target, None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(target in vec(any::<u8>(), 0..60), value in vec(any::<u8>(), 0..60)) {
            for source in ["uri", "query id", "cookie session", "header cookie"] {
                let source: KeySource = source.parse().unwrap();
                source.key(&target, [("Cookie", &*value)].into_iter(), CLIENT);
            }
        }
    }
}
