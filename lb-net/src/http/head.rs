//! The head of a message, parsed where it lies.
//!
//! httparse does the work. What it takes although RFC 9112 does not, is refused here: lines that end with a lone LF, more than
//! one empty line in front, bytes beyond ASCII and `#` in targets, status codes that are none. What it refuses although
//! section 2.3 of RFC 9110 wants it taken, is taken: minor versions above 1.

use std::str::from_utf8;

use httparse::{EMPTY_HEADER, Error, Header, ParserConfig, Request, Response, Status};

use super::{
    edit::is_token,
    field::{FieldRoom, Fields, Known, MOST_FIELDS},
    host::is_host,
    refusal::Reason,
};

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
            return Err(Reason::HeadTooLarge);
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
    Err(if buffer.contains(&b'\n') { Reason::HeadTooLarge } else { Reason::TargetTooLong })
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
