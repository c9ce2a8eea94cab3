//! `lb`: balance TCP services from one command line.

mod args;
mod ask;
mod control;
mod daemon;
mod demo;
mod dump;
mod dumper;
mod environment;
mod failure;
mod generate;
mod listen;
mod log;
mod notify;
mod plan;
mod print_config;
mod run;
mod serve;
mod signals;
mod target;
mod tell;
mod user;
mod watch;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use args::{Balance, Command};
use environment::Environment;
use failure::{Failure, Status};
use log::{Format, Log};
use tell::Tell;

fn main() -> ExitCode {
    // First of all: later there are other threads.
    let environment = Environment::take();
    let stderr = Log::to_stderr(Format::Human);
    let done = match environment.and_then(|environment| Ok((environment, args::parse(std::env::args_os())?))) {
        Ok((environment, Command::Balance(balance))) => return begin(&balance, environment),
        Ok((_, Command::Demo(demo))) => demo::run(&demo),
        Ok((_, Command::Print(text))) => print(&text),
        Ok((_, Command::Generate(page))) => print(&generate::page(page)),
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
        let printed = plan::Plan::new(args).and_then(|plan| print(&print_config::text(args, &plan)));
        printed.map(|()| ExitCode::SUCCESS)
    } else if args.interactive || args.command.is_some() {
        ask::ask(args).map(|()| ExitCode::SUCCESS)
    } else if args.is_daemon() && starter.is_none() {
        daemon::start(&notifier)
    } else {
        let tell = Tell { log: log.clone(), notifier };
        run::run(args, starter, &tell).map(|()| ExitCode::SUCCESS)
    };
    done.unwrap_or_else(|failure| failure.report(&log))
}

/// `lb --help | head` is no failure, a full disk is.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::chain(Status::System, &error).about("cannot write to stdout"))
        }
        _ => Ok(()),
    }
}
