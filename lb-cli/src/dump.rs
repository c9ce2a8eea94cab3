//! `-p`: payload as text, the way balance dumps it.

use std::{
    fmt::Write as _,
    io,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::log::{Entry, Level, Log};

/// Columns after which a line is broken.
const WIDTH: usize = 80;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToBackend,
    ToClient,
}

/// How long a session waits for who reads the dump. Its client, and those of the same worker, wait with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A pipe that is ready takes so much without waiting (PIPE_BUF on Linux).
const CHUNK: usize = 4096;

/// Stdout, where payload of all sessions goes, one piece after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dumps {
    out: Arc<Mutex<Out>>,
}

#[derive(Debug, Default)]
struct Out {
    /// Pieces that are missing since the last one that was written whole.
    missing: u64,
}

impl Dumps {
    /// Writes a piece. Who does not read for a second misses it, and those that follow until there is room again:
    /// neither clients nor an orderly end wait for somebody who may never come.
    pub(crate) fn write(&self, way: Way, bytes: &[u8], log: &Log) {
        let text = text(way, bytes);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = if out.missing > 0 { Duration::ZERO } else { PATIENCE };
        if !put(text.as_bytes(), patience) {
            out.missing += 1;
            if out.missing == 1 {
                let line = "payload is not dumped, because nobody reads stdout";
                log.write(&Entry::new(Level::Warning, "dump-stalled", line));
            }
        } else if out.missing > 0 {
            let line = format!("payload is dumped again; {} pieces are missing or cut", out.missing);
            log.write(&Entry::new(Level::Warning, "dump-resumed", line).with("pieces", out.missing));
            out.missing = 0;
        }
    }
}

/// Whether all of it was taken, or nobody wants it any more.
fn put(mut text: &[u8], patience: Duration) -> bool {
    let out = io::stdout();
    let out = out.as_fd();
    let Ok(patience) = Timespec::try_from(patience) else { return false };
    while !text.is_empty() {
        let mut asked = [PollFd::from_borrowed_fd(out, PollFlags::OUT)];
        if poll(&mut asked, Some(&patience)) == Ok(0) {
            return false;
        }
        match rustix::io::write(out, &text[..text.len().min(CHUNK)]) {
            Ok(count) => text = &text[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads it any more, or the disk is full: that is no reason to end sessions.
            Err(_) => return true,
        }
    }
    true
}

/// One piece of payload: a line with its way and its length, then what it says. Bytes that are not printable stand as
/// `\XX`, a backslash is doubled, and lines end behind each line end of the payload and at the width of a terminal.
pub(crate) fn text(way: Way, bytes: &[u8]) -> String {
    let mark = if way == Way::ToBackend { "->" } else { "-<" };
    let mut text = format!("{mark} {}\n", bytes.len());
    let mut column = 0;
    for byte in bytes {
        let before = text.len();
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => drop(write!(text, "\\{byte:02X}")),
        }
        column += text.len() - before;
        if *byte == b'\n' || column >= WIDTH {
            text.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_told_by_its_number() {
        let dumped = text(Way::ToBackend, b"GET /\\ HTTP/1.0\r\n\r\n\xff");
        assert_eq!(dumped, "-> 20\nGET /\\\\ HTTP/1.0\\0D\\0A\n\\0D\\0A\n\\FF\n");
        assert_eq!(text(Way::ToClient, b"a"), "-< 1\na\n");
    }

    #[test]
    fn long_lines_are_broken_and_no_byte_is_lost() {
        let dumped = text(Way::ToClient, &[b'x'; 200]);
        let lengths: Vec<usize> = dumped.lines().skip(1).map(str::len).collect();
        assert_eq!(lengths, [80, 80, 40]);
    }
}
