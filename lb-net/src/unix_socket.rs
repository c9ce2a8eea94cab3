//! Unix sockets by their paths: who listens there, and who may make or remove one.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, FlockOperation, flock, statat},
    io::Errno,
    net::sockopt::socket_peercred,
    path::Arg,
};
use socket2::{Domain, SockAddr, Socket, Type};

/// How long another one may take to start; it is done in microseconds.
pub(crate) const START: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Device and inode of what is at a name.
pub(crate) fn identity(directory: &OwnedFd, name: impl Arg) -> io::Result<(u64, u64)> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((found.st_dev, found.st_ino))
}

/// Who is behind a socket's path.
pub(crate) enum Inhabitant {
    /// There is no socket.
    None,
    /// There is one, and nobody listens at it.
    Dead,
    /// Somebody listens; the process, when it accepted at once.
    Alive(Option<u32>),
}

pub(crate) fn inhabitant(path: &Path) -> io::Result<Inhabitant> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let Err(error) = socket.connect(&SockAddr::unix(path)?) else {
        let peer = socket_peercred(&socket).ok();
        return Ok(Inhabitant::Alive(peer.and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok())));
    };
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => Ok(Inhabitant::None),
        Some(Errno::CONNREFUSED) => Ok(Inhabitant::Dead),
        // Its queue is full.
        Some(Errno::AGAIN) => Ok(Inhabitant::Alive(None)),
        _ => Err(error),
    }
}

/// The lock of a directory, for whoever makes or removes a socket in it, until it is dropped. The kernel takes it from a process that dies.
pub(crate) struct Lock<'a>(&'a OwnedFd);

impl<'a> Lock<'a> {
    /// `None` when somebody else keeps it for so long.
    pub(crate) fn take(directory: &'a OwnedFd, patience: Duration) -> io::Result<Option<Self>> {
        let began = Instant::now();
        loop {
            match flock(directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self(directory))),
                Err(Errno::WOULDBLOCK) if began.elapsed() < patience => thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
