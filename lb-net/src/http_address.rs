//! Where HTTP is spoken for management: an address and port, or a unix socket.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The system has a limit for the path of a socket.
const LONGEST_PATH: usize = 107;

/// Where HTTP is listened for: `127.0.0.1:9480`, `[::1]:9480`, or `unix:/run/lb/http`.
/// ```
/// # #[cfg(feature = "config")] {
/// use lb_net::config::HttpAddress;
/// let address: HttpAddress = "127.0.0.1:9480".parse()?;
/// assert!(address.is_local());
/// assert!(!"0.0.0.0:9480".parse::<HttpAddress>()?.is_local());
/// assert_eq!("unix:/run/lb/http".parse::<HttpAddress>()?.to_string(), "unix:/run/lb/http");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpAddress {
    /// An address and its port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket by its whole path.
    Unix(PathBuf),
}

/// Why a word is no [`HttpAddress`]; the text says what was expected.
/// ```
/// # #[cfg(feature = "config")] {
/// let error = "9480".parse::<lb_net::config::HttpAddress>().unwrap_err();
/// assert!(error.to_string().starts_with("expected address:port or unix:/path"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct HttpAddressError(&'static str);

impl HttpAddress {
    /// Whether only this machine can reach it: a loopback address, or a unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for HttpAddress {
    type Err = HttpAddressError;
    fn from_str(word: &str) -> Result<Self, HttpAddressError> {
        if let Some(path) = word.strip_prefix("unix:") {
            return unix(path);
        }
        let expected = "address:port or unix:/path, such as \"127.0.0.1:9480\" or \"unix:/run/lb/http\"";
        let address: SocketAddr = word.parse().map_err(|_| HttpAddressError(expected))?;
        if address.port() == 0 {
            return Err(HttpAddressError("a port from 1 to 65535"));
        }
        Ok(Self::Tcp(address))
    }
}

fn unix(path: &str) -> Result<HttpAddress, HttpAddressError> {
    let is_named = Path::new(path).file_name().is_some() && !path.ends_with('/');
    if !path.starts_with('/') || !is_named || path.contains(char::is_control) {
        return Err(HttpAddressError("the whole path of a socket behind unix:, such as \"unix:/run/lb/http\""));
    }
    if path.len() > LONGEST_PATH {
        return Err(HttpAddressError("a shorter path: that of a socket has at most 107 bytes"));
    }
    Ok(HttpAddress::Unix(path.into()))
}

/// As it is parsed.
impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_local_when_nobody_else_can_reach_it() {
        let local = |word: &str| word.parse::<HttpAddress>().unwrap().is_local();
        for word in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/x"] {
            assert!(local(word), "{word}");
        }
        for word in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!local(word), "{word}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        let words =
            ["", "80", "localhost:80", "127.0.0.1", "::1:80", "127.0.0.1:0", "unix:", "unix:x", "unix:/x/", &long];
        for word in words {
            assert!(word.parse::<HttpAddress>().is_err(), "{word}");
        }
        assert!("unix:/a/..".parse::<HttpAddress>().is_err() && "unix:/a\nb".parse::<HttpAddress>().is_err());
    }

    proptest! {
        #[test]
        fn what_parses_prints_back(word in "(unix:)?/?[a-z0-9.:/\\[\\]]{0,30}|.{0,20}", ip: std::net::IpAddr, port: u16) {
            if let Ok(read) = word.parse::<HttpAddress>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            }
            let address = SocketAddr::new(ip, port);
            let read = address.to_string().parse();
            prop_assert_eq!(read.ok(), Some(HttpAddress::Tcp(address)).filter(|_| port > 0));
        }
    }
}
