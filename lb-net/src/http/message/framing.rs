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
use crate::field_text::is_token;

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
        whole &= !last && coding.iter().copied().all(is_token) && !coding.is_empty();
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
    let token = |part: &[u8]| !part.is_empty() && part.iter().copied().all(is_token);
    fields.members(Known::Upgrade).filter(move |protocol| {
        let mut parts = protocol.splitn(2, |byte| *byte == b'/');
        let name = parts.next().unwrap_or_default();
        let ours = [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"];
        let foreign = !ours.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        foreign && token(name) && parts.next().is_none_or(token)
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{field::FieldRoom, head::HeadLimits},
        *,
    };

    const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 128 };

    /// Of a head of which lines end with `|`.
    fn request(text: &str) -> Result<RequestFraming, Reason> {
        let bytes = format!("{text}||").replace('|', "\r\n").into_bytes();
        let mut room = FieldRoom::new();
        of_request(&RequestHead::parse(&bytes, &mut room, &LIMITS)?.expect("it is whole"))
    }

    /// Of a POST with this field.
    fn post(fields: &str) -> Result<RequestFraming, Reason> {
        request(&format!("POST / HTTP/1.1|Host: a|{fields}"))
    }

    fn answer_to(asked: Asked, text: &str) -> Result<AnswerFraming, Reason> {
        let bytes = format!("{text}||").replace('|', "\r\n").into_bytes();
        let mut room = FieldRoom::new();
        of_answer(&AnswerHead::parse(&bytes, &mut room, &LIMITS)?.expect("it is whole"), &asked)
    }

    fn answer(text: &str) -> Result<AnswerFraming, Reason> {
        answer_to(Asked { head: false, upgrade: false }, text)
    }

    #[test]
    fn plain_bodies_are_understood() {
        let rows = [
            ("X: 1", Body::None),
            ("Content-Length: 0", Body::Length(0)),
            ("content-length:\t5 ", Body::Length(5)),
            ("Content-Length: 0000000000000000005", Body::Length(5)),
            ("Content-Length: 9223372036854775807", Body::Length(9_223_372_036_854_775_807)),
            ("Transfer-Encoding: chunked", Body::Chunked),
            ("transfer-encoding:ChunkeD\t", Body::Chunked),
        ];
        for (field, body) in rows {
            assert_eq!(post(field).map(|framing| framing.body), Ok(body), "{field}");
        }
    }

    /// RUSTSEC-2021-0078, and what else could be read as another number.
    #[test]
    fn lengths_are_digits() {
        let rows = [
            "",
            "+5",
            "-5",
            "-0",
            "5.0",
            "5e1",
            "0x5",
            "5, 5",
            "5,5",
            "5,",
            ",5",
            "5 5",
            "5;",
            "\"5\"",
            "five",
            "\u{665}",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551621",
            "00000000000000000005",
            "5\u{a0}",
            "1_0",
            "5\t5",
        ];
        for length in rows {
            assert_eq!(post(&format!("Content-Length: {length}")), Err(Reason::BadLength), "{length:?}");
            let text = format!("HTTP/1.1 200 OK|Content-Length: {length}");
            assert_eq!(answer(&text), Err(Reason::BadAnswer), "{length:?}");
        }
    }

    #[test]
    fn a_length_is_said_once() {
        for fields in [
            "Content-Length: 5|Content-Length: 5",
            "Content-Length: 5|X: 1|content-length: 6",
            "Content-Length: 0|Content-Length:",
        ] {
            assert_eq!(post(fields), Err(Reason::AmbiguousLength), "{fields}");
            assert_eq!(answer(&format!("HTTP/1.1 200 OK|{fields}")), Err(Reason::BadAnswer), "{fields}");
        }
    }

    #[test]
    fn a_length_and_a_coding_exclude_each_other() {
        for coding in ["chunked", "", "x", "identity"] {
            for fields in [
                format!("Content-Length: 5|Transfer-Encoding: {coding}"),
                format!("Transfer-Encoding: {coding}|Content-Length: 5"),
            ] {
                assert_eq!(post(&fields), Err(Reason::AmbiguousLength), "{fields}");
                for status in [200, 204, 304, 100] {
                    assert_eq!(answer(&format!("HTTP/1.1 {status} OK|{fields}")), Err(Reason::BadAnswer), "{fields}");
                }
            }
        }
    }

    /// RUSTSEC-2021-0020, RUSTSEC-2020-0031 and RUSTSEC-2021-0081, RUSTSEC-2026-0034.
    #[test]
    fn a_coding_is_chunked_once_and_alone() {
        let rows = [
            ("Transfer-Encoding: gzip, chunked", Reason::UnknownCoding),
            ("Transfer-Encoding: identity, chunked", Reason::UnknownCoding),
            ("Transfer-Encoding: gzip|Transfer-Encoding: chunked", Reason::UnknownCoding),
            ("Transfer-Encoding:", Reason::BadCoding),
            ("Transfer-Encoding: gzip", Reason::BadCoding),
            ("Transfer-Encoding: identity", Reason::BadCoding),
            ("Transfer-Encoding: chunked, gzip", Reason::BadCoding),
            ("Transfer-Encoding: chunked, identity", Reason::BadCoding),
            ("Transfer-Encoding: chunked, chunked", Reason::BadCoding),
            ("Transfer-Encoding: chunked|Transfer-Encoding: chunked", Reason::BadCoding),
            ("Transfer-Encoding: chunked|Transfer-Encoding: x", Reason::BadCoding),
            ("Transfer-Encoding: chunked|Transfer-Encoding:", Reason::BadCoding),
            ("Transfer-Encoding: chunked,", Reason::BadCoding),
            ("Transfer-Encoding: ,chunked", Reason::BadCoding),
            ("Transfer-Encoding: gzip,,chunked", Reason::BadCoding),
            ("Transfer-Encoding: chunked;x=y", Reason::BadCoding),
            ("Transfer-Encoding: \"chunked\"", Reason::BadCoding),
            ("Transfer-Encoding: 'chunked'", Reason::BadCoding),
            ("Transfer-Encoding: xchunked", Reason::BadCoding),
            ("Transfer-Encoding: chunked x", Reason::BadCoding),
            ("Transfer-Encoding: x chunked", Reason::BadCoding),
            ("Transfer-Encoding: chun\tked", Reason::BadCoding),
            ("Transfer-Encoding: chun\u{212a}ed", Reason::BadCoding),
        ];
        for (fields, reason) in rows {
            assert_eq!(post(fields), Err(reason), "{fields}");
            for status in [200, 204, 304] {
                assert_eq!(answer(&format!("HTTP/1.1 {status} OK|{fields}")), Err(Reason::BadAnswer), "{fields}");
            }
        }
    }

    /// RUSTSEC-2026-0034: HTTP/1.0 has no codings.
    #[test]
    fn a_coding_in_http_1_0_is_refused() {
        for coding in ["chunked", "x, chunked", "identity"] {
            let text = format!("POST / HTTP/1.0|Connection: keep-alive|Transfer-Encoding: {coding}");
            assert_eq!(request(&text), Err(Reason::BadCoding));
            assert_eq!(answer(&format!("HTTP/1.0 200 OK|Transfer-Encoding: {coding}")), Err(Reason::BadAnswer));
        }
    }

    /// RUSTSEC-2020-0008: whatever the method, the body belongs to the request.
    #[test]
    fn bodies_of_any_method_are_bodies() {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "BREW"] {
            let framing = request(&format!("{method} / HTTP/1.1|Host: a|Content-Length: 5")).unwrap();
            assert_eq!(framing.body, Body::Length(5), "{method}");
        }
        assert_eq!(request("TRACE / HTTP/1.1|Host: a|Content-Length: 5"), Err(Reason::BadField));
    }

    #[test]
    fn a_request_is_for_one_host() {
        for (fields, reason) in [
            ("X: 1", Reason::MissingHost),
            ("Host: a|Host: a", Reason::BadHost),
            ("Host: a|X: 1|host: b", Reason::BadHost),
            ("Host:", Reason::BadHost),
            ("Host: a b", Reason::BadHost),
            ("Host: u@a", Reason::BadHost),
            ("Host: a/b", Reason::BadHost),
            ("Host: a:x", Reason::BadHost),
            ("Host: a,b", Reason::BadHost),
        ] {
            assert_eq!(request(&format!("GET / HTTP/1.1|{fields}")), Err(reason), "{fields}");
            assert_eq!(request(&format!("GET http://b/ HTTP/1.1|{fields}")), Err(reason), "{fields}");
            let old = request(&format!("GET / HTTP/1.0|{fields}")).map(|_| ());
            assert_eq!(old, if reason == Reason::MissingHost { Ok(()) } else { Err(reason) }, "{fields}");
        }
    }

    #[test]
    fn connections_are_kept_as_both_sides_say() {
        let rows = [
            ("1.1", "X: 1", true),
            ("1.1", "Connection: close", false),
            ("1.1", "Connection: keep-alive, CLOSE", false),
            ("1.1", "Connection: x|Connection: Close", false),
            ("1.1", "Connection: ,, ,", true),
            ("1.7", "X: 1", true),
            ("1.0", "X: 1", false),
            ("1.0", "Connection: Keep-Alive", true),
            ("1.0", "Connection: keep-alive, close", false),
            ("1.0", "Proxy-Connection: keep-alive", false),
        ];
        for (version, fields, kept) in rows {
            let text = format!("GET / HTTP/{version}|Host: a|{fields}");
            assert_eq!(request(&text).map(|framing| framing.keep_alive), Ok(kept), "{text}");
            let text = format!("HTTP/{version} 200 OK|Content-Length: 1|{fields}");
            assert_eq!(answer(&text).map(|framing| framing.keep_alive), Ok(kept), "{text}");
        }
    }

    /// CVE-2026-105299, from the other side: nobody may nominate away what frames and routes a message.
    #[test]
    fn connection_does_not_name_what_belongs_to_the_message() {
        for option in ["Host", "content-length", "x, HOST", "close|Connection: Content-Length"] {
            assert_eq!(
                post(&format!("Content-Length: 5|Connection: {option}")),
                Err(Reason::BadConnection),
                "{option}"
            );
            let text = format!("HTTP/1.1 200 OK|Content-Length: 5|Connection: {option}");
            assert_eq!(answer(&text), Err(Reason::BadAnswer), "{option}");
        }
        let framing = post("Transfer-Encoding: chunked|Connection: Transfer-Encoding");
        assert_eq!(framing.map(|framing| framing.body), Ok(Body::Chunked));
        assert!(post(&format!("Connection: {}", "a,".repeat(32))).is_ok());
        assert_eq!(post(&format!("Connection: {}", "a,".repeat(33))), Err(Reason::BadConnection));
    }

    #[test]
    fn only_a_100_can_be_expected() {
        let body = "Content-Length: 5|";
        for (fields, expected) in [
            (format!("{body}Expect: 100-Continue"), Ok(true)),
            (body.to_owned() + "X: 1", Ok(false)),
            ("Expect: 100-continue".to_owned(), Ok(false)),
            ("Content-Length: 0|Expect: 100-continue".to_owned(), Ok(false)),
            (format!("{body}Expect: 100-continue, 100-continue"), Err(Reason::BadExpect)),
            (format!("{body}Expect: 100-continue|Expect: 100-continue"), Err(Reason::BadExpect)),
            (format!("{body}Expect: 100-continuex"), Err(Reason::BadExpect)),
            (format!("{body}Expect:"), Err(Reason::BadExpect)),
            ("Expect: 200-ok".to_owned(), Err(Reason::BadExpect)),
        ] {
            assert_eq!(post(&fields).map(|framing| framing.expects_continue), expected, "{fields}");
        }
        let old = request("POST / HTTP/1.0|Content-Length: 5|Expect: x");
        assert_eq!(old.map(|framing| framing.expects_continue), Ok(false));
    }

    #[test]
    fn only_harmless_protocols_can_be_asked_for() {
        let rows = [
            ("Upgrade: websocket|Connection: Upgrade", true),
            ("Upgrade: h2c, WebSocket/13|Connection: x, upgrade", true),
            ("Upgrade: websocket", false),
            ("Connection: upgrade", false),
            ("Upgrade: h2c|Connection: Upgrade, HTTP2-Settings|HTTP2-Settings: AA", false),
            ("Upgrade: H2C|Connection: upgrade", false),
            ("Upgrade: h2c/1|Connection: upgrade", false),
            ("Upgrade: HTTP/2.0, TLS/1.0|Connection: upgrade", false),
            ("Upgrade: web socket|Connection: upgrade", false),
            ("Upgrade: a/|Connection: upgrade", false),
            ("Upgrade: websocket|Connection: upgrade|Content-Length: 5", false),
            ("Upgrade: websocket|Connection: upgrade|Transfer-Encoding: chunked", false),
            ("Upgrade: websocket|Connection: upgrade|Content-Length: 0", true),
        ];
        for (fields, upgrade) in rows {
            assert_eq!(post(fields).map(|framing| framing.upgrade), Ok(upgrade), "{fields}");
        }
        let old = request("GET / HTTP/1.0|Upgrade: websocket|Connection: upgrade");
        assert_eq!(old.map(|framing| framing.upgrade), Ok(false));
    }

    #[test]
    fn the_last_hop_answers() {
        let rows = [
            ("OPTIONS *", "Max-Forwards: 0", Ok(Some(0))),
            ("OPTIONS /", "Max-Forwards: 00", Ok(Some(0))),
            ("TRACE /", "Max-Forwards: 7", Ok(Some(7))),
            ("TRACE /", "Max-Forwards: 0", Err(Reason::TraceNotAllowed)),
            ("TRACE /", "X: 1", Ok(None)),
            ("GET /", "Max-Forwards: 0", Ok(None)),
            ("GET /", "Max-Forwards: x", Ok(None)),
            ("OPTIONS /", "Max-Forwards: x", Err(Reason::BadField)),
            ("OPTIONS /", "Max-Forwards: -1", Err(Reason::BadField)),
            ("OPTIONS /", "Max-Forwards: 1|Max-Forwards: 1", Err(Reason::BadField)),
        ];
        for (line, field, forwards) in rows {
            let framing = request(&format!("{line} HTTP/1.1|Host: a|{field}"));
            assert_eq!(framing.map(|framing| framing.max_forwards), forwards, "{line} {field}");
            assert_eq!(framing.is_ok_and(|framing| framing.is_for_us()), forwards == Ok(Some(0)));
        }
    }

    #[test]
    fn trailers_are_wanted_where_te_says_so() {
        for (fields, wanted) in
            [("TE: trailers", true), ("TE: gzip;q=1, Trailers", true), ("TE: trailers;q=0", false), ("X: 1", false)]
        {
            assert_eq!(post(fields).map(|framing| framing.trailers), Ok(wanted), "{fields}");
        }
    }

    #[test]
    fn answers_have_the_body_that_their_request_and_status_allow() {
        let (get, head) = (Asked { head: false, upgrade: false }, Asked { head: true, upgrade: false });
        let rows = [
            (get, "1.1 200", "Content-Length: 5", Body::Length(5), true),
            (get, "1.1 200", "Transfer-Encoding: chunked", Body::Chunked, true),
            (get, "1.1 200", "X: 1", Body::UntilClose, false),
            (get, "1.0 200", "Connection: keep-alive", Body::UntilClose, false),
            (get, "1.0 200", "Connection: keep-alive|Content-Length: 5", Body::Length(5), true),
            (get, "1.1 204", "X: 1", Body::None, true),
            (get, "1.1 204", "Content-Length: 0", Body::None, true),
            (get, "1.1 204", "Content-Length: 5", Body::None, false),
            (get, "1.1 204", "Transfer-Encoding: chunked", Body::None, false),
            (get, "1.1 304", "Content-Length: 5", Body::None, true),
            (get, "1.1 304", "Transfer-Encoding: chunked", Body::None, true),
            (get, "1.1 205", "Content-Length: 0", Body::Length(0), true),
            (get, "1.1 103", "Content-Length: 5", Body::None, false),
            (get, "1.1 100", "X: 1", Body::None, true),
            (head, "1.1 200", "Content-Length: 5", Body::None, true),
            (head, "1.1 200", "Transfer-Encoding: chunked", Body::None, true),
            (head, "1.1 404", "X: 1", Body::None, true),
        ];
        for (asked, status, fields, body, kept) in rows {
            let framing = answer_to(asked, &format!("HTTP/{status} OK|{fields}")).unwrap();
            assert_eq!((framing.body, framing.keep_alive), (body, kept), "{status} {fields}");
            assert_eq!(framing.interim, status.contains(" 1"), "{status}");
        }
    }

    /// RUSTSEC-2026-0033 and CVE-2026-73548: bytes of another protocol only where it was asked for.
    #[test]
    fn a_101_is_an_answer_only_where_it_was_asked_for() {
        let (asked, not) = (Asked { head: false, upgrade: true }, Asked { head: false, upgrade: false });
        let good = "HTTP/1.1 101 Go|Upgrade: websocket|Connection: upgrade";
        let framing = answer_to(asked, good).unwrap();
        assert!(framing.switching && !framing.interim && !framing.keep_alive);
        assert_eq!(answer_to(not, good), Err(Reason::BadAnswer));
        for bad in [
            "HTTP/1.1 101 Go|Connection: upgrade",
            "HTTP/1.1 101 Go|Upgrade: websocket",
            "HTTP/1.1 101 Go|Upgrade: h2c|Connection: upgrade",
            "HTTP/1.0 101 Go|Upgrade: websocket|Connection: upgrade",
        ] {
            assert_eq!(answer_to(asked, bad), Err(Reason::BadAnswer), "{bad}");
        }
    }

    #[test]
    fn old_clients_get_bodies_without_chunks() {
        for (fields, new, old) in [
            ("Content-Length: 5", Body::Length(5), Body::Length(5)),
            ("Transfer-Encoding: chunked", Body::Chunked, Body::UntilClose),
            ("X: 1", Body::Chunked, Body::UntilClose),
        ] {
            let framing = answer(&format!("HTTP/1.1 200 OK|{fields}")).unwrap();
            assert_eq!((framing.for_client(1), framing.for_client(0)), (new, old), "{fields}");
        }
    }
}
