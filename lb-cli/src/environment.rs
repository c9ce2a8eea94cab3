//! What whoever started `lb` says through the environment; nothing that `lb` starts hears it as well.

use crate::{
    daemon::Starter,
    failure::{Failure, Status},
    notify::Notifier,
};

/// Read once, before there are other threads.
#[derive(Debug)]
pub(crate) struct Environment {
    /// systemd, or whoever else wants to know.
    pub(crate) notifier: Notifier,
    /// The `lb` whose part in the background this is.
    pub(crate) starter: Option<Starter>,
}

impl Environment {
    pub(crate) fn take() -> Result<Self, Failure> {
        let starter = Starter::from_environment().map_err(|error| Failure::chain(Status::System, &error))?;
        let notifier = Notifier::from_environment();
        // Without /proc they stay. The starter's is nobody else's even then, and systemd by itself believes none but lb.
        let _ = lb_net::sys::forget_variables(&[crate::notify::VARIABLE, crate::daemon::VARIABLE]);
        Ok(Self { notifier, starter })
    }
}
