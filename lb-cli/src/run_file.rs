//! A configuration file to everything that serves it.

use std::{path::Path, sync::Arc};

use lb_net::config::{Loaded, LogFormat, LogTo, Model};

use crate::{
    args::Run,
    daemon::Starter,
    dumper::Dumper,
    failure::{Failure, Status},
    file,
    host::{Host, Origin},
    log::{Format, Log},
    notify::Notifier,
    serve::Serving,
    user::Identity,
};

/// The log that a file asks for.
///
/// # Errors
/// When it goes where there is nothing in the background.
pub(crate) fn log(path: &Path, model: &Model, in_background: bool) -> Result<Log, Failure> {
    file::serveable(path, model, in_background)?;
    let format = if model.log().format == LogFormat::Json { Format::Json } else { Format::Human };
    let to_syslog = model.log().to == LogTo::Syslog || (model.log().to == LogTo::Auto && in_background);
    Ok(if to_syslog { Log::to_syslog(format) } else { Log::to_stderr(format) })
}

/// Serves what a file says until it is told to stop.
pub(crate) fn run(
    args: &Run,
    loaded: &Loaded,
    starter: Option<Starter>,
    log: &Log,
    notifier: Notifier,
) -> Result<(), Failure> {
    log.hear_panics();
    file::warn(&args.config, loaded, log);
    let model = &loaded.model;
    let user = model.process().user.as_ref().map(|user| Identity::find(user, "process.user")).transpose()?;
    user.as_ref().map_or(Ok(()), |_| Identity::allowed("process.user"))?;
    let dumper = model.log().dump.then(|| Dumper::start(std::io::stdout()).map(Arc::new)).transpose();
    let dumper = dumper.map_err(|error| Failure::chain(Status::System, &error).about("log.dump"))?;
    // In the background we are elsewhere.
    let path = std::path::absolute(&args.config).map_err(|error| Failure::chain(Status::System, &error))?;
    let origin = Origin::File { path, in_background: starter.is_some() };
    let serving = Serving {
        leaves_terminal: starter.is_some() || model.log().to == LogTo::Syslog,
        host: Arc::new(Host::new(log.clone(), origin, dumper)),
        notifier,
        user,
    };
    serving.serve(model, starter)
}
