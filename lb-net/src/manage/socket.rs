//! The control socket of one instance: claimed so that only one can have it, and removed with its owner.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, fchown, mkdirat, openat, unlinkat},
    io::Errno,
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    Place, PlaceError,
    rendezvous::NAME,
    sweep::{sweep, take_back},
};
use crate::unix_socket::{Inhabitant, Lock, START, identity, inhabitant};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A control socket that listens, mode 0600 in directories of mode 0700. Dropping it removes it.
///
/// Of several that claim one place, one gets it. A socket at which nobody listens, because its owner was killed, is
/// replaced, and those of other instances that were killed are removed. Nothing but the kernel's lock on a directory is relied upon, so nothing has to be cleaned up by hand.
/// ```
/// use lb_net::manage::{ControlSocket, Place};
/// # let directory = std::env::temp_dir().join(format!("lb-doctest-{}", std::process::id()));
/// let place = Place::new(Some(&directory), 80, Some("127.0.0.1"))?;
/// let socket = ControlSocket::claim(&place)?;
/// let error = ControlSocket::claim(&place).unwrap_err();
/// assert_eq!(error.to_string(), format!("another lb serves port 80 on 127.0.0.1 (pid {})", std::process::id()));
/// drop(socket);
/// assert!(ControlSocket::claim(&place).is_ok());
/// # std::fs::remove_dir(directory).unwrap();
/// # Ok::<(), lb_net::manage::PlaceError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it removes it"]
pub struct ControlSocket {
    listener: UnixListener,
    /// The directory of all instances, and the one of this instance: open, so that they are reached without the right
    /// to enter what is above them.
    all: OwnedFd,
    own: OwnedFd,
    name: String,
    /// Device and inode: a socket that somebody else has put there is not ours to remove.
    identity: (u64, u64),
}

impl ControlSocket {
    /// Listens at a place. It waits, for 5 seconds at most, while another one starts in the same directory.
    ///
    /// # Errors
    /// [`PlaceError::InUse`] when somebody serves there; else what is wrong with the directory.
    pub fn claim(place: &Place) -> Result<Self, PlaceError> {
        let all = place.create_directory()?;
        let name = place.name();
        let Own { listener, directory: own, identity } = claim_alone(place, &all, &name)?;
        Ok(Self { listener, all, own, name, identity })
    }

    /// Gives the socket and its directory to another user, before privileges are dropped: it can then still be removed.
    /// The directory above stays as it is, so root goes on asking there, and the user cannot reach other instances. The
    /// then empty directory of the instance is left when the socket is removed, for the next one.
    ///
    /// # Errors
    /// What `chown` said: only root may.
    pub fn hand_over(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        // The socket first: once the directory is theirs, they may have put something else at its name.
        chownat(&self.own, NAME, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(fchown(&self.own, uid, gid)?)
    }

    /// A second handle of the listening socket, non-blocking.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

/// While we still listen: whoever starts meanwhile sees us, or nothing, but never a socket to replace.
impl Drop for ControlSocket {
    fn drop(&mut self) {
        if identity(&self.own, NAME).is_ok_and(|found| found == self.identity) {
            let _ = unlinkat(&self.own, NAME, AtFlags::empty());
        }
        // Somebody who is starting may want the directory: it is theirs then, or the next one clears it away. Nobody
        // waits for them here: this may be a thread that serves.
        if let Ok(Some(_alone)) = Lock::take(&self.all, Duration::ZERO) {
            let _ = unlinkat(&self.all, &self.name, AtFlags::REMOVEDIR);
        }
    }
}

/// What one instance has of its own.
struct Own {
    listener: UnixListener,
    directory: OwnedFd,
    identity: (u64, u64),
}

/// Claims the place while nobody else claims or leaves one in the same directory.
fn claim_alone(place: &Place, all: &OwnedFd, name: &str) -> Result<Own, PlaceError> {
    let alone = Lock::take(all, START).map_err(|error| place.failed(error))?;
    let Some(_alone) = alone else { return Err(PlaceError::Busy(place.directory().to_owned())) };
    sweep(place, all);
    let claimed = claim_own(place, all, name);
    if claimed.is_err() {
        // It stays when there is something in it.
        let _ = unlinkat(all, name, AtFlags::REMOVEDIR);
    }
    claimed
}

/// Claims the place for the one who holds the lock.
fn claim_own(place: &Place, all: &OwnedFd, name: &str) -> Result<Own, PlaceError> {
    let path = place.socket();
    let failed = |source: io::Error| PlaceError::Io { path: path.clone(), source };
    let directory = own_directory(all, name).map_err(|error| failed(error.into()))?;
    let address = SockAddr::unix(&path).map_err(|_| PlaceError::TooLong(path.clone()))?;
    match inhabitant(&path) {
        Ok(Inhabitant::None) => {}
        Ok(Inhabitant::Dead) => {
            take_back(&directory).and_then(|()| Ok(unlinkat(&directory, NAME, AtFlags::empty())?)).map_err(failed)?;
        }
        Ok(Inhabitant::Alive(pid)) => return Err(PlaceError::InUse { place: place.clone(), pid }),
        Err(error) => return Err(failed(error)),
    }
    take_back(&directory).map_err(failed)?;
    let (listener, identity) = listen(&directory, &address).map_err(failed)?;
    Ok(Own { listener, directory, identity })
}

fn own_directory(all: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match mkdirat(all, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    openat(all, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Binds and listens. In a directory of ours alone nobody comes between the two, nor connects before the mode is set.
fn listen(directory: &OwnedFd, address: &SockAddr) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.bind(address)?;
    let ready = chmodat(directory, NAME, Mode::RUSR | Mode::WUSR, AtFlags::empty())
        .map_err(io::Error::from)
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| identity(directory, NAME));
    if ready.is_err() {
        let _ = unlinkat(directory, NAME, AtFlags::empty());
    }
    Ok((socket.into(), ready?))
}
