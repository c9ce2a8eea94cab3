//! The head of a message, parsed where it lies.
//!
//! httparse does the work. What it takes although RFC 9112 does not, is refused here: lines that end with a lone LF, more than
//! one empty line in front, bytes beyond ASCII and `#` in targets, status codes that are none. What it refuses although
//! section 2.3 of RFC 9110 wants it taken, is taken: minor versions above 1.

use std::str::from_utf8;

use httparse::{EMPTY_HEADER, Error, Header, ParserConfig, Request, Response, Status};

use super::{
    field::{FieldRoom, Fields, Known, MOST_FIELDS},
    host::is_host,
    refusal::Reason,
};
use crate::field_text::is_token;

/// How large heads may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    /// At most [`MOST_FIELDS`].
    pub(crate) fields: usize,
}

impl HeadLimits {
    /// Whether a head of which `seen` bytes were not enough is worth another look. As heads end with a line, one that comes in
    /// single bytes is not parsed for each.
    pub(crate) fn worth_parsing(&self, buffer: &[u8], seen: usize) -> bool {
        seen == 0 || buffer.len() >= self.bytes || buffer.get(seen..).is_some_and(|news| news.contains(&b'\n'))
    }

    fn most(&self) -> usize {
        self.fields.min(MOST_FIELDS)
    }
}

/// The head of a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'h, 'b> {
    pub(crate) method: &'b str,
    /// As it came.
    pub(crate) target: &'b str,
    /// The host, where the target says it.
    pub(crate) authority: Option<&'b str>,
    /// The target without scheme and host: `*`, or a path and query, where the path may be missing.
    pub(crate) path: &'b str,
    /// Of the version: 0, or 1 for 1.1 and above.
    pub(crate) minor: u8,
    pub(crate) fields: Fields<'h, 'b>,
    /// Length of the head in the buffer, with the empty line in front of it.
    pub(crate) bytes: usize,
}

/// The head of an answer.
#[derive(Clone, Copy)]
pub(crate) struct AnswerHead<'h, 'b> {
    pub(crate) status: u16,
    pub(crate) reason: &'b str,
    pub(crate) minor: u8,
    pub(crate) fields: Fields<'h, 'b>,
    pub(crate) bytes: usize,
}

/// First line, fields and length of a head, as far as it is there.
type Parsed<'h, 'b, T> = Option<(T, &'h [Header<'b>], usize)>;

impl<'h, 'b> RequestHead<'h, 'b> {
    /// `None`: more bytes are needed. One empty line in front is ignored (RFC 9112 section 2.2).
    pub(crate) fn parse(
        buffer: &'b [u8],
        room: &'h mut FieldRoom<'b>,
        limits: &HeadLimits,
    ) -> Result<Option<Self>, Reason> {
        let (skipped, begin) = match buffer {
            [b'\r', b'\n', rest @ ..] => (2, rest),
            _ => (0, buffer),
        };
        if matches!(begin, [b'\n', ..] | [b'\r', _, ..]) || (skipped > 0 && begin == b"\r") {
            return Err(Reason::BadRequestLine);
        }
        let FieldRoom { parsed, spare, known } = room;
        let mut request = Request::new(&mut []);
        let found = match request.parse_with_uninit_headers(begin, &mut parsed[..limits.most()]) {
            Ok(Status::Complete(bytes)) => {
                let line = request.method.zip(request.path).zip(request.version);
                line.map(|((method, target), minor)| ((method, target, minor), &*request.headers, bytes))
            }
            Ok(Status::Partial) => None,
            Err(Error::Version) => Self::parse_newer(begin, spare, limits)?,
            Err(error) => return Err(why(error, begin)),
        };
        let Some(((method, target, minor), headers, bytes)) = found else { return unfinished(buffer, limits) };
        let bytes = bytes + skipped;
        if bytes > limits.bytes {
            return Err(too_large(buffer, limits));
        }
        let head = &buffer[skipped..bytes];
        let fields = Fields::new(headers, known, head).ok_or(Reason::BadLineEnd)?;
        let (authority, path) = judge_target(method, target)?;
        Ok(Some(Self { method, target, authority, path, minor, fields, bytes }))
    }

