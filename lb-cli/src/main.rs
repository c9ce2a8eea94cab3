//! `lb`: balance TCP services from one command line.

mod args;
mod daemon;
mod demo;
mod environment;
mod failure;
mod generate;
mod listen;
mod log;
mod notify;
mod plan;
mod print_config;
mod run;
mod signals;
mod user;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use args::{Balance, Command, Format};
use environment::Environment;
use failure::{Failure, Status};
use log::Log;
use run::Tell;

fn main() -> ExitCode {
    // First of all: later there are other threads.
    let environment = Environment::take();
    let stderr = Log::to_stderr(Format::Human);
    let done = match environment.and_then(|environment| Ok((environment, args::parse(std::env::args_os())?))) {
        Ok((environment, Command::Balance(balance))) => return begin(&balance, environment),
        Ok((_, Command::Demo(demo))) => demo::run(&demo),
        Ok((_, Command::Print(text))) => {
            print(&text);
            Ok(())
        }
        Ok((_, Command::Generate(page))) => {
            print(&generate::page(page));
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    done.map_or_else(|failure| failure.report(&stderr), |()| ExitCode::SUCCESS)
}

/// What is asked of the one command line: to serve here, or in the background, or only to print something.
fn begin(args: &Balance, environment: Environment) -> ExitCode {
    let Environment { notifier, starter } = environment;
    let starter = starter.filter(|_| args.is_daemon());
    let log = if starter.is_some() { Log::to_syslog(args.log_format) } else { Log::to_stderr(args.log_format) };
    let done = if args.print_config {
        plan::Plan::new(args).map(|plan| {
            print(&print_config::text(args, &plan));
            ExitCode::SUCCESS
        })
    } else if let Err(failure) = refuse_unwired(args) {
        // LEAD: wire: here come -i and -c, before anything that serves.
        Err(failure)
    } else if args.is_daemon() && starter.is_none() {
        daemon::start(&notifier)
    } else {
        let tell = Tell { log: log.clone(), notifier };
        run::run(args, starter, &tell).map(|()| ExitCode::SUCCESS)
    };
    done.unwrap_or_else(|failure| failure.report(&log))
}

/// Options that are understood, but that nothing does yet.
fn refuse_unwired(args: &Balance) -> Result<(), Failure> {
    let unwired = [
        ("-i", args.interactive),                              // LEAD: wire
        ("-c", args.command.is_some()),                        // LEAD: wire
        ("--control-dir", args.control_dir.is_some()),         // LEAD: wire
        ("-m", args.monitor.is_some()),                        // LEAD: wire
        ("-p", args.dump),                                     // LEAD: wire
        ("-d", args.trace),                                    // LEAD: wire
        ("--autodisable-for", args.autodisable_for.is_some()), // LEAD: wire
    ];
    match unwired.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::new(Status::Usage, format!("{option} is not wired"))),
        None => Ok(()),
    }
}

/// `lb --help | head` is no failure.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
