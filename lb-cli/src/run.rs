//! A plan to everything that serves it.

use std::sync::Arc;

use lb_core::SelectorKind;

use crate::{
    args::Balance,
    daemon::Starter,
    dumper::Dumper,
    failure::{Failure, Status},
    host::{Host, Origin},
    log::Log,
    plan::Plan,
    serve::Serving,
    target::Target,
    tell::Tell,
    user::Identity,
};

/// Balances until it is told to stop. As the part in the background of a `starter`, tells it when it serves.
pub(crate) fn run(args: &Balance, starter: Option<Starter>, tell: Tell) -> Result<(), Failure> {
    tell.log.hear_panics();
    let plan = Plan::new(args)?;
    plan.user.as_ref().map_or(Ok(()), |_| Identity::allowed("--user"))?;
    note_idle_options(args, &tell.log);
    let dumper = args.dump.then(|| Dumper::start(std::io::stdout()).map(Arc::new)).transpose();
    let dumper = dumper.map_err(|error| Failure::chain(Status::System, &error).about("-p"))?;
    let origin = Origin::CommandLine { words: args.words.clone(), control: Target::new(args)?.place() };
    let serving = Serving {
        leaves_terminal: starter.is_some(),
        host: Arc::new(Host::new(tell.log, origin, dumper)),
        notifier: tell.notifier,
        user: plan.user,
    };
    serving.serve(&plan.model, starter)
}

/// An option that changes nothing here, or less than one may think, is said to do so.
fn note_idle_options(args: &Balance, log: &Log) {
    let note = |text: &str| log.notice("note", format!("note: {text}"));
    let hashes = args.select == Some(SelectorKind::Hash { spill: false }) || args.words.iter().any(|word| word == "%");
    if args.hash_failover && !hashes {
        note("-H changes nothing until a group is set to hash, because none ends in '%'");
    }
    if args.http.key.is_some() && !hashes {
        note("--key changes nothing until a group is set to hash, because none ends in '%'");
    }
    if args.mapped {
        note("-M changes nothing, because lb never keeps its state in shared files");
    }
    if args.autodisable && args.autodisable_for.is_none() && args.monitor.is_none() {
        note(
            "with -a alone a backend that fails once stays out until it is enabled by hand; \
             --autodisable-for SECONDS lets it come back, -m as soon as it is well",
        );
    }
}