    /// HTTP/1.2 and so on, which is HTTP/1.1 for us.
    #[cold]
    fn parse_newer(
        begin: &'b [u8],
        spare: &'h mut Vec<Header<'b>>,
        limits: &HeadLimits,
    ) -> Result<Parsed<'h, 'b, (&'b str, &'b str, u8)>, Reason> {
        let Some(end) = begin.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let (method, target) = request_line(&begin[..end])?;
        let fields = parse_fields(&begin[end + 1..], spare, limits).map_err(|error| why(error, begin))?;
        Ok(fields.map(|(headers, bytes)| ((method, target, 1), headers, end + 1 + bytes)))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The host that the request is for, as the client wrote it (RFC 9112 section 3.3).
    pub(crate) fn host(&self) -> Option<&'b [u8]> {
        self.authority.map(str::as_bytes).or_else(|| self.fields.get(Known::Host))
    }
}

impl<'h, 'b> AnswerHead<'h, 'b> {
    /// `None`: more bytes are needed. The reason is [`Reason::BadAnswer`] or [`Reason::AnswerTooLarge`].
    pub(crate) fn parse(
        buffer: &'b [u8],
        room: &'h mut FieldRoom<'b>,
        limits: &HeadLimits,
    ) -> Result<Option<Self>, Reason> {
        if matches!(buffer, [b'\r' | b'\n', ..]) {
            return Err(Reason::BadAnswer);
        }
        let FieldRoom { parsed, spare, known } = room;
        let mut response = Response::new(&mut []);
        let config = ParserConfig::default();
        let room = &mut parsed[..limits.most()];
        let found = match config.parse_response_with_uninit_headers(&mut response, buffer, room) {
            Ok(Status::Complete(bytes)) => {
                let line = response.code.zip(response.reason).zip(response.version);
                line.map(|((status, reason), minor)| ((status, reason, minor), &*response.headers, bytes))
            }
            Ok(Status::Partial) => None,
            Err(Error::Version) => Self::parse_newer(buffer, spare, limits)?,
            Err(Error::TooManyHeaders) => return Err(Reason::AnswerTooLarge),
            Err(_) => return Err(Reason::BadAnswer),
        };
        let Some(((status, reason, minor), headers, bytes)) = found else {
            return unfinished(buffer, limits).map_err(|_| Reason::AnswerTooLarge);
        };
        if bytes > limits.bytes {
            return Err(Reason::AnswerTooLarge);
        }
        let fields = Fields::new(headers, known, &buffer[..bytes]).ok_or(Reason::BadAnswer)?;
        if !(100..=599).contains(&status) {
            return Err(Reason::BadAnswer);
        }
        Ok(Some(Self { status, reason, minor, fields, bytes }))
    }

    #[cold]
    fn parse_newer(
        buffer: &'b [u8],
        spare: &'h mut Vec<Header<'b>>,
        limits: &HeadLimits,
    ) -> Result<Parsed<'h, 'b, (u16, &'b str, u8)>, Reason> {
        // Whatever begins in another way does not become HTTP by waiting.
        if !b"HTTP/1.".iter().zip(buffer).all(|(expected, byte)| expected == byte) {
            return Err(Reason::BadAnswer);
        }
        let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let (status, reason) = status_line(&buffer[..end]).ok_or(Reason::BadAnswer)?;
        let fields = parse_fields(&buffer[end + 1..], spare, limits).map_err(|error| match error {
            Error::TooManyHeaders => Reason::AnswerTooLarge,
            _ => Reason::BadAnswer,
        })?;
        Ok(fields.map(|(headers, bytes)| ((status, reason, 1), headers, end + 1 + bytes)))
    }
}

/// Fields alone, and their length with the empty line behind them.
fn parse_fields<'h, 'b>(
    bytes: &'b [u8],
    spare: &'h mut Vec<Header<'b>>,
    limits: &HeadLimits,
) -> Result<Option<(&'h [Header<'b>], usize)>, Error> {
    spare.clear();
    spare.resize(limits.most(), EMPTY_HEADER);
    match httparse::parse_headers(bytes, spare)? {
        Status::Complete((bytes, headers)) => Ok(Some((headers, bytes))),
        Status::Partial => Ok(None),
    }
}

