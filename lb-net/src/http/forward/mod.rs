//! The heads that go on, and what they tell of the client and of us.
//!
//! What goes on is one unambiguous message: fields that belong to one connection are gone, and so are those that `Connection`
//! names (RFC 9110 section 7.6.1); the framing is written anew. `Proxy-Authorization` and `Proxy-Authenticate` stay, as lb
//! asks for no credentials that they could be meant for (RFC 9110 section 11.7).

mod answer;
mod lines;
mod request;
mod told;

use std::net::SocketAddr;

pub(crate) use self::{answer::write_answer, request::write_request};
use super::{edit::Edit, framing::Body};
use crate::proxy_protocol::Networks;

/// What backends are told of the client and of us.
/// ```
/// let forward = lb_net::http::Forward::default();
/// assert!(forward.x_forwarded && !forward.forwarded && forward.trusted.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`. If not, those of trusted proxies are passed on as they are, and those
    /// of others are removed.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239). If not, as with `x_forwarded`.
    pub forwarded: bool,
    /// Our name in `Via` (RFC 9110 section 7.6.3), both ways; `None` leaves the field alone. A request that has come by here
    /// more than 16 times is in a loop.
    pub via: Option<String>,
    /// The `Host` that backends see; `None` is the client's.
    pub host: Option<String>,
    /// Proxies in front of us: what they say of their clients is kept and added to. What anybody else says is replaced.
    pub trusted: Networks,
}

impl Default for Forward {
    /// `X-Forwarded-*` and `Via: 1.1 lb`, the client's host, nobody trusted.
    fn default() -> Self {
        let via = Some("lb".to_owned());
        Self { x_forwarded: true, forwarded: false, via, host: None, trusted: Networks::default() }
    }
}

/// Where a request comes from, and what is done to it.
#[derive(Clone, Copy)]
pub(crate) struct Hop<'a> {
    /// Who asks: the peer, or whom it introduced.
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) peer_trusted: bool,
    pub(crate) forward: &'a Forward,
    pub(crate) edits: &'a [Edit],
    /// After those, of the hooks.
    pub(crate) more_edits: &'a [Edit],
}

/// How an answer goes back.
#[derive(Clone, Copy)]
pub(crate) struct Back<'a> {
    pub(crate) edits: &'a [Edit],
    pub(crate) more_edits: &'a [Edit],
    pub(crate) via: Option<&'a str>,
    /// Of the client's version.
    pub(crate) client_minor: u8,
    /// What the client is told of its connection.
    pub(crate) keep_alive: bool,
    /// How the client gets the body.
    pub(crate) body: Body,
    /// Trailers are passed on behind a chunked body.
    pub(crate) trailers: bool,
    pub(crate) set_cookie: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            field::FieldRoom,
            framing::of_request,
            head::{HeadLimits, RequestHead},
            refusal::Reason,
        },
        *,
    };

    const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 128 };

    /// What lb says to a backend for this head, of which lines end with `\n` here.
    fn request(text: &str, change: impl FnOnce(&mut Hop<'_>)) -> Result<String, Reason> {
        let forward = Forward::default();
        let client = "192.0.2.7:4000".parse().unwrap();
        let local = "198.51.100.1:8080".parse().unwrap();
        let mut hop = Hop { client, local, peer_trusted: false, forward: &forward, edits: &[], more_edits: &[] };
        change(&mut hop);
        let bytes = text.replace('\n', "\r\n").into_bytes();
        let mut room = FieldRoom::new();
        let head = RequestHead::parse(&bytes, &mut room, &LIMITS)?.expect("it is whole");
        let framing = of_request(&head)?;
        let mut out = Vec::new();
        write_request(&head, &framing, &hop, &mut out)?;
        Ok(String::from_utf8(out).unwrap().replace("\r\n", "\n"))
    }

    #[test]
    fn a_plain_request_goes_on_with_who_asked() {
        let said = request("GET /a?b HTTP/1.1\nHost: a\nX-A: 1\nConnection: keep-alive\nX-B:2 \n\n", |_| {});
        let expected = "GET /a?b HTTP/1.1\nHost: a\nX-A: 1\nX-B: 2\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\n\
                        X-Forwarded-Host: a\nX-Forwarded-Port: 8080\nVia: 1.1 lb\n\n";
        assert_eq!(said.as_deref(), Ok(expected));
    }
}
