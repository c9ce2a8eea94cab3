//! Version 2, binary: a signature, a command, a family, a length, addresses, extensions (section 2.2 of the
//! specification).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, HeaderError, MOST_BYTES, Route, Version, crc32c};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const PREFIX_BYTES: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The extension that holds a checksum over the whole header (`PP2_TYPE_CRC32C`).
const CRC32C: u8 = 0x03;

/// `bytes` begins as far as it goes with the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let done = |route, length| Ok(Some((Header { version: Version::V2, route }, length)));
    let Some(command) = bytes.get(SIGNATURE.len()) else { return Ok(None) };
    match command {
        &LOCAL | &PROXY => {}
        other if other >> 4 == 2 => return Err(HeaderError::Command(other & 0xF)),
        other => return Err(HeaderError::UnknownVersion(other >> 4)),
    }
    let &[family, high, low] = &bytes[SIGNATURE.len() + 1..bytes.len().min(PREFIX_BYTES)] else { return Ok(None) };
    let length = PREFIX_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > MOST_BYTES {
        return Err(HeaderError::TooLong(length));
    }
    let addresses = match *command {
        // Whatever a LOCAL header says of addresses is to be ignored.
        LOCAL => 0,
        _ => address_bytes(family)?,
    };
    if length < PREFIX_BYTES + addresses {
        return Err(HeaderError::TooShort);
    }
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    if *command == LOCAL {
        return done(None, length);
    }
    // Of a family that has no layout, all is extensions or filling, and nobody can tell which.
    if addresses > 0 {
        check_extensions(header, PREFIX_BYTES + addresses)?;
    }
    done(route(family, &header[PREFIX_BYTES..PREFIX_BYTES + addresses]), length)
}

/// How many bytes the addresses of a family take: unspecified, IPv4, IPv6 or Unix, each over any, a stream or datagrams.
fn address_bytes(family: u8) -> Result<usize, HeaderError> {
    match (family >> 4, family & 0xF) {
        (0, 0..=2) => Ok(0),
        (1, 0..=2) => Ok(12),
        (2, 0..=2) => Ok(36),
        (3, 0..=2) => Ok(216),
        _ => Err(HeaderError::Family(family)),
    }
}

/// The addresses of TCP over IP; `None` for any other, which can say nothing of a connection here.
fn route(family: u8, addresses: &[u8]) -> Option<Route> {
    let port = |at: usize| Some(u16::from_be_bytes(addresses.get(at..at + 2)?.try_into().ok()?));
    let v4 = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(addresses.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(addresses.get(at..at + 16)?).ok()?));
    let (source, destination) = match family {
        TCP4 => (SocketAddr::from((v4(0)?, port(8)?)), SocketAddr::from((v4(4)?, port(10)?))),
        TCP6 => (SocketAddr::from((v6(0)?, port(32)?)), SocketAddr::from((v6(16)?, port(34)?))),
        _ => return None,
    };
    Some(Route::new(source, destination))
}

