//! stderr, written to without waiting for who reads it.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};

/// How much of a text was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    All,
    Part,
    Nothing,
}

/// Where lines are put. stderr is shared with whoever started us, who would not wait either if it were told not to: it is
/// asked for room instead. A terminal may have room for half a line and keep us waiting with the other half, so it is
/// opened once more, for us alone.
#[derive(Debug)]
pub(super) struct Output {
    terminal: Option<File>,
}

impl Output {
    pub(super) fn stderr() -> Self {
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let anew = || OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2").ok();
        // Without /proc, or where the terminal is somebody else's, lines may have to wait.
        Self { terminal: io::stderr().is_terminal().then(anew).flatten() }
    }

    /// Whether a line would be taken within this time: of a pipe, a terminal or a socket the system says so at once.
    pub(super) fn has_room(&self, patience: Duration) -> bool {
        self.with(|descriptor| has_room(descriptor, patience))
    }

    /// In one call, if there is room: lines of others stay whole. That nobody reads any more is no reason to fail.
    pub(super) fn put(&self, text: &str, patience: Duration) -> Taken {
        let (began, mut rest) = (Instant::now(), text.as_bytes());
        while !rest.is_empty() {
            let written = match self.has_room(patience.saturating_sub(began.elapsed())) {
                true => self.with(|descriptor| rustix::io::write(descriptor, rest)),
                false => Err(Errno::AGAIN),
            };
            match written {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if rest.len() == text.len() => return Taken::Nothing,
                Err(Errno::AGAIN) => return Taken::Part,
                Err(_) => break,
            }
        }
        Taken::All
    }

    fn with<R>(&self, act: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        match &self.terminal {
            Some(terminal) => act(terminal.as_fd()),
            None => act(io::stderr().as_fd()),
        }
    }
}

fn has_room(descriptor: BorrowedFd<'_>, patience: Duration) -> bool {
    let Ok(patience) = Timespec::try_from(patience) else { return false };
    let mut asked = [PollFd::from_borrowed_fd(descriptor, PollFlags::OUT)];
    // An error is one of writing, too, and ends there.
    poll(&mut asked, Some(&patience)).map_or(true, |ready| ready > 0)
}