/// More is to come, unless it is too much already.
fn unfinished<T>(buffer: &[u8], limits: &HeadLimits) -> Result<Option<T>, Reason> {
    if buffer.len() < limits.bytes {
        return Ok(None);
    }
    Err(too_large(buffer, limits))
}

/// What is too much of it.
#[cold]
fn too_large(buffer: &[u8], limits: &HeadLimits) -> Reason {
    let allowed = buffer.get(..limits.bytes).unwrap_or(buffer);
    let skipped = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
    let has_line = allowed.get(skipped..).is_some_and(|rest| rest.contains(&b'\n'));
    if has_line { Reason::HeadTooLarge } else { Reason::TargetTooLong }
}

/// What the parser does not like.
#[cold]
fn why(error: Error, begin: &[u8]) -> Reason {
    match error {
        Error::TooManyHeaders => Reason::HeadTooLarge,
        Error::HeaderName | Error::HeaderValue => Reason::BadField,
        _ => {
            let end = begin.iter().position(|byte| *byte == b'\n').unwrap_or(begin.len());
            request_line(&begin[..end]).err().unwrap_or(Reason::BadLineEnd)
        }
    }
}

/// Method and target of a request line of any minor version, without its LF; why it is none.
fn request_line(line: &[u8]) -> Result<(&str, &str), Reason> {
    let space = |byte: &u8| *byte == b' ';
    let mut words = line.splitn(2, space);
    let (method, rest) = words.next().zip(words.next()).ok_or(Reason::BadRequestLine)?;
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(Reason::BadMethod);
    }
    let mut words = rest.rsplitn(2, space);
    let (version, target) = words.next().zip(words.next()).ok_or(Reason::BadRequestLine)?;
    let ended = version.strip_suffix(b"\r");
    match ended.unwrap_or(version) {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Reason::BadVersion);
        }
        _ => return Err(Reason::BadRequestLine),
    }
    let graphic = !target.is_empty() && target.iter().all(u8::is_ascii_graphic);
    let target = from_utf8(target).ok().filter(|_| graphic).ok_or(Reason::BadTarget)?;
    let method = from_utf8(method).map_err(|_| Reason::BadMethod)?;
    if ended.is_some() { Ok((method, target)) } else { Err(Reason::BadLineEnd) }
}