/// Type, length and value, one behind the other up to the end. Only a checksum means anything here.
fn check_extensions(header: &[u8], mut at: usize) -> Result<(), HeaderError> {
    while at < header.len() {
        let &[kind, high, low] = header.get(at..at + 3).ok_or(HeaderError::Extension)? else { break };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        let bytes = header.get(value.clone()).ok_or(HeaderError::Extension)?;
        if kind == CRC32C {
            let told = <[u8; 4]>::try_from(bytes).map_err(|_| HeaderError::Extension)?;
            // Computed as if its own place were empty.
            let zeroed = header.iter().enumerate().map(|(at, byte)| if value.contains(&at) { 0 } else { *byte });
            if crc32c::of(zeroed) != u32::from_be_bytes(told) {
                return Err(HeaderError::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

pub(super) fn write(route: Option<&Route>) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    match route.map(|Route { source, destination }| (source, destination)) {
        Some((SocketAddr::V4(source), SocketAddr::V4(destination))) => {
            bytes.extend([PROXY, TCP4, 0, 12]);
            bytes.extend([source.ip().octets(), destination.ip().octets()].concat());
        }
        Some((SocketAddr::V6(source), SocketAddr::V6(destination))) => {
            bytes.extend([PROXY, TCP6, 0, 36]);
            bytes.extend([source.ip().octets(), destination.ip().octets()].concat());
        }
        // A route is of one family.
        _ => bytes.extend([LOCAL, 0, 0, 0]),
    }
    if let Some(Route { source, destination }) = route {
        bytes.extend([source.port().to_be_bytes(), destination.port().to_be_bytes()].concat());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    const ADDRESSES: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x13, 0x88, 0, 25];

    fn of(bytes: &[u8]) -> Result<Option<Route>, HeaderError> {
        Header::parse(bytes).map(|parsed| {
            let (header, length) = parsed.expect("it is complete");
            assert_eq!(length, bytes.len());
            header.route
        })
    }

    fn some_route() -> Route {
        Route::new("192.0.2.1:5000".parse().unwrap(), "198.51.100.1:25".parse().unwrap())
    }

    #[test]
    fn a_header_is_read_and_written_as_the_specification_lays_it_out() {
        let plain = header(PROXY, TCP4, &ADDRESSES);
        assert_eq!(of(&plain), Ok(Some(some_route())));
        assert_eq!(Header { version: Version::V2, route: Some(some_route()) }.to_bytes(), plain);
        assert_eq!(Header { version: Version::V2, route: None }.to_bytes(), header(LOCAL, 0, &[]));
    }

    #[test]
    fn what_is_no_tcp_over_ip_says_nothing_of_the_client() {
        for (command, family, length) in
            [(LOCAL, 0, 0), (LOCAL, TCP4, 12), (LOCAL, 0xFF, 3), (PROXY, 0, 0), (PROXY, 0, 7)]
        {
            assert_eq!(of(&header(command, family, &vec![7; length])), Ok(None), "{command:x} {family:x}");
        }
        for (family, length) in [(0x12, 12), (0x22, 36), (0x31, 216), (0x32, 216), (0x10, 12)] {
            assert_eq!(of(&header(PROXY, family, &vec![7; length])), Ok(None), "{family:x}");
        }
    }

    #[test]
    fn headers_that_are_nearly_right_are_refused() {
        use HeaderError::{Command, Extension, Family, TooLong, TooShort, UnknownVersion};
        assert_eq!(of(&header(0x11, TCP4, &ADDRESSES)), Err(UnknownVersion(1)));
        assert_eq!(of(&header(0x22, TCP4, &ADDRESSES)), Err(Command(2)));
        assert_eq!(of(&header(PROXY, 0x41, &ADDRESSES)), Err(Family(0x41)));
        assert_eq!(of(&header(PROXY, 0x13, &ADDRESSES)), Err(Family(0x13)));
        assert_eq!(of(&header(PROXY, TCP4, &ADDRESSES[..11])), Err(TooShort));
        assert_eq!(of(&header(PROXY, TCP6, &ADDRESSES)), Err(TooShort));
        assert_eq!(of(&header(PROXY, TCP4, &[0; MOST_BYTES])), Err(TooLong(PREFIX_BYTES + MOST_BYTES)));
        for excess in [&[4][..], &[4, 0], &[4, 0, 1], &[4, 0, 1, 0, 9]] {
            assert_eq!(of(&header(PROXY, TCP4, &[&ADDRESSES, excess].concat())), Err(Extension), "{excess:?}");
        }
    }

    #[test]
    fn what_is_wrong_shows_before_the_rest_has_come() {
        assert_eq!(Header::parse(&header(PROXY, 0x41, &ADDRESSES)[..16]), Err(HeaderError::Family(0x41)));
        assert_eq!(Header::parse(&header(PROXY, TCP4, &[0; 5000])[..16]), Err(HeaderError::TooLong(5016)));
        assert_eq!(Header::parse(&header(0x31, TCP4, &[])[..13]), Err(HeaderError::UnknownVersion(3)));
    }

    #[test]
    fn extensions_are_passed_over_and_a_checksum_is_checked() {
        let mut summed = header(PROXY, TCP4, &[&ADDRESSES[..], &[4, 0, 2, 7, 7], &[CRC32C, 0, 4, 0, 0, 0, 0]].concat());
        let sum = crc32c::of(summed.iter().copied()).to_be_bytes();
        let place = summed.len() - 4;
        summed[place..].copy_from_slice(&sum);
        assert_eq!(of(&summed), Ok(Some(some_route())));
        // All but the type of the checksum itself.
        for at in (16..place).filter(|at| *at != place - 3) {
            let mut changed = summed.clone();
            changed[at] ^= 0x40;
            assert!(of(&changed).is_err(), "byte {at}");
        }
        let short = [&ADDRESSES[..], &[CRC32C, 0, 3, 0, 0, 0]].concat();
        assert_eq!(of(&header(PROXY, TCP4, &short)), Err(HeaderError::Extension));
    }
}
