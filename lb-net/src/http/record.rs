//! What is known of one request when it has ended.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

/// One request that has ended, as the access log, the counters and your hooks see it. What was sent by a client is as it
/// came: bytes of any kind.
/// ```
/// use lb_net::http::Record;
/// use std::time::{Duration, SystemTime};
/// let mut record = Record::new("192.0.2.7:4711".parse()?, SystemTime::now());
/// (record.method, record.target, record.status) = ("GET", b"/", 200);
/// record.total = Duration::from_millis(3);
/// assert!(!record.is_own_answer());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Who asks: the peer, or whom a trusted proxy has introduced.
    pub client: SocketAddr,
    /// When its first byte was there.
    pub began: SystemTime,
    /// Its method; empty where none could be read.
    pub method: &'a str,
    /// Its target as the client wrote it; where no method could be read, what there is of the first line.
    pub target: &'a [u8],
    /// Its version: `HTTP/1.1`.
    pub version: &'a str,
    /// The host that it is for.
    pub host: Option<&'a [u8]>,
    /// Its field `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// Its field `Referer`.
    pub referer: Option<&'a [u8]>,
    /// The status that the client was answered with; 0 if it was gone before there was one.
    pub status: u16,
    /// Bytes of its body.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were sent.
    pub answer_bytes: u64,
    /// The backend of the last attempt.
    pub backend: Option<&'a str>,
    /// Backends that it was sent to, or was about to be: 1 in the plain case, 0 if it came to none.
    pub attempts: u32,
    /// Whether the last attempt went over a connection that had been used before.
    pub reused: bool,
    /// Why lb has answered by itself, or has cut the answer: the word that is in the field `lb-reason`.
    pub reason: Option<&'static str>,
    /// Whether the client has seen the begin of an answer, and not its end.
    pub cut: bool,
    /// How long it waited because all backends were full.
    pub queued: Duration,
    /// How long connecting took, over all attempts; 0 on a connection that was there.
    pub connect: Duration,
    /// From its begin to the first byte of a backend's answer, if there was one.
    pub first_byte: Option<Duration>,
    /// From its begin to the last byte of its answer.
    pub total: Duration,
}

impl Record<'_> {
    /// One of which nothing else is known: empty, and without an answer.
    #[must_use]
    pub fn new(client: SocketAddr, began: SystemTime) -> Self {
        Self {
            client,
            began,
            method: "",
            target: b"",
            version: "HTTP/1.1",
            host: None,
            user_agent: None,
            referer: None,
            status: 0,
            request_bytes: 0,
            answer_bytes: 0,
            backend: None,
            attempts: 0,
            reused: false,
            reason: None,
            cut: false,
            queued: Duration::ZERO,
            connect: Duration::ZERO,
            first_byte: None,
            total: Duration::ZERO,
        }
    }

    /// Whether its answer was made by lb, not by a backend.
    #[must_use]
    pub fn is_own_answer(&self) -> bool {
        self.reason.is_some() && !self.cut && self.status != 0
    }
}
