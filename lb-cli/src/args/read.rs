//! From words to arguments, and what is said of words that make none.

use std::{error::Error as _, ffi::OsString};

use clap::{
    Arg, ArgMatches, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};

use super::{Balance, Check, Command, Demo, Diff, Page, Run, Schema, http::consistent};
use crate::failure::{Failure, Status};

/// Reads the command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.get(1).and_then(|first| first.to_str()) {
        Some("demo") => return other::<Demo>(&arguments[1..], "lb demo", Command::Demo),
        Some("run") => return other::<Run>(&arguments[1..], "lb run", Command::Run),
        Some("check") => return other::<Check>(&arguments[1..], "lb check", Command::Check),
        Some("diff") => return other::<Diff>(&arguments[1..], "lb diff", Command::Diff),
        Some("schema") => return other::<Schema>(&arguments[1..], "lb schema", |_| Command::Schema),
        _ => {}
    }
    let matches = match read(generating(Balance::command()), &arguments, "lb")? {
        Err(text) => return Ok(Command::Print(text)),
        Ok(matches) => matches,
    };
    if let Some(page) = matches.get_one::<Page>(GENERATE) {
        return Ok(Command::Generate(*page));
    }
    let balance: Balance = valid(&matches, "lb")?;
    if let Some(name) = ["demo", "run", "check", "diff", "schema"].into_iter().find(|name| balance.port == *name) {
        return Err(Failure::new(
            Status::Usage,
            format!("'{name}' goes first: lb {name} [options]; see lb {name} --help"),
        ));
    }
    consistent(&balance)?;
    Ok(Command::Balance(Box::new(balance)))
}

/// A command of its own, named by the first word.
fn other<A: FromArgMatches + CommandFactory>(
    arguments: &[OsString],
    name: &str,
    command: impl FnOnce(A) -> Command,
) -> Result<Command, Failure> {
    match read(A::command(), arguments, name)? {
        Err(text) => Ok(Command::Print(text)),
        Ok(matches) => valid(&matches, name).map(command),
    }
}

const GENERATE: &str = "generate";

/// With the option for whoever makes packages, which needs no port.
fn generating(command: clap::Command) -> clap::Command {
    let option = Arg::new(GENERATE).long(GENERATE).value_name("WHAT").hide(true).exclusive(true);
    command.arg(option.value_parser(value_parser!(Page)))
}

/// What was given, or the help that it asks for.
fn read(command: clap::Command, arguments: &[OsString], name: &str) -> Result<Result<ArgMatches, String>, Failure> {
    match command.try_get_matches_from(arguments) {
        Ok(matches) => Ok(Ok(matches)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(failure(&error, name)),
    }
}

fn valid<A: FromArgMatches>(matches: &ArgMatches, name: &str) -> Result<A, Failure> {
    A::from_arg_matches(matches).map_err(|error| failure(&error, name))
}

fn failure(error: &clap::Error, name: &str) -> Failure {
    let failure = usage(error);
    let failure = match error.get(ContextKind::InvalidArg) {
        // What is said to lb in this way.
        Some(ContextValue::String(word)) if name == "lb run" && word == "-f" => {
            failure.with_remedy("lb run stays in the foreground without --daemon")
        }
        // What is said to lb check in this way.
        Some(ContextValue::String(word)) if name == "lb run" && !word.starts_with('-') => {
            failure.with_remedy("--config names the file")
        }
        _ => failure,
    };
    failure.with_remedy(&format!("see {name} --help"))
}

/// clap's complaint in our words, with what was typed and the nearest that exists.
fn usage(error: &clap::Error) -> Failure {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.as_str(),
        Some(ContextValue::Strings(words)) => words.first().map_or("", String::as_str),
        _ => "",
    };
    let words = |kind| match error.get(kind) {
        Some(ContextValue::Strings(words)) => words.join(", "),
        _ => String::new(),
    };
    let (argument, value) = (word(ContextKind::InvalidArg), word(ContextKind::InvalidValue));
    // `-t <SECONDS>`
    let option = argument.split(' ').next().unwrap_or_default();
    let line = match (error.kind(), error.source()) {
        (ErrorKind::MissingRequiredArgument, _) => "no port to listen on: lb [options] PORT backend...".to_owned(),
        (ErrorKind::UnknownArgument, _) => match word(ContextKind::SuggestedArg) {
            _ if !argument.starts_with('-') => format!("'{argument}' is one word too many"),
            "" => format!("unknown option '{argument}'"),
            near => format!("unknown option '{argument}', did you mean '{near}'?"),
        },
        (ErrorKind::InvalidValue, _) if value.is_empty() => format!("{option} needs a value: {argument}"),
        (ErrorKind::InvalidValue, _) => format!("{option} '{value}': not one of {}", words(ContextKind::ValidValue)),
        (ErrorKind::ValueValidation, Some(why)) => format!("{option} '{value}': {why}"),
        _ => {
            let text = error.to_string();
            text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default().to_owned()
        }
    };
    Failure::new(Status::Usage, line)
}
