//! The backend of the TCP rows: answers every request with as many bytes as it asks for.
use super::request::{REQUEST_BYTES, Request};
use crate::origin::{self, Wait};
use crate::wire::{self, Step};
use rustix::fd::OwnedFd;

/// What is written in one go of a long reply.
static BLOB: [u8; 256 * 1024] = [b'x'; 256 * 1024];

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: OwnedFd,
    request: [u8; REQUEST_BYTES],
    /// Bytes of the next request that are here already.
    filled: usize,
    /// Bytes of the reply still to be written.
    owed: u64,
    close: bool,
}

impl origin::Peer for Peer {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, request: [0; REQUEST_BYTES], filled: 0, owed: 0, close: false }
    }

    fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// One read and one write at most, so that a long reply does not hold up the others.
    fn advance(&mut self, _: &mut [u8]) -> Wait {
        if self.owed == 0 {
            match wire::read(&self.socket, &mut self.request[self.filled..]) {
                Step::Moved(bytes) => self.filled += bytes,
                Step::Blocked => return Wait::Request,
                Step::Over => return Wait::Never,
            }
            if self.filled < REQUEST_BYTES {
                return Wait::Request;
            }
            let Some(request) = Request::from_bytes(&self.request) else { return Wait::Never };
            (self.filled, self.owed, self.close) = (0, request.reply_bytes, request.close);
        }
        let most = self.owed.min(BLOB.len() as u64) as usize;
        match wire::write(&self.socket, &BLOB[..most]) {
            Step::Moved(bytes) => self.owed -= bytes as u64,
            Step::Blocked => return Wait::Room,
            Step::Over => return Wait::Never,
        }
        match (self.owed, self.close) {
            (0, true) => Wait::Never,
            (0, false) => Wait::Request,
            _ => Wait::Room,
        }
    }
}
