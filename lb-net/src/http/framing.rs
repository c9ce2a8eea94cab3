//! Where messages end, and what becomes of their connections: the only judge of both. What can be understood in two ways is
//! refused, whoever sent it.
//!
//! Of requests (a refusal ends the connection):
//! - `Content-Length` with `Transfer-Encoding`, and several `Content-Length`, even equal ones: 400 (RFC 9112 6.1, 6.3).
//! - `Content-Length` is digits only, up to 2^63-1, as signed counters behind us would wrap: else 400 (RFC 9110 8.6).
//! - `Transfer-Encoding` is one field that says `chunked`, in any case. With other codings before it 501 (RFC 9112 6.1),
//!   anything else 400: `chunked` twice or not last, parameters, empty members. In HTTP/1.0 400 (RFC 9112 6.1).
//! - `Host` is there once, and a host: else 400 (RFC 9112 3.2), whatever the target says. HTTP/1.0 may leave it out.
//! - `Connection` removes what it names (RFC 9110 7.6.1), but not what frames or routes a message or says who the client is:
//!   naming `Host` or `Content-Length` is refused with 400, as only attacks do; naming `Transfer-Encoding`, `Via`,
//!   `Forwarded` or `X-Forwarded-*` has no effect, as lb writes those itself. More than 32 options are refused.
//! - `Expect` is `100-continue`, else 417 (RFC 9110 10.1.1); without a body, and in HTTP/1.0, it is dropped.
//! - `Upgrade` needs `Connection: upgrade` and HTTP/1.1 (RFC 9110 7.8), and a request without a body, as bytes behind the
//!   head could belong to either protocol. `h2c`, HTTP and TLS are never asked for.
//! - `Max-Forwards` counts for OPTIONS and TRACE (RFC 9110 7.6.2). At 0 an OPTIONS is for us, a TRACE is refused with 405:
//!   an echo would show a script what the browser hides from it. TRACE with a body: 400 (RFC 9110 9.3.8).
//!
//! Of answers (a refusal is 502 and ends the backend's connection):
//! - `Content-Length` as above. `Transfer-Encoding` besides `chunked` would be read until close (RFC 9112 6.3): a cut could
//!   not be told from an end, and clients do not understand the coding: refused.
//! - HEAD, 1xx, 204, 304 have no body whatever they say (RFC 9112 6.3). A 1xx or 204 that announces one nevertheless costs the
//!   backend's connection, as the body may follow.
//! - 101 only when asked for, with `Upgrade` and `Connection: upgrade`, never to `h2c` (RFC 9110 15.2.2).

use super::{
    field::{Fields, Known},
    head::{AnswerHead, RequestHead},
    refusal::Reason,
};

/// Options that `Connection` may have: fields are looked up among them.
const MOST_OPTIONS: usize = 32;

/// The body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestFraming {
    pub(crate) body: Body,
    /// The client's connection may have another request.
    pub(crate) keep_alive: bool,
    /// The client waits for a 100 before it sends its body.
    pub(crate) expects_continue: bool,
    /// It asks for a protocol that may be asked for.
    pub(crate) upgrade: bool,
    /// The client wants trailers.
    pub(crate) trailers: bool,
    /// What `Max-Forwards` says, where it counts.
    pub(crate) max_forwards: Option<u64>,
    /// `Connection` names fields.
    pub(super) nominates: bool,
}

impl RequestFraming {
    /// An OPTIONS that is not to be passed on (RFC 9110 section 7.6.2).
    pub(crate) fn is_for_us(&self) -> bool {
        self.max_forwards == Some(0)
    }
}

/// What an answer depends on of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) head: bool,
    /// It was passed on with its `Upgrade`.
    pub(crate) upgrade: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerFraming {
    pub(crate) body: Body,
    /// What `Content-Length` says, also where there is no body (HEAD, 304).
    pub(crate) length: Option<u64>,
    /// The backend's connection may have another request.
    pub(crate) keep_alive: bool,
    /// Another answer follows.
    pub(crate) interim: bool,
    /// From here on it is another protocol.
    pub(crate) switching: bool,
    pub(super) nominates: bool,
}

