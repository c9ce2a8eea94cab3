//! Who asks, where trusted proxies in front of us say so in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use super::message::field::{Fields, Known};
use crate::proxy_protocol::Networks;

/// The client of the first proxy in a row of trusted ones, which is told from its end: what comes before that has been
/// written by whoever liked to. `None` where nothing is said.
#[cold]
pub(super) fn told(fields: &Fields<'_, '_>, trusted: &Networks) -> Option<IpAddr> {
    let said: Vec<&[u8]> = fields.members(Known::XForwardedFor).collect();
    let mut client = None;
    for word in said.into_iter().rev() {
        let Some(address) = address(word) else { break };
        client = Some(address);
        if !trusted.contain(address) {
            break;
        }
    }
    client
}

/// Some proxies write the port as well.
fn address(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?;
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    let address = bare.parse().ok().or_else(|| word.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::{
        field::{FieldRoom, MOST_FIELDS},
        head::{HeadLimits, RequestHead},
    };

    fn of(lines: &str) -> Option<String> {
        let (mut room, limits) = (FieldRoom::new(), HeadLimits { bytes: 10_000, fields: MOST_FIELDS });
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let head = RequestHead::parse(text.as_bytes(), &mut room, &limits).unwrap().unwrap();
        told(&head.fields, &"10.0.0.0/8,fd00::/8".parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn the_last_one_that_is_no_proxy_of_ours_asks() {
        let rows = [
            ("", None),
            ("X-Forwarded-For: 192.0.2.7\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.7 , 10.1.1.1,fd00::1\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 10.2.2.2, 10.1.1.1\r\n", Some("10.2.2.2")),
            ("X-Forwarded-For: 192.0.2.7:4711\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: [2001:db8::7]:4711\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: 2001:db8::7, [fd00::1]\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: ::ffff:192.0.2.7\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: unknown\r\n", None),
            ("X-Forwarded-For: 6.6.6.6, unknown, 10.1.1.1\r\n", Some("10.1.1.1")),
        ];
        for (lines, client) in rows {
            assert_eq!(of(lines).as_deref(), client, "{lines}");
        }
    }
}
