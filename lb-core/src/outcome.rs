//! How a request went at its backend, as the one who carried it reports.

/// How a pick ended.
/// ```
/// use lb_core::Outcome;
/// assert!(Outcome::ConnectFailed.is_failure() && !Outcome::Cancelled.is_failure());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The backend did its part.
    Success,
    /// No connection: refused, unreachable or not in time. Nothing that a client can provoke.
    ConnectFailed,
    /// The backend answered that it failed (a 5xx).
    ServerError,
    /// The backend broke off before its answer began.
    Broken,
    /// The backend's answer did not begin in time.
    TimedOut,
    /// Nobody knows: the client went away, or the lease was dropped.
    Cancelled,
}

impl Outcome {
    /// Whether it speaks against the backend.
    #[must_use]
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Success | Self::Cancelled)
    }

    /// What it says against or for the backend, in a log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Success => "request went well",
            Self::ConnectFailed => "connect failed",
            Self::ServerError => "answered with a server error",
            Self::Broken => "broke off before its answer",
            Self::TimedOut => "no answer in time",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a single bad request may have caused it: then it ejects only where that is switched on.
    #[must_use]
    pub fn is_provokable(self) -> bool {
        matches!(self, Self::ServerError | Self::Broken | Self::TimedOut)
    }
}
