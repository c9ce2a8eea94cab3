//! Where an instance's control socket is, and that nobody else can put one there.

use std::{
    ffi::OsString,
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, fstat, mkdir, open},
    io::Errno,
    process::geteuid,
};

/// The socket's name in the directory of its instance.
pub(super) const NAME: &str = "control";

/// Where the control socket of the instance is that serves one port and address.
///
/// A directory that only its owner can enter holds one directory for each instance, `PORT.BIND`, and in it the socket,
/// `control`. So an instance that drops its privileges can own, and remove, its own socket and no other.
/// ```
/// use lb_net::manage::Place;
/// use std::path::Path;
/// let place = Place::new(Some(Path::new("/run/lb")), 80, None)?;
/// assert_eq!(place.socket(), Path::new("/run/lb/80.0.0.0.0/control"));
/// assert_eq!(place.to_string(), "port 80 on 0.0.0.0");
/// # Ok::<(), lb_net::manage::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    port: u16,
    bind: String,
}

/// Why a control socket cannot be where it should be.
/// ```
/// use lb_net::manage::{Place, PlaceError};
/// let place = Place::new(Some("/dev/null".as_ref()), 80, None)?;
/// let error = lb_net::manage::ControlSocket::claim(&place).unwrap_err();
/// assert_eq!(error.to_string(), "control directory /dev/null: it is no directory");
/// # Ok::<(), PlaceError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A file, or a symbolic link, which could lead anywhere tomorrow.
    #[error("control directory {}: it is no directory", .0.display())]
    NoDirectory(PathBuf),
    /// Whoever owns the directory could put another socket there.
    #[error("control directory {}: it belongs to somebody else (uid {uid})", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Only its owner may use the directory.
    #[error("control directory {}: it is open to others (mode {mode:04o}), chmod 700 would close it", .path.display())]
    Exposed {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system has a limit of 107 bytes for the path of a socket.
    #[error("control socket {}: the path is too long, 107 bytes are possible", .0.display())]
    TooLong(PathBuf),
    /// Somebody answers at the socket.
    #[error("another lb serves {place}{}", .pid.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    InUse {
        /// Which instance.
        place: Place,
        /// Its process, when it is known.
        pid: Option<u32>,
    },
    /// Somebody else has been starting in this directory for seconds.
    #[error("control directory {}: another lb is starting there and does not come to an end", .0.display())]
    Busy(PathBuf),
    /// What the system said.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The directory or the socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} on {}", self.port, self.bind)
    }
}

impl Place {
    /// The place for a port and an address as it was written (`-b`; balance takes none for `0.0.0.0`).
    ///
    /// Without a directory it is `/run/lb` for root; for others `lb` in `$XDG_RUNTIME_DIR`, or else `/tmp/lb-UID`.
    ///
    /// # Errors
    /// When a relative directory has nothing to be relative to.
    pub fn new(directory: Option<&Path>, port: u16, bind: Option<&str>) -> Result<Self, PlaceError> {
        let uid = geteuid().as_raw();
        let directory = directory.map_or_else(|| usual(uid, std::env::var_os("XDG_RUNTIME_DIR")), Path::to_owned);
        let absolute = std::path::absolute(&directory);
        let absolute = absolute.map_err(|source| PlaceError::Io { path: directory, source })?;
        // Without a slash at its end, which would have a symbolic link followed.
        Ok(Self { directory: absolute.components().collect(), port, bind: bind.unwrap_or("0.0.0.0").to_owned() })
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join(self.name()).join(NAME)
    }

    /// The directory of all instances.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// This instance's own directory within it.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.port, file_name(&self.bind))
    }

    /// Opens the directory of all instances, which is made when it is missing.
    pub(super) fn create_directory(&self) -> Result<OwnedFd, PlaceError> {
        match mkdir(&self.directory, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.open_directory(OFlags::RDONLY, |uid| uid == geteuid().as_raw()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Looks at the directory as somebody who only asks: root may ask anybody, and all may be told by root. `None` when
    /// there is no such directory.
    pub(super) fn find_directory(&self) -> Result<Option<OwnedFd>, PlaceError> {
        let own = geteuid().as_raw();
        match self.open_directory(OFlags::PATH, |uid| uid == own || uid == 0 || own == 0) {
            Err(PlaceError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    fn open_directory(&self, flags: OFlags, trusts: impl Fn(u32) -> bool) -> Result<OwnedFd, PlaceError> {
        let path = || self.directory.clone();
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = open(&self.directory, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => PlaceError::NoDirectory(path()),
            error => self.failed(error),
        })?;
        let found = fstat(&directory).map_err(|error| self.failed(error))?;
        let mode = found.st_mode & 0o7777;
        if !trusts(found.st_uid) {
            return Err(PlaceError::Foreign { path: path(), uid: found.st_uid });
        }
        if mode & 0o077 != 0 {
            return Err(PlaceError::Exposed { path: path(), mode });
        }
        Ok(directory)
    }

    pub(super) fn failed(&self, source: impl Into<io::Error>) -> PlaceError {
        PlaceError::Io { path: self.directory.clone(), source: source.into() }
    }
}

/// The directory when none is named. A relative `$XDG_RUNTIME_DIR` is to be ignored (XDG base directory specification).
fn usual(uid: u32, runtime: Option<OsString>) -> PathBuf {
    if uid == 0 {
        return PathBuf::from("/run/lb");
    }
    let runtime = runtime.map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.map_or_else(|| PathBuf::from(format!("/tmp/lb-{uid}")), |path| path.join("lb"))
}

/// A text as part of a file's name: other texts have other names, and none is so long that a socket's path cannot hold
/// it.
fn file_name(text: &str) -> String {
    const LONGEST: usize = 48;
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'_' | b'-' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    if name.len() > LONGEST {
        // It is all ASCII. '~' is in no name that was not cut.
        name.truncate(LONGEST - 17);
        name.push_str(&format!("~{:016x}", lb_core::key::of_bytes(text.as_bytes())));
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_directory_is_private_to_the_user() {
        let rows = [
            (0, Some("/run/user/0"), "/run/lb"),
            (1000, Some("/run/user/1000"), "/run/user/1000/lb"),
            (1000, Some("run"), "/tmp/lb-1000"),
            (1000, Some(""), "/tmp/lb-1000"),
            (1000, None, "/tmp/lb-1000"),
        ];
        for (uid, runtime, directory) in rows {
            assert_eq!(usual(uid, runtime.map(OsString::from)), Path::new(directory));
        }
    }

    #[test]
    fn an_instance_is_known_by_its_port_and_the_text_of_its_address() {
        let name = |port, bind| Place::new(Some(Path::new("/d")), port, bind).unwrap().name();
        assert_eq!(name(80, None), name(80, Some("0.0.0.0")));
        assert_eq!(name(80, Some("::1")), "80.::1");
        assert_eq!(name(80, Some("../x/%")), "80...%2Fx%2F%25");
        assert_eq!(name(80, Some("")), "80.");
    }

    #[test]
    fn a_slash_at_the_end_makes_no_other_place() {
        let place = |directory| Place::new(Some(Path::new(directory)), 80, None).unwrap();
        assert_eq!(place("/d/"), place("/d"));
        assert!(place("d").socket().is_absolute());
    }

    proptest! {
        #[test]
        fn names_are_short_safe_and_different(one in ".{0,60}", other in ".{0,60}") {
            let (a, b) = (file_name(&one), file_name(&other));
            prop_assert!(a.len() <= 48 && !a.contains(['/', '\0', ' ']));
            prop_assert_eq!(a == b, one == other);
        }
    }
}
