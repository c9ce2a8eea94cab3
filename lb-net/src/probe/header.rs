//! Headers of a check's own request.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use crate::field_text::{is_name, is_value};

/// One more header of a check's request: `NAME: VALUE` (RFC 9110, section 5).
/// ```
/// use lb_net::probe::Header;
/// let header: Header = "X-Probe:lb".parse()?;
/// assert_eq!((header.name(), header.value(), header.to_string().as_str()), ("X-Probe", "lb", "X-Probe: lb"));
/// assert!("Connection: keep-alive".parse::<Header>().is_err(), "the connection is the check's own");
/// # Ok::<(), lb_net::probe::HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    name: String,
    value: String,
}

/// The host that a check's request names: a name or an address, with a port or without (RFC 9110, section 7.2).
/// ```
/// use lb_net::probe::Host;
/// assert_eq!("www.example:8080".parse::<Host>()?.as_str(), "www.example:8080");
/// assert!("http://www.example".parse::<Host>().is_err());
/// # Ok::<(), lb_net::probe::HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

/// Why a text is no [`Header`] or no [`Host`]: what was expected in its place.
/// ```
/// let error = "X Probe: lb".parse::<lb_net::probe::Header>().unwrap_err();
/// assert_eq!(error.to_string(), "expected a name of letters, digits and !#$%&'*+-.^_`|~ before the colon");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct HeaderError(pub(super) &'static str);

/// Headers that frame a request or belong to its connection.
const OURS: [&str; 4] = ["Connection", "Content-Length", "Transfer-Encoding", "Upgrade"];

impl Header {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Header {
    type Err = HeaderError;
    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError("NAME: VALUE, such as X-Probe: lb"))?;
        let (name, value) = (name.trim_matches(BLANK), value.trim_matches(BLANK));
        if !is_name(name) {
            return Err(HeaderError("a name of letters, digits and !#$%&'*+-.^_`|~ before the colon"));
        }
        if !is_value(value) {
            return Err(HeaderError("a value without line ends and other control characters behind the colon"));
        }
        if name.eq_ignore_ascii_case("Host") {
            return Err(HeaderError("another header than Host: there is 'host' for that one"));
        }
        if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            return Err(HeaderError(
                "another header than Connection, Content-Length, Transfer-Encoding and Upgrade: those are lb's own",
            ));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// What may stand around a value.
const BLANK: [char; 2] = [' ', '\t'];

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = if self.value.is_empty() { "" } else { " " };
        write!(f, "{}:{blank}{}", self.name, self.value)
    }
}

impl Host {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = HeaderError;
    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (text, None),
        };
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !host.is_empty() && host.len() < 254 && host.bytes().all(letter);
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_v6 = literal.is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok());
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
        let is_host = (is_name || is_v6) && port.is_none_or(is_port);
        is_host.then(|| Self(text.to_owned())).ok_or(HeaderError("a host, such as www.example or www.example:8080"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_end_a_header_or_frame_a_request_is_refused() {
        let rows = [
            ("", "NAME: VALUE"),
            ("X-Probe", "NAME: VALUE"),
            (": lb", "a name of letters"),
            ("X\r\nY: z", "a name of letters"),
            ("é: z", "a name of letters"),
            ("X: y\r\nZ: z", "a value without line ends"),
            ("X: y\nZ", "a value without line ends"),
            ("X: \0", "a value without line ends"),
            ("X: \x7f", "a value without line ends"),
            ("HOST: x", "another header than Host"),
            ("connection: close", "another header than Connection, "),
            ("Content-Length : 5", "another header than Connection, "),
            ("transfer-encoding: chunked", "another header than Connection, "),
            ("Upgrade: h2c", "another header than Connection, "),
        ];
        for (text, expected) in rows {
            let error = text.parse::<Header>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("expected {expected}")), "{text:?}: {error}");
        }
    }

    #[test]
    fn values_may_be_empty_and_have_colons_tabs_and_other_alphabets() {
        for text in ["X:", "X: a:b", "X: a\tb", "X: é", "authorization: Basic YTpi"] {
            assert_eq!(text.parse::<Header>().unwrap().to_string(), text);
        }
        assert_eq!("X:\t y ".parse::<Header>().unwrap().to_string(), "X: y");
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for text in ["a", "a.example:80", "192.0.2.1:65535", "[::1]", "[2001:db8::1]:81", "a_b"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        for text in ["", ":80", "a:65536", "a:+1", "a:b", "::1", "[::1", "a b", "a\r\nX: y", "u@a", "a/b", "é"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_back_on_one_line(text in "[a-zA-Z-]{0,3}:.{0,9}|.{0,9}|\\[[:0-9a-f]{0,9}\\](:[0-9]{0,6})?") {
            if let Ok(header) = text.parse::<Header>() {
                prop_assert!(!header.to_string().contains(['\r', '\n', '\0']));
                prop_assert_eq!(header.to_string().parse(), Ok(header));
            }
            if let Ok(host) = text.parse::<Host>() {
                prop_assert_eq!(host.as_str(), text);
            }
        }
    }
}
