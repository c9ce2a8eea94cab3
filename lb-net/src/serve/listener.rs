//! Where requests come to: a TCP port, or a unix socket that is removed with its owner.

use std::{
    io,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, mkdir, open, openat, statat,
        unlinkat,
    },
    io::Errno,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    http_address::HttpAddress,
    listener::bind,
    unix_socket::{Inhabitant, Lock, START, identity, inhabitant},
};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long another one may take to start while this one stops.
const STOP: Duration = Duration::from_millis(100);

/// A socket that listens for HTTP. It may be bound before there is a runtime, and before privileges are dropped.
///
/// A unix socket has mode 0600, replaces one at which nobody listens any more, and is removed with its owner. Its
/// directory is made when there is none.
/// ```
/// use lb_net::serve::{HttpAddress, Listener};
/// let listener = Listener::bind(&HttpAddress::Tcp("127.0.0.1:0".parse()?))?;
/// let HttpAddress::Tcp(address) = listener.address()? else { panic!("it is TCP") };
/// assert_ne!(address.port(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// Why there is no HTTP at an address.
/// ```
/// use lb_net::serve::{HttpAddress, Listener};
/// let first = Listener::bind(&HttpAddress::Tcp("127.0.0.1:0".parse()?))?;
/// let error = Listener::bind(&first.address()?).unwrap_err();
/// assert!(error.to_string().starts_with("cannot listen for HTTP on 127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// What the system said.
    #[error("cannot listen for HTTP on {address}")]
    Io {
        /// The address as it was asked for.
        address: HttpAddress,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers at the socket.
    #[error("cannot listen for HTTP on unix:{}: another process does{}", .path.display(),
        .pid.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Who listens, when it is known.
        pid: Option<u32>,
    },
    /// What is there is no socket, and is left alone.
    #[error("cannot listen for HTTP on unix:{}: there is a file that is no socket", .0.display())]
    NoSocket(PathBuf),
    /// Others could put a socket of theirs in its place.
    #[error("cannot listen for HTTP in {}: others may write there (mode {mode:04o}), chmod go-w would keep them out",
        .path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else has been starting in this directory for seconds.
    #[error("cannot listen for HTTP in {}: another process is starting there and does not come to an end", .0.display())]
    Busy(PathBuf),
}

impl Listener {
    /// Listens at an address.
    ///
    /// # Errors
    /// What is in the way.
    pub fn bind(address: &HttpAddress) -> Result<Self, ListenError> {
        let failed = |source: io::Error| ListenError::Io { address: address.clone(), source };
        match address {
            HttpAddress::Tcp(tcp) => {
                let mut bound = bind(*tcp, 1).map_err(|error| failed(error.source))?;
                bound.pop().map(|listener| Self(Kind::Tcp(listener))).ok_or_else(|| failed(io::ErrorKind::Other.into()))
            }
            HttpAddress::Unix(path) => UnixSocket::bind(path, failed).map(|socket| Self(Kind::Unix(socket))),
        }
    }

    /// Where it listens, with the port that the system has chosen.
    ///
    /// # Errors
    /// What the system said.
    pub fn address(&self) -> io::Result<HttpAddress> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(HttpAddress::Tcp),
            Kind::Unix(socket) => Ok(HttpAddress::Unix(socket.path.clone())),
        }
    }

    /// Gives a unix socket to another user, before privileges are dropped, and its directory where that was made for it:
    /// it can then be reached, and removed at the end. Where the directory remains another's the socket stays at the end,
    /// and is replaced at the next start. A TCP port is as it was.
    ///
    /// # Errors
    /// What `chown` said: only root may.
    pub fn hand_over(&self, uid: u32, gid: u32) -> io::Result<()> {
        match &self.0 {
            Kind::Tcp(_) => Ok(()),
            Kind::Unix(socket) => socket.hand_over(Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))),
        }
    }
}

/// A unix socket that listens.
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Open, so that it is reached without the right to enter what is above it.
    directory: OwnedFd,
    /// Whether the directory was made for it.
    is_housed: bool,
    name: Vec<u8>,
    /// A socket that somebody else has put there is not ours to remove.
    identity: (u64, u64),
}

impl UnixSocket {
    fn bind(path: &Path, failed: impl Fn(io::Error) -> ListenError) -> Result<Self, ListenError> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let (directory, is_housed) = open_directory(above).map_err(|error| failed(error.into()))?;
        let mode = fstat(&directory).map_err(|error| failed(error.into()))?.st_mode & 0o7777;
        // Where the sticky bit is set nobody can replace what is another's.
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            return Err(ListenError::Exposed { path: above.to_owned(), mode });
        }
        let (listener, identity) = {
            let alone = Lock::take(&directory, START).map_err(&failed)?;
            let Some(_alone) = alone else { return Err(ListenError::Busy(above.to_owned())) };
            make_room(path, &directory, &name, &failed)?;
            listen(path, &directory, &name).map_err(failed)?
        };
        Ok(Self { listener, path: path.to_owned(), directory, is_housed, name, identity })
    }

    /// Whoever may write in the directory, from an earlier start say, gets nothing but the socket: what is at its name is
    /// held before it is looked at.
    fn hand_over(&self, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
        let found =
            openat(&self.directory, &self.name[..], OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let is_ours = fstat(&found).map(|found| (found.st_dev, found.st_ino) == self.identity)?;
        if !is_ours {
            return Err(io::Error::other(format!("{}: somebody has put something else there", self.path.display())));
        }
        chownat(&found, "", uid, gid, AtFlags::EMPTY_PATH)?;
        if self.is_housed {
            fchown(&self.directory, uid, gid)?;
        }
        Ok(())
    }

    /// A second handle of the listening socket, non-blocking.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

/// While we still listen: whoever starts meanwhile sees us, or nothing, but never a socket to replace.
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _alone = Lock::take(&self.directory, STOP);
        if identity(&self.directory, &self.name[..]).is_ok_and(|found| found == self.identity) {
            let _ = unlinkat(&self.directory, &self.name[..], AtFlags::empty());
        }
    }
}

/// Opens a directory, which is made when there is none; whether it was.
fn open_directory(path: &Path) -> rustix::io::Result<(OwnedFd, bool)> {
    let is_new = match mkdir(path, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error),
    };
    Ok((open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?, is_new))
}

/// Removes a socket at which nobody listens.
fn make_room(
    path: &Path,
    directory: &OwnedFd,
    name: &[u8],
    failed: &impl Fn(io::Error) -> ListenError,
) -> Result<(), ListenError> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Socket => {
            return Err(ListenError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match inhabitant(path).map_err(failed)? {
        Inhabitant::Alive(pid) => Err(ListenError::InUse { path: path.to_owned(), pid }),
        Inhabitant::None => Ok(()),
        Inhabitant::Dead => unlinkat(directory, name, AtFlags::empty()).map_err(|error| failed(error.into())),
    }
}

/// The mode is set before there is a name to open: at no time can others connect.
fn listen(path: &Path, directory: &OwnedFd, name: &[u8]) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let ready = identity(directory, name).and_then(|identity| socket.listen(BACKLOG).map(|()| identity));
    if ready.is_err() {
        let _ = unlinkat(directory, name, AtFlags::empty());
    }
    Ok((socket.into(), ready?))
}
