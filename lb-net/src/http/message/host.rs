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
    let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (name, port) = value.split_at(end);
    !name.is_empty() && is_name(name) && is_rest(port)
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

/// `reg-name` of RFC 3986 section 3.2.2.
fn is_name(name: &[u8]) -> bool {
    let mark = |byte| matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'=');
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || mark(*byte);
    let mut rest = name;
    loop {
        match rest {
            [] => return true,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = after,
            [byte, after @ ..] if plain(byte) => rest = after,
            _ => return false,
        }
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
