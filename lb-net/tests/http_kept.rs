//! Connections to backends that are kept without a request: closed soon once their backend is to have no more work.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::time::{Duration, Instant};

use http_support::{Front, pair, words};
use lb_core::{
    BackendId, Config, Outcome, Request, Status,
    health::{Eject, Evidence, Probe, RiseFall, Said},
    rand::{SeedableRng, rngs::SmallRng},
};
use wire::Backend;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn id(backend: &Backend) -> BackendId {
    BackendId::new(&backend.word(), 0)
}

/// In front of a backend that is checked, and whose failed connects count.
fn observed(backend: &Backend) -> Front {
    let config: Config = backend.word().parse().unwrap();
    Front::of(config.with_probes(RiseFall::default().assuming_up()), |_| {})
}

/// Has one connection kept, and then this happen to its backend.
fn is_closed_after(front: &Front, backend: &Backend, what: impl FnOnce(&Front)) {
    assert_eq!(front.ask(GET).text(), "A");
    backend.wait("the connection", |seen| seen.open == 1);
    what(front);
    // By hand, in place of a driver; at most every 10 ms a snapshot is published.
    front.balancer.settle(Instant::now() + Duration::from_millis(20));
    backend.wait("its end", |seen| seen.open == 0);
}

#[test]
fn what_is_kept_is_closed_when_people_want_no_work_there() {
    for status in [Status::Disabled, Status::Draining] {
        let (backend, front) = pair(Backend::named("A"));
        is_closed_after(&front, &backend, |front| {
            front.balancer.set_status(id(&backend), status, Instant::now()).unwrap();
        });
    }
}

#[test]
fn what_is_kept_is_closed_when_the_backend_is_configured_no_more() {
    let (backend, other) = (Backend::named("A"), Backend::named("B"));
    let front = Front::new(&backend.word());
    is_closed_after(&front, &backend, |front| {
        let address = |backend: &lb_core::BackendConfig| backend.name.parse().unwrap();
        front.balancer.update(other.word().parse().unwrap(), Instant::now(), address);
    });
    assert_eq!(front.ask(GET).text(), "B");
}

#[test]
fn what_is_kept_is_closed_when_the_application_says_so_or_is_silent() {
    let said = [Said::Down, Said::Maintenance].map(|said| (Probe::Said(said), 1));
    for (probe, times) in said.into_iter().chain([(Probe::Failed, 3)]) {
        let backend = Backend::named("A");
        let front = observed(&backend);
        is_closed_after(&front, &backend, |front| {
            for _ in 0..times {
                front.balancer.observe(id(&backend), &Evidence::Probe(probe), Instant::now()).unwrap();
            }
        });
    }
}

#[test]
fn what_is_kept_is_closed_when_the_backend_is_set_aside() {
    let (backend, other) = (Backend::named("A"), Backend::named("A"));
    let config: Config = words(&[&backend, &other]).parse().unwrap();
    let front = Front::of(config.with_ejection(Eject::default()), |_| {});
    assert_eq!(front.ask(GET).text(), "A", "of one of the two");
    is_closed_after(&front, &backend, |front| {
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..3 {
            let request = Request::new(Instant::now()).with_pin(id(&backend));
            front.balancer.pick(&request, &mut rng).unwrap().finish(Outcome::ConnectFailed, Instant::now());
        }
    });
    other.wait("its connection, which stays", |seen| seen.open == 1);
}
