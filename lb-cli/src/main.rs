//! `lb`: balance TCP services from one command line.

mod args;
mod demo;
mod failure;
mod run;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use args::Command;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args_os()) {
        Ok(Command::Balance(balance)) => run::run(&balance),
        Ok(Command::Demo(demo)) => demo::run(&demo),
        Ok(Command::Print(text)) => {
            // `lb --help | head` is no failure.
            let _ = io::stdout().write_all(text.as_bytes());
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}
