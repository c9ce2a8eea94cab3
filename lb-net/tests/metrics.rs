//! What Prometheus reads: the format, each series with its value, and that a backend's series end with it.
#![cfg(feature = "manage-http")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/process.rs"]
mod process;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/web.rs"]
mod web;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, Outcome, Request,
    health::{Evidence, Probe, RiseFall, Said, Share},
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::{Fleet, HttpStats, Managed, Process, ServiceState, Shell, metrics};
use process::Staged;
use prometheus::{Series, read};
use web::Web;

fn run(staged: &Staged, line: &str) {
    let reply = Shell::default().execute(line, &*staged.fleet("web"));
    assert!(!reply.failed, "{line}: {}", reply.text);
}

fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    (name.to_owned(), labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// The values of a backend, by names and the labels that not all of its series have.
fn of(values: &BTreeMap<Series, f64>, backend: &str) -> BTreeMap<String, f64> {
    let own = values.iter().filter(|((_, labels), _)| labels.get("backend").is_some_and(|name| name == backend));
    own.map(|((name, labels), value)| {
        let rest = labels.iter().filter(|(name, _)| !["backend", "pool", "group"].contains(&name.as_str()));
        let rest: Vec<String> = rest.map(|(_, value)| format!(" {value}")).collect();
        (format!("{name}{}", rest.concat()), *value)
    })
    .collect()
}

#[test]
fn each_backend_is_told_of_with_all_that_is_counted() {
    let staged = Staged::new(&[("web", "alpha:80:9:3 ! beta")]);
    let balancer = staged.balancer("web");
    let mut rng = SmallRng::seed_from_u64(1);
    let mut pick = || balancer.pick(&Request::new(Instant::now()), &mut rng).unwrap();
    for outcome in [Outcome::Success, Outcome::Success, Outcome::Broken] {
        let lease = pick();
        lease.add_bytes(100, 1000);
        lease.finish(outcome, Instant::now());
    }
    pick().finish(Outcome::ConnectFailed, Instant::now());
    drop(pick());
    let open = pick();
    let values = read(&metrics(&*staged));
    let alpha = of(&values, "alpha:80");
    let expected = [
        ("lb_backend_up", 1.0),
        ("lb_backend_status enabled", 1.0),
        ("lb_backend_status draining", 0.0),
        ("lb_backend_status disabled", 0.0),
        ("lb_backend_health unknown", 0.0),
        ("lb_backend_health up", 1.0),
        ("lb_backend_health silent", 0.0),
        ("lb_backend_health said_draining", 0.0),
        ("lb_backend_health said_down", 0.0),
        ("lb_backend_health said_maintenance", 0.0),
        ("lb_backend_health ejected", 0.0),
        ("lb_backend_in_flight", 1.0),
        ("lb_backend_limit", 9.0),
        ("lb_backend_weight", 3.0),
        ("lb_backend_share", 1.0),
        ("lb_backend_picks_total", 6.0),
        ("lb_backend_last_resort_picks_total", 0.0),
        ("lb_backend_successes_total", 2.0),
        ("lb_backend_failures_total", 1.0),
        ("lb_backend_connect_failures_total", 1.0),
        ("lb_backend_cancelled_total", 1.0),
        ("lb_backend_sent_bytes_total", 300.0),
        ("lb_backend_received_bytes_total", 3000.0),
    ];
    assert_eq!(alpha, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let limit = series("lb_backend_limit", &[("pool", "web"), ("group", "1"), ("backend", "beta")]);
    assert_eq!(values[&limit], f64::INFINITY);
    drop(open);
    run(&staged, "drain 0");
    let alpha = of(&read(&metrics(&*staged)), "alpha:80");
    assert_eq!((alpha["lb_backend_up"], alpha["lb_backend_status draining"]), (0.0, 1.0));
}

#[test]
fn what_applications_say_is_told() {
    let staged = Staged::new(&[("web", "alpha")]);
    let balancer = staged.balancer("web");
    balancer.update(balancer.config().with_probes(RiseFall::default().assuming_up()), Instant::now(), |_| {
        panic!("no backend is new")
    });
    let id = balancer.stats().backends[0].id;
    let says = |word| {
        balancer.observe(id, &Evidence::Probe(Probe::Said(word)), Instant::now()).unwrap();
        of(&read(&metrics(&*staged)), "alpha")
    };
    let alpha = says(Said::Up(Share::percent(40).unwrap()));
    assert_eq!((alpha["lb_backend_share"], alpha["lb_backend_up"]), (0.4, 1.0));
    let alpha = says(Said::Drain);
    assert_eq!((alpha["lb_backend_health said_draining"], alpha["lb_backend_up"]), (1.0, 0.0));
    let alpha = says(Said::Maintenance);
    assert_eq!((alpha["lb_backend_health said_maintenance"], alpha["lb_backend_health said_draining"]), (1.0, 0.0));
}

#[test]
fn the_process_is_told_of() {
    let staged = Staged::new(&[("web", "alpha")]);
    let values = read(&metrics(&*staged));
    assert_eq!(values[&series("lb_build_info", &[("version", env!("CARGO_PKG_VERSION"))])], 1.0);
    assert_eq!(values[&series("lb_service_info", &[("service", "www"), ("pool", "web")])], 1.0);
    assert_eq!(values[&series("lb_pool_monitor_enabled", &[("pool", "web")])], 1.0);
    assert_eq!(values[&series("lb_pool_admitted_ratio", &[("pool", "web")])], 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = values[&series("process_start_time_seconds", &[])];
    assert!((started - now).abs() < 600.0, "it started {} s ago", now - started);
    assert!(values[&series("process_resident_memory_bytes", &[])] > 100_000.0);
    assert!(values[&series("process_open_fds", &[])] >= 3.0);
    assert!(values.contains_key(&series("process_cpu_seconds_total", &[])));
}

/// As they are after a few requests.
fn numbers() -> HttpStats {
    let mut stats = HttpStats::default();
    (stats.accepted, stats.open, stats.refused) = (9, 4, 2);
    (stats.requests, stats.in_flight, stats.answers, stats.unanswered) = (7, 1, [0, 4, 0, 1, 1], 1);
    (stats.waiting, stats.waited, stats.queue_time) = (3, 5, Duration::from_millis(250));
    (stats.retries, stats.retries_denied, stats.cut, stats.idle) = (6, 8, 10, 11);
    (stats.fresh, stats.reused, stats.connect_time) = (12, 13, Duration::from_micros(1500));
    (stats.request_bytes, stats.answer_bytes) = (14, 15);
    stats.reasons = [("bad-field", 1), ("backend-closed", 2)].into();
    [100, 200, 90_000_000].into_iter().for_each(|micros| stats.total.observe(Duration::from_micros(micros)));
    stats.first_byte.observe(Duration::from_micros(129));
    stats
}

#[test]
fn what_is_counted_of_http_is_told_by_service_and_only_where_there_is_some() {
    let staged = Staged::new(&[("web", "alpha")]);
    assert!(!metrics(&*staged).contains("lb_http_"));
    let www = ServiceState::new("w\"w", "web", Vec::new()).with_http(numbers());
    staged.services.lock().unwrap().push(www);
    let values = read(&metrics(&*staged));
    let mut own: BTreeMap<String, f64> = values
        .iter()
        .filter(|((name, labels), _)| name.starts_with("lb_http_") && labels["service"] == "w\"w")
        .map(|((name, labels), value)| {
            let rest: Vec<String> =
                labels.iter().filter(|(name, _)| *name != "service").map(|(_, value)| format!(" {value}")).collect();
            (format!("{}{}", name.strip_prefix("lb_http_").unwrap(), rest.concat()), *value)
        })
        .collect();
    let bucket = |own: &BTreeMap<String, f64>, bound: &str| own[&format!("request_duration_seconds_bucket {bound}")];
    assert_eq!(["0.000128", "0.000256", "67.108864", "+Inf"].map(|bound| bucket(&own, bound)), [1.0, 2.0, 2.0, 3.0]);
    assert_eq!((own["first_byte_seconds_bucket 0.000128"], own["first_byte_seconds_bucket 0.000256"]), (0.0, 1.0));
    own.retain(|name, _| !name.contains("_bucket"));
    let expected = [
        ("requests_total 1xx", 0.0),
        ("requests_total 2xx", 4.0),
        ("requests_total 3xx", 0.0),
        ("requests_total 4xx", 1.0),
        ("requests_total 5xx", 1.0),
        ("requests_total none", 1.0),
        ("backend_connections_used_total fresh", 12.0),
        ("backend_connections_used_total reused", 13.0),
        ("reasons_total bad-field", 1.0),
        ("reasons_total backend-closed", 2.0),
        ("connections_total", 9.0),
        ("connections", 4.0),
        ("connections_refused_total", 2.0),
        ("requests_in_flight", 1.0),
        ("requests_waiting", 3.0),
        ("requests_waited_total", 5.0),
        ("answers_cut_total", 10.0),
        ("retries_total", 6.0),
        ("retries_denied_total", 8.0),
        ("backend_connections_idle", 11.0),
        ("request_bytes_total", 14.0),
        ("answer_bytes_total", 15.0),
        ("queue_seconds_total", 0.25),
        ("connect_seconds_total", 0.0015),
        ("request_duration_seconds_sum", 90.0003),
        ("request_duration_seconds_count", 3.0),
        ("first_byte_seconds_sum", 0.000129),
        ("first_byte_seconds_count", 1.0),
    ];
    assert_eq!(own, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn the_api_tells_the_same_of_services() {
    let staged = Staged::new(&[("web", "alpha")]);
    staged.services.lock().unwrap().push(ServiceState::new("w", "web", Vec::new()).with_http(numbers()));
    let services = Web::new(staged).get("/v1/services").json();
    assert_eq!(services["services"][0].get("http"), None, "it balances no requests");
    let http = &services["services"][2]["http"];
    assert_eq!(http["connections"], serde_json::json!({ "accepted": 9, "open": 4, "refused": 2 }));
    let answers = serde_json::json!({ "1xx": 0, "2xx": 4, "3xx": 0, "4xx": 1, "5xx": 1, "none": 1 });
    assert_eq!((&http["requests"], &http["answers"]), (&7.into(), &answers));
    assert_eq!(http["reasons"], serde_json::json!({ "backend-closed": 2, "bad-field": 1 }));
    assert_eq!(http["queue"], serde_json::json!({ "waiting": 3, "waited": 5, "seconds": 0.25 }));
    assert_eq!(http["retries"], serde_json::json!({ "made": 6, "denied": 8 }));
    let connections = serde_json::json!({ "fresh": 12, "reused": 13, "idle": 11, "connect_seconds": 0.0015 });
    assert_eq!(http["backend_connections"], connections);
    let counts = serde_json::json!([
        { "up_to_seconds": 0.000128, "count": 1 },
        { "up_to_seconds": 0.000256, "count": 1 },
        { "up_to_seconds": null, "count": 1 },
    ]);
    assert_eq!(http["total"], serde_json::json!({ "count": 3, "seconds": 90.0003, "counts": counts }));
}

#[test]
fn the_series_of_a_backend_end_when_it_goes() {
    let staged = Staged::new(&[("web", "alpha beta"), ("mail", "gamma")]);
    let names = |staged: &Staged| -> BTreeSet<String> {
        let values = read(&metrics(staged));
        values.keys().filter_map(|(_, labels)| labels.get("backend").cloned()).collect()
    };
    assert_eq!(names(&staged), ["alpha", "beta", "gamma"].map(str::to_owned).into());
    let gone = |config: &mut Config| {
        config.groups[0].backends.remove(0);
        Ok(())
    };
    staged.fleet("web").change(None, &mut { gone }).unwrap();
    assert_eq!(names(&staged), ["beta", "gamma"].map(str::to_owned).into());
    staged.put("web", "delta");
    assert_eq!(names(&staged), ["delta", "gamma"].map(str::to_owned).into());
}

#[test]
fn a_name_that_is_used_again_is_another_series() {
    // `read` refuses a series that is there twice.
    let staged = Staged::new(&[("web", "alpha alpha ! alpha"), ("mail", "alpha")]);
    let values = read(&metrics(&*staged));
    let second = [("pool", "web"), ("group", "0"), ("backend", "alpha"), ("occurrence", "1")];
    assert!(values.contains_key(&series("lb_backend_up", &second)));
    let third = [("pool", "web"), ("group", "1"), ("backend", "alpha"), ("occurrence", "2")];
    assert!(values.contains_key(&series("lb_backend_up", &third)));
    assert_eq!(values.keys().filter(|(name, _)| name == "lb_backend_up").count(), 4);
}

/// One pool, whatever its backends are called.
struct Odd(Arc<Managed<()>>);

impl Process for Odd {
    fn services(&self) -> Vec<ServiceState> {
        vec![ServiceState::new("a\"b", "c\\d", Vec::new())]
    }

    fn pools(&self) -> Vec<(String, Arc<dyn Fleet>)> {
        vec![("c\\d".to_owned(), Arc::clone(&self.0) as _)]
    }

    fn reload(&self) -> Result<String, String> {
        Ok(String::new())
    }

    fn difference(&self) -> Result<String, String> {
        Ok(String::new())
    }

    fn dump(&self) -> String {
        String::new()
    }

    fn loaded(&self) -> String {
        String::new()
    }
}

#[test]
fn names_are_told_as_they_are() {
    let name = "a\"b\\n\n{},= é";
    let config = Config::default().with_group(GroupConfig::new(vec![BackendConfig::new(name)]));
    let balancer = Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), |_| ());
    let odd = Odd(Arc::new(Managed::new(Arc::new(balancer), |_| Ok(()), |_| (), |()| None)));
    let values = read(&metrics(&odd));
    assert!(values.contains_key(&series("lb_backend_up", &[("pool", "c\\d"), ("group", "0"), ("backend", name)])));
    assert!(values.contains_key(&series("lb_service_info", &[("service", "a\"b"), ("pool", "c\\d")])));
}

#[test]
fn ten_thousand_backends_are_told_of_in_a_moment() {
    let time = |count: usize| {
        let words: String = (0..count).map(|n| format!("10.0.{}.{}:8080:100 ", n / 250, n % 250)).collect();
        let staged = Staged::new(&[("web", &words)]);
        let began = Instant::now();
        assert!(metrics(&*staged).len() > count * 20 * 40);
        began.elapsed()
    };
    // A loop in a loop would take a hundred times as long. Others use this machine too: one good time will do.
    assert!((0..5).any(|_| time(10_000) < 30 * time(1_000)));
}

#[test]
fn scrapers_get_the_text_with_its_type() {
    let web = Web::new(Staged::new(&[("web", "alpha beta")]));
    let answer = web.get("/metrics?name=x");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(read(&answer.body).len() > 40);
}
