//! Heads of messages, read as far as load and origin need them.
use httparse::{EMPTY_HEADER, Header, Request, Response, Status};

/// Fields a head may have.
const MOST_FIELDS: usize = 64;

/// The head of a request that came to the origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: u64,
    /// Whether it is the large answer that is wanted.
    pub(crate) large: bool,
    pub(crate) close: bool,
}

/// The head of an answer that came to the load.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) head_bytes: usize,
    pub(crate) body_bytes: u64,
    pub(crate) close: bool,
}

/// The head of a request, once it is whole; what is wrong with it otherwise.
pub(crate) fn asked(bytes: &[u8], large_path: &str) -> Result<Option<Asked>, String> {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut request = Request::new(&mut fields);
    let Status::Complete(head_bytes) = request.parse(bytes).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    if field(request.headers, "transfer-encoding").is_some() {
        return Err("a coded body".to_owned());
    }
    let body_bytes = length(request.headers)?.unwrap_or(0);
    let large = request.path == Some(large_path);
    Ok(Some(Asked { head_bytes, body_bytes, large, close: closes(request.headers) }))
}

/// The head of an answer, once it is whole; an error unless it is 200 with a length.
pub(crate) fn answered(bytes: &[u8]) -> Result<Option<Answered>, String> {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut answer = Response::new(&mut fields);
    let Status::Complete(head_bytes) = answer.parse(bytes).map_err(|error| format!("an answer's head: {error}"))?
    else {
        return Ok(None);
    };
    if answer.code != Some(200) {
        let (code, reason) = (answer.code.unwrap_or(0), answer.reason.unwrap_or_default());
        return Err(format!("the answer is {code} {reason}"));
    }
    let body_bytes = length(answer.headers)?.ok_or("an answer has no length")?;
    Ok(Some(Answered { head_bytes, body_bytes, close: closes(answer.headers) }))
}

fn field<'a>(fields: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn length(fields: &[Header<'_>]) -> Result<Option<u64>, String> {
    let Some(value) = field(fields, "content-length") else { return Ok(None) };
    let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| format!("a length is {:?}", String::from_utf8_lossy(value)))
}

fn closes(fields: &[Header<'_>]) -> bool {
    field(fields, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_whole_and_200() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        let expected = Answered { head_bytes: bytes.len() - 2, body_bytes: 2, close: true };
        assert_eq!(answered(bytes), Ok(Some(expected)));
        assert_eq!(answered(&bytes[..30]), Ok(None));
        for wrong in
            ["HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "hello\r\n\r\n"]
        {
            assert!(answered(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let bytes = b"POST /large HTTP/1.1\r\nHost: a\r\ncontent-length: 7\r\n\r\n";
        let expected = Asked { head_bytes: bytes.len(), body_bytes: 7, large: true, close: false };
        assert_eq!(asked(bytes, "/large"), Ok(Some(expected)));
        assert!(asked(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "/large").is_err());
    }
}
