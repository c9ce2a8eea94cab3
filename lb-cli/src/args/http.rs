//! The options of HTTP.

use clap::Args;

use super::help::HTTP;

/// What of a command line is about HTTP.
#[derive(Debug, Args)]
pub(crate) struct Http {
    /// Balance HTTP requests instead of connections: each request goes to a backend, and connections are kept on both sides
    #[arg(long, help_heading = HTTP)]
    pub(crate) http: bool,
}
