//! What is counted, as Prometheus reads it: text format 0.0.4.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>: base units, `_total` behind what only grows, `_info` behind
//! what only tells. What is to be known of an order or an observation is a set of series of which one is 1.

mod http;
mod own;
mod text;

use std::collections::HashMap;

use lb_core::{
    BackendStats, Status,
    health::{Cause, Health},
};

use self::text::{Kind, Text};
use super::{Process, ServiceState};

/// The content type of [`metrics`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted in a process, as text for Prometheus. A backend has its series for as long as it is
/// configured.
/// ```
/// use lb_net::manage::{Process, metrics};
/// fn scrape(process: &dyn Process) -> String {
///     metrics(process)
/// }
/// ```
#[must_use]
pub fn metrics(process: &dyn Process) -> String {
    let ((backends, admitted), all) = (backends(process), process.services());
    // What 10 000 backends need, so that it is not moved as it grows.
    let mut text = Text::with_capacity(4096 + backends.len() * 1700);
    text.family("lb_build_info", Kind::Gauge, "Which lb this is.");
    text.sample("lb_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), "", 1);
    own::write(&mut text);
    services(&all, &mut text);
    monitors(process, &mut text);
    let help = "The share of requests that a pool lets in: below 1 while backends recover from having all said DOWN.";
    text.family("lb_pool_admitted_ratio", Kind::Gauge, help);
    admitted.iter().for_each(|(labels, percent)| {
        text.fraction("lb_pool_admitted_ratio", labels, f64::from(*percent) / 100.0);
    });
    gauges(&backends, &mut text);
    counters(&backends, &mut text);
    http::write(&all, &mut text);
    text.finish()
}

/// A backend and the labels that all of its series have.
struct Labelled {
    labels: String,
    stats: BackendStats,
}

/// All backends, and by the labels of each pool how many of 100 requests it lets in.
fn backends(process: &dyn Process) -> (Vec<Labelled>, Vec<(String, u8)>) {
    let (mut all, mut admitted) = (Vec::new(), Vec::new());
    for (pool, fleet) in process.pools() {
        let pool = text::escaped(&pool);
        let mut seen: HashMap<String, u32> = HashMap::new();
        let whole = fleet.stats();
        admitted.push((format!("pool=\"{pool}\""), whole.admitted_percent));
        for stats in whole.backends {
            let mut labels =
                format!("pool=\"{pool}\",group=\"{}\",backend=\"{}\"", stats.group, text::escaped(&stats.name));
            // One that is written twice is two backends.
            let occurrence = seen.entry(stats.name.clone()).and_modify(|count| *count += 1).or_insert(0);
            if *occurrence > 0 {
                labels.push_str(&format!(",occurrence=\"{occurrence}\""));
            }
            all.push(Labelled { labels, stats });
        }
    }
    (all, admitted)
}

fn services(services: &[ServiceState], text: &mut Text) {
    text.family("lb_service_info", Kind::Gauge, "Which pool the clients of a service go to.");
    for service in services {
        let labels = format!("service=\"{}\",pool=\"{}\"", text::escaped(&service.name), text::escaped(&service.pool));
        text.sample("lb_service_info", &labels, "", 1);
    }
}

fn monitors(process: &dyn Process, text: &mut Text) {
    let help = "Whether the checks of a pool run (1) or pause (0); pools without checks have none.";
    text.family("lb_pool_monitor_enabled", Kind::Gauge, help);
    for (pool, fleet) in process.pools() {
        if let Some(enabled) = fleet.is_monitored() {
            let labels = format!("pool=\"{}\"", text::escaped(&pool));
            text.sample("lb_pool_monitor_enabled", &labels, "", u64::from(enabled));
        }
    }
}

const STATUSES: [(&str, Status); 3] = [
    ("status=\"enabled\"", Status::Enabled),
    ("status=\"draining\"", Status::Draining),
    ("status=\"disabled\"", Status::Disabled),
];

const HEALTHS: [(&str, Health); 7] = [
    ("health=\"unknown\"", Health::Unknown),
    ("health=\"up\"", Health::Up),
    ("health=\"silent\"", Health::Down(Cause::Silent)),
    ("health=\"said_draining\"", Health::Draining),
    ("health=\"said_down\"", Health::Down(Cause::Said)),
    ("health=\"said_maintenance\"", Health::Down(Cause::Maintenance)),
    ("health=\"ejected\"", Health::Ejected),
];

/// How it stands with each backend now.
fn gauges(backends: &[Labelled], text: &mut Text) {
    text.family("lb_backend_up", Kind::Gauge, "Whether a backend takes new work: it is enabled, and up.");
    for Labelled { labels, stats } in backends {
        let is_up = (stats.status, stats.health) == (Status::Enabled, Health::Up);
        text.sample("lb_backend_up", labels, "", u64::from(is_up));
    }
    text.family("lb_backend_status", Kind::Gauge, "What people ordered: 1 for the status in force, 0 for the others.");
    for Labelled { labels, stats } in backends {
        for (label, status) in STATUSES {
            text.sample("lb_backend_status", labels, label, u64::from(stats.status == status));
        }
    }
    text.family("lb_backend_health", Kind::Gauge, "What was observed: 1 for the health in force, 0 for the others.");
    for Labelled { labels, stats } in backends {
        for (label, health) in HEALTHS {
            text.sample("lb_backend_health", labels, label, u64::from(stats.health == health));
        }
    }
    text.family("lb_backend_in_flight", Kind::Gauge, "Connections that a backend is working on.");
    for Labelled { labels, stats } in backends {
        text.sample("lb_backend_in_flight", labels, "", u64::from(stats.in_flight));
    }
    text.family("lb_backend_limit", Kind::Gauge, "Connections that a backend takes at a time; +Inf for any number.");
    for Labelled { labels, stats } in backends {
        match stats.limit {
            Some(limit) => text.sample("lb_backend_limit", labels, "", u64::from(limit)),
            None => text.infinite("lb_backend_limit", labels),
        }
    }
    text.family("lb_backend_weight", Kind::Gauge, "What a backend is to take beside the others of its group.");
    for Labelled { labels, stats } in backends {
        text.sample("lb_backend_weight", labels, "", u64::from(stats.weight));
    }
    text.family("lb_backend_share", Kind::Gauge, "How much of that it says that it takes, 0 to 1.");
    for Labelled { labels, stats } in backends {
        text.fraction("lb_backend_share", labels, f64::from(stats.share.get()) / 100.0);
    }
}

type Counter = (&'static str, &'static str, fn(&BackendStats) -> u64);

const COUNTERS: [Counter; 8] = [
    ("lb_backend_picks_total", "Times that a backend was chosen.", BackendStats::picked),
    ("lb_backend_last_resort_picks_total", "Times that it was chosen because none was up.", |stats| stats.last_resort),
    ("lb_backend_successes_total", "Connections that ended well.", |stats| stats.succeeded),
    ("lb_backend_failures_total", "Connections that failed after they had been made.", |stats| stats.failed),
    ("lb_backend_connect_failures_total", "Attempts to connect that failed.", |stats| stats.connect_failed),
    ("lb_backend_cancelled_total", "Choices that came to nothing, through no fault of the backend.", |stats| {
        stats.cancelled
    }),
    ("lb_backend_sent_bytes_total", "Bytes sent to a backend, from its clients.", |stats| stats.to_backend_bytes),
    ("lb_backend_received_bytes_total", "Bytes received from a backend, for its clients.", |stats| {
        stats.to_client_bytes
    }),
];

/// What has happened at each backend since it was configured, or since its counters were reset.
fn counters(backends: &[Labelled], text: &mut Text) {
    for (name, help, count) in COUNTERS {
        text.family(name, Kind::Counter, help);
        for Labelled { labels, stats } in backends {
            text.sample(name, labels, "", count(stats));
        }
    }
}
