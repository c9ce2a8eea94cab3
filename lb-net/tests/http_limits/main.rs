//! Nobody waits for ever, nobody takes more than the limits say, and the good never notice.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod connections;
#[path = "../http_support/mod.rs"]
mod http_support;
mod queue;
mod sizes;
mod times;
#[path = "../wire/mod.rs"]
mod wire;

use std::time::{Duration, Instant};

use http_support::{Front, wait_for};
use lb_net::http::Settings;
use wire::{Backend, Client, Gate, answer};

pub(crate) const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const LIMIT: Duration = Duration::from_millis(400);
/// Deadlines are looked at now and then; more than that is too late.
pub(crate) const LATE: Duration = Duration::from_secs(4);

pub(crate) fn front(backend: &Backend, change: impl FnOnce(&mut Settings)) -> Front {
    Front::with(&backend.word(), change)
}

/// It took as long as the limit, and not much longer.
pub(crate) fn is_in_time(begin: Instant) {
    is_within(LIMIT, begin);
}

/// It took as long as this limit, and not much longer.
pub(crate) fn is_within(limit: Duration, begin: Instant) {
    let took = begin.elapsed();
    assert!(took >= limit.mul_f32(0.7) && took < LATE, "{took:?}");
}

/// A backend that answers requests with their targets: those for which there is a gate when that is open.
pub(crate) fn gated(gates: &[(usize, &Gate)]) -> Backend {
    let gates: Vec<_> = gates.iter().map(|(at, gate)| (format!("/{at}"), (*gate).clone())).collect();
    Backend::new(move |visit| {
        loop {
            let target = visit.request()?.target().to_owned();
            gates.iter().filter(|(own, _)| *own == target).for_each(|(_, gate)| gate.wait());
            visit.say(answer(&target))?;
        }
    })
}

pub(crate) fn get(at: usize) -> String {
    format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A client who has asked and is at a backend or in the queue, behind those who came before.
pub(crate) fn queued(front: &Front, at: usize) -> Client {
    let count = || u64::from(front.in_flight()) + front.waiting();
    let (before, mut client) = (count(), front.client());
    client.say(get(at));
    wait_for("its place", || count() > before);
    client
}
