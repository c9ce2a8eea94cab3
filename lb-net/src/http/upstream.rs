//! A connection to a backend while a request has it.

use lb_core::BackendId;
use tokio::net::TcpStream;

use super::{
    Keep,
    buffer::Buffer,
    pool::{Kept, Pool},
};

/// A connection to a backend while a request has it.
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    /// What came from it and is not used yet.
    pub(super) buffer: Buffer,
    born: std::time::Instant,
    /// Requests that it has had before this one.
    uses: u32,
    /// The answer is in bulk; before its head is here, the one before was.
    pub(super) in_bulk: bool,
}

impl Upstream {
    pub(super) fn fresh(stream: TcpStream, now: std::time::Instant) -> Self {
        Self { stream, buffer: Buffer::default(), born: now, uses: 0, in_bulk: false }
    }

    /// Whether it has served another request before.
    pub(super) fn is_reused(&self) -> bool {
        self.uses > 0
    }

    /// Keeps it for the next request, if nothing is left in it of this one.
    pub(super) fn keep(self, id: BackendId, pool: &Pool, now: std::time::Instant, keep: &Keep) {
        if self.buffer.is_empty() {
            let Self { stream, born, in_bulk, .. } = self;
            pool.put(id, Kept { stream, born, uses: self.uses.saturating_add(1), in_bulk }, now, keep);
        }
    }
}

impl From<Kept> for Upstream {
    fn from(kept: Kept) -> Self {
        Self { stream: kept.stream, buffer: Buffer::default(), born: kept.born, uses: kept.uses, in_bulk: kept.in_bulk }
    }
}
