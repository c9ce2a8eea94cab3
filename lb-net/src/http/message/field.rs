//! The fields of a message's head, and which of them we look at.

use std::{mem::MaybeUninit, ops::Range};

use httparse::Header;

/// Fields of a head, at most; the configured limit is no higher.
pub(crate) const MOST_FIELDS: usize = 256;

/// The fields that lb itself looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Known {
    Other,
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    IdempotencyKey,
    KeepAlive,
    LbReason,
    MaxForwards,
    /// `Proxy`, which CGI programs take for the variable `HTTP_PROXY` (CVE-2016-5385).
    Proxy,
    ProxyConnection,
    Referer,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    /// One of these with `_` for `-`: gateways to CGI and its heirs take the two for the same.
    Disguised,
}

impl Known {
    pub(crate) fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let first = name.first().map_or(0, |byte| byte | 0x20);
        match (name.len(), first) {
            (2, b't') => Self::Te.if_called(b"te", name),
            (3, b'v') => Self::Via.if_called(b"via", name),
            (4, b'd') => Self::Date.if_called(b"date", name),
            (4, b'h') => Self::Host.if_called(b"host", name),
            (5, b'p') => Self::Proxy.if_called(b"proxy", name),
            (6, b'c') => Self::Cookie.if_called(b"cookie", name),
            (6, b'e') => Self::Expect.if_called(b"expect", name),
            (7, b'r') => Self::Referer.if_called(b"referer", name),
            (7, b't') => Self::Trailer.if_called(b"trailer", name),
            (7, b'u') => Self::Upgrade.if_called(b"upgrade", name),
            (9, b'f') => Self::Forwarded.if_called(b"forwarded", name),
            (9, b'l') => Self::LbReason.if_called(b"lb-reason", name),
            (10, b'c') => Self::Connection.if_called(b"connection", name),
            (10, b'k') => Self::KeepAlive.if_called(b"keep-alive", name),
            (10, b's') => Self::SetCookie.if_called(b"set-cookie", name),
            (10, b'u') => Self::UserAgent.if_called(b"user-agent", name),
            (12, b'm') => Self::MaxForwards.if_called(b"max-forwards", name),
            (14, b'c') => Self::ContentLength.if_called(b"content-length", name),
            (14, b'h') => Self::Http2Settings.if_called(b"http2-settings", name),
            (15, b'i') => Self::IdempotencyKey.if_called(b"idempotency-key", name),
            (15, b'x') => Self::XForwardedFor.if_called(b"x-forwarded-for", name),
            (16, b'p') => Self::ProxyConnection.if_called(b"proxy-connection", name),
            (16, b'x') if name.ends_with(b"t") | name.ends_with(b"T") && matches!(name.get(12), Some(b'h' | b'H')) => {
                Self::XForwardedHost.if_called(b"x-forwarded-host", name)
            }
            (16, b'x') => Self::XForwardedPort.if_called(b"x-forwarded-port", name),
            (17, b't') => Self::TransferEncoding.if_called(b"transfer-encoding", name),
            (17, b'x') => Self::XForwardedProto.if_called(b"x-forwarded-proto", name),
            _ => Self::Other,
        }
    }

    /// This one where `name` is its name, in any case. Of a length that is known when this is compiled, so that it is compared
    /// in a few words and not byte by byte. In a token nothing else than upper and lower case differs in this bit alone from
    /// a letter, and nothing from a digit or `-`.
    #[inline(always)]
    fn if_called<const N: usize>(self, spelling: &[u8; N], name: &[u8]) -> Self {
        let Some(whole) = name.first_chunk::<N>().filter(|_| name.len() == N) else { return Self::Other };
        let mut lower = *whole;
        lower.iter_mut().for_each(|byte| *byte |= 0x20);
        if lower == *spelling { self } else { Self::if_disguised(spelling, name) }
    }

    #[cold]
    fn if_disguised(spelling: &[u8], name: &[u8]) -> Self {
        let dashed = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        if name.iter().map(dashed).eq(spelling.iter().copied()) { Self::Disguised } else { Self::Other }
    }

    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Where the fields of one head are noted: on the stack of who parses it.
