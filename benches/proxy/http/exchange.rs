//! What a client of the HTTP rows asks for, ready to be sent.

/// Bytes of the body that an upload has.
const UPLOAD_BYTES: u64 = 10 << 20;

/// One kind of request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// GET with an answer of 2 bytes on a kept connection.
    Kept,
    /// The same with `Connection: close`: a connection for each request.
    Close,
    /// GET with an answer of 100 KiB on a kept connection.
    Answer100k,
    /// POST of 10 MiB with an answer of 2 bytes on a kept connection.
    Upload10m,
}

/// What the origin sends as the body of a small answer.
pub(crate) const SMALL: &[u8] = b"ok";

/// Bytes of the body of a large answer.
pub(crate) const LARGE_BYTES: usize = 100 * 1024;

/// The path with the large answer.
pub(crate) const LARGE_PATH: &str = "/images/overview/large.png?version=17";

/// The path with the small answer.
const SMALL_PATH: &str = "/api/v1/items/4711?fields=name,price";

impl Exchange {
    /// Each with the name it has on the way to a child process.
    pub(crate) const ALL: [(&str, Self); 4] = [
        ("kept", Self::Kept),
        ("close", Self::Close),
        ("answer100k", Self::Answer100k),
        ("upload10m", Self::Upload10m),
    ];

    /// Bytes of the request's body.
    pub(crate) fn upload_bytes(self) -> u64 {
        if self == Self::Upload10m { UPLOAD_BYTES } else { 0 }
    }

    /// Bytes of the answer's body.
    pub(crate) fn answer_bytes(self) -> u64 {
        if self == Self::Answer100k { LARGE_BYTES as u64 } else { SMALL.len() as u64 }
    }

    /// The head of the request: as many fields, and as long, as a browser's.
    pub(crate) fn head(self) -> Vec<u8> {
        let path = if self == Self::Answer100k { LARGE_PATH } else { SMALL_PATH };
        let (method, own) = match self {
            Self::Kept | Self::Answer100k => ("GET", String::new()),
            Self::Close => ("GET", "Connection: close\r\n".to_owned()),
            Self::Upload10m => ("POST", format!("Content-Type: image/png\r\nContent-Length: {UPLOAD_BYTES}\r\n")),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n\
             Host: bench.test\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
             Accept: application/json, */*;q=0.8\r\n\
             Accept-Language: en-US,en;q=0.5\r\n\
             Accept-Encoding: gzip, deflate, br\r\n\
             Referer: http://bench.test/items\r\n\
             Cookie: session=5f2b0c7e9a; theme=dark\r\n\
             Cache-Control: no-cache\r\n\
             {own}\r\n"
        );
        head.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_like_a_browsers() {
        let head = Exchange::Kept.head();
        assert!((300..400).contains(&head.len()), "{}", head.len());
        assert_eq!(head.iter().filter(|byte| **byte == b'\n').count(), 1 + 8 + 1);
    }
}
