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

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use http_support::Front;
use lb_net::http::Settings;
use wire::{Backend, Client, Gate, answer};

pub(crate) const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const LIMIT: Duration = Duration::from_millis(400);
/// Deadlines are looked at now and then; more than that is too late.
pub(crate) const LATE: Duration = Duration::from_millis(2_500);

pub(crate) fn front(backend: &Backend, change: impl FnOnce(&mut Settings)) -> Front {
    Front::with(&backend.word(), change)
}

/// It took as long as the limit, and not much longer.
pub(crate) fn is_in_time(begin: Instant) {
    let took = begin.elapsed();
    assert!(took >= LIMIT.mul_f32(0.7) && took < LATE, "{took:?}");
}

/// A backend with room for one, that answers each request when it is told to.
pub(crate) fn one_by_one(gates: Vec<Gate>) -> Backend {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Backend::new(move |visit| {
        loop {
            let target = visit.request()?.target().to_owned();
            gates.get(next.fetch_add(1, Relaxed)).inspect(|gate| gate.wait());
            visit.say(answer(&target))?;
        }
    })
}

pub(crate) fn get(at: usize) -> String {
    format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A client who has asked and is in the queue.
pub(crate) fn queued(front: &Front, at: usize) -> Client {
    let mut client = front.client();
    client.say(get(at));
    assert!(!client.hears_within(Duration::from_millis(60)));
    client
}
