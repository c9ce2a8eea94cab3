//! What is counted of a service's HTTP requests, as JSON.

use serde_json::{Value, json};

use crate::manage::{Histogram, HttpStats};

/// Counters grow, `open`, `in_flight`, `waiting` and `idle` stand for now.
pub(super) fn numbers(stats: &HttpStats) -> Value {
    let [informational, successful, redirecting, client_error, server_error] = stats.answers;
    json!({
        "connections": { "accepted": stats.accepted, "open": stats.open, "refused": stats.refused },
        "requests": stats.requests,
        "in_flight": stats.in_flight,
        "answers": {
            "1xx": informational,
            "2xx": successful,
            "3xx": redirecting,
            "4xx": client_error,
            "5xx": server_error,
            "none": stats.unanswered,
        },
        "reasons": stats.reasons,
        "cut": stats.cut,
        "queue": { "waiting": stats.waiting, "waited": stats.waited, "seconds": stats.queue_time.as_secs_f64() },
        "retries": { "made": stats.retries, "denied": stats.retries_denied },
        "backend_connections": {
            "fresh": stats.fresh,
            "reused": stats.reused,
            "idle": stats.idle,
            "connect_seconds": stats.connect_time.as_secs_f64(),
        },
        "request_bytes": stats.request_bytes,
        "answer_bytes": stats.answer_bytes,
        "first_byte": histogram(&stats.first_byte),
        "total": histogram(&stats.total),
    })
}

/// Bounds of which nothing was counted are left out; the last has none.
fn histogram(histogram: &Histogram) -> Value {
    let bounds = Histogram::bounds().map(|bound| Some(bound.as_secs_f64())).chain([None]);
    let counted = bounds.zip(histogram.counts()).filter(|(_, count)| **count > 0);
    let counted = counted.map(|(bound, count)| json!({ "up_to_seconds": bound, "count": count }));
    json!({
        "count": histogram.count(),
        "seconds": histogram.sum().as_secs_f64(),
        "counts": counted.collect::<Vec<_>>(),
    })
}
