//! Where the lines of an access log end up.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};

use super::AccessTo;

/// How long a pipe, a terminal or a socket is waited for before that is worth telling.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a pipe takes at once (PIPE_BUF): if it is ready for some, it is ready for so much.
const PIECE: usize = 4096;

/// Readable for a group: addresses of clients are not for everybody.
const MODE: u32 = 0o640;

pub(super) enum Output {
    /// Lines are appended, as many at once as there are.
    File(File),
    /// Nobody may be reading at the other end: it is asked for room first, and filled in pieces.
    Pipe(File),
    Own(Box<dyn Write + Send>),
}

/// What became of some lines.
#[derive(Debug)]
pub(super) enum Put {
    All,
    /// There was no room for what is left for a while.
    Waiting,
    /// What is left cannot be written.
    Failed(io::Error),
}

impl Output {
    pub(super) fn open(to: &AccessTo) -> io::Result<Self> {
        let file = match to {
            AccessTo::Stdout => io::stdout().as_fd().try_clone_to_owned()?.into(),
            AccessTo::Stderr => io::stderr().as_fd().try_clone_to_owned()?.into(),
            AccessTo::File(path) => {
                // A pipe with a name that nobody reads is an error then; it would keep us waiting else.
                let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
                OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(flags).open(path)?
            }
        };
        let kind = file.metadata()?.file_type();
        Ok(if kind.is_file() || kind.is_block_device() { Self::File(file) } else { Self::Pipe(file) })
    }

    /// Writes, and takes what was written from the begin of `lines`.
    pub(super) fn put(&mut self, lines: &mut &[u8]) -> Put {
        match self {
            Self::File(file) => write(file, lines),
            Self::Pipe(pipe) => write_in_pieces(pipe, lines),
            Self::Own(own) => match write(own, lines) {
                Put::All => own.flush().map_or_else(Put::Failed, |()| Put::All),
                other => other,
            },
        }
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Pipe(_) => "Pipe",
            Self::Own(_) => "Own",
        })
    }
}

fn write(to: &mut dyn Write, lines: &mut &[u8]) -> Put {
    while !lines.is_empty() {
        match to.write(lines) {
            Ok(0) => return Put::Failed(io::ErrorKind::WriteZero.into()),
            Ok(written) => *lines = lines.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Put::Failed(error),
        }
    }
    Put::All
}

/// Whole lines, where they are short enough: those of others who write there stay apart from them.
fn write_in_pieces(pipe: &mut File, lines: &mut &[u8]) -> Put {
    while !lines.is_empty() {
        match has_room(pipe) {
            Ok(true) => {}
            Ok(false) => return Put::Waiting,
            Err(error) => return Put::Failed(error),
        }
        let begin = lines.get(..PIECE).unwrap_or(lines);
        let end = begin.iter().rposition(|byte| *byte == b'\n').map_or(begin.len(), |at| at + 1);
        match pipe.write(begin.get(..end).unwrap_or(begin)) {
            Ok(0) => return Put::Failed(io::ErrorKind::WriteZero.into()),
            Ok(written) => *lines = lines.get(written..).unwrap_or_default(),
            // Somebody else was faster, or it wants more room than it said.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(10)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Put::Failed(error),
        }
    }
    Put::All
}

fn has_room(pipe: &File) -> io::Result<bool> {
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    let mut asked = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)];
    match poll(&mut asked, Some(&patience)) {
        // An error is one of writing, too, and ends there.
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
