//! The commands that are about the process as a whole.

use super::{
    Fleet, ServiceState,
    command::Command,
    said::{Refusal, Said},
};

/// What a reload comes to that has found nothing new.
pub(super) const UNCHANGED: &str = "reloaded, nothing has changed";
/// What there is to say of a difference when there is none.
pub(super) const NOTHING_NEW: &str = "a reload would change nothing";

/// Carries out one of them. They are not balance's, and nothing is said of permanence: they are about the file.
pub(super) fn carry_out(command: &Command<'_>, fleet: &dyn Fleet) -> Said {
    let Some(process) = fleet.process() else {
        let text = "there is no configuration behind this balancer: it has no services, nothing to reload or to dump";
        return Err(Refusal::Conflict(text.to_owned()));
    };
    let lines = |outcome: Result<String, String>, none: &str| match outcome {
        Ok(text) if text.trim().is_empty() => Ok(none.into()),
        Ok(text) => Ok(text.into()),
        Err(why) => Err(Refusal::Conflict(why)),
    };
    match command {
        Command::Reload => lines(process.reload(), UNCHANGED),
        Command::Difference => lines(process.difference(), NOTHING_NEW),
        Command::Dump => Ok(process.dump().into()),
        Command::DumpLoaded => Ok(process.loaded().into()),
        _ => Ok(table(&process.services()).into()),
    }
}

/// A row for each service, in columns as wide as what is in them.
fn table(services: &[ServiceState]) -> String {
    let header = ["service".to_owned(), "pool".to_owned(), "listens on".to_owned()];
    let row = |service: &ServiceState| [service.name.clone(), service.pool.clone(), service.listen.join(", ")];
    let rows: Vec<[String; 3]> = std::iter::once(header).chain(services.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    rows.iter().map(|[name, pool, listen]| format!("{name:first$}  {pool:second$}  {listen}\n")).collect()
}
