//! HTTP/1 byte by byte: a client that says what it is told to and reads strictly, and backends that follow a script.
#![allow(clippy::unwrap_used, dead_code, unused_imports, reason = "each test file uses its part of this one")]

mod backend;
mod client;
mod gate;
mod message;
mod reader;
mod strict;

use std::{os::fd::OwnedFd, time::Duration};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

pub(crate) use self::{
    backend::{Backend, Refusing, Seen, Visit},
    client::Client,
    gate::Gate,
    message::{Framing, Message},
    reader::{Broken, End, Reader},
};

/// Longer than anything here takes: who waits that long has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One that no process which a test starts meanwhile inherits.
pub(crate) fn socket() -> OwnedFd {
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// Bytes so that a reader can tell them apart.
pub(crate) fn show(bytes: &[u8]) -> String {
    const MOST: usize = 2_000;
    let shown = bytes.get(..MOST).unwrap_or(bytes).escape_ascii().to_string();
    if bytes.len() > MOST { format!("{shown}... ({} bytes)", bytes.len()) } else { shown }
}

/// An answer with a body, as it goes over the wire.
pub(crate) fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A body as chunks of so many bytes at most, with the last one.
pub(crate) fn chunked(body: &[u8], most: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for piece in body.chunks(most) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

/// So many bytes of which no two places look alike.
pub(crate) fn bulk(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
