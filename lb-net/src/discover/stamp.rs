//! Whether a file is another one than at the last look, and whether its writer has finished.

use std::{fs::Metadata, io::ErrorKind, os::unix::fs::MetadataExt as _};

use lb_core::BackendConfig;

use super::{DiscoverError, NodeFile};

/// Looks in a row that may find another file each before it is read all the same: one that never rests is read too.
const PATIENCE: u8 = 3;

/// What the system says of a file without opening it. Whatever changes the content or the right to read it changes one
/// of these; a file that is moved or linked into its place is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(known: &Metadata) -> Self {
        Self {
            device: known.dev(),
            inode: known.ino(),
            size: known.size(),
            modified: (known.mtime(), known.mtime_nsec()),
            changed: (known.ctime(), known.ctime_nsec()),
        }
    }
}

/// What a look saw: a file, or why not.
type Sight = Result<Stamp, ErrorKind>;

/// What the looks at a file have seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    last: Option<Sight>,
    /// Looks in a row that saw something else than the one before.
    moves: u8,
    /// What need not be read again.
    taken: Option<Sight>,
}

impl Looks {
    /// Looks once more. What the file has, once it is another one than that which was taken last and two looks in a row
    /// have seen the same of it: its writer has a moment to finish, and a file that is replaced may be missing for one.
    pub(super) fn look(&mut self, file: &NodeFile) -> Option<Result<Vec<BackendConfig>, DiscoverError>> {
        let sight: Sight =
            std::fs::metadata(file.path()).map(|known| Stamp::from(&known)).map_err(|error| error.kind());
        let rests = self.last.replace(sight) == Some(sight);
        self.moves = if rests || self.taken == Some(sight) { 0 } else { self.moves + 1 };
        let is_due = rests || self.moves >= PATIENCE;
        if self.taken == Some(sight) || !is_due {
            return None;
        }
        match file.read_between() {
            Ok((before, content, after)) => {
                let (before, after) = (Stamp::from(&before), Stamp::from(&after));
                if before != after {
                    (self.last, self.moves) = (Some(Ok(after)), self.moves.max(1));
                    return None;
                }
                // What did not rest may have been written on within one tick of the file's clock.
                (self.taken, self.moves) = ((rests && sight == Ok(before)).then_some(sight), 0);
                Some(content)
            }
            // The next look reads again: descriptors may have run out.
            Err(error) => {
                (self.taken, self.moves) = (None, 0);
                Some(Err(error))
            }
        }
    }

    /// Forgets what was taken: the next look reads.
    pub(super) fn forget(&mut self) {
        self.taken = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("lb-stamp-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let place = std::env::temp_dir().join(name);
            fs::create_dir(&place).unwrap();
            Self(place)
        }

        fn file(&self) -> NodeFile {
            self.0.join("nodes").to_str().unwrap().parse().unwrap()
        }

        fn replace(&self, content: &str) {
            fs::write(self.0.join("new"), content).unwrap();
            fs::rename(self.0.join("new"), self.0.join("nodes")).unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn look(looks: &mut Looks, file: &NodeFile) -> Option<Result<String, String>> {
        let words = |all: Vec<BackendConfig>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        looks.look(file).map(|answer| answer.map(words).map_err(|error| error.to_string()))
    }

    fn good(words: &str) -> Option<Result<String, String>> {
        Some(Ok(words.to_owned()))
    }

    #[test]
    fn a_file_is_read_when_it_rests_and_then_not_again() {
        let (place, mut looks) = (Place::new(), Looks::default());
        place.replace("a\n");
        assert_eq!([(); 4].map(|()| look(&mut looks, &place.file())), [None, good("a"), None, None]);
        place.replace("b\n");
        assert_eq!([(); 3].map(|()| look(&mut looks, &place.file())), [None, good("b"), None]);
    }

    #[test]
    fn a_writer_has_a_moment_to_finish_and_one_that_never_does_is_read_all_the_same() {
        let (place, mut looks) = (Place::new(), Looks::default());
        let mut seen = Vec::new();
        for size in 1..=6 {
            place.replace(&"a\n".repeat(size));
            seen.push(look(&mut looks, &place.file()));
        }
        assert_eq!(seen, [None, None, good("a"), None, None, good("a")]);
        assert_eq!([(); 3].map(|()| look(&mut looks, &place.file())), [good("a"), None, None]);
    }

    #[test]
    fn a_file_that_is_missing_for_a_moment_is_not_missing() {
        let (place, mut looks) = (Place::new(), Looks::default());
        place.replace("a\n");
        assert_eq!([(); 2].map(|()| look(&mut looks, &place.file())), [None, good("a")]);
        fs::rename(place.0.join("nodes"), place.0.join("away")).unwrap();
        assert_eq!(look(&mut looks, &place.file()), None);
        fs::rename(place.0.join("away"), place.0.join("nodes")).unwrap();
        assert!([(); 3].map(|()| look(&mut looks, &place.file())).into_iter().flatten().all(|answer| answer.is_ok()));
        fs::remove_file(place.0.join("nodes")).unwrap();
        assert_eq!(look(&mut looks, &place.file()), None);
        assert!(look(&mut looks, &place.file()).unwrap().is_err());
        place.replace("a\n");
        assert_eq!([(); 3].map(|()| look(&mut looks, &place.file())), [None, good("a"), None]);
    }

    #[test]
    fn a_bad_file_is_read_once_and_no_pipe_is_waited_for() {
        let (place, mut looks) = (Place::new(), Looks::default());
        place.replace("a b\n");
        let seen = [(); 3].map(|()| look(&mut looks, &place.file()));
        assert!(matches!(&seen, [None, Some(Err(_)), None]), "{seen:?}");
        fs::remove_file(place.0.join("nodes")).unwrap();
        fs::create_dir(place.0.join("nodes")).unwrap();
        let seen = [(); 3].map(|()| look(&mut looks, &place.file()));
        assert!(matches!(&seen, [None, Some(Err(text)), None] if text.ends_with("no regular file")), "{seen:?}");
    }
}
