//! The PROXY protocol, versions 1 and 2: what a proxy tells the next one, or a server, of the client that it stands for.
//!
//! Pure functions over bytes, after HAProxy's specification
//! ([proxy-protocol.txt](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt)). It is read strictly, because who
//! may send it decides which address the client has: what departs from the specification is an error, as early as it can
//! be told, and nothing behind the header is looked at.

mod accept;
mod crc32c;
mod networks;
mod v1;
mod v2;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

pub use self::{
    accept::AcceptProxy,
    networks::{Networks, NetworksError},
};

/// The longest header that is read, in bytes: far more than the extensions of version 2 take in practice.
pub const MOST_BYTES: usize = 4096;

/// Which of the two ways to write a header.
/// ```
/// use lb_net::proxy_protocol::Version;
/// assert_eq!("v2".parse::<Version>()?, Version::V2);
/// let error = "v3".parse::<Version>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown version 'v3' of the PROXY protocol: v1 or v2");
/// # Ok::<(), lb_net::proxy_protocol::UnknownVersion>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// A word that names no version of the protocol.
/// ```
/// # use lb_net::proxy_protocol::{UnknownVersion, Version};
/// assert_eq!("2".parse::<Version>(), Err(UnknownVersion("2".to_owned())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown version '{0}' of the PROXY protocol: v1 or v2")]
pub struct UnknownVersion(pub String);

/// From where to where a client connected. Both are of one family: an IPv4 address in IPv6 clothing is the IPv4 address,
/// and an IPv4 address beside an IPv6 one is put in such clothing.
/// ```
/// use lb_net::proxy_protocol::Route;
/// let route = Route::new("[::ffff:192.0.2.1]:5000".parse().unwrap(), "198.51.100.1:25".parse().unwrap());
/// assert_eq!(route.source(), "192.0.2.1:5000".parse().unwrap());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    source: SocketAddr,
    destination: SocketAddr,
}

/// What one proxy tells of one connection.
/// ```
/// use lb_net::proxy_protocol::{Header, Route, Version};
/// let route = Route::new("192.0.2.1:5000".parse().unwrap(), "198.51.100.1:25".parse().unwrap());
/// let written = Header { version: Version::V1, route: Some(route) }.to_bytes();
/// assert_eq!(written, b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 25\r\n");
/// let (header, length) = Header::parse(&[&written[..], b"EHLO me"].concat())?.expect("it is complete");
/// assert_eq!((header.route, length), (Some(route), written.len()));
/// assert_eq!(Header::parse(b"PROXY TC")?, None, "more is to come");
/// # Ok::<(), lb_net::proxy_protocol::HeaderError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// How it was written, or is to be.
    pub version: Version,
    /// The client's connection; `None` when it is the proxy's own (a health check, `LOCAL`) or not known (`UNKNOWN`, and
    /// what is no TCP over IP): then the connection itself says who its peer is.
    pub route: Option<Route>,
}

/// Why bytes are no PROXY header.
/// ```
/// use lb_net::proxy_protocol::Header;
/// let error = Header::parse(b"GET / HTTP/1.1\r\n").unwrap_err();
/// assert_eq!(error.to_string(), "it begins with neither 'PROXY ' nor the signature of version 2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It is something else.
    #[error("it begins with neither 'PROXY ' nor the signature of version 2")]
    Signature,
    /// Version 1: no end of line within 107 bytes.
    #[error("its line is longer than 107 bytes")]
    LineTooLong,
    /// Version 1: a carriage return or line feed elsewhere than at the end.
    #[error("its line does not end in carriage return and line feed")]
    LineEnd,
    /// Version 1: a protocol that is none of the three.
    #[error("its protocol is none of TCP4, TCP6 and UNKNOWN")]
    Protocol,
    /// Version 1: an address that is missing or not of the protocol.
    #[error("its {0} address is none of its protocol")]
    Address(&'static str),
    /// Version 1: a port that is missing or not from 0 to 65535, without leading zeros.
    #[error("its {0} port is not a number from 0 to 65535")]
    Port(&'static str),
    /// Version 1: words behind the last port.
    #[error("there is something behind its ports")]
    Excess,
    /// Version 2: the signature is followed by another version.
    #[error("it is of version {0}")]
    UnknownVersion(u8),
    /// Version 2: a command that is neither LOCAL nor PROXY.
    #[error("its command {0} is neither LOCAL nor PROXY")]
    Command(u8),
    /// Version 2: a family or transport that the specification reserves.
    #[error("its address family {0:#04x} is none that there is")]
    Family(u8),
    /// Version 2: longer than [`MOST_BYTES`].
    #[error("it is {0} bytes long, more than {MOST_BYTES}")]
    TooLong(usize),
    /// Version 2: too short for the addresses of its family.
    #[error("it is too short for its addresses")]
    TooShort,
    /// Version 2: an extension that is longer than what is left.
    #[error("one of its extensions does not fit in")]
    Extension,
    /// Version 2: its checksum is another.
    #[error("its checksum does not match")]
    Checksum,
}

impl Route {
    /// From the client's address to the one that it connected to.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (plain(source), plain(destination));
        match source.is_ipv4() == destination.is_ipv4() {
            true => Self { source, destination },
            false => Self { source: dressed(source), destination: dressed(destination) },
        }
    }

    /// The client's address.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// The address that it connected to.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.destination
    }
}

