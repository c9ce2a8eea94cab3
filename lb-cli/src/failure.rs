//! Why `lb` ends: one line, a remedy, and balance's exit status.

use std::{error::Error, iter::successors, process::ExitCode};

use crate::log::{Entry, Level, Log};

/// balance's exit statuses, those of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The command line, or the port to listen on.
    Usage = 64,
    /// A backend.
    Backend = 65,
    /// The groups, or what was asked of a running `lb`.
    Groups = 69,
    /// No `lb` runs that could be asked.
    NoMaster = 70,
    /// The system refused: socket, bind, listen.
    System = 71,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

/// One reason to end.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    status: Status,
    line: String,
}

impl Failure {
    pub(crate) fn new(status: Status, line: impl Into<String>) -> Self {
        Self { status, line: line.into() }
    }

    /// An error with all its causes, on one line.
    pub(crate) fn chain(status: Status, error: &dyn Error) -> Self {
        let causes = successors(error.source(), |&cause| cause.source());
        Self::new(status, causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}")))
    }

    /// One of which everything has been said.
    pub(crate) fn said(status: Status) -> Self {
        Self::new(status, String::new())
    }

    /// Whether it ends with this status.
    pub(crate) fn is(&self, status: Status) -> bool {
        self.status == status
    }

    /// The same behind the word that it is about.
    pub(crate) fn about(self, word: &str) -> Self {
        Self { line: format!("{word}: {}", self.line), ..self }
    }

    /// The same with what can be done about it.
    pub(crate) fn with_remedy(self, remedy: &str) -> Self {
        Self { line: format!("{}; {remedy}", self.line), ..self }
    }

    pub(crate) fn report(self, log: &Log) -> ExitCode {
        log.end();
        if !self.line.is_empty() {
            log.write(&Entry::new(Level::Error, "failed", self.line).answering().with("status", self.status as u8));
        }
        ExitCode::from(self.status as u8)
    }
}
