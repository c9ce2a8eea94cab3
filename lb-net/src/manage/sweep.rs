//! Clears away what killed instances have left beside us, so that nobody has to.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fchown, fstat, openat, statat, unlinkat},
    process::{getegid, geteuid},
};

use super::{Place, rendezvous::NAME};
use crate::unix_socket::{Inhabitant, inhabitant};

/// Entries that are looked at in one start: what is beyond it is for the next.
const MOST: usize = 4096;

/// Removes the directories of instances at whose sockets nobody listens. For the one who holds the lock of `all`: nobody
/// is between making a socket and listening then. What cannot be removed stays.
pub(super) fn sweep(place: &Place, all: &OwnedFd) {
    let Ok(entries) = Dir::read_from(all) else { return };
    for entry in entries.take(MOST).map_while(Result::ok) {
        if let Ok(name) = entry.file_name().to_str()
            && is_instance(name)
            && name != place.name()
        {
            remove_dead(place, all, name);
        }
    }
}

/// Makes a directory ours again that was handed over to another user, who has no business in it any more.
pub(super) fn take_back(directory: &OwnedFd) -> io::Result<()> {
    let found = fstat(directory)?;
    if found.st_uid != geteuid().as_raw() {
        fchown(directory, Some(geteuid()), Some(getegid()))?;
    }
    if found.st_mode & 0o7777 != 0o700 {
        fchmod(directory, Mode::RWXU)?;
    }
    Ok(())
}

/// `PORT.BIND`: anything else in the directory is not ours.
fn is_instance(name: &str) -> bool {
    name.split_once('.').is_some_and(|(port, _)| port.parse::<u16>().is_ok())
}

fn remove_dead(place: &Place, all: &OwnedFd, name: &str) {
    let path = place.directory().join(name).join(NAME);
    match inhabitant(&path) {
        Ok(Inhabitant::Dead) => {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(directory) = openat(all, name, flags, Mode::empty()) else { return };
            let found = statat(&directory, NAME, AtFlags::SYMLINK_NOFOLLOW);
            let is_socket = found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket);
            if is_socket && take_back(&directory).is_ok() {
                let _ = unlinkat(&directory, NAME, AtFlags::empty());
            }
        }
        Ok(Inhabitant::None) => {}
        _ => return,
    }
    let _ = unlinkat(all, name, AtFlags::REMOVEDIR);
}
