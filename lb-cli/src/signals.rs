//! The signals that `lb` listens to.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    log::{Entry, Level},
    run::Tell,
};

/// The signals that `lb` listens to.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    /// Caught so that it does not end us: there is nothing to read again yet.
    _hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            _hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }

    /// Returns when the workers have ended after the first signal. A second one ends `lb` at once.
    pub(crate) async fn stopped(mut self, stop: &watch::Sender<()>, grace: Duration, tell: &Tell) {
        tokio::select! {
            () = self.next() => {}
            // All workers have ended by themselves: nothing accepts any more.
            () = stop.closed() => return,
        }
        let line = format!("stopping: sessions may go on for {grace:?}");
        tell.notifier.stopping(&line);
        tell.log.write(&Entry::new(Level::Notice, "stopping", line).with("grace_seconds", grace.as_secs_f64()));
        let _ = stop.send(());
        tokio::select! {
            () = self.next() => {
                tell.log.end();
                tell.log.notice("stopped", "stopped at once by a second signal");
                std::process::exit(1);
            }
            () = stop.closed() => {}
        }
    }
}
