//! Carries requests out: what a control session would be told, as JSON.

use std::sync::Arc;

use http::StatusCode;
use lb_core::{Health, Status};
use serde_json::{Map, Value, json};

use super::{
    answer::Answer,
    body::Fields,
    numbers::numbers,
    route::{ChannelVerb, ENDPOINTS, GroupVerb, Route},
    secret::{untold, without_secrets},
};
use crate::{
    manage::{
        Fleet, Process, ServiceState, Shell,
        balance::{channel_of, existing_group},
        command::{Command, Monitor, Number, number, printable},
        explain, metrics,
        said::{Refusal, Said},
        show, whole,
    },
    token::Token,
};

/// Answers a request. It may block.
pub(super) fn act(route: &Route, fields: &Fields, process: &dyn Process, token: Option<&Token>) -> Answer {
    answer(route, fields, process, token).unwrap_or_else(|refused| refused)
}

fn answer(route: &Route, fields: &Fields, process: &dyn Process, token: Option<&Token>) -> Result<Answer, Answer> {
    fields.only(keys(route))?;
    match route {
        Route::Index => Ok(index()),
        Route::Metrics => Ok(Answer::text(metrics::CONTENT_TYPE, metrics::metrics(process))),
        Route::Services => Ok(services(process)),
        Route::Pools => Ok(pools(process)),
        Route::Pool(name) => {
            let mut value = show::machine(&*pool(name, process)?);
            value["pool"] = name.as_str().into();
            Ok(Answer::json(&value))
        }
        Route::Explain { pool: name, client } => Ok(Answer::json(&explain::machine(*client, &*pool(name, process)?))),
        Route::Dump => Ok(Answer::text("application/toml", without_secrets(&process.dump(), token))),
        Route::Loaded => Ok(Answer::text("application/toml", without_secrets(&process.loaded(), token))),
        Route::Difference => told(process.difference(), whole::NOTHING_NEW, token),
        Route::Reload => told(process.reload(), whole::UNCHANGED, token),
        Route::Monitor { pool: name, enabled } => {
            let order = if *enabled { Monitor::Enable } else { Monitor::Disable };
            let fleet = pool(name, process)?;
            said(Shell::of_group(0).carry_out(&Command::Monitor(order), &*fleet), process)
        }
        Route::Group { pool: name, group, verb } => {
            let fleet = pool(name, process)?;
            in_group(*verb, numbered_group(group, name, &*fleet)?, fields, &*fleet, process)
        }
        Route::Channel { pool: name, group, channel, verb } => {
            let fleet = pool(name, process)?;
            let group = numbered_group(group, name, &*fleet)?;
            let channel = numbered_channel(channel, group, name, &*fleet)?;
            to_channel(*verb, (group, channel), fields, &*fleet, process)
        }
    }
}

/// What a request may bring along.
fn keys(route: &Route) -> &'static [&'static str] {
    match route {
        Route::Group { verb: GroupVerb::Create, .. } | Route::Channel { verb: ChannelVerb::Assign, .. } => {
            &["host", "port"]
        }
        Route::Channel { verb: ChannelVerb::Weight, .. } => &["weight"],
        Route::Channel { verb: ChannelVerb::Limit, .. } => &["limit"],
        _ => &[],
    }
}

fn index() -> Answer {
    let endpoint = |(method, path, what): &(&str, &str, &str)| json!({ "method": method, "path": path, "what": what });
    Answer::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": ENDPOINTS.iter().map(endpoint).collect::<Vec<_>>(),
        "not_offered": "kill: use the control socket, or send SIGTERM to the process",
    }))
}

fn services(process: &dyn Process) -> Answer {
    let services = process.services();
    let described = |service: &ServiceState| {
        let mut value = json!({ "service": service.name, "pool": service.pool, "listen": service.listen });
        if let Some(stats) = &service.http {
            value["http"] = numbers(stats);
        }
        value
    };
    Answer::json(&json!({ "services": services.iter().map(described).collect::<Vec<_>>() }))
}

fn pools(process: &dyn Process) -> Answer {
    let described = |(name, fleet): (String, Arc<dyn Fleet>)| {
        let backends = fleet.stats().backends;
        let up = backends.iter().filter(|one| (one.status, one.health) == (Status::Enabled, Health::Up)).count();
        let in_flight: u64 = backends.iter().map(|backend| u64::from(backend.in_flight)).sum();
        json!({
            "pool": name,
            "groups": fleet.config().groups.len(),
            "channels": backends.len(),
            "up": up,
            "in_flight": in_flight,
            "monitor": fleet.is_monitored(),
        })
    };
    Answer::json(&json!({ "pools": process.pools().into_iter().map(described).collect::<Vec<_>>() }))
}

