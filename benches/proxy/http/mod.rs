//! The HTTP rows: load and origin exchange messages like those of real clients and servers.
pub(crate) mod exchange;
pub(crate) mod load;
mod message;
pub(crate) mod origin;
mod pace;
pub(crate) mod plan;

use exchange::{Exchange, SMALL};
use std::io::{self, Read, Write};

/// One request and its answer on a connection that is kept.
pub(crate) fn exchange_once(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(&Exchange::Kept.head())?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        let bytes = stream.read(free)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += bytes;
        if let Some(answer) = message::answered(&buffer[..filled]).map_err(io::Error::other)?
            && buffer[..filled].ends_with(SMALL)
            && filled == answer.head_bytes + SMALL.len()
        {
            return Ok(());
        }
    }
    Err(io::Error::other("an answer does not end"))
}
