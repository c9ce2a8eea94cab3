//! The lines that server and client exchange.

use std::{fmt, str::FromStr};

use super::balance::End;

/// The longest request, its newline included.
pub(super) const LONGEST_REQUEST: u64 = 64 * 1024;

/// The server's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// `lb PID VERSION`
    Welcome { pid: u32, version: String },
    /// `lb - REASON`: the session is over before it begins.
    Refused(String),
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome { pid, version } => writeln!(f, "lb {pid} {version}"),
            Self::Refused(reason) => writeln!(f, "lb - {reason}"),
        }
    }
}

/// Not what the other side should have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl FromStr for Greeting {
    type Err = Garbled;
    fn from_str(line: &str) -> Result<Self, Garbled> {
        let rest = line.strip_suffix('\n').and_then(|line| line.strip_prefix("lb ")).ok_or(Garbled)?;
        let (pid, rest) = rest.split_once(' ').ok_or(Garbled)?;
        match pid {
            "-" => Ok(Self::Refused(rest.to_owned())),
            pid => Ok(Self::Welcome { pid: pid.parse().map_err(|_| Garbled)?, version: rest.to_owned() }),
        }
    }
}

/// The line before a reply's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) failed: bool,
    pub(super) group: usize,
    /// Of the text, in bytes.
    pub(super) length: u64,
    pub(super) end: Option<End>,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            None => "",
            Some(End::Quit) => " quit",
            Some(End::Kill) => " kill",
        };
        writeln!(f, "{} {} {}{end}", if self.failed { "failed" } else { "ok" }, self.group, self.length)
    }
}

impl FromStr for Header {
    type Err = Garbled;
    fn from_str(line: &str) -> Result<Self, Garbled> {
        let words: Vec<&str> = line.strip_suffix('\n').ok_or(Garbled)?.split(' ').collect();
        let (status, group, length, end) = match words[..] {
            [status, group, length] => (status, group, length, None),
            [status, group, length, "quit"] => (status, group, length, Some(End::Quit)),
            [status, group, length, "kill"] => (status, group, length, Some(End::Kill)),
            _ => return Err(Garbled),
        };
        let failed = match status {
            "ok" => false,
            "failed" => true,
            _ => return Err(Garbled),
        };
        let (group, length) = (group.parse().map_err(|_| Garbled)?, length.parse().map_err(|_| Garbled)?);
        Ok(Self { failed, group, length, end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(failed: bool, group: usize, length: u64, pid: u32, end in 0..3_usize) {
            let end = [None, Some(End::Quit), Some(End::Kill)][end];
            let header = Header { failed, group, length, end };
            prop_assert_eq!(header.to_string().parse(), Ok(header));
            let greetings =
                [Greeting::Welcome { pid, version: "1.2.3-rc".into() }, Greeting::Refused("too many of you".into())];
            for greeting in greetings {
                prop_assert_eq!(greeting.to_string().parse(), Ok(greeting));
            }
        }

        #[test]
        fn no_line_panics(line in "(ok|failed|lb)?[ 0-9a-z-]{0,30}\n?|.{0,30}") {
            let _ = (line.parse::<Header>(), line.parse::<Greeting>());
        }
    }
}
