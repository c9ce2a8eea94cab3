//! Why a source has no good answer.

use std::io;

use super::NodeFile;
use crate::{causes::chain, resolve::ResolveError};

/// Why a source has no good answer. What it says of a file begins with the file, and with the line where there is one.
/// ```
/// let source: lb_net::discover::Source = "/no/such/nodes".parse()?;
/// let error = source.look().unwrap_err();
/// assert_eq!(error.to_string(), "/no/such/nodes: cannot read it");
/// assert!(error.chain().starts_with("/no/such/nodes: cannot read it: No such file"));
/// # Ok::<(), lb_net::discover::SourceError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// A file that is missing or may not be read.
    #[error("{0}: cannot read it")]
    Unreadable(NodeFile, #[source] io::Error),
    /// A directory, a pipe, a device, or what has no end.
    #[error("{0}: it is no regular file")]
    NoFile(NodeFile),
    /// A file with more than 16 MiB.
    #[error("{0}: it has more than 16 MiB")]
    Large(NodeFile),
    /// A line that is not UTF-8, from 1.
    #[error("{0}:{1}: it is no text: the file must be UTF-8")]
    NotText(NodeFile, usize),
    /// A line that cannot be read, from 1, and what is wrong with it.
    #[error("{0}:{1}: {2}")]
    Line(NodeFile, usize, String),
    /// A file without any backend.
    #[error("{0}: there is no backend in it")]
    Empty(NodeFile),
    /// A name without an answer.
    #[error(transparent)]
    Name(#[from] ResolveError),
}

impl DiscoverError {
    /// With its causes, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        chain(self)
    }
}
