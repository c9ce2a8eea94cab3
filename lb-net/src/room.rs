//! How many clients may be connected at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

use crate::sys;

/// Descriptors that are left for everything but sessions.
const RESERVED_DESCRIPTORS: u64 = 64;

/// As many as there are descriptors for, each with one to its backend.
pub(crate) fn affordable() -> usize {
    let most = sys::descriptor_limit().unwrap_or(u64::MAX / 4);
    usize::try_from(most.saturating_sub(RESERVED_DESCRIPTORS) / 2).unwrap_or(usize::MAX).max(1)
}

/// Of so many connections one is closed when there is no room for another: a few at a time, as each may be missed.
#[cfg(feature = "http")]
const LEAVE_AT_ONCE: usize = 32;

/// The clients of all listeners of one proxy.
#[derive(Debug, Default)]
pub(crate) struct Room {
    count: AtomicUsize,
    left: Notify,
    /// How many of those that have no request are to leave, because others wait for room.
    #[cfg(feature = "http")]
    leaving: AtomicUsize,
    #[cfg(feature = "http")]
    crowded: Notify,
    #[cfg(feature = "http")]
    short: Notify,
}

impl Room {
    /// One more, for as long as it is held, if there are fewer than `most`.
    pub(crate) fn try_enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let entered = self.count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1));
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// One more, however many there are.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        self.count.fetch_add(1, Relaxed);
        Place(Arc::clone(self))
    }

    /// Waits until there are fewer than `most` says, for which some that have no request are closed. It is asked anew
    /// whenever there may be room.
    pub(crate) async fn wait(self: &Arc<Self>, most: impl Fn() -> usize) -> Place {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let most = most();
            if let Some(place) = self.try_enter(most) {
                #[cfg(feature = "http")]
                self.ask_to_leave(0);
                // There may be more, for others who wait.
                self.left.notify_one();
                return place;
            }
            #[cfg(feature = "http")]
            self.ask_to_leave(most.div_ceil(LEAVE_AT_ONCE));
            left.await;
        }
    }
}

/// Those who have no request make room, and how much there is may change.
#[cfg(feature = "http")]
impl Room {
    fn ask_to_leave(&self, count: usize) {
        self.leaving.store(count, Relaxed);
        if count > 0 {
            self.crowded.notify_waiters();
        }
    }

    /// More may be allowed than before: whoever waits asks.
    pub(crate) fn look_again(&self) {
        self.left.notify_waiters();
    }

    /// Ready when somebody waits for room.
    pub(crate) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Descriptors have run out: what holds some in vain gives them back.
    pub(crate) fn run_short(&self) {
        self.short.notify_waiters();
    }

    /// Ready when they have.
    pub(crate) async fn short(&self) {
        self.short.notified().await;
    }

    /// Whether a connection without a request is to make room.
    pub(crate) fn is_one_to_leave(&self) -> bool {
        self.leaving.load(Relaxed) > 0
            && self.leaving.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1)).is_ok()
    }
}

/// One client connection, while it is open.
#[derive(Debug)]
pub(crate) struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.left.notify_one();
    }
}
