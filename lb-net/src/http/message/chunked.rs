//! Chunked bodies (RFC 9112 section 7.1), read strictly.
//!
//! A chunk's size is hexadecimal digits, 16 at most, up to 2^63-1; lines end with CR LF and with nothing else. Extensions are
//! passed over, 256 bytes for each chunk; they are printable, so that none can look like a line end to whoever reads them
//! less strictly (CVE-2025-55315). Trailers are fields as in a head, 32 and 8 KiB at most. Those that frame or route a
//! message, say who asks or how a body is to be understood are dropped, the others are offered to be passed on.

use std::ops::Range;

use crate::field_text::is_token;

/// Digits of a chunk's size.
const MOST_DIGITS: u32 = 16;
/// Bytes of extensions of one chunk.
const MOST_EXTENSION: u32 = 256;
/// Bytes of all trailers.
const MOST_TRAILER: u32 = 8 * 1024;
/// Trailers.
const MOST_TRAILERS: u32 = 32;

/// Chunks that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// What came of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// So many bytes of the input belong to the body; less than all only when it is done.
    pub(crate) consumed: usize,
    /// Where its data is now in the input.
    pub(crate) data: Range<usize>,
    /// The body is at its end.
    pub(crate) done: bool,
}

/// Reads a chunked body that comes in pieces of any size.
#[derive(Clone, Debug)]
pub(crate) struct ChunkReader {
    state: State,
    /// Of the chunk: its size as far as it is read, then what is missing of its data.
    left: u64,
    /// Digits, bytes of extensions or bytes of trailers so far.
    seen: u32,
    trailers: u32,
    /// Where in the caller's buffer the trailer begins that is being read.
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// White space behind the size, which only an extension may follow.
    Space,
    Extension,
    /// The LF of a size's line.
    SizeEnd,
    Data,
    /// CR and LF behind the data.
    DataCr,
    DataLf,
    /// At the begin of a line behind the last chunk.
    Trailer,
    Name,
    /// White space in front of a value.
    Gap,
    Value,
    /// The LF of a trailer's line.
    ValueEnd,
    /// The LF of the last line.
    End,
    Done,
}

impl ChunkReader {
    pub(crate) fn new() -> Self {
        Self { state: State::Size, left: 0, seen: 0, trailers: 0, line: 0 }
    }

    /// Takes the next bytes. Data is moved together in `input`; trailers that may be passed on are appended to `trailers` as
    /// lines, which has to be the same buffer for the whole body, and whole once it is done.
    ///
    /// # Errors
    /// When these are no chunks; the reader is of no use then.
    pub(crate) fn read(&mut self, input: &mut [u8], trailers: &mut Vec<u8>) -> Result<Progress, BadChunk> {
        let (mut at, mut data) = (0, 0..0);
        while self.state != State::Done {
            if self.state == State::Data {
                let begin = at;
                at += usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                gather(input, &mut data, begin..at);
                self.left -= (at - begin) as u64;
                if self.left > 0 {
                    break;
                }
                self.state = State::DataCr;
            }
            let Some(byte) = input.get(at) else { break };
            self.state = self.step(*byte, trailers)?;
            at += 1;
        }
        Ok(Progress { consumed: at, data, done: self.state == State::Done })
    }

