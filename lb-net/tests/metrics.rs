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
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::manage::{Fleet, Managed, Process, ServiceState, Shell, metrics};
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
        ("lb_backend_health said_down", 0.0),
        ("lb_backend_health ejected", 0.0),
        ("lb_backend_in_flight", 1.0),
        ("lb_backend_limit", 9.0),
        ("lb_backend_weight", 3.0),
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
fn the_process_is_told_of() {
    let staged = Staged::new(&[("web", "alpha")]);
    let values = read(&metrics(&*staged));
    assert_eq!(values[&series("lb_build_info", &[("version", env!("CARGO_PKG_VERSION"))])], 1.0);
    assert_eq!(values[&series("lb_service_info", &[("service", "www"), ("pool", "web")])], 1.0);
    assert_eq!(values[&series("lb_pool_monitor_enabled", &[("pool", "web")])], 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = values[&series("process_start_time_seconds", &[])];
    assert!((started - now).abs() < 600.0, "it started {} s ago", now - started);
    assert!(values[&series("process_resident_memory_bytes", &[])] > 100_000.0);
    assert!(values[&series("process_open_fds", &[])] >= 3.0);
    assert!(values.contains_key(&series("process_cpu_seconds_total", &[])));
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
    let words: String = (0..10_000).map(|n| format!("10.0.{}.{}:8080:100 ", n / 250, n % 250)).collect();
    let staged = Staged::new(&[("web", &words)]);
    let best = (0..5).map(|_| {
        let began = Instant::now();
        assert!(metrics(&*staged).len() > 10_000 * 20 * 40);
        began.elapsed()
    });
    let best = best.min().unwrap();
    // Without optimization it takes several times as long.
    let most = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 });
    assert!(best < most, "{best:?}");
}

#[test]
fn scrapers_get_the_text_with_its_type() {
    let web = Web::new(Staged::new(&[("web", "alpha beta")]));
    let answer = web.get("/metrics?name=x");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(read(&answer.body).len() > 40);
}
