//! A call through a balanced service allocates nothing, where no copy of the request is made.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/services.rs"]
mod services;

use std::{
    future::{Ready, ready},
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use http::{Request, Response};
use http_body_util::Empty;
use lb_core::{
    Balancer,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::tower::{Balance, BalanceLayer, Never, Origin, Rules};
use tower::{Layer as _, Service, service_fn};

type Bytes = Empty<&'static [u8]>;

/// What one call asks of the allocator.
fn calls<Req, S: Service<Req> + Clone>(service: &S, request: impl Fn() -> Req) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = || {
        let mut clone = service.clone();
        assert!(matches!(clone.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        assert!(pin!(clone.call(request())).poll(&mut cx).is_ready());
    };
    // The first of a thread sets up its place in arc-swap's list, and a URI's bytes are shared from its first clone on.
    (0..4).for_each(|_| call());
    measure(|| (0..100).for_each(|_| call())).count_total
}

#[test]
fn a_call_of_a_service_over_services_allocates_nothing() {
    let make = |_: &lb_core::BackendConfig| service_fn(|n: u32| ready(Ok::<_, io::Error>(n)));
    let config = "alpha beta gamma".parse().unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let balancer = Arc::new(Balancer::new(config, services::now(), &mut rng, make));
    let balance = Balance::new(balancer);
    assert_eq!(calls(&balance, || 5), 0);
    assert_eq!(calls(&balance.with_rules(Rules::plain().with_retry(Never)), || 5), 0);
}

fn answer(_: Request<Bytes>) -> Ready<io::Result<Response<Bytes>>> {
    ready(Ok(Response::new(Bytes::new())))
}

#[test]
fn a_call_of_a_balanced_client_allocates_nothing() {
    let layer = BalanceLayer::new(Origin::balancer("alpha beta gamma".parse().unwrap()).unwrap());
    let request = || Request::new(Bytes::new());
    assert_eq!(calls(&layer.layer(service_fn(answer)), request), 0, "a copy without fields");
    let layer = layer.with_rules(Rules::http().with_retry(Never));
    assert_eq!(calls(&layer.layer(service_fn(answer)), request), 0);
}

/// And the count sees what is there to be seen.
#[test]
fn a_service_that_allocates_is_seen() {
    let boxed = service_fn(|n: u32| Box::pin(ready(Ok::<_, io::Error>(n))));
    assert_eq!(calls(&boxed, || 5), 100);
}