    /// One byte that is no data.
    fn step(&mut self, byte: u8, trailers: &mut Vec<u8>) -> Result<State, BadChunk> {
        match (self.state, byte) {
            (State::Size, _) => self.size(byte),
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Space, b' ' | b'\t') => self.extension(State::Space),
            (State::Space, b';') => self.extension(State::Extension),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension(State::Extension),
            (State::SizeEnd, b'\n') => Ok(self.begin()),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                (self.left, self.seen) = (0, 0);
                Ok(State::Size)
            }
            (State::Trailer | State::Name | State::Gap | State::Value | State::ValueEnd, _) => {
                self.trailer(byte, trailers)
            }
            (State::End, b'\n') => Ok(State::Done),
            _ => Err(BadChunk),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, BadChunk> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            self.seen += 1;
            self.left = self.left << 4 | u64::from(digit);
            let fits = self.seen <= MOST_DIGITS && i64::try_from(self.left).is_ok();
            return if fits { Ok(State::Size) } else { Err(BadChunk) };
        }
        let next = match byte {
            _ if self.seen == 0 => return Err(BadChunk),
            b'\r' => State::SizeEnd,
            b';' => State::Extension,
            b' ' | b'\t' => State::Space,
            _ => return Err(BadChunk),
        };
        self.seen = 0;
        Ok(next)
    }

    fn extension(&mut self, next: State) -> Result<State, BadChunk> {
        self.seen += 1;
        if self.seen > MOST_EXTENSION { Err(BadChunk) } else { Ok(next) }
    }

    /// Behind the line of a size.
    fn begin(&mut self) -> State {
        self.seen = 0;
        if self.left > 0 { State::Data } else { State::Trailer }
    }

    /// One byte of the lines behind the last chunk. What is written is normal: no white space around values but one space.
    fn trailer(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<State, BadChunk> {
        self.seen += 1;
        if self.seen > MOST_TRAILER {
            return Err(BadChunk);
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::End),
            (State::Trailer, _) if is_token(byte) && self.trailers < MOST_TRAILERS => {
                self.trailers += 1;
                self.line = out.len();
                out.push(byte);
                Ok(State::Name)
            }
            (State::Name, b':') => {
                out.extend_from_slice(b": ");
                Ok(State::Gap)
            }
            (State::Name, _) if is_token(byte) => {
                out.push(byte);
                Ok(State::Name)
            }
            (State::Gap, b' ' | b'\t') => Ok(State::Gap),
            (State::Gap | State::Value, b'\r') => Ok(State::ValueEnd),
            (State::Gap | State::Value, b'\t' | b' '..=b'~' | 0x80..) => {
                out.push(byte);
                Ok(State::Value)
            }
            (State::ValueEnd, b'\n') => {
                self.end_line(out);
                Ok(State::Trailer)
            }
            _ => Err(BadChunk),
        }
    }

    /// A trailer is whole: it stays, or is dropped.
    fn end_line(&self, out: &mut Vec<u8>) {
        let line = out.get(self.line..).unwrap_or_default();
        let name = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        if line.get(..name).is_none_or(is_forbidden) {
            out.truncate(self.line);
            return;
        }
        let value = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
        // One space stays behind the colon, as in every field that we write.
        out.truncate(self.line + value.max(name + 2));
        out.extend_from_slice(b"\r\n");
    }
}

/// Data is put behind the data before it.
fn gather(input: &mut [u8], data: &mut Range<usize>, news: Range<usize>) {
    if data.start == data.end {
        *data = news;
    } else {
        let bytes = news.len();
        input.copy_within(news, data.end);
        data.end += bytes;
    }
}

/// Fields that are for the head only (RFC 9110 section 6.5.1), also with `_` for `-`.
fn is_forbidden(name: &[u8]) -> bool {
    let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let is = |part: &[u8], other: &&str| part.iter().map(dashed).eq(other.bytes());
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|begin| is(begin, prefix));
    FORBIDDEN_BEGINS.iter().any(begins) || FORBIDDEN.iter().any(|other| is(name, other))
}

const FORBIDDEN_BEGINS: &[&str] = &["access-control-", "content-", "if-", "lb-", "proxy-", "sec-", "x-forwarded-"];

const FORBIDDEN: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "proxy",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];