impl AnswerFraming {
    /// How a client of HTTP/1.`minor` gets the body.
    pub(crate) fn for_client(&self, minor: u8) -> Body {
        match self.body {
            Body::Chunked | Body::UntilClose if minor == 0 => Body::UntilClose,
            Body::Chunked | Body::UntilClose => Body::Chunked,
            plain => plain,
        }
    }
}

pub(crate) fn of_request(head: &RequestHead<'_, '_>) -> Result<RequestFraming, Reason> {
    let fields = &head.fields;
    let options = Options::of(fields).ok_or(Reason::BadConnection)?;
    judge_host(head)?;
    let body = request_body(head)?;
    let has_body = !matches!(body, Body::None | Body::Length(0));
    let upgrade = options.upgrade && head.minor > 0 && !has_body && upgrades(fields).next().is_some();
    Ok(RequestFraming {
        body,
        keep_alive: options.keeps(head.minor),
        expects_continue: expects_continue(head)? && has_body,
        upgrade,
        trailers: fields.has(Known::Te) && wants_trailers(fields),
        max_forwards: max_forwards(head, has_body)?,
        nominates: options.fields,
    })
}

pub(crate) fn of_answer(head: &AnswerHead<'_, '_>, asked: &Asked) -> Result<AnswerFraming, Reason> {
    let fields = &head.fields;
    let options = Options::of(fields).ok_or(Reason::BadAnswer)?;
    let length = length(fields).map_err(|_| Reason::BadAnswer)?;
    let chunked = match fields.has(Known::TransferEncoding) {
        false => false,
        true if head.minor > 0 && length.is_none() && coding(fields).is_ok() => true,
        true => return Err(Reason::BadAnswer),
    };
    let switching = head.status == 101;
    let switches = asked.upgrade && options.upgrade && head.minor > 0 && upgrades(fields).next().is_some();
    if switching && !switches {
        return Err(Reason::BadAnswer);
    }
    let bare = head.status < 200 || head.status == 204;
    let body = match length {
        _ if bare || asked.head || head.status == 304 => Body::None,
        _ if chunked => Body::Chunked,
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    };
    let clear =
        body != Body::UntilClose && !switching && !(bare && (chunked || length.is_some_and(|length| length > 0)));
    Ok(AnswerFraming {
        body,
        length,
        keep_alive: options.keeps(head.minor) && clear,
        interim: head.status < 200 && !switching,
        switching,
        nominates: options.fields,
    })
}

/// What `Connection` says.
#[derive(Default)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// Names of other fields.
    fields: bool,
}

impl Options {
    /// `None`: it names what belongs to the message, or too much.
    fn of(fields: &Fields<'_, '_>) -> Option<Self> {
        let mut options = Self::default();
        if !fields.has(Known::Connection) {
            return Some(options);
        }
        for (at, option) in fields.members(Known::Connection).enumerate() {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            match option.len() {
                _ if at >= MOST_OPTIONS => return None,
                5 if is("close") => options.close = true,
                10 if is("keep-alive") => options.keep_alive = true,
                7 if is("upgrade") => options.upgrade = true,
                2 if is("te") => {}
                4 if is("host") => return None,
                14 if is("content-length") => return None,
                _ => options.fields = true,
            }
        }
        Some(options)
    }

    fn keeps(&self, minor: u8) -> bool {
        !self.close && (minor > 0 || self.keep_alive)
    }
}

