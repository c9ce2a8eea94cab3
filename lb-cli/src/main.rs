//! `lb`: balance TCP services from one command line.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod demo;
mod failure;
mod run;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args_os()) {
        Ok(Command::Balance(balance)) => run::run(&balance),
        Ok(Command::Demo(demo)) => demo::run(&demo),
        Ok(Command::Print(text)) => {
            print!("{text}");
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}
