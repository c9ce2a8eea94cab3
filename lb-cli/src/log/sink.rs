//! Where lines go: stderr, syslog, or both. Whoever writes one does not wait for its reader.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, SystemTime},
};

use rustix::fs::fstat;

use super::{
    Entry, Level,
    line::{Format, Style, line},
    output::{Output, Taken},
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
    output: Output,
    /// Lines that found no room since the last one that did.
    lost: u64,
    /// The last line found room for its begin only.
    torn: bool,
}

impl Stderr {
    fn new() -> Self {
        let kind = match io::stderr() {
            stderr if stderr.is_terminal() => Kind::Terminal,
            _ if is_journal() => Kind::Journal,
            _ => Kind::Other,
        };
        Self { kind, output: Output::stderr(), lost: 0, torn: false }
    }

    fn write(&mut self, format: Format, entry: &Entry, now: SystemTime) {
        let patience = if entry.is_answer { PATIENCE } else { Duration::ZERO };
        if !self.output.has_room(patience) {
            self.lost += 1;
            return;
        }
        let mut text = if self.torn { "\n".to_owned() } else { String::new() };
        if self.lost > 0 {
            let lines = if self.lost == 1 { "1 line was".to_owned() } else { format!("{} lines were", self.lost) };
            let message = format!("{lines} lost, because nobody has read those before");
            let lost = Entry::new(Level::Warning, "log-lost", message).with("lines", self.lost);
            text += &self.text(format, &lost, now);
        }
        text += &self.text(format, entry, now);
        match self.output.put(&text, patience) {
            Taken::All => (self.lost, self.torn) = (0, false),
            Taken::Part => (self.lost, self.torn) = (self.lost + 1, true),
            Taken::Nothing => self.lost += 1,
        }
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

fn is_journal() -> bool {
    let Ok(journal) = std::env::var(JOURNAL) else { return false };
    fstat(io::stderr()).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}
