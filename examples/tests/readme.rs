//! What the README shows in Rust compiles: each of its blocks stands here too, word for word, in a function with what it
//! takes for granted.
#![allow(clippy::unwrap_used, dead_code, reason = "what is shown is short, and some of it only compiles")]

use std::{error::Error, sync::Arc};

use lb_core::Balancer;
use lb_net::http::{Hooks, HttpProxy, OwnAnswer, RequestView};

struct Pool;

impl Pool {
    fn send(&self) -> bool {
        true
    }
}

fn connect_pool(_: &str) -> Pool {
    Pool
}

#[rustfmt::skip]
fn decisions() -> Result<(), Box<dyn Error>> {
    use lb_core::{Balancer, Config, Outcome, Request, rand::{SeedableRng, rngs::SmallRng}};
    use std::time::Instant;

    let config: Config = "alpha:80:256 beta:80:256 ! spare:80".parse()?;
    let mut rng = SmallRng::seed_from_u64(7);
    let balancer = Balancer::new(config, Instant::now(), &mut rng, |backend| connect_pool(&backend.name));

    let lease = balancer.pick(&Request::new(Instant::now()), &mut rng)?;   // from any thread: no lock, no allocation
    let outcome = if lease.payload().send() { Outcome::Success } else { Outcome::ConnectFailed };
    lease.finish(outcome, Instant::now());
    Ok(())
}

#[rustfmt::skip]
async fn hooks(
    balancer: Arc<Balancer<Vec<std::net::SocketAddr>>>,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Box<dyn Error>> {
    struct Gate;
    impl Hooks for Gate {
        fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
            request.path().starts_with("/admin").then(|| OwnAnswer::new(403).with_body("Not for you.\n"))
        }
    }
    let proxy = HttpProxy::new(balancer).with_hooks(Arc::new(Gate));
    proxy.serve(listener, shutdown).await?;
    Ok(())
}

#[rustfmt::skip]
async fn client() -> Result<(), Box<dyn Error>> {
    use axum::body::Body;
    use hyper_util::{client::legacy::{self, Client}, rt::TokioExecutor};
    use lb_core::{Config, health::Eject};
    use lb_net::tower::{BalanceLayer, Failure, Origin};
    use tower::Layer as _;

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let config = "127.0.0.1:8001 127.0.0.1:8002".parse::<Config>()?.with_ejection(Eject::default());
    let balancer = Origin::balancer(config)?;
    tokio::spawn(lb_net::drive(balancer.clone()));
    let no_connection = |error: Failure<'_>| error.downcast_ref().is_some_and(legacy::Error::is_connect);
    let client = BalanceLayer::new(balancer).with_connect_errors(no_connection).layer(client);
    drop(client);
    Ok(())
}

#[rustfmt::skip]
fn endpoint(app: axum::Router, queue: &lb_net::health_endpoint::Gauge) {
    use lb_net::health_endpoint::{Endpoint, Health};

    let health = Health::new().with("queue", queue.clone());               // a gauge: DOWN while it is RED
    let caches = health.warm_up("caches");                                 // DOWN until it is done
    let app = app.route_service("/health", Endpoint::new(&health));        // axum, or any tower service
    caches.done();
    drop(app);
}

/// The blocks of the README that are marked as Rust.
fn blocks() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let behind = readme.split("\n```rust\n").skip(1);
    behind.filter_map(|text| text.split_once("\n```")).map(|(block, _)| block.to_owned()).collect()
}

#[test]
fn every_block_stands_here() {
    let here: Vec<&str> = include_str!("readme.rs").lines().map(str::trim_start).collect();
    let here = here.join("\n");
    assert!(!blocks().is_empty(), "the README shows some Rust");
    for block in blocks() {
        let lines: Vec<&str> = block.lines().map(str::trim_start).collect();
        assert!(here.contains(&lines.join("\n")), "tests/readme.rs does not have this block of the README:\n{block}");
    }
}

#[test]
fn the_first_block_runs() {
    decisions().unwrap();
}
