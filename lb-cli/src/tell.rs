//! Who hears how it goes.

use crate::{log::Log, notify::Notifier};

/// Those who hear of a start and a stop: whoever reads the log, and systemd.
#[derive(Debug)]
pub(crate) struct Tell {
    pub(crate) log: Log,
    pub(crate) notifier: Notifier,
}
