//! What is counted of HTTP requests. Services that balance none have no series here.

use super::text::{Kind, Text, escaped};
use crate::manage::{Histogram, HttpStats, ServiceState};

/// A service's labels, and what is counted of it.
type Labelled<'a> = (String, &'a HttpStats);

/// Writes the families of HTTP, if there is a service that has them.
pub(super) fn write(services: &[ServiceState], text: &mut Text) {
    let labelled = |service: &'_ ServiceState| format!("service=\"{}\"", escaped(&service.name));
    let with_http = services.iter().filter_map(|service| Some((labelled(service), service.http.as_ref()?)));
    let services: Vec<Labelled<'_>> = with_http.collect();
    if services.is_empty() {
        return;
    }
    answers(&services, text);
    reasons(&services, text);
    numbers(&services, text);
    seconds(&services, text);
    let help = "From the begin of a request to the end of its answer.";
    histogram("lb_http_request_duration_seconds", help, &services, |stats| &stats.total, text);
    let help = "From the begin of a request to the first byte of a backend's answer.";
    histogram("lb_http_first_byte_seconds", help, &services, |stats| &stats.first_byte, text);
}

const CLASSES: [&str; 5] = ["class=\"1xx\"", "class=\"2xx\"", "class=\"3xx\"", "class=\"4xx\"", "class=\"5xx\""];

fn answers(services: &[Labelled<'_>], text: &mut Text) {
    let help = "Requests that have ended, by the status of their answer; none where the client was gone before.";
    text.family("lb_http_requests_total", Kind::Counter, help);
    for (labels, stats) in services {
        for (label, count) in CLASSES.into_iter().zip(stats.answers) {
            text.sample("lb_http_requests_total", labels, label, count);
        }
        text.sample("lb_http_requests_total", labels, "class=\"none\"", stats.unanswered);
    }
    let help = "Requests by the backend connection of their last attempt.";
    text.family("lb_http_backend_connections_used_total", Kind::Counter, help);
    for (labels, stats) in services {
        for (label, count) in [("connection=\"fresh\"", stats.fresh), ("connection=\"reused\"", stats.reused)] {
            text.sample("lb_http_backend_connections_used_total", labels, label, count);
        }
    }
}

fn reasons(services: &[Labelled<'_>], text: &mut Text) {
    let help = "Requests that lb has answered by itself, or whose answer it has cut, by the reason (lb-reason).";
    text.family("lb_http_reasons_total", Kind::Counter, help);
    for (labels, stats) in services {
        for (reason, count) in &stats.reasons {
            text.sample("lb_http_reasons_total", labels, &format!("reason=\"{}\"", escaped(reason)), *count);
        }
    }
}

type Number = (&'static str, Kind, &'static str, fn(&HttpStats) -> u64);

const NUMBERS: [Number; 12] = [
    ("lb_http_connections_total", Kind::Counter, "Client connections accepted.", |stats| stats.accepted),
    ("lb_http_connections", Kind::Gauge, "Client connections.", |stats| stats.open),
    ("lb_http_connections_refused_total", Kind::Counter, "Client connections closed at once.", |stats| stats.refused),
    ("lb_http_requests_in_flight", Kind::Gauge, "Requests that have begun and not ended.", |stats| stats.in_flight),
    ("lb_http_requests_waiting", Kind::Gauge, "Requests that wait because all backends are full.", |stats| {
        stats.waiting
    }),
    (
        "lb_http_requests_waited_total",
        Kind::Counter,
        "Requests that have waited because all backends were full.",
        |stats| stats.waited,
    ),
    ("lb_http_answers_cut_total", Kind::Counter, "Answers whose begin was sent, and whose end was not.", |stats| {
        stats.cut
    }),
    ("lb_http_retries_total", Kind::Counter, "Attempts beyond the first of each request.", |stats| stats.retries),
    ("lb_http_retries_denied_total", Kind::Counter, "Attempts not made because there had been too many.", |stats| {
        stats.retries_denied
    }),
    ("lb_http_backend_connections_idle", Kind::Gauge, "Backend connections kept without a request.", |stats| {
        stats.idle
    }),
    ("lb_http_request_bytes_total", Kind::Counter, "Bytes of requests' bodies.", |stats| stats.request_bytes),
    ("lb_http_answer_bytes_total", Kind::Counter, "Bytes of answers' bodies.", |stats| stats.answer_bytes),
];

fn numbers(services: &[Labelled<'_>], text: &mut Text) {
    for (name, kind, help, number) in NUMBERS {
        text.family(name, kind, help);
        for (labels, stats) in services {
            text.sample(name, labels, "", number(stats));
        }
    }
}

fn seconds(services: &[Labelled<'_>], text: &mut Text) {
    let name = "lb_http_queue_seconds_total";
    text.family(name, Kind::Counter, "How long requests have waited because all backends were full.");
    services.iter().for_each(|(labels, stats)| text.fraction(name, labels, stats.queue_time.as_secs_f64()));
    let name = "lb_http_connect_seconds_total";
    text.family(name, Kind::Counter, "How long connecting to backends has taken.");
    services.iter().for_each(|(labels, stats)| text.fraction(name, labels, stats.connect_time.as_secs_f64()));
}

/// Each count is of all that took no longer than its bound.
fn histogram(
    name: &str,
    help: &str,
    services: &[Labelled<'_>],
    histogram: fn(&HttpStats) -> &Histogram,
    text: &mut Text,
) {
    text.family(name, Kind::Histogram, help);
    let bucket = format!("{name}_bucket");
    let bounds = Histogram::bounds().map(|bound| format!("le=\"{}\"", bound.as_secs_f64()));
    let bounds: Vec<String> = bounds.chain(["le=\"+Inf\"".to_owned()]).collect();
    for (labels, stats) in services {
        let (histogram, mut all) = (histogram(stats), 0);
        for (bound, count) in bounds.iter().zip(histogram.counts()) {
            all += count;
            text.sample(&bucket, labels, bound, all);
        }
        text.fraction(&format!("{name}_sum"), labels, histogram.sum().as_secs_f64());
        text.sample(&format!("{name}_count"), labels, "", all);
    }
}
