//! A request on its way to a backend.

use std::{io::Write as _, net::SocketAddr};

use super::{
    super::{
        edit::Edits,
        field::Known,
        framing::{Body, RequestFraming, is_nominated, upgrades},
        head::RequestHead,
        refusal::Reason,
    },
    Hop,
    lines::{Lines, decimal},
    told,
};

/// Appends the head as a backend gets it. The reason is [`Reason::LoopDetected`]; then nothing is appended.
pub(crate) fn write_request(
    head: &RequestHead<'_, '_>,
    framing: &RequestFraming,
    hop: &Hop<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let fields = &head.fields;
    told::judge_loop(fields, hop)?;
    let mut lines = Lines::new(out, fields.head(), Edits::new(hop.edits, hop.more_edits));
    request_line(head, lines.raw());
    let own_host = write_host(head, hop, &mut lines);
    for field in fields.iter() {
        let stays = match field.known {
            Known::Other => true,
            Known::Host => !own_host,
            Known::MaxForwards => framing.max_forwards.is_none(),
            Known::Trailer => framing.body == Body::Chunked,
            known => !is_of_the_hop(known) && told::stays(known, hop),
        };
        if stays && !(framing.nominates && is_nominated(fields, field.known, field.name)) {
            lines.keep(&field);
        }
    }
    told::tell(head, hop, &mut lines);
    lines.edit();
    write_framing(head, framing, &mut lines);
    lines.raw().extend_from_slice(b"\r\n");
    Ok(())
}

/// Fields that mean the connection they come by, that lb writes itself, or that only deceive.
fn is_of_the_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::ContentLength
            | Known::Disguised
            | Known::Expect
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::Proxy
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

fn request_line(head: &RequestHead<'_, '_>, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method.as_bytes());
    // An absolute target may have no path.
    let missing = !head.path.starts_with(['/', '*']);
    out.extend_from_slice(if missing { b" /" } else { b" " });
    out.extend_from_slice(head.path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// The host, where it is not the client's field. A request of HTTP/1.0 without one is for the address that it came to.
fn write_host(head: &RequestHead<'_, '_>, hop: &Hop<'_>, lines: &mut Lines<'_, '_, '_>) -> bool {
    let other = hop.forward.host.as_deref().or(head.authority);
    match other {
        Some(host) => lines.ours("Host", &[host.as_bytes()]),
        None if head.fields.has(Known::Host) => return false,
        None => {
            let local = SocketAddr::new(hop.local.ip().to_canonical(), hop.local.port());
            drop(write!(lines.raw(), "Host: {local}\r\n"));
        }
    }
    true
}

/// One framing, and what is said to the backend alone.
fn write_framing(head: &RequestHead<'_, '_>, framing: &RequestFraming, lines: &mut Lines<'_, '_, '_>) {
    match framing.body {
        Body::Length(length) => lines.ours("Content-Length", &[decimal(length, &mut [0; 20])]),
        Body::Chunked => lines.ours("Transfer-Encoding", &[b"chunked"]),
        Body::None | Body::UntilClose => {}
    }
    if framing.expects_continue {
        lines.ours("Expect", &[b"100-continue"]);
    }
    if let Some(forwards) = framing.max_forwards {
        lines.ours("Max-Forwards", &[decimal(forwards.saturating_sub(1), &mut [0; 20])]);
    }
    if framing.trailers {
        lines.ours("TE", &[b"trailers"]);
    }
    if framing.upgrade {
        lines.list("Upgrade", upgrades(&head.fields));
    }
    match (framing.trailers, framing.upgrade) {
        (false, false) => {}
        (true, false) => lines.ours("Connection", &[b"TE"]),
        (false, true) => lines.ours("Connection", &[b"upgrade"]),
        (true, true) => lines.ours("Connection", &[b"TE, upgrade"]),
    }
}