/// The line in front of a chunk of so many bytes; of none, that of the last chunk.
pub(crate) fn chunk_head(bytes: usize, room: &mut [u8; 18]) -> &[u8] {
    let digits = (usize::BITS - bytes.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut rest = bytes;
    for place in room.iter_mut().take(digits).rev() {
        *place = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    for (place, byte) in room.iter_mut().skip(digits).zip(*b"\r\n") {
        *place = byte;
    }
    room.get(..digits + 2).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data, trailers, and how many bytes are behind them.
    pub(in super::super) type Whole = (Vec<u8>, Vec<u8>, usize);

    /// What a body is that comes in pieces of this size; `Ok(None)` when it is not at its end.
    pub(in super::super) fn read(bytes: &[u8], piece: usize) -> Result<Option<Whole>, BadChunk> {
        let (mut reader, mut data, mut trailers, mut consumed) = (ChunkReader::new(), Vec::new(), Vec::new(), 0);
        for piece in bytes.chunks(piece.max(1)) {
            let mut piece = piece.to_vec();
            let progress = reader.read(&mut piece, &mut trailers)?;
            data.extend_from_slice(&piece[progress.data]);
            consumed += progress.consumed;
            if progress.done {
                return Ok(Some((data, trailers, bytes.len() - consumed)));
            }
            assert_eq!(progress.consumed, piece.len(), "all is taken until the end");
        }
        Ok(None)
    }

    #[test]
    fn bodies_are_read_in_pieces_of_any_size() {
        let rows = [
            ("0\r\n\r\n", "", "", 0),
            ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "", 3),
            ("5\r\nhello\r\n1;a=\"b;c\"\r\n!\r\n000\r\n\r\n", "hello!", "", 0),
            ("00000000000000A \t;x\r\n0123456789\r\n0;last\r\n\r\n", "0123456789", "", 0),
            ("1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n\r\n", "\r\n", "", 2),
            ("0\r\nX-Sum:  1 2\t\r\nETag:\r\n\r\n", "", "X-Sum: 1 2\r\nETag: \r\n", 0),
            ("0\r\nHost: a\r\nX: 1\r\nContent-Length: 5\r\ncontent_type: x\r\n\r\n", "", "X: 1\r\n", 0),
        ];
        for (body, data, trailers, behind) in rows {
            for piece in 1..=body.len() {
                let expected = (data.as_bytes().to_vec(), trailers.as_bytes().to_vec(), behind);
                assert_eq!(read(body.as_bytes(), piece), Ok(Some(expected)), "{body:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let rows = [
            "\r\n",
            "\n",
            ";x\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t5\r\n",
            "0x5\r\n",
            "+5\r\n",
            "-5\r\n",
            "5_0\r\n",
            "5,5\r\n",
            "g\r\n",
            "5\n",
            "5\rhello",
            "5\r\r\n",
            "5;a\n",
            "5;a\rb\r\n",
            "5;a\0\r\n",
            "5;a\x0b\r\n",
            "5\r\nhello\n",
            "5\r\nhelloo\r\n",
            "5\r\nhello\rX",
            "5\r\nhello0\r\n\r\n",
            "0\r\n\n",
            "0\r\n\rX",
            "0\r\n X: 1\r\n",
            "0\r\nX : 1\r\n",
            "0\r\n: 1\r\n",
            "0\r\nX\r\n",
            "0\r\nX: 1\n",
            "0\r\nX: 1\r2",
            "0\r\nX: a\0\r\n",
            "0\r\nX: 1\r\n fold\r\n",
            "0\r\nX: 1\r\n\n",
            "0\n\r\n",
        ];
        for body in rows {
            for piece in 1..=body.len() {
                assert_eq!(read(body.as_bytes(), piece), Err(BadChunk), "{body:?} by {piece}");
            }
        }
    }

    /// RUSTSEC-2021-0079: a size that does not fit must not become a small one.
    #[test]
    fn a_size_that_overflows_is_refused() {
        for size in
            ["8000000000000000", "ffffffffffffffff", "10000000000000000", "f0000000000000001", "00000000000000005"]
        {
            assert_eq!(read(format!("{size}\r\nhello").as_bytes(), 99), Err(BadChunk), "{size}");
        }
        assert_eq!(read(b"7fffffffffffffff\r\nhello", 99), Ok(None));
    }

    /// CVE-2025-55315 and CVE-2025-43859: a lone LF in an extension, or anything but CR LF behind data, ends a line for others.
    #[test]
    fn line_ends_of_chunks_are_cr_lf_only() {
        for body in ["2;\nxx\r\n0\r\n\r\n", "2;x\rxx\r\n", "2\r\nabXY0\r\n\r\n", "2\r\nab\n\n0\r\n\r\n"] {
            assert_eq!(read(body.as_bytes(), 99), Err(BadChunk), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |bytes| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
        assert!(read(extension(256).as_bytes(), 7).is_ok());
        assert_eq!(read(extension(257).as_bytes(), 7), Err(BadChunk));
        assert_eq!(read(format!("1{};\r\n", " ".repeat(300)).as_bytes(), 7), Err(BadChunk));
        let lines = |count| format!("0\r\n{}\r\n", "Host: a\r\n".repeat(count));
        assert_eq!(read(lines(32).as_bytes(), 7), Ok(Some((Vec::new(), Vec::new(), 0))));
        assert_eq!(read(lines(33).as_bytes(), 7), Err(BadChunk));
        let long = |bytes| format!("0\r\nX: {}\r\n\r\n", "v".repeat(bytes));
        assert!(read(long(8000).as_bytes(), 1000).is_ok());
        assert_eq!(read(long(8192).as_bytes(), 1000), Err(BadChunk));
    }

    #[test]
    fn heads_of_chunks_are_hexadecimal() {
        let rows = [
            (0, "0\r\n"),
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (500, "1f4\r\n"),
            (usize::MAX, "ffffffffffffffff\r\n"),
        ];
        for (bytes, line) in rows {
            assert_eq!(chunk_head(bytes, &mut [0; 18]), line.as_bytes());
        }
    }

    /// What a body is, read in the plainest way from the whole of it: data, and how many bytes it has.
    pub(in super::super) fn model(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let (all, mut data) = (bytes.len(), Vec::new());
        let line = |bytes: &[u8]| bytes.windows(2).position(|two| two == b"\r\n");
        loop {
            let end = line(bytes)?;
            let size =
                bytes[..end].split(|byte| *byte == b';').next().and_then(|size| std::str::from_utf8(size).ok())?;
            let size = size.trim_end_matches([' ', '\t']);
            let size = usize::from_str_radix(Some(size).filter(|size| !size.starts_with('+'))?, 16).ok()?;
            bytes = &bytes[end + 2..];
            if size == 0 {
                break;
            }
            data.extend_from_slice(bytes.get(..size)?);
            bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
        }
        while line(bytes)? > 0 {
            bytes = &bytes[line(bytes)? + 2..];
        }
        Some((data, all - bytes.len() + 2))
    }

    /// Bodies, most of them whole, some of them damaged.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let chunk = (prop::collection::vec(any::<u8>(), 1..40), "(;[a-z]{1,3}(=[a-z0-9]{1,3})?)?").prop_map(
            |(data, extension)| {
                let mut chunk = format!("{:x}{extension}\r\n", data.len()).into_bytes();
                chunk.extend(data);
                chunk.extend(b"\r\n");
                chunk
            },
        );
        let trailers = prop::collection::vec("[A-Za-z-]{1,9}: [a-z ]{0,5}", 0..3);
        let damage = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (prop::collection::vec(chunk, 0..6), trailers, "[a-z]{0,9}", damage).prop_map(
            |(chunks, trailers, behind, damage)| {
                let mut body = chunks.concat();
                body.extend(b"0\r\n");
                trailers.iter().for_each(|line| body.extend(format!("{line}\r\n").bytes()));
                body.extend(b"\r\n");
                body.extend(behind.bytes());
                if let Some((at, byte)) = damage {
                    let at = at.index(body.len());
                    body[at] = byte;
                }
                body
            },
        )
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_come_to_the_same(body in body(), piece in 1..99_usize) {
            prop_assert_eq!(read(&body, piece), read(&body, body.len()));
        }

        #[test]
        fn what_is_read_is_what_the_plainest_reader_reads(body in body(), piece in 1..99_usize) {
            if let Ok(Some((data, _, behind))) = read(&body, piece) {
                prop_assert_eq!(model(&body), Some((data, body.len() - behind)));
            }
        }

        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..99), piece in 1..99_usize) {
            let _ = read(&body, piece);
        }

        #[test]
        fn a_written_chunk_is_read_again(data in prop::collection::vec(any::<u8>(), 1..999), piece in 1..99_usize) {
            let mut body = chunk_head(data.len(), &mut [0; 18]).to_vec();
            body.extend(&data);
            body.extend(b"\r\n0\r\n\r\n");
            prop_assert_eq!(read(&body, piece), Ok(Some((data, Vec::new(), 0))));
        }
    }
}