/// Status and reason of a status line of HTTP/1.x, without its LF.
fn status_line(line: &[u8]) -> Option<(u16, &str)> {
    let line = from_utf8(line.strip_prefix(b"HTTP/1.")?.strip_suffix(b"\r")?).ok()?;
    let (minor, rest) = line.split_once(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let digits = |text: &str, most| text.len() == most && text.bytes().all(|byte| byte.is_ascii_digit());
    let printable = reason.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    (digits(minor, 1) && digits(status, 3) && printable).then(|| Some((status.parse().ok()?, reason)))?
}

/// Host and path of a target (RFC 9112 section 3.2).
fn judge_target<'b>(method: &str, target: &'b str) -> Result<(Option<&'b str>, &'b str), Reason> {
    if method == "CONNECT" {
        return Err(Reason::ConnectNotAllowed);
    }
    if !target.is_ascii() || target.as_bytes().contains(&b'#') {
        return Err(Reason::BadTarget);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Reason::BadTarget)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !known || !is_host(authority.as_bytes()) {
        return Err(Reason::BadTarget);
    }
    let path = if path.is_empty() && method == "OPTIONS" { "*" } else { path };
    Ok((Some(authority), path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 9 };

    /// Method, host, path, minor version, length, and fields.
    type Seen = (String, Option<String>, String, u8, usize, Vec<(String, Vec<u8>)>);

    fn request(bytes: &[u8]) -> Result<Option<Seen>, Reason> {
        let mut room = FieldRoom::new();
        let head = RequestHead::parse(bytes, &mut room, &LIMITS)?;
        Ok(head.map(|head| {
            let fields = head.fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
            let host = head.authority.map(str::to_owned);
            (head.method.to_owned(), host, head.path.to_owned(), head.minor, head.bytes, fields)
        }))
    }

    fn answer(bytes: &[u8]) -> Result<Option<(u16, String, u8, usize)>, Reason> {
        let mut room = FieldRoom::new();
        let head = AnswerHead::parse(bytes, &mut room, &LIMITS)?;
        Ok(head.map(|head| (head.status, head.reason.to_owned(), head.minor, head.bytes)))
    }

    #[test]
    fn a_head_is_found_where_it_ends_and_not_before() {
        for first in ["GET / HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/1.7", "\r\nGET / HTTP/1.1"] {
            let head = format!("{first}\r\nHost: \ta \t\r\nX:\r\ny:1,\t2 \u{e4}\r\n\r\n");
            let text = format!("{head}GET");
            for end in 0..head.len() {
                assert_eq!(request(&text.as_bytes()[..end]), Ok(None), "{:?}", &text.as_bytes()[..end]);
            }
            let fields = [("Host", "a"), ("X", ""), ("y", "1,\t2 \u{e4}")];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
            let minor = u8::from(!first.ends_with('0'));
            assert_eq!(request(text.as_bytes()), Ok(Some(("GET".into(), None, "/".into(), minor, head.len(), fields))));
        }
    }

    #[test]
    fn what_is_no_request_line_is_refused_with_its_reason() {
        use Reason::*;
        let rows: [(&str, Reason); 37] = [
            ("GET", BadRequestLine),
            ("GET /", BadRequestLine),
            ("GET / ", BadRequestLine),
            ("GET / HTTP/1.1 ", BadRequestLine),
            ("GET / HTTP/1.1\r", BadRequestLine),
            ("GET / http/1.1", BadRequestLine),
            ("GET / HTTP/1.", BadRequestLine),
            ("GET / HTTP/1.10", BadRequestLine),
            ("GET / HTTP/1.1x", BadRequestLine),
            ("GET / HTTP/1,1", BadRequestLine),
            ("GET / HTTP/11.1", BadRequestLine),
            ("GET / HTTP /1.1", BadRequestLine),
            ("GET / HTTP/2.0", BadVersion),
            ("GET / HTTP/0.9", BadVersion),
            ("PRI * HTTP/2.0", BadVersion),
            (" GET / HTTP/1.1", BadMethod),
            ("G\u{c4}T / HTTP/1.1", BadMethod),
            ("GET\t/ HTTP/1.1", BadMethod),
            ("G(T / HTTP/1.1", BadMethod),
            ("\u{16}\u{3}\u{1} / HTTP/1.1", BadMethod),
            ("GET  / HTTP/1.1", BadTarget),
            ("GET /  HTTP/1.1", BadTarget),
            ("GET /a b HTTP/1.1", BadTarget),
            ("GET /a\tb HTTP/1.1", BadTarget),
            ("GET /\u{0}b HTTP/1.1", BadTarget),
            ("GET /\u{e4} HTTP/1.1", BadTarget),
            ("GET /\u{7f} HTTP/1.1", BadTarget),
            ("GET /a#b HTTP/1.1", BadTarget),
            ("GET a HTTP/1.1", BadTarget),
            ("GET a:80 HTTP/1.1", BadTarget),
            ("GET * HTTP/1.1", BadTarget),
            ("GET ?a HTTP/1.1", BadTarget),
            ("GET ftp://a/ HTTP/1.1", BadTarget),
            ("GET http:/a HTTP/1.1", BadTarget),
            ("GET http://u@a/ HTTP/1.1", BadTarget),
            ("GET http:///a HTTP/1.1", BadTarget),
            ("CONNECT a:80 HTTP/1.1", ConnectNotAllowed),
        ];
        for (line, reason) in rows {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(request(head.as_bytes()), Err(reason), "{line:?}");
        }
    }

    #[test]
    fn targets_are_split_into_host_and_path() {
        let rows = [
            ("GET /a?b=http://c HTTP/1.1", None, "/a?b=http://c"),
            ("GET //a HTTP/1.1", None, "//a"),
            ("OPTIONS * HTTP/1.1", None, "*"),
            ("GET http://a:80/b HTTP/1.1", Some("a:80"), "/b"),
            ("GET HTTPS://a HTTP/1.1", Some("a"), ""),
            ("GET http://a?b HTTP/1.1", Some("a"), "?b"),
            ("OPTIONS http://[::1]:8 HTTP/1.1", Some("[::1]:8"), "*"),
            ("get /{}|\"<>\\^` HTTP/1.1", None, "/{}|\"<>\\^`"),
        ];
        for (line, host, path) in rows {
            let seen = request(format!("{line}\r\n\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!((seen.1.as_deref(), seen.2.as_str()), (host, path), "{line}");
        }
    }

    #[test]
    fn what_is_no_line_of_a_field_is_refused() {
        let rows = [
            "X : 1",
            "X\t: 1",
            " X: 1",
            "\tX: 1",
            "X: 1\r\n 2",
            "X: 1\r\n\t2",
            ": 1",
            "X",
            "X Y: 1",
            "X(: 1",
            "X\u{e4}: 1",
            "X\0: 1",
            "X: a\0b",
            "X: a\rb",
            "X: a\r\rb",
            "X: a\u{7f}",
            "X: a\u{b}b",
            "X: \u{1b}",
            "\0",
            "X;: 1",
            "\"X\": 1",
            "@: 1",
        ];
        for line in rows {
            for first in ["GET / HTTP/1.1", "GET / HTTP/1.2"] {
                let head = format!("{first}\r\n{line}\r\nHost: a\r\n\r\n");
                assert_eq!(request(head.as_bytes()), Err(Reason::BadField), "{head:?}");
                let head = format!("{first}\r\nHost: a\r\n{line}\r\n\r\n");
                assert_eq!(request(head.as_bytes()), Err(Reason::BadField), "{head:?}");
            }
            for first in ["HTTP/1.1 200 OK", "HTTP/1.2 200 OK"] {
                let head = format!("{first}\r\n{line}\r\nA: a\r\n\r\n");
                assert_eq!(answer(head.as_bytes()), Err(Reason::BadAnswer), "{head:?}");
            }
        }
    }

    #[test]
    fn lines_end_with_cr_lf_only() {
        for (first, version) in
            [("GET / HTTP/1.1", true), ("GET / HTTP/1.2", true), ("HTTP/1.1 200 OK", false), ("HTTP/1.2 200 OK", false)]
        {
            let ends = [
                ["\n", "\r\n", "\r\n"],
                ["\r\n", "\n", "\r\n"],
                ["\r\n", "\r\n", "\n"],
                ["\r\n", "\r\n", "\r"],
                ["\r", "\r\n", "\r\n"],
            ];
            for [one, two, three] in ends {
                for field in ["", "X: 1", "X:"] {
                    let two = if field.is_empty() { "" } else { two };
                    if [one, two, three].iter().all(|end| end.is_empty() || *end == "\r\n") {
                        continue;
                    }
                    let head = format!("{first}{one}{field}{two}{three}xxx");
                    match version {
                        true => assert!(request(head.as_bytes()).is_err(), "{head:?}"),
                        false => assert_eq!(answer(head.as_bytes()), Err(Reason::BadAnswer), "{head:?}"),
                    }
                }
            }
        }
        assert_eq!(request(b"GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Reason::BadLineEnd));
    }

    #[test]
    fn one_empty_line_is_ignored_in_front_of_a_request_and_nothing_else() {
        for begin in ["\r\n\r\n", "\n", "\r\n\n", "\r\r\n", "\r\n\r", "\rG", "\r\n \r\n"] {
            assert!(request(format!("{begin}GET / HTTP/1.1\r\n\r\n").as_bytes()).is_err(), "{begin:?}");
        }
        assert!(request(b"\r\nGET / HTTP/1.1\r\n\r\n").is_ok_and(|seen| seen.is_some_and(|seen| seen.4 == 20)));
        for begin in ["\r\n", "\n", " ", "\0"] {
            assert_eq!(
                answer(format!("{begin}HTTP/1.1 200 OK\r\n\r\n").as_bytes()),
                Err(Reason::BadAnswer),
                "{begin:?}"
            );
        }
    }

    #[test]
    fn heads_have_limits() {
        let long = |bytes: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(bytes - 18));
        assert!(request(long(4096).as_bytes()).is_ok_and(|seen| seen.is_some()));
        assert_eq!(request(long(4097).as_bytes()), Err(Reason::HeadTooLarge));
        assert_eq!(request(&long(9999).as_bytes()[..4095]), Ok(None));
        assert_eq!(request(&long(9999).as_bytes()[..4096]), Err(Reason::TargetTooLong));
        let lines = |first: &str, count| format!("{first}\r\n{}\r\n", "X: 1\r\n".repeat(count));
        for first in ["GET / HTTP/1.1", "GET / HTTP/1.2"] {
            assert!(request(lines(first, 9).as_bytes()).is_ok_and(|seen| seen.is_some()));
            assert_eq!(request(lines(first, 10).as_bytes()), Err(Reason::HeadTooLarge));
        }
        for first in ["HTTP/1.1 200 OK", "HTTP/1.2 200 OK"] {
            assert!(answer(lines(first, 9).as_bytes()).is_ok_and(|seen| seen.is_some()));
            assert_eq!(answer(lines(first, 10).as_bytes()), Err(Reason::AnswerTooLarge));
        }
        let field = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(4096));
        assert_eq!(answer(field.as_bytes()), Err(Reason::AnswerTooLarge));
    }

    #[test]
    fn a_head_in_single_bytes_is_parsed_once_a_line() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let looks = (1..=head.len()).filter(|end| LIMITS.worth_parsing(&head[..*end], end - 1)).count();
        assert_eq!(looks, 4);
        assert!(LIMITS.worth_parsing(&[b'a'; 4096], 4095));
    }

    #[test]
    fn status_lines_are_a_version_and_a_number() {
        let rows = [
            ("HTTP/1.1 200 OK", 200, "OK", 1),
            ("HTTP/1.0 404 Not\tFound", 404, "Not\tFound", 0),
            ("HTTP/1.1 599 ", 599, "", 1),
            ("HTTP/1.1 100", 100, "", 1),
            ("HTTP/1.9 204 None", 204, "None", 1),
            ("HTTP/1.9 204", 204, "", 1),
        ];
        for (line, status, reason, minor) in rows {
            let head = format!("{line}\r\n\r\n");
            assert_eq!(answer(head.as_bytes()), Ok(Some((status, reason.to_owned(), minor, head.len()))), "{line}");
            for end in 0..head.len() {
                assert_eq!(answer(&head.as_bytes()[..end]), Ok(None), "{line} to {end}");
            }
        }
        let rows = [
            "HTTP/1.1 099 A",
            "HTTP/1.1 600 A",
            "HTTP/1.1 999 A",
            "HTTP/1.1 000 A",
            "HTTP/1.1 20 A",
            "HTTP/1.1 2000 A",
            "HTTP/1.1 -20 A",
            "HTTP/1.1  200 A",
            "HTTP/1.1\t200 A",
            "HTTP/1.1 200\tA",
            "HTTP/1.1 2x0 A",
            "HTTP/2.0 200 A",
            "HTTP/2 200",
            "HTTP/0.9 200 A",
            "http/1.1 200 A",
            "HTTP/1.1 200 \0",
            "HTTP/1.1 200 A\rB",
            "HTTP/1.11 200 A",
            "HTTP/1. 200 A",
            "ICY 200 A",
            "<html>",
            "",
            "HTTP",
            "HTTP/1.9 20 A",
            "HTTP/1.9 600 A",
            "HTTP/1.9  200 A",
            "HTTP/1.9 200 \u{1}",
            "220 mail ESMTP",
        ];
        for line in rows {
            assert_eq!(answer(format!("{line}\r\nX: 1\r\n\r\n").as_bytes()), Err(Reason::BadAnswer), "{line:?}");
        }
    }

    #[test]
    fn fields_in_disguise_are_known() {
        let rows = [
            ("HOST", Known::Host),
            ("x-forwarded-Host", Known::XForwardedHost),
            ("X-Forwarded-porT", Known::XForwardedPort),
            ("X_Forwarded_For", Known::Disguised),
            ("transfer_encoding", Known::Disguised),
            ("Content-Length-", Known::Other),
            ("X-Forwarded-Most", Known::Other),
            ("", Known::Other),
        ];
        for (name, known) in rows {
            assert_eq!(Known::of(name), known, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(begin in "(GET / HTTP/1.[0-9]|HTTP/1.[0-9] 200 OK|)", rest in prop::collection::vec(any::<u8>(), 0..99)) {
            let bytes = [begin.as_bytes(), &rest].concat();
            let _ = (request(&bytes), answer(&bytes));
        }
    }
}
