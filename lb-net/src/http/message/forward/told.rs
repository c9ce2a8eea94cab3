//! Who asked, and through whom: `X-Forwarded-*`, `Forwarded` (RFC 7239) and `Via` (RFC 9110 section 7.6.3).

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use super::{
    super::{
        field::{Fields, Known},
        head::RequestHead,
        refusal::Reason,
    },
    Hop,
    lines::{Lines, decimal},
};
use crate::field_text::is_token;

/// How often a request may come by: chains of proxies with one name are not that long.
const MOST_VISITS: usize = 16;

/// Whether this field of the request goes on as it is.
pub(super) fn stays(known: Known, hop: &Hop<'_>) -> bool {
    match known {
        Known::XForwardedFor => hop.peer_trusted && !hop.forward.x_forwarded,
        Known::Forwarded => hop.peer_trusted && !hop.forward.forwarded,
        Known::XForwardedHost | Known::XForwardedPort | Known::XForwardedProto => hop.peer_trusted,
        _ => true,
    }
}

/// What we say.
pub(super) fn tell(head: &RequestHead<'_, '_>, hop: &Hop<'_>, lines: &mut Lines<'_, '_, '_>) {
    let fields = &head.fields;
    if hop.forward.x_forwarded {
        let said = |known| hop.peer_trusted && fields.has(known);
        if !lines.is_edited("x-forwarded-for") {
            list("X-Forwarded-For", Known::XForwardedFor, fields, hop, lines);
            let out = lines.raw();
            address(hop.client.ip(), out);
            out.extend_from_slice(b"\r\n");
        }
        if !said(Known::XForwardedProto) && !lines.is_edited("x-forwarded-proto") {
            lines.ours("X-Forwarded-Proto", &[b"http"]);
        }
        if let Some(host) = head.host().filter(|_| !said(Known::XForwardedHost) && !lines.is_edited("x-forwarded-host"))
        {
            lines.ours("X-Forwarded-Host", &[host]);
        }
        if !said(Known::XForwardedPort) && !lines.is_edited("x-forwarded-port") {
            lines.ours("X-Forwarded-Port", &[decimal(hop.local.port().into(), &mut [0; 20])]);
        }
    }
    if hop.forward.forwarded && !lines.is_edited("forwarded") {
        list("Forwarded", Known::Forwarded, fields, hop, lines);
        element(head.host(), hop.client.ip(), lines.raw());
    }
    if let Some(via) = hop.forward.via.as_ref().filter(|_| !lines.is_edited("via")) {
        let version: &[u8] = if head.minor == 0 { b"1.0 " } else { b"1.1 " };
        lines.ours("Via", &[version, via.as_bytes()]);
    }
}

/// Name and what trusted proxies have said, in one line: many look at the first or the last line only.
fn list(name: &str, known: Known, fields: &Fields<'_, '_>, hop: &Hop<'_>, lines: &mut Lines<'_, '_, '_>) {
    let out = lines.raw();
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    if hop.peer_trusted && fields.has(known) {
        for value in fields.all(known).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
}

/// An IPv4 address in IPv6 clothing is the IPv4 address.
fn address(ip: IpAddr, out: &mut Vec<u8>) {
    match ip.to_canonical() {
        IpAddr::V4(v4) => dotted(v4, out),
        // A vector takes everything.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// As `Display` has it, in a small part of the time.
fn dotted(address: Ipv4Addr, out: &mut Vec<u8>) {
    let (mut text, mut length) = ([b'.'; "255.255.255.255.".len()], 0);
    for octet in address.octets() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let leading = usize::from(octet < 100) + usize::from(octet < 10);
        for digit in digits.into_iter().skip(leading) {
            text[length] = b'0' + digit;
            length += 1;
        }
        // The dot is there already.
        length += 1;
    }
    out.extend_from_slice(&text[..length - 1]);
}

/// One element of `Forwarded`, and the end of its line.
fn element(host: Option<&[u8]>, client: IpAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(b"for=");
    if client.to_canonical().is_ipv6() {
        out.extend_from_slice(b"\"[");
        address(client, out);
        out.extend_from_slice(b"]\"");
    } else {
        address(client, out);
    }
    if let Some(host) = host {
        // Hosts have neither quotes nor backslashes.
        let quote: &[u8] = if host.iter().copied().all(is_token) { b"" } else { b"\"" };
        [b";host=", quote, host, quote].iter().for_each(|part| out.extend_from_slice(part));
    }
    out.extend_from_slice(b";proto=http\r\n");
}

/// That the request has not been here too often.
pub(super) fn judge_loop(fields: &Fields<'_, '_>, hop: &Hop<'_>) -> Result<(), Reason> {
    let Some(via) = hop.forward.via.as_ref().filter(|_| fields.has(Known::Via)) else { return Ok(()) };
    let by_us = |member: &&[u8]| {
        let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(via.as_bytes()))
    };
    let visits = fields.members(Known::Via).filter(by_us).count();
    if visits > MOST_VISITS { Err(Reason::LoopDetected) } else { Ok(()) }
}
