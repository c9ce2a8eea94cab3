//! Why lb answers a request by itself.

use std::fmt;

/// Why lb answers a request by itself, and not with what a backend says.
/// ```
/// use lb_net::http::Reason;
/// assert_eq!(Reason::MissingHost.status(), 400);
/// assert_eq!(Reason::MissingHost.name(), "missing-host");
/// assert_eq!(Reason::MissingHost.to_string(), "The request does not say which host it is for.");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The first line is no request line (RFC 9112 section 3).
    BadRequestLine,
    /// The method is no token.
    BadMethod,
    /// The target has none of the forms of RFC 9112 section 3.2, or bytes that no target has.
    BadTarget,
    /// Another major version of HTTP.
    BadVersion,
    /// A line ends in another way than with CR LF.
    BadLineEnd,
    /// A line of the head is no field (RFC 9112 section 5), or a field says what it cannot say.
    BadField,
    /// `Connection` names a field that belongs to the message, or very many.
    BadConnection,
    /// An HTTP/1.1 request without `Host`.
    MissingHost,
    /// Several `Host`, or one that is none.
    BadHost,
    /// `Content-Length` together with `Transfer-Encoding`, or several of them.
    AmbiguousLength,
    /// A `Content-Length` that is no number.
    BadLength,
    /// A `Transfer-Encoding` that does not say where the body ends.
    BadCoding,
    /// A transfer coding besides `chunked`.
    UnknownCoding,
    /// The chunks of a body are broken.
    BadChunk,
    /// An expectation besides `100-continue`.
    BadExpect,
    /// More bytes of head, or more fields, than are taken.
    HeadTooLarge,
    /// The first line alone is longer than a head may be.
    TargetTooLong,
    /// More bytes of body than are taken.
    BodyTooLarge,
    /// The head did not come in time.
    HeadTimeout,
    /// The body did not come on in time.
    BodyTimeout,
    /// `CONNECT`: lb is no tunnel.
    ConnectNotAllowed,
    /// A `TRACE` that lb would have to answer.
    TraceNotAllowed,
    /// The request has been here too often.
    LoopDetected,
    /// There is no backend, or none that works.
    NoBackend,
    /// All backends that work say that they take no requests.
    BackendsDecline,
    /// All of them say that they are in maintenance.
    Maintenance,
    /// All backends had said so, and those that came back are not to get more than they bear.
    Recovering,
    /// All backends are full, and so is the queue.
    AllFull,
    /// No backend had a place in time.
    QueueTimeout,
    /// lb is short of descriptors, ports or memory.
    Shortage,
    /// No backend could be connected to.
    ConnectFailed,
    /// No backend took the connection in time.
    ConnectTimeout,
    /// What the backend answered is not HTTP, or not to be understood without doubt.
    BadAnswer,
    /// The head of the backend's answer is longer than is taken.
    AnswerTooLarge,
    /// The backend closed the connection before its answer.
    BackendClosed,
    /// The backend did not begin with its answer in time.
    FirstByteTimeout,
    /// The request took longer than any may.
    RequestTimeout,
    /// The client went away before its answer was whole.
    ClientGone,
    /// The client did not take its answer in time.
    ClientStalled,
    /// The backend broke off in the middle of its answer.
    AnswerCut,
    /// The backend did not go on with its answer in time.
    AnswerTimeout,
    /// Nothing moved in a tunnel for too long.
    TunnelTimeout,
}

impl Reason {
    /// The status code of the answer (RFC 9110 section 15).
    #[must_use]
    pub fn status(self) -> u16 {
        self.facts().0
    }

    /// What the field `lb-reason` says: lower-case words with dashes, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().1
    }

    /// One short sentence for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequestLine => (400, "bad-request-line", "The first line is no HTTP request."),
            Self::BadMethod => (400, "bad-method", "The method is not valid."),
            Self::BadTarget => (400, "bad-target", "The target of the request is not valid."),
            Self::BadVersion => (505, "bad-version", "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
            Self::BadLineEnd => (400, "bad-line-end", "A line of the head does not end with CR LF."),
            Self::BadField => (400, "bad-field", "A field of the head is not valid."),
            Self::BadConnection => (400, "bad-connection", "The field Connection is not valid."),
            Self::MissingHost => (400, "missing-host", "The request does not say which host it is for."),
            Self::BadHost => (400, "bad-host", "The field Host is not valid."),
            Self::AmbiguousLength => (400, "ambiguous-length", "The length of the body is said twice."),
            Self::BadLength => (400, "bad-length", "The field Content-Length is not valid."),
            Self::BadCoding => (400, "bad-coding", "The field Transfer-Encoding is not valid."),
            Self::UnknownCoding => (501, "unknown-coding", "The only transfer coding here is chunked."),
            Self::BadChunk => (400, "bad-chunk", "The chunks of the body are not valid."),
            Self::BadExpect => (417, "bad-expect", "The only expectation that can be met is 100-continue."),
            Self::HeadTooLarge => (431, "head-too-large", "The head of the request is too large."),
            Self::TargetTooLong => (414, "target-too-long", "The target of the request is too long."),
            Self::BodyTooLarge => (413, "body-too-large", "The body of the request is too large."),
            Self::HeadTimeout => (408, "head-timeout", "The head of the request did not come in time."),
            Self::BodyTimeout => (408, "body-timeout", "The body of the request did not come in time."),
            Self::ConnectNotAllowed => (405, "connect-not-allowed", "CONNECT is not allowed here."),
            Self::TraceNotAllowed => (405, "trace-not-allowed", "TRACE is not answered here."),
            Self::LoopDetected => (508, "loop-detected", "The request has come by here too often."),
            Self::NoBackend => (503, "no-backend", "No server is available."),
            Self::BackendsDecline => (503, "backends-decline", "All servers say that they take no work."),
            Self::Maintenance => (503, "maintenance", "The servers are in maintenance."),
            Self::Recovering => (503, "recovering", "The servers are about to recover."),
            Self::AllFull => (503, "all-full", "All servers are busy."),
            Self::QueueTimeout => (503, "queue-timeout", "No server was free in time."),
            Self::Shortage => (503, "shortage", "The load balancer is busy."),
            Self::ConnectFailed => (502, "connect-failed", "No server could be reached."),
            Self::ConnectTimeout => (504, "connect-timeout", "No server could be reached in time."),
            Self::BadAnswer => (502, "bad-answer", "The answer of the server is not valid."),
            Self::AnswerTooLarge => (502, "answer-too-large", "The head of the server's answer is too large."),
            Self::BackendClosed => (502, "backend-closed", "The server broke off before its answer."),
            Self::FirstByteTimeout => (504, "first-byte-timeout", "The server did not answer in time."),
            Self::RequestTimeout => (504, "request-timeout", "The request took too long."),
            Self::ClientGone => (499, "client-gone", "The client went away."),
            Self::ClientStalled => (408, "client-stalled", "The client did not take its answer in time."),
            Self::AnswerCut => (502, "answer-cut", "The server broke off in the middle of its answer."),
            Self::TunnelTimeout => (504, "tunnel-timeout", "Nothing was said for too long."),
            Self::AnswerTimeout => (504, "answer-timeout", "The server did not go on with its answer in time."),
        }
    }
}

/// The sentence for people.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
