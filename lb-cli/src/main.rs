//! `lb`: balance TCP services from one command line.

mod args;
mod ask;
mod daemon;
mod demo;
mod diff;
mod dump;
mod dumper;
mod environment;
mod failure;
mod file;
mod generate;
mod host;
mod listen;
mod log;
mod model;
mod notify;
mod plan;
mod print_config;
mod run;
mod run_file;
mod serve;
mod signals;
mod summary;
mod target;
mod tell;
mod user;
mod watch;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use args::{Balance, Command, Diff, Run};
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
        Ok((environment, Command::Run(run))) => return begin_file(&run, environment),
        Ok((_, Command::Check(check))) => file::check(&check.file).and_then(|text| print(&text)),
        Ok((_, Command::Diff(files))) => return compare(&files, &stderr),
        Ok((_, Command::Schema)) => print(&lb_net::config::schema()),
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
        print_config(args).map(|()| ExitCode::SUCCESS)
    } else if args.interactive || args.command.is_some() {
        ask::ask(args).map(|()| ExitCode::SUCCESS)
    } else if args.is_daemon() && starter.is_none() {
        daemon::start(&notifier)
    } else {
        let tell = Tell { log: log.clone(), notifier };
        run::run(args, starter, tell).map(|()| ExitCode::SUCCESS)
    };
    done.unwrap_or_else(|failure| failure.report(&log))
}

/// `--print-config`: nothing is started.
fn print_config(args: &Balance) -> Result<(), Failure> {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    print(&print_config::text(words, args, &plan::Plan::new(args)?)?)
}

/// `lb run`: here, or in the background. A file that is wrong is one in both.
fn begin_file(args: &Run, environment: Environment) -> ExitCode {
    let Environment { notifier, starter } = environment;
    let starter = starter.filter(|_| args.daemon);
    // Until the file says where events go.
    let first = if starter.is_some() { Log::to_syslog(Format::Human) } else { Log::to_stderr(Format::Human) };
    if args.daemon && starter.is_none() {
        return daemon::start(&notifier).unwrap_or_else(|failure| failure.report(&first));
    }
    let loaded = file::load(&args.config).and_then(|loaded| {
        let log = run_file::log(&args.config, &loaded.model, starter.is_some())?;
        Ok((loaded, log))
    });
    match loaded {
        Ok((loaded, log)) => {
            let done = run_file::run(args, &loaded, starter, &log, notifier);
            done.map_or_else(|failure| failure.report(&log), |()| ExitCode::SUCCESS)
        }
        Err(failure) => failure.report(&first),
    }
}

/// `lb diff`: its exit status says whether there is a difference.
fn compare(files: &Diff, stderr: &Log) -> ExitCode {
    let done = diff::difference(files).and_then(|text| print(&text).map(|()| text.is_empty()));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(diff::DIFFERENT),
        Err(failure) => failure.report(stderr),
    }
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
