//! What the load asks of the origin over TCP.

/// Every request has this length, so that neither side has anything to parse.
pub(crate) const REQUEST_BYTES: usize = 64;

/// The first bytes of a request: a product that garbles its stream is found out.
const MAGIC: [u8; 4] = *b"lb?\n";

/// What a client asks of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Bytes of the reply.
    pub(crate) reply_bytes: u64,
    /// Whether the origin closes the connection after the reply.
    pub(crate) close: bool,
}

impl Request {
    /// The request as it is sent.
    pub(crate) fn to_bytes(self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [b'.'; REQUEST_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = u8::from(self.close);
        bytes[8..16].copy_from_slice(&self.reply_bytes.to_le_bytes());
        bytes
    }

    /// The request that was received, unless it is none.
    pub(crate) fn from_bytes(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let length = bytes[8..16].try_into().ok()?;
        (bytes[..4] == MAGIC).then(|| Self { reply_bytes: u64::from_le_bytes(length), close: bytes[4] == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let request = Request { reply_bytes: 1 << 40, close: true };
        assert_eq!(Request::from_bytes(&request.to_bytes()), Some(request));
        assert_eq!(Request::from_bytes(&[0; REQUEST_BYTES]), None);
    }
}
