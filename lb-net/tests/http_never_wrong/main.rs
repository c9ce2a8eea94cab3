//! Nobody ever gets another's bytes, or half an answer that looks whole.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod advisories;
mod bodies;
mod crowd;
mod cut;
mod gone;
#[path = "../http_support/mod.rs"]
mod http_support;
#[path = "../wire/mod.rs"]
mod wire;

use wire::{Broken, Visit, answer};

pub(crate) const GET: &str = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const AFTER: &str = "GET /after HTTP/1.1\r\nHost: a\r\n\r\n";
/// What is a request only for who has lost count.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";

pub(crate) const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Answers each request with its target and its body.
pub(crate) fn telling(visit: &mut Visit) -> Result<(), Broken> {
    loop {
        let request = visit.request()?;
        let told = format!("{} {}", request.target(), request.text());
        visit.say(answer(&told))?;
    }
}
