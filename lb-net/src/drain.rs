//! Graceful stop: finish what runs, give up after the grace period.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire},
    },
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{sync::Notify, task::AbortHandle, time::timeout};

/// The sessions of one listener. Dropping them ends those that still run.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    count: Arc<Count>,
    handles: Vec<AbortHandle>,
}

#[derive(Debug, Default)]
struct Count {
    running: AtomicUsize,
    all_ended: Notify,
}

/// Counts one session for as long as it lives.
#[derive(Debug)]
struct Counted(Arc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, AcqRel) == 1 {
            self.0.all_ended.notify_one();
        }
    }
}

pin_project! {
    /// A session that counts. Not an async block: that would hold its session twice.
    struct Session<F> {
        #[pin]
        future: F,
        _counted: Counted,
    }
}

impl<F: Future<Output = ()>> Future for Session<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx)
    }
}

impl Sessions {
    /// Runs a session on the current runtime.
    pub(crate) fn spawn(&mut self, session: impl Future<Output = ()> + Send + 'static) {
        self.count.running.fetch_add(1, AcqRel);
        let task = tokio::spawn(Session { future: session, _counted: Counted(Arc::clone(&self.count)) });
        // Handles of ended sessions go when they are half of all: a constant effort for each session.
        if self.handles.len() >= 64 && self.handles.len() >= 2 * self.count.running.load(Acquire) {
            self.handles.retain(|handle| !handle.is_finished());
        }
        self.handles.push(task.abort_handle());
    }

    /// Waits until all have ended, for as long as `grace`; then ends the rest. Returns how many had to be ended.
    pub(crate) async fn drain(self, grace: Duration) -> usize {
        let _ = timeout(grace, self.all_ended()).await;
        let cut = self.count.running.load(Acquire);
        self.end_all();
        self.all_ended().await;
        cut
    }

    fn end_all(&self) {
        self.handles.iter().for_each(AbortHandle::abort);
    }

    async fn all_ended(&self) {
        while self.count.running.load(Acquire) > 0 {
            self.count.all_ended.notified().await;
        }
    }
}

/// Whoever drops what serves them has no other way to end them.
impl Drop for Sessions {
    fn drop(&mut self) {
        self.end_all();
    }
}
