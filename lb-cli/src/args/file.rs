//! The commands that are about a configuration file.

use std::path::PathBuf;

use clap::Parser;

use super::help;

/// Where the file is, unless one is named.
const USUAL: &str = "/etc/lb/lb.toml";

/// Starts all services of a configuration file in one process.
#[derive(Debug, Parser)]
#[command(name = "lb run", version, override_usage = "lb run [--config FILE] [--daemon]", after_help = help::RUN)]
#[command(max_term_width = 120)]
pub(crate) struct Run {
    /// The file
    #[arg(long, value_name = "FILE", default_value = USUAL)]
    pub(crate) config: PathBuf,

    /// Go to the background as soon as all services are there
    #[arg(long)]
    pub(crate) daemon: bool,
}

/// Says what is wrong with a configuration file, and starts nothing.
#[derive(Debug, Parser)]
#[command(name = "lb check", version, override_usage = "lb check [FILE]", after_help = help::CHECK, max_term_width = 120)]
pub(crate) struct Check {
    /// The file
    #[arg(value_name = "FILE", default_value = USUAL)]
    pub(crate) file: PathBuf,
}

/// Says what a reload would change in the lb that runs, or what is different between two files.
#[derive(Debug, Parser)]
#[command(name = "lb diff", version, override_usage = "lb diff [FILE]\n       lb diff OLD NEW", after_help = help::DIFF)]
#[command(max_term_width = 120)]
pub(crate) struct Diff {
    /// The file; of two the old one
    #[arg(value_name = "FILE", default_value = USUAL)]
    pub(crate) old: PathBuf,

    /// The new file: the two are compared, and no running lb is asked
    #[arg(value_name = "NEW")]
    pub(crate) new: Option<PathBuf>,
}

/// Prints the JSON schema of configuration files, for editors that complete and check while one writes.
#[derive(Debug, Parser)]
#[command(name = "lb schema", version, override_usage = "lb schema", max_term_width = 120)]
pub(crate) struct Schema {}
