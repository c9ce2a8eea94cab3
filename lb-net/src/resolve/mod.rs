//! Names to addresses, with the system's resolver: host names, numbers, and services from `/etc/services`.

mod endpoint;
mod refresh;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};

#[cfg(feature = "discover")]
pub(crate) use self::refresh::LEAST;
pub use self::{
    endpoint::Endpoint,
    refresh::{Refreshed, Refresher},
};

/// Why a name has no address.
/// ```
/// let error = lb_net::resolve::addresses("no.such.host.invalid", "80").unwrap_err();
/// assert!(error.to_string().starts_with("unknown host 'no.such.host.invalid'"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The host.
    #[error("unknown host '{0}'")]
    Host(String, #[source] io::Error),
    /// The port: no number from 1 to 65535, and no TCP service of this system.
    #[error("unknown port '{0}': it is neither a number from 1 to 65535 nor a TCP service")]
    Port(String),
}

/// All addresses of a host, without repetitions and in the system's order, with the port. It blocks while the system
/// asks.
/// ```
/// let addresses = lb_net::resolve::addresses("127.0.0.1", "8080")?;
/// assert_eq!(addresses, ["127.0.0.1:8080".parse().unwrap()]);
/// # Ok::<(), lb_net::resolve::ResolveError>(())
/// ```
///
/// # Errors
/// What of it is unknown.
pub fn addresses(host: &str, port: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    addresses_of(host, self::port(port)?)
}

fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = lookup(host).map_err(|error| ResolveError::Host(host.to_owned(), error))?;
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// Who finds a host's addresses. It may block.
pub(crate) type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// No address at all is no answer.
pub(crate) fn some(ips: Vec<IpAddr>) -> io::Result<Vec<IpAddr>> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
    if ips.is_empty() { Err(nothing()) } else { Ok(ips) }
}

pub(crate) fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(io::Error::from)?;
    let mut ips: Vec<IpAddr> = Vec::new();
    for info in found {
        let ip = info?.sockaddr.ip();
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    Ok(ips)
}

/// A port by its number, 1 to 65535, or by its service's name.
/// ```
/// assert_eq!(lb_net::resolve::port("443")?, 443);
/// assert!(lb_net::resolve::port("0").is_err());
/// # Ok::<(), lb_net::resolve::ResolveError>(())
/// ```
///
/// # Errors
/// When it is neither.
pub fn port(word: &str) -> Result<u16, ResolveError> {
    let unknown = || ResolveError::Port(word.to_owned());
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse().ok().filter(|port| *port > 0).ok_or_else(unknown);
    }
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let mut found = getaddrinfo(None, Some(word), Some(hints)).map_err(|_| unknown())?;
    let port = found.find_map(Result::ok).map(|info| info.sockaddr.port());
    port.filter(|port| *port > 0).ok_or_else(unknown)
}
