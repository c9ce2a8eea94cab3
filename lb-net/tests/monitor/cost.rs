//! Many backends cost what each of them costs: no look at one is a look at all.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use allocation_counter::measure;
use lb_net::{
    connect::Addresses,
    probe::{Answer, Check, Monitor, MonitorSpec},
};
use tokio::{runtime::Builder, sync::Semaphore};

use crate::{
    Saying,
    checks::*,
    support::{self, Refusing, balancer},
};

const BACKENDS: usize = 200;

/// Allocations for each of so many findings, once everything is set up.
fn allocations(monitor: Monitor, spec: &MonitorSpec, addresses: &[SocketAddr], findings: u32, paused: bool) -> u64 {
    let runtime = Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap();
    let balancer = balancer(config(addresses).with_probes(spec.policy()));
    let found = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&found);
    let monitor = monitor.with_trace(move |_| told.add_permits(1));
    let all = measure(|| {
        runtime.block_on(async {
            let running = tokio::spawn(monitor.run(balancer, Addresses::all_addresses));
            let _all = found.acquire_many(findings).await.unwrap();
            running.abort();
        });
    });
    all.count_total / u64::from(findings)
}

#[test]
fn a_round_of_one_backend_is_no_look_at_all_of_them() {
    let spec = spec("connect:interval=5:jitter=1");
    let check = Check::new("mine", Arc::new(Saying(Arc::new(Mutex::new(Answer::Passed)))), Duration::from_secs(1));
    let monitor = Monitor::with_checks([check], spec.policy()).with_seed(1);
    let each = allocations(monitor, &spec, &[support::loopback(); BACKENDS], 10 * BACKENDS as u32, true);
    assert!(each < 50, "{each}");
}

#[test]
fn nor_is_what_follows_from_it_where_it_may_not_bring_back_everything() {
    let (spec, refusing) = (spec("connect:noenable:interval=60"), Refusing::new());
    let monitor = Monitor::new(&spec, Duration::from_secs(5), None);
    let each = allocations(monitor, &spec, &[refusing.address; BACKENDS], BACKENDS as u32, false);
    assert!(each < 50, "{each}");
}
