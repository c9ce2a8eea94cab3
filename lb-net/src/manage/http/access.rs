//! Who is answered: whoever has the token; without one, who can reach us and is no page in somebody's browser.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, Method, StatusCode, Version,
    header::{AUTHORIZATION, HOST, ORIGIN},
    request::Parts,
};

use super::answer::Answer;
use crate::{http_address::HttpAddress, manage::command::printable, token::Token};

/// An address that others can reach is served with a token only.
/// ```
/// use lb_net::{manage::http, serve::HttpAddress};
/// let error = http::Access::new(&HttpAddress::Tcp("0.0.0.0:9480".parse()?), None).unwrap_err();
/// assert_eq!(error.to_string(), "others can reach 0.0.0.0:9480: it takes a token");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("others can reach {0}: it takes a token")]
pub struct NoToken(HttpAddress);

/// Who is answered at an address.
/// ```
/// use lb_net::{manage::http::Access, serve::HttpAddress};
/// assert!(Access::new(&HttpAddress::Unix("/run/lb/http".into()), None).is_ok());
/// assert!(Access::new(&HttpAddress::Tcp("10.0.0.1:9480".parse()?), Some("6f1d0c6a2b7e4d58".parse()?)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Access {
    token: Option<Token>,
    is_unix: bool,
}

impl Access {
    /// With a token only who shows it; else whoever can reach a loopback address or unix socket.
    ///
    /// # Errors
    /// Without a token when others can reach the address.
    pub fn new(address: &HttpAddress, token: Option<Token>) -> Result<Self, NoToken> {
        if token.is_none() && !address.is_local() {
            return Err(NoToken(address.clone()));
        }
        Ok(Self { token, is_unix: matches!(address, HttpAddress::Unix(_)) })
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Why a request is not answered.
    pub(super) fn objection(&self, head: &Parts) -> Option<Answer> {
        match &self.token {
            Some(token) => unauthorized(token, &head.headers),
            None => self.misled(head).or_else(|| from_a_page(head)),
        }
    }

    /// A page whose own name has come to stand for our address (DNS rebinding) gives that name as the host.
    fn misled(&self, head: &Parts) -> Option<Answer> {
        // No browser reaches a unix socket, and what its clients call it is their affair.
        if self.is_unix {
            return None;
        }
        let named = head.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
        let mut hosts = named.chain(head.uri.authority().map(|authority| authority.as_str())).peekable();
        if hosts.peek().is_none() && head.version == Version::HTTP_11 {
            return Some(Answer::bad("the Host header is missing"));
        }
        let foreign = hosts.find(|host| !is_ours(host))?;
        let why = format!(
            "the host '{}' is neither an address nor localhost; without a token other names are refused",
            printable(foreign)
        );
        Some(Answer::refused(StatusCode::FORBIDDEN, why))
    }
}

/// An address cannot be made to stand for another one.
fn is_ours(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or("", |(bare, _)| bare),
        None => host.split_once(':').map_or(host, |(bare, _)| bare),
    };
    bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost")
}

fn unauthorized(token: &Token, headers: &HeaderMap) -> Option<Answer> {
    let Some(shown) = headers.get(AUTHORIZATION) else {
        return Some(Answer::unauthorized("a token is wanted: Authorization: Bearer TOKEN"));
    };
    let shown = shown.as_bytes();
    let is_bearer = shown.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let is_ours = is_bearer && shown.get(7..).is_some_and(|shown| token.is(shown.trim_ascii()));
    (!is_ours).then(|| Answer::unauthorized("this is not the token: Authorization: Bearer TOKEN"))
}

/// A page of another site may send orders, though it cannot read the answers.
fn from_a_page(head: &Parts) -> Option<Answer> {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let is_page = head.headers.contains_key(ORIGIN) || head.headers.contains_key(SITE);
    let why = "orders from browsers are refused without a token";
    (head.method == Method::POST && is_page).then(|| Answer::refused(StatusCode::FORBIDDEN, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_ours() {
        for host in ["127.0.0.1", "127.0.0.1:9480", "[::1]", "[::1]:9480", "localhost", "LocalHost:80", "10.0.0.1"] {
            assert!(is_ours(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::1", "?", "1"] {
            assert!(!is_ours(host), "{host}");
        }
    }
}