/// Whether `Connection` names this field, and that takes effect.
pub(super) fn is_nominated(fields: &Fields<'_, '_>, known: Known, name: &str) -> bool {
    let firm = matches!(
        known,
        Known::Host
            | Known::Via
            | Known::Forwarded
            | Known::XForwardedFor
            | Known::XForwardedHost
            | Known::XForwardedPort
            | Known::XForwardedProto
    );
    !firm && fields.members(Known::Connection).any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

fn judge_host(head: &RequestHead<'_, '_>) -> Result<(), Reason> {
    match head.fields.get(Known::Host) {
        None if head.minor == 0 => Ok(()),
        None => Err(Reason::MissingHost),
        Some(host) if !head.fields.repeats(Known::Host) && super::host::is_host(host) => Ok(()),
        Some(_) => Err(Reason::BadHost),
    }
}

fn request_body(head: &RequestHead<'_, '_>) -> Result<Body, Reason> {
    let fields = &head.fields;
    let (counted, coded) = (fields.has(Known::ContentLength), fields.has(Known::TransferEncoding));
    match (counted, coded) {
        (false, false) => Ok(Body::None),
        (true, true) => Err(Reason::AmbiguousLength),
        (true, false) => Ok(length(fields)?.map_or(Body::None, Body::Length)),
        (false, true) if head.minor == 0 => Err(Reason::BadCoding),
        (false, true) => coding(fields).map(|()| Body::Chunked),
    }
}

/// What `Content-Length` says.
fn length(fields: &Fields<'_, '_>) -> Result<Option<u64>, Reason> {
    let Some(value) = fields.get(Known::ContentLength) else { return Ok(None) };
    if fields.repeats(Known::ContentLength) {
        return Err(Reason::AmbiguousLength);
    }
    number(value).map(Some).ok_or(Reason::BadLength)
}

/// Digits, up to 2^63-1.
fn number(text: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    // 19 digits are less than 2^64.
    let number = || text.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    digits.then(number).filter(|number| i64::try_from(*number).is_ok())
}

/// That `Transfer-Encoding` says `chunked` and nothing else.
fn coding(fields: &Fields<'_, '_>) -> Result<(), Reason> {
    let chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let single = !fields.repeats(Known::TransferEncoding);
    if single && fields.get(Known::TransferEncoding).is_some_and(chunked) {
        return Ok(());
    }
    let codings = fields.all(Known::TransferEncoding).flat_map(|value| value.split(|byte| *byte == b','));
    let (mut count, mut last, mut whole) = (0, false, true);
    for coding in codings.map(super::field::trimmed) {
        whole &= !last && coding.iter().copied().all(super::edit::is_token) && !coding.is_empty();
        last = chunked(coding);
        count += 1;
    }
    Err(if whole && last && count > 1 { Reason::UnknownCoding } else { Reason::BadCoding })
}

fn expects_continue(head: &RequestHead<'_, '_>) -> Result<bool, Reason> {
    let Some(value) = head.fields.get(Known::Expect).filter(|_| head.minor > 0) else { return Ok(false) };
    let known = value.eq_ignore_ascii_case(b"100-continue") && !head.fields.repeats(Known::Expect);
    if known { Ok(true) } else { Err(Reason::BadExpect) }
}

fn wants_trailers(fields: &Fields<'_, '_>) -> bool {
    fields.members(Known::Te).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn max_forwards(head: &RequestHead<'_, '_>, has_body: bool) -> Result<Option<u64>, Reason> {
    let trace = head.method == "TRACE";
    if trace && has_body {
        return Err(Reason::BadField);
    }
    let Some(value) = head.fields.get(Known::MaxForwards).filter(|_| trace || head.method == "OPTIONS") else {
        return Ok(None);
    };
    match number(value).filter(|_| !head.fields.repeats(Known::MaxForwards)) {
        None => Err(Reason::BadField),
        Some(0) if trace => Err(Reason::TraceNotAllowed),
        some => Ok(some),
    }
}

/// The protocols in `Upgrade` that may be asked for.
pub(super) fn upgrades<'b>(fields: &Fields<'_, 'b>) -> impl Iterator<Item = &'b [u8]> {
    let token = |part: &[u8]| !part.is_empty() && part.iter().copied().all(super::edit::is_token);
    fields.members(Known::Upgrade).filter(move |protocol| {
        let mut parts = protocol.splitn(2, |byte| *byte == b'/');
        let name = parts.next().unwrap_or_default();
        let ours = [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"];
        let foreign = !ours.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        foreign && token(name) && parts.next().is_none_or(token)
    })
}