fn pool(name: &str, process: &dyn Process) -> Result<Arc<dyn Fleet>, Answer> {
    let mut pools = process.pools();
    let found = pools.iter().position(|(other, _)| other == name);
    found.map(|at| pools.swap_remove(at).1).ok_or_else(|| {
        let near = crate::spelling::nearest(name, pools.iter().map(|(name, _)| name.as_str()));
        let remedy =
            near.map_or("GET /v1/pools tells which there are".to_owned(), |near| format!("did you mean '{near}'?"));
        Answer::not_found(format!("there is no pool '{}': {remedy}", printable(name)))
    })
}

/// A group that is there, or can begin to exist: as in a control session.
fn numbered_group(word: &str, pool: &str, fleet: &dyn Fleet) -> Result<usize, Answer> {
    let read =
        number(word).ok_or_else(|| Answer::bad(format!("'{}' is not the number of a group", printable(word))))?;
    let none = || Answer::not_found(format!("there is no group {read} in pool '{pool}'"));
    existing_group(read, fleet).ok_or_else(none)
}

fn numbered_channel<'a>(word: &'a str, group: usize, pool: &str, fleet: &dyn Fleet) -> Result<Number<'a>, Answer> {
    let read =
        number(word).ok_or_else(|| Answer::bad(format!("'{}' is not the number of a channel", printable(word))))?;
    let none = || Answer::not_found(format!("there is no channel {read} in group {group} of pool '{pool}'"));
    channel_of(group, read, fleet).map(|_| read).ok_or_else(none)
}

fn in_group(
    verb: GroupVerb,
    group: usize,
    fields: &Fields,
    fleet: &dyn Fleet,
    process: &dyn Process,
) -> Result<Answer, Answer> {
    let mut shell = Shell::of_group(group);
    let outcome = match verb {
        GroupVerb::Hash => shell.carry_out(&Command::Hash, fleet),
        GroupVerb::RoundRobin => shell.carry_out(&Command::RoundRobin, fleet),
        GroupVerb::Create => {
            let (host, port) = (fields.text("host")?, fields.port("port")?);
            shell.carry_out(&Command::Create { host: &host, port: &port }, fleet)
        }
    };
    said(outcome, process)
}

fn to_channel(
    verb: ChannelVerb,
    (group, channel): (usize, Number<'_>),
    fields: &Fields,
    fleet: &dyn Fleet,
    process: &dyn Process,
) -> Result<Answer, Answer> {
    let (host, port);
    let command = match verb {
        ChannelVerb::Enable => Command::Enable(channel),
        ChannelVerb::Disable => Command::Disable(channel),
        ChannelVerb::Drain => Command::Drain(channel),
        ChannelVerb::Reset => Command::Reset(channel),
        ChannelVerb::Weight => Command::Weight { channel, weight: fields.weight("weight")? },
        // 0 is no limit, as balance has it.
        ChannelVerb::Limit => Command::MaxConnections { channel, limit: fields.limit("limit")?.unwrap_or(0) },
        ChannelVerb::Assign => {
            (host, port) = (fields.text("host")?, fields.port("port")?);
            Command::Assign { channel, host: &host, port: &port }
        }
    };
    said(Shell::of_group(group).carry_out(&command, fleet), process)
}

/// What a session is told of an order.
fn said(said: Said, process: &dyn Process) -> Result<Answer, Answer> {
    let done = said.map_err(refusal)?;
    let mut value = Map::new();
    value.insert("ok".to_owned(), true.into());
    value.insert("text".to_owned(), done.text.trim_end().into());
    value.extend(done.note.map(|note| ("note".to_owned(), note.into())));
    if let Some(permanence) = Some(done.is_change).filter(|changed| *changed).and_then(|_| process.permanence()) {
        value.insert("permanence".to_owned(), permanence.into());
    }
    Ok(Answer::json(&Value::Object(value)))
}

/// What has changed, or would: all in one, and line by line. Where that is nothing there is a sentence, and no line.
fn told(outcome: Result<String, String>, none: &str, token: Option<&Token>) -> Result<Answer, Answer> {
    let changes = outcome.map_err(|why| Answer::refused(StatusCode::CONFLICT, untold(why.trim_end(), token)))?;
    let changes = untold(changes.trim(), token);
    let text = if changes.is_empty() { none } else { &changes };
    Ok(Answer::json(&json!({ "ok": true, "text": text, "lines": changes.lines().collect::<Vec<_>>() })))
}

fn refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Unknown(text) => Answer::not_found(text),
        Refusal::Invalid(text, None) => Answer::bad(text),
        Refusal::Invalid(text, Some(why)) => Answer::bad(format!("{text}: {why}")),
        Refusal::Conflict(text) => Answer::refused(StatusCode::CONFLICT, text),
    }
}
