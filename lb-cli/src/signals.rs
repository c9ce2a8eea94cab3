//! The signals that `lb` listens to.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use lb_net::{
    instance::{Ended, Instance},
    manage::Process as _,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    host::Host,
    log::{Entry, Level, Log},
    notify::Notifier,
    summary::summary,
};

/// How it came to an end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// All workers have ended.
    InOrder(Ended),
    /// A second signal has asked for more haste: sessions may still run.
    AtOnce,
}

/// The signals that `lb` listens to.
pub(crate) struct Signals {
    endings: Endings,
    hang_up: Signal,
    habits: Habits,
}

/// Those that ask for the end.
struct Endings {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Endings {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Those that other servers listen to, and scripts made for them send. Unheard they would end us.
struct Habits {
    /// nginx opens its logs again.
    first: Signal,
    /// nginx and HAProxy begin to be replaced.
    second: Signal,
}

impl Habits {
    async fn heed(&mut self, instance: &Instance, log: &Log) -> Infallible {
        loop {
            let (event, line) = tokio::select! {
                _ = self.first.recv() => {
                    instance.reopen_logs();
                    ("logs-reopened", "USR1: access logs are to be opened again by their names")
                }
                _ = self.second.recv() => ("signal-ignored", "USR2: there is nothing to do, HUP applies what is new"),
            };
            log.write(&Entry::new(Level::Notice, event, line));
        }
    }
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let endings = Endings {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        };
        let habits =
            Habits { first: signal(SignalKind::user_defined1())?, second: signal(SignalKind::user_defined2())? };
        Ok(Self { endings, hang_up: signal(SignalKind::hangup())?, habits })
    }

    /// The next one that asks for the end; all others are caught, and ask for nothing.
    pub(crate) async fn next(&mut self) {
        self.endings.next().await;
    }

    /// Does what signals ask for, until the instance has ended after the first that asks for that, or after a second one
    /// at once.
    pub(crate) async fn serve(self, instance: &Arc<Instance>, host: &Host, notifier: &Notifier) -> Stopped {
        let Self { endings, hang_up, mut habits } = self;
        // Logs are rotated while the last sessions end, too.
        tokio::select! {
            stopped = until_stopped(endings, hang_up, instance, host, notifier) => stopped,
            never = habits.heed(instance, &host.log) => match never {},
        }
    }
}

async fn until_stopped(
    mut endings: Endings,
    mut hang_up: Signal,
    instance: &Arc<Instance>,
    host: &Host,
    notifier: &Notifier,
) -> Stopped {
    // One reload after the other, and the end during any.
    let hang_ups = async {
        while hang_up.recv().await.is_some() {
            hung_up(instance, host, notifier).await;
        }
    };
    let failure = tokio::select! {
        () = endings.next() => None,
        // Serving has failed for good: what still runs may end as in any other stop.
        ended = instance.ended() => ended.failure,
        () = hang_ups => None,
    };
    announce(instance.grace(), host, notifier);
    instance.stop();
    tokio::select! {
        () = endings.next() => Stopped::AtOnce,
        mut ended = instance.ended() => {
            ended.failure = ended.failure.or(failure);
            Stopped::InOrder(ended)
        }
    }
}

fn announce(grace: Duration, host: &Host, notifier: &Notifier) {
    let line = format!("stopping: sessions may go on for {grace:?}");
    notifier.stopping(&line);
    host.log.write(&Entry::new(Level::Notice, "stopping", line).with("grace_seconds", grace.as_secs_f64()));
}

/// Access logs are opened again, because they may have been rotated. With a file: loads it anew. All names are asked for again in either case.
async fn hung_up(instance: &Arc<Instance>, host: &Host, notifier: &Notifier) {
    instance.reopen_logs();
    if host.origin.file().is_some() {
        notifier.reloading();
        let (done, reloaded) = oneshot::channel();
        let reloading = Arc::clone(instance);
        // On a thread of its own, because names may take long; not one of the runtime's, which would not end before it.
        let started = std::thread::Builder::new().name("lb-reload".to_owned()).spawn(move || {
            // It tells of itself.
            let _ = reloading.reload();
            let _ = done.send(());
        });
        match started {
            Ok(_) => drop(reloaded.await),
            Err(error) => {
                let line = format!("not reloaded: the system has no thread for it: {error}");
                host.log.write(&Entry::new(Level::Error, "reload-failed", line));
            }
        }
        notifier.ready(&summary(instance));
    }
    instance.refresh();
}
