//! What names a host: the value of `Host`, and the authority of a target.

use std::{net::Ipv6Addr, str::from_utf8};

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 section 7.2) with a host (section 4.2.1). Commas are refused although
/// names may have them, as two hosts in one field look like that.
pub(crate) fn is_host(value: &[u8]) -> bool {
    if let [b'[', rest @ ..] = value {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let (literal, port) = rest.split_at(end);
        let address = from_utf8(literal).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        return address.is_some() && port.get(1..).is_some_and(is_rest);
    }
    let rest = behind_name(value);
    rest.len() < value.len() && is_rest(rest)
}

/// Nothing, or a colon and a port.
fn is_rest(rest: &[u8]) -> bool {
    match rest {
        [] | [b':'] => true,
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
        }
        _ => false,
    }
}

/// Bytes that a name may have as they are: looked up, as this is asked for each byte of each request's host.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        let mark = matches!(byte as u8, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'=');
        plain[byte] = mark || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    plain
};

/// What comes behind the `reg-name` (RFC 3986 section 3.2.2) that it begins with.
fn behind_name(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [byte, after @ ..] if PLAIN[usize::from(*byte)] => after,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            _ => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for host in ["a", "a.example:80", "192.0.2.1:65535", "[::1]", "[2001:db8::1]:0", "a:", "a_b~c!", "%41b"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let rows = [
            "",
            ":80",
            "u@a",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a,b",
            "a:b",
            "a:1:2",
            "a:65536",
            "a:+1",
            "a:123456",
            "a\\b",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[a]",
            "[]",
            "[fe80::1%25eth0]",
            "::1",
            "a%4",
            "a%zz",
            "a\"",
            "a\t",
            "a\0",
            "\u{e4}",
            "<a>",
            "a|b",
            "a[",
            "a]",
        ];
        for host in rows {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
