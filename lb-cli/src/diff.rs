//! `lb diff`: what a reload would change.

use std::{fmt::Write as _, path::Path};

use lb_net::config::{self, Listen, Model};

use crate::{
    args::Diff,
    failure::{Failure, Status},
    file,
    target::Target,
};

/// The exit status when there is a difference, as that of diff(1). What fails has a larger one.
pub(crate) const DIFFERENT: u8 = 1;

/// What a running process answers with the configuration that it has loaded, as TOML.
const ASK: &str = "dump loaded";

/// The difference, a line for each change.
///
/// # Errors
/// When a file is wrong, or nobody runs that a single one could be compared with.
pub(crate) fn difference(args: &Diff) -> Result<String, Failure> {
    let (old, new) = match &args.new {
        Some(new) => (file::load(&args.old)?.model, file::load_with_warnings(new)?.model),
        None => {
            let new = file::load_with_warnings(&args.old)?.model;
            (running(&new).map_err(|failure| failure.about(&args.old.display().to_string()))?, new)
        }
    };
    let mut text = String::new();
    // Into memory: it does not fail.
    let _ = old.difference(&new).changes().try_for_each(|change| writeln!(text, "{change}"));
    Ok(text)
}

/// What the process has loaded that serves one of these services, the first that tells.
fn running(file: &Model) -> Result<Model, Failure> {
    let directory = file.control().directory.as_ref().map(|directory| Path::new(directory.as_str()));
    let mut nobody: Option<Failure> = None;
    for listen in file.services().values().flat_map(config::Service::listen) {
        match loaded(listen, directory) {
            Ok(model) => return Ok(model),
            // Somebody who is there and tells nothing is more to the point than that others are not.
            Err(failure) if nobody.as_ref().is_none_or(is_absence) => nobody = Some(failure),
            Err(_) => {}
        }
    }
    let unknown = || Failure::new(Status::Usage, "there is no service to find a running lb by: add [services.NAME]");
    Err(nobody.unwrap_or_else(unknown).with_remedy("lb diff OLD NEW compares two files"))
}

fn is_absence(failure: &Failure) -> bool {
    failure.is(Status::NoMaster)
}

fn loaded(listen: &Listen, directory: Option<&Path>) -> Result<Model, Failure> {
    let target = Target::at(listen, directory)?;
    let mut client = target.connect().map_err(|failure| {
        let directory = target.directory().display();
        let absent = format!("no lb that serves one of its services has its control socket in {directory}");
        if is_absence(&failure) { Failure::new(Status::NoMaster, absent) } else { failure }
    })?;
    let who = format!("the lb that listens on {listen} (pid {}, {})", client.pid(), client.version());
    let answer = client.execute(ASK).map_err(|error| Failure::chain(Status::Groups, &error).about(&who))?;
    if answer.failed {
        let why = answer.text.lines().next().unwrap_or_default().to_owned();
        return Err(Failure::new(Status::Groups, why).about(&format!("{who} does not tell what it has loaded")));
    }
    let read = config::parse(&answer.text).map_err(|problems| {
        let why = problems.to_string().lines().next().unwrap_or_default().to_owned();
        Failure::new(Status::Groups, why).about(&format!("{who} has loaded what cannot be read here"))
    });
    read.map(|loaded| loaded.model)
}
