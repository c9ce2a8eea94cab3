//! On and off for a monitor that runs.

use std::sync::Arc;

use tokio::sync::watch;

/// Pauses a [`Monitor`](super::Monitor) and lets it go on (balance.fm's `monitor disable` and `enable`); all clones are
/// the same switch.
///
/// Once it is off no check starts, and what those under way find changes nothing. On again, there is a round at once.
/// ```
/// use lb_net::probe::Switch;
/// let switch = Switch::default();
/// let same = switch.clone();
/// assert!(same.set_enabled(false) && !same.set_enabled(false), "the second time it is off already");
/// assert!(!switch.is_enabled());
/// ```
#[derive(Clone, Debug)]
pub struct Switch(Arc<watch::Sender<bool>>);

impl Default for Switch {
    /// On.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl Switch {
    /// Whether checks are made.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        *self.0.borrow()
    }

    /// Switches it on or off. Returns whether that is a change.
    pub fn set_enabled(&self, enabled: bool) -> bool {
        self.0.send_if_modified(|is| std::mem::replace(is, enabled) != enabled)
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
