//! One HTTP answer as its bytes come in: is it whole, and what does it say? No I/O.

use httparse::{EMPTY_HEADER, Response, Status};

use super::expect::Heard;

/// Head and body together; what is longer is not read.
pub(super) const MOST_BYTES: usize = 64 * 1024;
const MOST_HEADERS: usize = 128;

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// All of it, or what is left of it once interim answers are gone.
    bytes: Vec<u8>,
    head: Option<Head>,
    /// The body as far as it has been taken out of its chunks.
    unchunked: Vec<u8>,
    /// Bytes taken, interim answers included.
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    framing: Framing,
    /// Where what has not been looked at begins: the body, or the next of its chunks.
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// An answer that has come to its end, or to that of what is read of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered<'a> {
    pub(super) status: u16,
    pub(super) body: Heard<'a>,
}

/// Why it is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    NotHttp,
    CutShort,
    LongHead,
}

impl Broken {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotHttp => "what it answers is not HTTP",
            Self::CutShort => "it closed the connection in the middle of its answer",
            Self::LongHead => "the head of its answer is longer than 64 KiB",
        }
    }
}

impl Reply {
    /// How many more bytes are read.
    pub(super) fn room(&self) -> usize {
        MOST_BYTES.saturating_sub(self.taken)
    }

    /// Nothing has come yet.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Takes what was read, and looks whether the answer is whole; no bytes are the end of the connection.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<Answered<'_>>, Broken> {
        self.bytes.extend_from_slice(bytes);
        self.taken += bytes.len();
        // A head ends with a line: without one in these bytes there is nothing new to see.
        if self.head.is_none() && bytes.contains(&b'\n') {
            self.head = self.parse_head()?;
        }
        let (closed, full) = (bytes.is_empty(), self.room() == 0);
        let Some(mut head) = self.head else {
            return match (closed, full) {
                (true, _) if self.bytes.is_empty() => Err(Broken::CutShort),
                (true, _) => Err(self.what_is_this()),
                (_, true) => Err(Broken::LongHead),
                _ => Ok(None),
            };
        };
        let whole = match head.framing {
            Framing::Length(length) => (self.bytes.len() - head.at) as u64 >= length,
            Framing::Chunked => self.unchunk(&mut head)?,
            Framing::UntilClose => closed,
        };
        self.head = Some(head);
        match (whole, closed, full) {
            (true, ..) => Ok(Some(Answered { status: head.status, body: Heard::Whole(self.body(head)) })),
            (_, true, _) => Err(Broken::CutShort),
            (_, _, true) => {
                self.take_half_a_chunk(head);
                Ok(Some(Answered { status: head.status, body: Heard::Part(self.body(head), MOST_BYTES / 1024) }))
            }
            _ => Ok(None),
        }
    }

    fn body(&self, head: Head) -> &[u8] {
        let rest = &self.bytes[head.at..];
        match head.framing {
            Framing::Chunked => &self.unchunked,
            Framing::Length(length) => &rest[..usize::try_from(length).unwrap_or(rest.len()).min(rest.len())],
            Framing::UntilClose => rest,
        }
    }

    /// Half a head is an answer cut short, unless it does not even begin like one.
    fn what_is_this(&self) -> Broken {
        let begin = &self.bytes[..self.bytes.len().min(5)];
        if b"HTTP/".starts_with(begin) { Broken::CutShort } else { Broken::NotHttp }
    }

    /// The head of the final answer, once it is there. Interim ones (100, 103) are passed over.
    fn parse_head(&mut self) -> Result<Option<Head>, Broken> {
        loop {
            let mut headers = [EMPTY_HEADER; MOST_HEADERS];
            let mut response = Response::new(&mut headers);
            let Status::Complete(at) = response.parse(&self.bytes).map_err(|_| Broken::NotHttp)? else {
                return Ok(None);
            };
            let status = response.code.ok_or(Broken::NotHttp)?;
            if (100..=199).contains(&status) && status != 101 {
                self.bytes.drain(..at);
                continue;
            }
            let framing = framing(status, response.headers)?;
            return Ok(Some(Head { status, framing, at }));
        }
    }

    /// Takes the chunks that are there; whether the last one is.
    fn unchunk(&mut self, head: &mut Head) -> Result<bool, Broken> {
        loop {
            let rest = &self.bytes[head.at..];
            let parsed = httparse::parse_chunk_size(rest).map_err(|_| Broken::NotHttp)?;
            let Status::Complete((begin, size)) = parsed else { return Ok(false) };
            if size == 0 {
                return Ok(true);
            }
            let end = usize::try_from(size).ok().and_then(|size| begin.checked_add(size));
            let Some((end, after)) = end.and_then(|end| Some((end, rest.get(end..end.checked_add(2)?)?))) else {
                return Ok(false);
            };
            if after != b"\r\n" {
                return Err(Broken::NotHttp);
            }
            self.unchunked.extend_from_slice(&rest[begin..end]);
            head.at += end + 2;
        }
    }

    /// What there is of a chunk that is not whole, where no more of it is read.
    fn take_half_a_chunk(&mut self, head: Head) {
        let rest = self.bytes.get(head.at..).filter(|_| head.framing == Framing::Chunked).unwrap_or_default();
        if let Ok(Status::Complete((begin, size))) = httparse::parse_chunk_size(rest) {
            let (there, size) = (rest.get(begin..).unwrap_or_default(), usize::try_from(size).unwrap_or(usize::MAX));
            self.unchunked.extend_from_slice(&there[..there.len().min(size)]);
        }
    }
}