fn dressed(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

impl Header {
    /// The header at the begin of `bytes` and its length; `None` while it is not complete, and then all of `bytes` belong
    /// to it. What is behind it is not looked at.
    ///
    /// # Errors
    /// What is wrong: told at the first byte that is no signature's, in version 1 else at the end of the line.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, expected)| byte == expected);
        if begins(v1::SIGNATURE) {
            v1::parse(bytes)
        } else if begins(v2::SIGNATURE) {
            v2::parse(bytes)
        } else {
            Err(HeaderError::Signature)
        }
    }

    /// As it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.version {
            Version::V1 => v1::write(self.route.as_ref()),
            Version::V2 => v2::write(self.route.as_ref()),
        }
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownVersion(word.to_owned())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            any::<[u8; 4]>().prop_map(|v4| std::net::Ipv4Addr::from(v4).to_ipv6_mapped().into()),
        ];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn header() -> impl Strategy<Value = Header> {
        let route = proptest::option::of((address(), address()).prop_map(|(from, to)| Route::new(from, to)));
        let version = prop_oneof![Just(Version::V1), Just(Version::V2)];
        (version, route).prop_map(|(version, route)| Header { version, route })
    }

    /// Bytes that are nearly headers: the interesting ones.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let changes = proptest::collection::vec((0..110_usize, any::<u8>()), 0..4);
        (header(), changes, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(header, changes, tail)| {
            let mut bytes = header.to_bytes();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            bytes.extend(tail);
            bytes
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(header in header(), tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            let written = header.to_bytes();
            let read = Header::parse(&[&written[..], &tail].concat());
            prop_assert_eq!(read, Ok(Some((header, written.len()))));
        }

        #[test]
        fn a_part_of_a_header_asks_for_more(header in header(), cut in any::<proptest::sample::Index>()) {
            let written = header.to_bytes();
            prop_assert_eq!(Header::parse(&written[..cut.index(written.len())]), Ok(None));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
            let _ = Header::parse(&[v1::SIGNATURE, &bytes].concat());
            let _ = Header::parse(&[v2::SIGNATURE, &bytes].concat());
        }

        /// Nothing is read beyond the header, and a verdict once given does not change with what comes after.
        #[test]
        fn a_verdict_stays_whatever_follows(bytes in nearly(), tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            for cut in 0..=bytes.len() {
                let verdict = Header::parse(&bytes[..cut]);
                if let Ok(Some((_, length))) = verdict {
                    prop_assert!(length <= cut);
                    prop_assert_eq!(Header::parse(&bytes[..length]), verdict);
                }
                if verdict != Ok(None) {
                    prop_assert_eq!(Header::parse(&[&bytes[..cut], &tail].concat()), verdict);
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_byte_that_shows_it() {
        assert_eq!(Header::parse(b""), Ok(None));
        assert_eq!(Header::parse(b"G"), Err(HeaderError::Signature));
        assert_eq!(Header::parse(b"PROXX"), Err(HeaderError::Signature));
        assert_eq!(Header::parse(b"\r\n\r\n\0\r\nQUIT"), Ok(None));
        assert_eq!(Header::parse(b"\r\n\r\n\0\r\nQUIX"), Err(HeaderError::Signature));
    }

    #[test]
    fn families_that_differ_become_one() {
        let [v4, v6]: [SocketAddr; 2] = ["192.0.2.1:1", "[2001:db8::1]:2"].map(|text| text.parse().unwrap());
        let route = Route::new(v4, v6);
        assert_eq!((route.source(), route.destination()), ("[::ffff:192.0.2.1]:1".parse().unwrap(), v6));
    }
}
