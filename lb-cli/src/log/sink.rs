//! Where lines go: stderr, syslog, or both. Whoever writes one does not wait for its reader.

use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    time::{Duration, SystemTime},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::fstat,
};

use super::{
    Entry, Level,
    line::{Format, Style, line},
    syslog::Syslog,
};

/// Names systemd's journal (device:inode), for those whose stderr it is.
const JOURNAL: &str = "JOURNAL_STREAM";

/// How long a line that is waited for waits itself.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sinks {
    stderr: Option<Stderr>,
    syslog: Option<Syslog>,
}

impl Sinks {
    pub(super) fn stderr() -> Self {
        Self { stderr: Some(Stderr::new()), syslog: None }
    }

    pub(super) fn syslog() -> Self {
        Self { stderr: Some(Stderr::new()), syslog: Some(Syslog::default()) }
    }

    #[cfg(test)]
    pub(super) fn syslog_at(path: &std::path::Path) -> Self {
        Self { stderr: None, syslog: Some(Syslog::at(path)) }
    }

    pub(super) fn leave_stderr(&mut self) {
        self.stderr = None;
    }

    pub(super) fn write(&mut self, format: Format, entry: &Entry) {
        let now = SystemTime::now();
        let is_journal = self.stderr.as_ref().is_some_and(|stderr| stderr.kind == Kind::Journal);
        if let Some(stderr) = &mut self.stderr {
            stderr.write(format, entry, now);
        }
        // The journal is behind syslog too: it would be there twice.
        if let Some(syslog) = self.syslog.as_mut().filter(|_| !is_journal) {
            syslog.write(entry.level as u8, &line(format, Style::Bare, entry, now));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Terminal,
    Journal,
    /// A file, a pipe, nothing.
    Other,
}

#[derive(Debug)]
struct Stderr {
    kind: Kind,
    /// Lines that found no room since the last one that did.
    lost: u64,
}

impl Stderr {
    fn new() -> Self {
        let kind = match io::stderr() {
            stderr if stderr.is_terminal() => Kind::Terminal,
            _ if is_journal() => Kind::Journal,
            _ => Kind::Other,
        };
        Self { kind, lost: 0 }
    }

    fn write(&mut self, format: Format, entry: &Entry, now: SystemTime) {
        if !has_room(if entry.is_answer { PATIENCE } else { Duration::ZERO }) {
            self.lost += 1;
            return;
        }
        let mut text = String::new();
        if self.lost > 0 {
            let lines = if self.lost == 1 { "1 line was".to_owned() } else { format!("{} lines were", self.lost) };
            let message = format!("{lines} lost, because nobody has read those before");
            let lost = Entry::new(Level::Warning, "log-lost", message).with("lines", self.lost);
            text = self.text(format, &lost, now);
            self.lost = 0;
        }
        text += &self.text(format, entry, now);
        put(&text);
    }

    fn text(&self, format: Format, entry: &Entry, now: SystemTime) -> String {
        let level = entry.level as u8;
        match self.kind {
            Kind::Journal => format!("<{level}>{}\n", line(format, Style::Bare, entry, now)),
            Kind::Other if !entry.is_answer => format!("{}\n", line(format, Style::Timed, entry, now)),
            _ => format!("{}\n", line(format, Style::Plain, entry, now)),
        }
    }
}

/// In one call: lines of others stay whole. That nobody reads any more is no reason to fail.
fn put(text: &str) {
    let _ = rustix::io::write(io::stderr(), text.as_bytes());
}

/// Whether a line would be taken at once: of a pipe, a terminal or a socket the system says so only then. It is asked
/// rather than told not to wait, because stderr is shared with whoever started us, who would not wait either.
fn has_room(patience: Duration) -> bool {
    let stderr = io::stderr();
    let stderr = stderr.as_fd();
    let Ok(patience) = Timespec::try_from(patience) else { return false };
    let mut asked = [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)];
    // An error is one of writing, too, and ends there.
    poll(&mut asked, Some(&patience)).map_or(true, |ready| ready > 0)
}

fn is_journal() -> bool {
    let Ok(journal) = std::env::var(JOURNAL) else { return false };
    fstat(io::stderr()).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
