//! Small files that people name: read whole, up to a size, and nothing that would keep who reads it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// What the system said.
    Io(io::Error),
    /// A directory, a pipe, a device; or what only looks like a file and has no end, as the kernel's log does.
    NoFile,
    /// It has more than it may have.
    Large,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        // Of no file with an end a system says that there will be more.
        if error.kind() == io::ErrorKind::WouldBlock { Self::NoFile } else { Self::Io(error) }
    }
}

/// Opens a regular file. Anything else is left alone: a pipe would wait for its writer, a device may do something.
pub(crate) fn open(path: &Path) -> Result<File, Unread> {
    if !fs::metadata(path)?.is_file() {
        return Err(Unread::NoFile);
    }
    // It may have become something else meanwhile.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Unread::NoFile) }
}

/// All of it, `most` bytes at most. What it says of its size is not believed: it may grow, or say nothing.
pub(crate) fn content(file: &File, most: usize) -> Result<Vec<u8>, Unread> {
    let mut content = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut content)?;
    if content.len() > most { Err(Unread::Large) } else { Ok(content) }
}

/// Opens it and reads all of it.
#[cfg(any(feature = "config", feature = "health-endpoint", feature = "http"))]
pub(crate) fn read(path: &Path, most: usize) -> Result<Vec<u8>, Unread> {
    content(&open(path)?, most)
}

#[cfg(all(test, any(feature = "config", feature = "health-endpoint", feature = "http")))]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_most_and_nothing_else_is() {
        let place = std::env::temp_dir().join(format!("lb-small-file-{}", std::process::id()));
        fs::write(&place, [b'x'; 9]).unwrap();
        assert_eq!(read(&place, 9).unwrap(), [b'x'; 9]);
        assert!(matches!(read(&place, 8), Err(Unread::Large)));
        fs::remove_file(&place).unwrap();
        assert!(matches!(read(&place, 9), Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound));
        mknodat(CWD, &*place, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(matches!(read(&place, 9), Err(Unread::NoFile)), "nobody writes there");
        fs::remove_file(&place).unwrap();
        for other in ["/", "/dev/zero", "/dev/null"] {
            assert!(matches!(read(other.as_ref(), 9), Err(Unread::NoFile)), "{other}");
        }
    }

    #[test]
    fn a_file_without_an_end_is_none() {
        // It looks like a file. Only root may read it, and who has a little more of it than is there waits.
        let read = read("/proc/kmsg".as_ref(), 1 << 30);
        assert!(matches!(&read, Err(Unread::NoFile | Unread::Io(_))), "{read:?}");
        // Of no size at all, as it says.
        assert!(!super::read("/proc/self/status".as_ref(), 1 << 20).unwrap().is_empty());
    }
}
