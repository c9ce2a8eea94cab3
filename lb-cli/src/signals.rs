//! The signals that `lb` listens to.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};

use crate::{
    log::{Entry, Level},
    tell::Tell,
};

/// How it came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// All workers have ended.
    InOrder,
    /// A second signal has asked for more haste: sessions may still run.
    AtOnce,
}

/// The signals that `lb` listens to.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// Told of each HUP, which ends nothing.
    refresh: Arc<Notify>,
}

impl Signals {
    pub(crate) fn new(refresh: Arc<Notify>) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            refresh,
        })
    }

    /// The next one that asks for the end.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hang_up.recv() => self.refresh.notify_one(),
            }
        }
    }

    /// Returns when the workers have ended after the first signal, of which `begun` is told too; after a second one at
    /// once.
    pub(crate) async fn stopped(
        mut self,
        stop: &watch::Sender<()>,
        begun: &watch::Sender<bool>,
        grace: Duration,
        tell: &Tell,
    ) -> Stopped {
        tokio::select! {
            () = self.next() => {}
            // All workers have ended by themselves: nothing accepts any more.
            () = stop.closed() => return Stopped::InOrder,
        }
        let line = format!("stopping: sessions may go on for {grace:?}");
        tell.notifier.stopping(&line);
        tell.log.write(&Entry::new(Level::Notice, "stopping", line).with("grace_seconds", grace.as_secs_f64()));
        let _ = stop.send(());
        begun.send_replace(true);
        tokio::select! {
            () = self.next() => Stopped::AtOnce,
            () = stop.closed() => Stopped::InOrder,
        }
    }
}