pub(crate) struct FieldRoom<'b> {
    pub(super) parsed: [MaybeUninit<Header<'b>>; MOST_FIELDS],
    /// For the parser that wants its room filled: only used for versions above HTTP/1.1.
    pub(super) spare: Vec<Header<'b>>,
    pub(super) known: [Known; MOST_FIELDS],
}

impl FieldRoom<'_> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            parsed: [const { MaybeUninit::uninit() }; MOST_FIELDS],
            spare: Vec::new(),
            known: [Known::Other; MOST_FIELDS],
        }
    }
}

/// The fields of a head, in their order.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'h, 'b> {
    headers: &'h [Header<'b>],
    known: &'h [Known],
    /// The head itself: every name and value is a part of it.
    head: &'b [u8],
    seen: u32,
    repeated: u32,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'b> {
    pub(crate) known: Known,
    pub(crate) name: &'b str,
    /// Without the white space around it.
    pub(crate) value: &'b [u8],
}

impl<'h, 'b> Fields<'h, 'b> {
    /// `None` when a line of the head does not end with CR LF.
    pub(super) fn new(headers: &'h [Header<'b>], known: &'h mut [Known], head: &'b [u8]) -> Option<Self> {
        let (mut seen, mut repeated) = (0, 0);
        // The parser takes a lone LF for the end of a line as well. As each line begins behind another, these are all ends.
        if !head.ends_with(b"\r\n\r\n") {
            return None;
        }
        for (header, known) in headers.iter().zip(known.iter_mut()) {
            let begin = offset(head, header.name.as_bytes());
            if head.get(begin.wrapping_sub(2)..begin) != Some(b"\r\n") {
                return None;
            }
            *known = Known::of(header.name);
            repeated |= seen & known.bit();
            seen |= known.bit();
        }
        Some(Self { headers, known, head, seen, repeated })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'b>> + use<'h, 'b> {
        let fields = self.headers.iter().zip(self.known);
        fields.map(|(header, known)| Field { known: *known, name: header.name, value: header.value })
    }

    pub(crate) fn has(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    /// Whether there are several.
    pub(crate) fn repeats(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }

    /// The value of the first.
    pub(crate) fn get(&self, known: Known) -> Option<&'b [u8]> {
        if self.has(known) { self.all(known).next() } else { None }
    }

    /// The values of all.
    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.iter().filter(move |field| field.known == known).map(|field| field.value)
    }

    /// The values of all of any name.
    pub(crate) fn named<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'n, 'h, 'b> {
        self.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The members of a list that may be spread over several fields (RFC 9110 section 5.6.1), without the empty ones.
    pub(crate) fn members(&self, known: Known) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.all(known)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(trimmed)
            .filter(|member| !member.is_empty())
    }

    pub(super) fn head(&self) -> &'b [u8] {
        self.head
    }
}

impl<'b> Field<'b> {
    /// Where in the head its line is, with its end, when it is written as we would write it: then it can be copied as it is.
    /// The parser has seen to the colon right behind the name, and that a CR is followed by its LF.
    #[inline]
    pub(super) fn plain_line(&self, head: &'b [u8]) -> Option<Range<usize>> {
        let begin = offset(head, self.name.as_bytes());
        let colon = begin.wrapping_add(self.name.len());
        let end = colon.wrapping_add(2 + self.value.len());
        let plain = offset(head, self.value) == colon.wrapping_add(2)
            && head.get(colon.wrapping_add(1)) == Some(&b' ')
            && head.get(end) == Some(&b'\r');
        plain.then_some(begin..end.wrapping_add(2))
    }
}

/// Where a part of the whole begins; of what is no part of it, nonsense that is no index either.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize)
}

/// Without spaces and tabs around it.
pub(super) fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
