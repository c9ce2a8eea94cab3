//! The fleet as text: balance's table, and JSON for machines.

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lb_core::{BackendId, BackendStats, Config, Ejected, Health, SelectorKind, Status};
use serde_json::{Map, Value, json};

use super::Fleet;
use crate::driver;

const HEADER: &str = "GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd\n";

/// One channel: a backend and its number within its group.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) number: usize,
    pub(super) backend: BackendStats,
}

/// All channels in order.
pub(super) fn channels(fleet: &dyn Fleet) -> Vec<Channel> {
    let all = numbered(fleet.stats().backends, |backend| backend.group);
    all.map(|(number, backend)| Channel { number, backend }).collect()
}

/// Backends in order, each with its number within its group.
pub(super) fn numbered<T>(backends: Vec<T>, group: impl Fn(&T) -> usize) -> impl Iterator<Item = (usize, T)> {
    let mut next: HashMap<usize, usize> = HashMap::new();
    backends.into_iter().map(move |backend| {
        let next = next.entry(group(&backend)).or_default();
        *next += 1;
        (*next - 1, backend)
    })
}

/// What people ordered and what was observed, in balance's three letters: `DIS` by hand, `dis` by observation; `DRN`
/// and `drn` are ours.
pub(super) fn state(backend: &BackendStats) -> &'static str {
    match (backend.status, backend.health) {
        (Status::Disabled, _) => "DIS",
        (Status::Draining, _) => "DRN",
        (_, Health::Up) => "ENA",
        (_, Health::Draining) => "drn",
        _ => "dis",
    }
}

/// balance knows two types: whatever does not hash takes turns.
fn kind(config: &Config, group: usize) -> &'static str {
    let selector = config.groups.get(group).map(|group| group.selector);
    if matches!(selector, Some(SelectorKind::Hash { .. })) { "Hash" } else { "RR" }
}

/// balance's `show`: the header, and a row for each channel.
pub(super) fn table(fleet: &dyn Fleet) -> String {
    let (config, addresses) = (fleet.config(), fleet.addresses());
    let mut text = HEADER.to_owned();
    for Channel { number, backend } in channels(fleet) {
        let (ip, port) = columns(addresses.get(&backend.id));
        let _ = writeln!(
            text,
            "{:3} {:>4} {:2} {:>3} {ip:>16} {port:>5} {:4} {:11} {:4} {:11} {:11}",
            backend.group,
            kind(&config, backend.group),
            number,
            state(&backend),
            backend.in_flight,
            backend.picked(),
            backend.limit.unwrap_or(0),
            backend.to_backend_bytes,
            backend.to_client_bytes,
        );
    }
    text
}

/// A name that has no address at present is shown as such.
fn columns(address: Option<&SocketAddr>) -> (String, String) {
    address.map_or_else(|| ("-".into(), "-".into()), |address| (address.ip().to_string(), address.port().to_string()))
}

/// Everything that is known, as JSON.
pub(super) fn machine(fleet: &dyn Fleet) -> Value {
    let (config, addresses, channels, now) = (fleet.config(), fleet.addresses(), channels(fleet), driver::now());
    let group = |(at, group): (usize, &lb_core::GroupConfig)| {
        let own = channels.iter().filter(|channel| channel.backend.group == at);
        json!({
            "group": at,
            "type": kind(&config, at),
            "selector": group.selector.to_string(),
            "channels": own.map(|channel| described(channel, &addresses, now)).collect::<Vec<_>>(),
        })
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": fleet.pid(),
        "monitor": fleet.is_monitored(),
        "admitted_percent": fleet.stats().admitted_percent,
        "groups": config.groups.iter().enumerate().map(group).collect::<Vec<_>>(),
    })
}

fn described(channel: &Channel, addresses: &HashMap<BackendId, SocketAddr>, now: Instant) -> Value {
    let backend = &channel.backend;
    let ordered = json!({
        "channel": channel.number,
        "name": backend.name,
        "address": addresses.get(&backend.id).map(ToString::to_string),
        "state": state(backend),
        "status": backend.status.to_string(),
        "weight": backend.weight,
        "limit": backend.limit,
    });
    let parts = [ordered, observed(backend, now), counted(backend)].into_iter();
    let members = parts.flat_map(|part| if let Value::Object(members) = part { members } else { Map::new() });
    Value::Object(members.collect())
}

/// Times are in seconds: for how long its health is what it is, and until something comes.
fn observed(backend: &BackendStats, now: Instant) -> Value {
    let until = |at: Option<Instant>| at.and_then(|at| at.checked_duration_since(now)).map(seconds);
    let out_until = match backend.ejected {
        Some(Ejected::Until(at)) => at,
        _ => None,
    };
    json!({
        "health": backend.health.to_string(),
        "reason": backend.reason,
        "since_seconds": backend.since.map(|since| seconds(now.saturating_duration_since(since))),
        "next_probe_seconds": until(backend.next_probe),
        "ejected": backend.ejected.map(|ejected| ejected.to_string()),
        "ejected_seconds": until(out_until),
        "share_percent": backend.share.get(),
    })
}

fn counted(backend: &BackendStats) -> Value {
    json!({
        "in_flight": backend.in_flight,
        "picked": backend.picked(),
        "succeeded": backend.succeeded,
        "failed": backend.failed,
        "connect_failed": backend.connect_failed,
        "cancelled": backend.cancelled,
        "last_resort": backend.last_resort,
        "to_backend_bytes": backend.to_backend_bytes,
        "to_client_bytes": backend.to_client_bytes,
    })
}

fn seconds(time: Duration) -> f64 {
    // As many digits as anybody reads.
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
