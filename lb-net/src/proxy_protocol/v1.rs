//! Version 1, a line of text: `PROXY TCP4 192.0.2.1 198.51.100.1 5000 25` (section 2.1 of the specification).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{FromStr, from_utf8},
};

use super::{Header, HeaderError, Route, Version};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line with its end, by the specification.
const MOST_BYTES: usize = 107;

/// `bytes` begins as far as it goes with the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let seen = &bytes[..bytes.len().min(MOST_BYTES)];
    let Some(end) = seen.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if seen.len() == MOST_BYTES { Err(HeaderError::LineTooLong) } else { Ok(None) };
    };
    match seen[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if end + 1 < MOST_BYTES => return Ok(None),
        [b'\r'] => return Err(HeaderError::LineTooLong),
        _ => return Err(HeaderError::LineEnd),
    }
    let route = route(&seen[SIGNATURE.len()..end])?;
    Ok(Some((Header { version: Version::V1, route }, end + 2)))
}

/// What the line says behind the signature.
fn route(line: &[u8]) -> Result<Option<Route>, HeaderError> {
    // Receivers are to ignore whatever a sender adds to UNKNOWN.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let line = from_utf8(line).map_err(|_| HeaderError::Protocol)?;
    let mut words = line.split(' ');
    match words.next() {
        Some("TCP4") => addresses::<Ipv4Addr>(words).map(Some),
        Some("TCP6") => addresses::<Ipv6Addr>(words).map(Some),
        _ => Err(HeaderError::Protocol),
    }
}

fn addresses<'a, A: FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'a str>) -> Result<Route, HeaderError> {
    let mut address = |which| {
        let address: Option<A> = words.next().and_then(|word| word.parse().ok());
        address.map(Into::into).ok_or(HeaderError::Address(which))
    };
    let (source, destination) = (address("source")?, address("destination")?);
    let mut port = |which| words.next().and_then(port).ok_or(HeaderError::Port(which));
    let (from, to) = (port("source")?, port("destination")?);
    match words.next() {
        None => Ok(Route::new(SocketAddr::new(source, from), SocketAddr::new(destination, to))),
        Some(_) => Err(HeaderError::Excess),
    }
}

/// Digits without a sign or leading zeros, so that each port is written in one way.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain)
}

pub(super) fn write(route: Option<&Route>) -> Vec<u8> {
    let Some(Route { source, destination }) = route else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let protocol = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {protocol} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(line: &str) -> Result<Option<Route>, HeaderError> {
        Header::parse(format!("{line}\r\n").as_bytes()).map(|parsed| parsed.expect("it is complete").0.route)
    }

    #[test]
    fn a_line_is_read_as_the_specification_says() {
        let [from, to]: [SocketAddr; 2] = ["255.255.255.255:65535", "0.0.0.0:0"].map(|text| text.parse().unwrap());
        assert_eq!(verdict("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0"), Ok(Some(Route::new(from, to))));
        let [from, to]: [SocketAddr; 2] = ["[2001:db8::1]:1", "[::]:2"].map(|text| text.parse().unwrap());
        assert_eq!(verdict("PROXY TCP6 2001:DB8:0:0::1 :: 1 2"), Ok(Some(Route::new(from, to))));
        for line in ["PROXY UNKNOWN", "PROXY UNKNOWN ", "PROXY UNKNOWN ff::1 whatever \u{7}"] {
            assert_eq!(verdict(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn the_longest_line_is_read_and_none_that_is_longer() {
        let most = format!("PROXY UNKNOWN {}", "x".repeat(MOST_BYTES - 16));
        assert_eq!(verdict(&most), Ok(None));
        assert_eq!(verdict(&format!("{most}x")), Err(HeaderError::LineTooLong));
        assert_eq!(Header::parse(format!("{most}xx").as_bytes()), Err(HeaderError::LineTooLong));
        assert_eq!(Header::parse(&format!("{most}x\r\n").as_bytes()[..MOST_BYTES]), Err(HeaderError::LineTooLong));
    }

    #[test]
    fn lines_that_are_nearly_right_are_refused() {
        use HeaderError::{Address, Excess, LineEnd, Port, Protocol};
        let cases = [
            ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2", Protocol),
            ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2", Protocol),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2", Protocol),
            ("PROXY UNKNOWNS", Protocol),
            ("PROXY ", Protocol),
            ("PROXY TCP4", Address("source")),
            ("PROXY TCP4 1.2.3.4", Address("destination")),
            ("PROXY TCP4 ::1 1.2.3.4 1 2", Address("source")),
            ("PROXY TCP6 ::1 1.2.3.4 1 2", Address("destination")),
            ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2", Address("source")),
            ("PROXY TCP4  1.2.3.4 1.2.3.4 1 2", Address("source")),
            ("PROXY TCP6 fe80::1%1 ::1 1 2", Address("source")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4", Port("source")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1", Port("destination")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2", Port("source")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 00 2", Port("source")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2", Port("source")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536", Port("destination")),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", Excess),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3", Excess),
            ("PROXY TCP4 1.2.3.4\r1.2.3.4 1 2", LineEnd),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", LineEnd),
            ("PROXY UNKNOWN\n", LineEnd),
            ("PROXY UNKNOWN\r", LineEnd),
        ];
        for (line, error) in cases {
            assert_eq!(verdict(line), Err(error), "{line}");
        }
    }
}
