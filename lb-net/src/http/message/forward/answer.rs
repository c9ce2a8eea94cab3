//! An answer on its way to its client.

use super::{
    super::{
        date,
        edit::Edits,
        field::{Fields, Known},
        framing::{AnswerFraming, Body, is_nominated, upgrades},
        head::AnswerHead,
    },
    Back,
    lines::{Lines, decimal},
};

/// Appends the head as the client gets it. Interim answers have neither edits nor a cookie: those are for the final one.
pub(crate) fn write_answer(head: &AnswerHead<'_, '_>, framing: &AnswerFraming, back: &Back<'_>, out: &mut Vec<u8>) {
    let fields = &head.fields;
    let edits = if framing.interim { Edits::default() } else { Edits::new(back.edits, back.more_edits) };
    let mut lines = Lines::new(out, fields.head(), edits);
    status_line(head, lines.raw());
    for field in fields.iter() {
        let stays = match field.known {
            Known::Other => true,
            Known::Trailer => back.trailers && back.body == Body::Chunked,
            known => !is_of_the_hop(known),
        };
        if stays && !(framing.nominates && is_nominated(fields, field.known, field.name)) {
            lines.keep(&field);
        }
    }
    if let Some(via) = back.via.filter(|_| !lines.is_edited("via")) {
        let version: &[u8] = if head.minor == 0 { b"1.0 " } else { b"1.1 " };
        lines.ours("Via", &[version, via.as_bytes()]);
    }
    lines.edit();
    if !framing.interim {
        // Whoever passes an answer on says when, if its maker has not (RFC 9110 section 6.6.1).
        if !fields.has(Known::Date) && !lines.is_edited("date") {
            date::with_now(|now| lines.ours("Date", &[now.as_bytes()]));
        }
        if let Some(cookie) = back.set_cookie {
            lines.ours("Set-Cookie", &[cookie.as_bytes()]);
        }
        write_framing(head, framing, back, &mut lines);
        write_connection(head, framing, back, &mut lines);
    }
    lines.raw().extend_from_slice(b"\r\n");
}

/// Fields that mean the connection they come by, or that lb writes itself.
fn is_of_the_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::ContentLength
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::LbReason
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

fn status_line(head: &AnswerHead<'_, '_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(decimal(head.status.into(), &mut [0; 20]));
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_framing(head: &AnswerHead<'_, '_>, framing: &AnswerFraming, back: &Back<'_>, lines: &mut Lines<'_, '_, '_>) {
    let length = match back.body {
        Body::Length(length) => Some(length),
        // What a GET would have had (RFC 9110 section 8.6).
        Body::None if head.status >= 200 && head.status != 204 => framing.length,
        Body::Chunked => return lines.ours("Transfer-Encoding", &[b"chunked"]),
        Body::None | Body::UntilClose => None,
    };
    if let Some(length) = length {
        lines.ours("Content-Length", &[decimal(length, &mut [0; 20])]);
    }
}

/// `Upgrade` goes on where the protocol changes, and where a client is told to change it (426).
fn write_connection(
    head: &AnswerHead<'_, '_>,
    framing: &AnswerFraming,
    back: &Back<'_>,
    lines: &mut Lines<'_, '_, '_>,
) {
    let fields: &Fields<'_, '_> = &head.fields;
    let upgrade = (framing.switching || head.status == 426) && upgrades(fields).next().is_some();
    if upgrade {
        lines.list("Upgrade", upgrades(fields));
    }
    let stays = framing.switching || back.keep_alive;
    let value: &[u8] = match (upgrade, stays) {
        (true, true) => b"upgrade",
        (true, false) => b"upgrade, close",
        (false, false) => b"close",
        (false, true) if back.client_minor == 0 => b"keep-alive",
        (false, true) => return,
    };
    lines.ours("Connection", &[value]);
}