/// Where the body ends (RFC 9112, section 6.3).
fn framing(status: u16, headers: &[httparse::Header<'_>]) -> Result<Framing, Broken> {
    if matches!(status, 101 | 204 | 304) {
        return Ok(Framing::Length(0));
    }
    let named = |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if let Some(coding) = named("transfer-encoding").next_back() {
        let last = coding.value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return Ok(if chunked { Framing::Chunked } else { Framing::UntilClose });
    }
    let mut lengths = named("content-length").map(|header| {
        let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).ok_or(Broken::NotHttp)
    });
    let Some(first) = lengths.next().transpose()? else { return Ok(Framing::UntilClose) };
    let agreed = lengths.all(|other| other == Ok(first));
    if agreed { Ok(Framing::Length(first)) } else { Err(Broken::NotHttp) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of these bytes, in pieces of this size, and the end of the connection.
    fn read(bytes: &[u8], piece: usize) -> Result<(u16, Option<Vec<u8>>), Broken> {
        let mut reply = Reply::default();
        for piece in bytes.chunks(piece).chain([&[][..]]) {
            let piece = &piece[..piece.len().min(reply.room())];
            if let Some(Answered { status, body }) = reply.take(piece)? {
                return Ok((status, if let Heard::Whole(body) = body { Some(body.to_vec()) } else { None }));
            }
        }
        panic!("an end is an end");
    }

    #[test]
    fn every_framing_is_understood_in_pieces_of_any_size() {
        let rows: [(&str, u16, &str); 9] = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nUP", 200, "UP"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nUPnothing", 200, "UP"),
            ("HTTP/1.0 200 OK\r\n\r\nUP", 200, "UP"),
            ("HTTP/1.1 200\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n1\r\nU\r\n1;x=y\r\nP\r\n0\r\n\r\n", 200, "UP"),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, ""),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 503, ""),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", 304, ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 200, "x"),
            ("HTTP/1.1 200 OK\n\nUP", 200, "UP"),
        ];
        for (text, status, body) in rows {
            for piece in 1..=text.len() {
                assert_eq!(read(text.as_bytes(), piece), Ok((status, Some(body.into()))), "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_whole_answer_is_refused() {
        let rows = [
            ("", Broken::CutShort),
            ("HT", Broken::CutShort),
            ("HTTP/1.1 200 OK\r\nContent-Le", Broken::CutShort),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nUP", Broken::CutShort),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nUP", Broken::CutShort),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nUPP\r\n0\r\n\r\n", Broken::NotHttp),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nUP", Broken::CutShort),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nUP", Broken::NotHttp),
            ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nUP", Broken::NotHttp),
            ("220 mail.example ESMTP", Broken::NotHttp),
            ("220 mail.example ESMTP\r\n", Broken::NotHttp),
        ];
        for (text, why) in rows {
            for piece in 1..=text.len().max(1) {
                assert_eq!(read(text.as_bytes(), piece), Err(why), "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn not_more_than_the_most_is_read() {
        let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        long.resize(2 * MOST_BYTES, b'x');
        assert_eq!(read(&long, 1000), Ok((200, None)));
        let mut head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        head.resize(2 * MOST_BYTES, b'x');
        assert_eq!(read(&head, 1000), Err(Broken::LongHead));
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MOST_BYTES / 25 + 1);
        assert_eq!(read(&interim, 1000), Err(Broken::LongHead));
    }

    #[test]
    fn of_a_chunk_that_is_too_long_there_is_the_beginning() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nfffff\r\n".to_vec();
        bytes.resize(MOST_BYTES, b'x');
        let mut reply = Reply::default();
        let Ok(Some(Answered { body: Heard::Part(body, 64), .. })) = reply.take(&bytes) else { panic!("it is long") };
        assert!(body.starts_with(b"abcxxx") && body.len() > MOST_BYTES - 100, "{}", body.len());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(begin in "HTTP/1.1 [12345]00 .\r\n|", lines in prop::collection::vec(
            "Content-Length: [0-9]{0,21}|Transfer-Encoding: chunked|[a-f0-9]{0,17}|.{0,9}|", 0..9), piece in 1..99_usize) {
            let _ = read((begin + &lines.join("\r\n")).as_bytes(), piece);
        }
    }
}
