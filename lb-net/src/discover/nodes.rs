//! A node file to the backends in it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs::Metadata,
    io,
};

use lb_core::BackendConfig;

use super::{DiscoverError, NodeFile};
use crate::{
    printable::{is_printable, printable},
    small_file::{self, Unread},
};

/// More is no list that anybody meant: half a million backends fit in.
const MOST: usize = 16 << 20;

/// Letters of a word that a message shows.
const SHOWN: usize = 80;

impl NodeFile {
    /// The backends that a content of this file stands for.
    ///
    /// # Errors
    /// The first line that cannot be read, or that there is none.
    pub fn parse(&self, content: &[u8]) -> Result<Vec<BackendConfig>, DiscoverError> {
        if content.len() > MOST {
            return Err(DiscoverError::Large(self.clone()));
        }
        let text = std::str::from_utf8(content).map_err(|error| {
            let good = &content[..error.valid_up_to()];
            DiscoverError::NotText(self.clone(), good.split(|byte| *byte == b'\n').count())
        })?;
        let mut backends = Vec::new();
        let (mut lines, mut names) = (HashSet::new(), HashMap::new());
        for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').enumerate() {
            let wrong = |what: String| DiscoverError::Line(self.clone(), at + 1, what);
            let Some(word) = word(line).map_err(wrong)? else { continue };
            // The same word again says nothing new, and is not even read.
            if !lines.insert(word) {
                continue;
            }
            let backend: BackendConfig = word.parse().map_err(|error: lb_core::SpecError| wrong(error.to_string()))?;
            match names.entry(backend.name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert((at, backends.len()));
                    backends.push(backend);
                }
                Entry::Occupied(entry) => {
                    let (before, slot) = *entry.get();
                    if backends[slot] != backend {
                        let before = before + 1;
                        return Err(wrong(format!("{word}: line {before} has it with another limit or weight")));
                    }
                }
            }
        }
        if backends.is_empty() { Err(DiscoverError::Empty(self.clone())) } else { Ok(backends) }
    }

    /// What it has at the moment.
    pub(super) fn read(&self) -> Result<Vec<BackendConfig>, DiscoverError> {
        self.read_between().map(|(_, content, _)| content)?
    }

    /// The same, and what the system says of the file before and after. Only what says nothing of the content fails
    /// outside.
    #[allow(clippy::type_complexity, reason = "three things of one moment")]
    pub(super) fn read_between(
        &self,
    ) -> Result<(Metadata, Result<Vec<BackendConfig>, DiscoverError>, Metadata), DiscoverError> {
        let unreadable = |error: io::Error| DiscoverError::Unreadable(self.clone(), error);
        let known = std::fs::metadata(self.path()).map_err(unreadable)?;
        let file = match small_file::open(self.path()) {
            Err(Unread::Io(error)) => return Err(unreadable(error)),
            Err(unread) => return Ok((known.clone(), Err(self.unread(unread)), known)),
            Ok(file) => file,
        };
        let before = file.metadata().map_err(unreadable)?;
        let backends = match small_file::content(&file, MOST) {
            Err(Unread::Io(error)) => return Err(unreadable(error)),
            Err(unread) => Err(self.unread(unread)),
            Ok(content) => self.parse(&content),
        };
        let after = file.metadata().map_err(unreadable)?;
        Ok((before, backends, after))
    }

    fn unread(&self, unread: Unread) -> DiscoverError {
        match unread {
            Unread::Io(error) => DiscoverError::Unreadable(self.clone(), error),
            Unread::NoFile => DiscoverError::NoFile(self.clone()),
            Unread::Large => DiscoverError::Large(self.clone()),
        }
    }
}

/// What a line has before its comment: a word or nothing.
fn word(line: &str) -> Result<Option<&str>, String> {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let first = words.next().map(plain).transpose()?;
    match words.next() {
        Some(second) => Err(format!("'{}' is a second word: one backend a line", printable(second, SHOWN))),
        None => Ok(first),
    }
}

/// Whatever a message may show as it is.
fn plain(word: &str) -> Result<&str, String> {
    let is_plain = word.chars().count() <= 512 && is_printable(word);
    if is_plain { Ok(word) } else { Err(format!("'{}' is not host[:port[:max[:weight]]]", printable(word, SHOWN))) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> NodeFile {
        "/nodes".parse().unwrap()
    }

    fn names(content: &str) -> Vec<String> {
        file().parse(content.as_bytes()).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn comments_blanks_and_the_line_ends_of_other_systems_are_nothing() {
        let content = "\u{feff}# all\r\n\r\n  alpha:80\t# here\r\nbeta::256:3#and\r\n[::1]:http\r\n  #";
        assert_eq!(names(content), ["alpha:80", "beta::256:3", "[::1]:http"]);
    }

    #[test]
    fn a_line_twice_counts_once() {
        assert_eq!(names("a:80\nb\na:80 # again\na:80:\nb\n"), ["a:80", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let error = |content: &[u8]| file().parse(content).unwrap_err().to_string();
        let line = |content: &str| error(content.as_bytes());
        assert!(line("a\n\n# c\n::1\n").starts_with("/nodes:4: ::1: no host in it"));
        assert_eq!(line("a beta:80"), "/nodes:1: 'beta:80' is a second word: one backend a line");
        assert_eq!(line("a\na:::2"), "/nodes:2: a:::2: line 1 has it with another limit or weight");
        assert!(line("a:99999").contains("port '99999' is neither"));
        assert!(line("!").starts_with("/nodes:1: !: no host"));
        assert_eq!(line("a\u{1b}[2J"), "/nodes:1: 'a\\u{1b}[2J' is not host[:port[:max[:weight]]]");
        assert_eq!(line("a\u{202e}b"), "/nodes:1: 'a\\u{202e}b' is not host[:port[:max[:weight]]]");
        assert!(line(&"x".repeat(1 << 20)).len() < 200);
        assert_eq!(error(b"a\nb\xff\n"), "/nodes:2: it is no text: the file must be UTF-8");
        assert_eq!(line("# nothing\n"), "/nodes: there is no backend in it");
        assert_eq!(error(&vec![b'\n'; MOST + 1]), "/nodes: it has more than 16 MiB");
    }

    #[test]
    fn ten_thousand_backends_are_read_at_once() {
        let time = |count: usize| {
            let lines: String = (0..count).map(|n| format!("10.0.{}.{}:80:9:2\n", n / 250, n % 250)).collect();
            let began = std::time::Instant::now();
            assert_eq!(file().parse(lines.as_bytes()).unwrap().len(), count);
            began.elapsed()
        };
        // A loop in a loop would take a hundred times as long. Others use this machine too: one good time will do.
        assert!((0..5).any(|_| time(10_000) < 30 * time(1_000)));
    }

    proptest! {
        #[test]
        fn no_content_panics_and_what_is_read_prints_and_reads_back(
            content in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "([ab]|\\[::1\\]|:80|:http|:|7|#|!|%|\n|\r| |\t|é|\u{1b}){0,30}".prop_map(String::into_bytes),
                "((a|b|c|d|e|10\\.0\\.0\\.1)(:80)?(:[0-9]){0,2} ?(# x)?\n){0,9}".prop_map(String::into_bytes),
            ]
        ) {
            if let Ok(backends) = file().parse(&content) {
                let text: String = backends.iter().map(|backend| format!("{backend}\n")).collect();
                prop_assert_eq!(file().parse(text.as_bytes()).unwrap(), backends);
            }
        }
    }
}
