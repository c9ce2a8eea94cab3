//! A model that is served until a signal.

use std::{io, sync::Arc};

use lb_net::{
    config::Model,
    instance::{Ended, Instance, PrepareError},
};
use tokio::runtime::{self, Runtime};

use crate::{
    args::default_workers,
    daemon::Starter,
    failure::{Failure, Status},
    host::{Host, Origin},
    listen::cannot_listen,
    log::{Entry, Level, Log},
    notify::Notifier,
    plan::unresolved,
    signals::{Signals, Stopped},
    summary::summary,
    target,
    user::Identity,
};

/// What access logs may take at the end.
const LOGS: std::time::Duration = std::time::Duration::from_secs(2);

/// How a model is served.
pub(crate) struct Serving {
    pub(crate) host: Arc<Host>,
    pub(crate) notifier: Notifier,
    /// Who it becomes once it listens.
    pub(crate) user: Option<Identity>,
    /// Whether stderr is nobody's once it serves.
    pub(crate) leaves_terminal: bool,
}

impl Serving {
    /// Serves until a signal has stopped it. As the part in the background of a `starter`, tells it when it serves.
    pub(crate) fn serve(self, model: &Model, starter: Option<Starter>) -> Result<(), Failure> {
        let system = |error: io::Error| Failure::chain(Status::System, &error);
        let runtime = single_threaded().map_err(system)?;
        // Before the first client: a signal that comes early is not lost.
        let signals = {
            let _inside = runtime.enter();
            Signals::new().map_err(system)?
        };
        // Without the right to raise it the limit stays, and accepting pauses when it is reached.
        let _ = lb_net::sys::raise_descriptor_limit();
        let workers = model.process().workers.map_or_else(default_workers, |workers| workers.get().get());
        let attendant = Arc::clone(&self.host);
        let instance = Instance::new(workers, runtime.handle().clone(), attendant).map_err(system)?;
        self.begin(&instance, model)?;
        // The commands of checks get nothing that is not theirs. Without /proc they may.
        let _ = lb_net::sys::close_descriptors_on_exec();
        self.ready(&instance, starter)?;
        lb_net::sys::give_back_code();
        let Self { host, notifier, .. } = self;
        let ended = runtime.block_on(async {
            tokio::select! {
                ended = signals.serve(&instance, &host, &notifier) => ended,
                never = host.log.summaries() => match never {},
            }
        });
        // With all that ran beside the workers: neither a command nor the control socket is to outlive us.
        drop(runtime);
        // The workers have handed over what they had. A reader that does not read is not waited for.
        let _ = instance.finish_logs(LOGS);
        match ended {
            Stopped::InOrder(ended) => finish(ended, &host.log),
            Stopped::AtOnce => {
                host.log.end();
                host.log.notice("stopped", "stopped at once by a second signal");
                std::process::exit(1);
            }
        }
    }

    /// Everything that may fail, as who we are; then as who we become.
    fn begin(&self, instance: &Instance, model: &Model) -> Result<(), Failure> {
        let prepared = instance.prepare(model).map_err(|error| failure(&error, &self.host.origin))?;
        if let Some(user) = &self.user {
            let (uid, gid) = user.ids();
            let failed = |error| Failure::chain(Status::System, &error).about("cannot hand over the control socket");
            prepared.hand_over(uid, gid).map_err(failed)?;
            user.assume()?;
        }
        prepared.commit();
        Ok(())
    }

    /// Says so to all who want to know.
    fn ready(&self, instance: &Instance, starter: Option<Starter>) -> Result<(), Failure> {
        let line = summary(instance);
        match starter {
            Some(starter) => {
                let failed = |error| Failure::chain(Status::System, &error).about("cannot go to the background");
                starter.ready(&line).map_err(failed)?;
            }
            None => self.notifier.ready(&line),
        }
        if self.leaves_terminal {
            self.host.log.leave_terminal();
        }
        Ok(())
    }
}

pub(crate) fn single_threaded() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// Why a model cannot be served, and what can be done about it. Where there may be several services, which one it is.
fn failure(error: &PrepareError, origin: &Origin) -> Failure {
    let of = |name, failure: Failure| match origin {
        Origin::File { .. } => failure.about(&format!("service '{name}'")),
        Origin::CommandLine { .. } => failure,
    };
    let directory = if origin.file().is_some() { target::KEY } else { target::OPTION };
    match error {
        PrepareError::Backend { backend, source, .. } => match origin {
            Origin::File { .. } => Failure::chain(Status::Backend, source).about(backend),
            Origin::CommandLine { words, .. } => unresolved(backend, source, words),
        },
        PrepareError::Host { service, listen, source } => {
            of(service, Failure::chain(Status::System, source).about(&listen.to_string()))
        }
        PrepareError::Bind { service, source } => of(service, cannot_listen(source)),
        PrepareError::Control { service, source } => of(service, target::misplaced(source, directory)),
        _ => Failure::chain(Status::System, error),
    }
}

/// What is left to say. Serving that failed makes `lb` fail once the sessions have ended.
fn finish(ended: Ended, log: &Log) -> Result<(), Failure> {
    let Ended { cut, failure, .. } = ended;
    if cut > 0 {
        let sessions = if cut == 1 { "session was" } else { "sessions were" };
        let line = format!("stopped; {cut} {sessions} cut after the grace period");
        log.write(&Entry::new(Level::Warning, "stopped", line).with("cut", cut));
    }
    log.end();
    failure.map_or(Ok(()), |error| Err(Failure::chain(Status::System, &error)))
}
