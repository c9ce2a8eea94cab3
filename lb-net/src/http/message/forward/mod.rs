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
    /// Proxies in front of us: what they say of their clients is kept and added to, and whom they name in `X-Forwarded-For` is
    /// who asks, for keys, logs and hooks. What anybody else says is replaced. Where a peer introduces its client (PROXY
    /// protocol), it is that client who is to be trusted or not: the peer has written nothing of the request.
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
    /// That one is a proxy whose word counts.
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
mod tests;
