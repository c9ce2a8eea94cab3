//! The backend of the HTTP rows: small and large answers, made beforehand; bodies of requests are thrown away.
use super::exchange::{LARGE_BYTES, LARGE_PATH, SMALL};
use super::message::{self, Asked};
use crate::origin::{self, Wait};
use crate::wire::{self, Step};
use rustix::fd::OwnedFd;
use std::sync::LazyLock;

/// The longest head of a request, and what may come with it of its body.
const HEAD_BYTES: usize = 4096;

/// Answers: small and large, on a connection that is kept and on one that is not.
static ANSWERS: LazyLock<[[Vec<u8>; 2]; 2]> = LazyLock::new(|| {
    [SMALL.to_vec(), vec![b'x'; LARGE_BYTES]].map(|body| [false, true].map(|close| answer(&body, close)))
});

/// What a request that the load never sends is answered with: the load, which gets it, fails.
const REFUSAL: &[u8] = b"HTTP/1.1 500 Not What The Load Asks\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// As many fields as a usual server's answer has.
fn answer(body: &[u8], close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\n\
         Server: origin/1.0\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: private, max-age=60\r\n\
         ETag: \"5f2b0c7e9a1d4b3c\"\r\n\
         {close}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// Bytes of the next request's head that are here already.
    filled: usize,
    /// What is read or written now.
    now: Now,
}

#[derive(Clone, Copy, Debug)]
enum Now {
    Head,
    Body { left: u64, large: bool, close: bool },
    Answer { bytes: &'static [u8], close: bool },
}

impl origin::Peer for Peer {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; HEAD_BYTES], filled: 0, now: Now::Head }
    }

    fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    fn advance(&mut self, room: &mut [u8]) -> Wait {
        let step = match self.now {
            Now::Head => wire::read(&self.socket, &mut self.buffer[self.filled..]),
            Now::Body { left, .. } => {
                let most = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                wire::discard(&self.socket, &mut room[..most])
            }
            Now::Answer { bytes, .. } => wire::write(&self.socket, bytes),
        };
        match (step, &mut self.now) {
            (Step::Moved(bytes), Now::Head) => self.read_head(bytes),
            (Step::Moved(bytes), Now::Body { left, .. }) => *left -= bytes as u64,
            (Step::Moved(written), Now::Answer { bytes, .. }) => *bytes = &bytes[written..],
            (Step::Blocked, Now::Answer { .. }) => return Wait::Room,
            (Step::Blocked, _) => return Wait::Request,
            (Step::Over, _) => return Wait::Never,
        }
        self.next(room)
    }
}

impl Peer {
    fn read_head(&mut self, bytes: usize) {
        self.filled += bytes;
        let refused = Now::Answer { bytes: REFUSAL, close: true };
        match message::asked(&self.buffer[..self.filled], LARGE_PATH) {
            Ok(Some(Asked { head_bytes, body_bytes, large, close })) => {
                let here = (self.filled - head_bytes) as u64;
                // More than its body behind a request: nobody asks twice at once here.
                let left = body_bytes.checked_sub(here);
                self.now = left.map_or(refused, |left| Now::Body { left, large, close });
                self.filled = 0;
            }
            Ok(None) if self.filled < self.buffer.len() => {}
            Ok(None) | Err(_) => self.now = refused,
        }
    }

    /// From one part of an exchange to the next.
    fn next(&mut self, room: &mut [u8]) -> Wait {
        match self.now {
            Now::Body { left: 0, large, close } => {
                self.now = Now::Answer { bytes: &ANSWERS[usize::from(large)][usize::from(close)], close };
                origin::Peer::advance(self, room)
            }
            Now::Answer { bytes: [], close: true } => Wait::Never,
            Now::Answer { bytes: [], close: false } => {
                self.now = Now::Head;
                Wait::Request
            }
            Now::Answer { close: true, bytes } if bytes == REFUSAL => origin::Peer::advance(self, room),
            Now::Answer { .. } => Wait::Room,
            Now::Head | Now::Body { .. } => Wait::Request,
        }
    }
}
