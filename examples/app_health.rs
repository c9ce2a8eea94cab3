//! An application that tells its balancer how it is: it warms up, serves, degrades, and stops so that nobody notices.
//!
//! Two of them, and lb in front:
//! ```sh
//! cargo run -p lb-examples --bin app_health -- 127.0.0.1:3001 &
//! cargo run -p lb-examples --bin app_health -- 127.0.0.1:3002 &
//! lb -f --http -m 'http=/health:expect=UP:interval=0.5' 8080 127.0.0.1:3001 127.0.0.1:3002
//! ```
//! The last line as a file, for `lb run --config app.toml`:
//! ```toml
//! pools.app.groups = "127.0.0.1:3001 127.0.0.1:3002"
//! pools.app.probes = { checks = [{ http = "/health", expect = "UP" }], interval = "500ms" }
//! services.app = { listen = 8080, pool = "app", role = "http" }
//! ```
//! Then, while `curl 127.0.0.1:8080` goes on being answered:
//! ```sh
//! curl -d 95 127.0.0.1:3001/load     # its load is RED: lb leaves it alone
//! curl -d 10 127.0.0.1:3001/load     # and gives it work again
//! kill -TERM PID                     # it says DOWN, serves on for a while, finishes what runs, and exits
//! ```
//! Arguments, all with defaults: address, and in seconds the warm-up, the notice that the balancer gets before the
//! listener closes (its interval, its timeout and a margin), and what requests may take after that.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{any, post},
};
use lb_net::health_endpoint::{
    ClosingLayer, Colour, Endpoint, Gauge, Health, Shutdown, Stop, Thresholds, WarmUp, signals,
};
use tokio::{net::TcpListener, time::sleep};

/// What was asked for on the command line.
struct Arguments {
    address: String,
    warm_up: Duration,
    notice: Duration,
    grace: Duration,
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut words = std::env::args().skip(1);
        let address = words.next().unwrap_or_else(|| "127.0.0.1:3001".to_owned());
        let mut seconds = |name: &str, by_default| match words.next() {
            None => Ok(Duration::from_secs(by_default)),
            Some(word) => {
                let seconds = word.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                seconds.ok_or(format!("{word}: {name} is a number of seconds"))
            }
        };
        let (warm_up, notice) = (seconds("the warm-up", 3)?, seconds("the notice", 2)?);
        Ok(Self { address, warm_up, notice, grace: seconds("the grace period", 10)? })
    }
}

/// What all requests share.
#[derive(Clone)]
struct App {
    load: Gauge,
    is_warm: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    /// Requests that came before the caches were warm: there must be none.
    early: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // First of all: who is told to stop before it listens for that is gone at once.
    let (first, second) = signals()?;
    let arguments = Arguments::read()?;
    let limits = [(Colour::Yellow, 50.0), (Colour::Orange, 70.0), (Colour::Red, 90.0)];
    let load = Gauge::new(Thresholds::higher_is_worse(limits)?.with_margin(5.0)?.with_dwell(Duration::from_secs(1)));
    load.set(0.0);
    let health = Health::new().with("load", load.clone());
    // Before anybody can ask: there is no moment at which it is cold and says UP.
    let caches = health.warm_up("caches");
    let app = App { load, is_warm: Arc::default(), served: Arc::default(), early: Arc::default() };

    let listener = TcpListener::bind(&arguments.address).await?;
    println!("listening at {}", listener.local_addr()?);
    tokio::spawn(tell(health.clone()));
    tokio::spawn(warm_up(caches, app.clone(), arguments.warm_up));

    let router = router(&health).with_state(app.clone());
    let serve = |stop: Stop| async move {
        let stopped = async move {
            stop.wait().await;
            println!("accepting nobody any more");
        };
        axum::serve(listener, router).with_graceful_shutdown(stopped).await
    };
    let shutdown = Shutdown::new(&health).with_notice(arguments.notice).with_grace(arguments.grace);
    let ended = shutdown.run(first, second, serve).await;
    let (served, early) = (app.served.load(Relaxed), app.early.load(Relaxed));
    println!("{ended:?}: {served} requests, {early} of them before it was warm");
    Ok(())
}

fn router(health: &Health) -> Router<App> {
    Router::new()
        .route("/", any(page))
        .route("/load", post(set_load))
        .route_service("/health", Endpoint::new(health))
        // Once it is about to stop, its answers end their connections.
        .layer(ClosingLayer::new(health))
}

/// Fills what would make the first requests slow. Until it is done, the application is DOWN.
async fn warm_up(caches: WarmUp, app: App, time: Duration) {
    sleep(time).await;
    app.is_warm.store(true, Relaxed);
    caches.done();
}

/// Prints what the application says of itself, whenever it says something else.
async fn tell(health: Health) {
    let mut told = String::new();
    loop {
        let report = health.report().to_string();
        if report != told {
            println!("{report}");
            told = report;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn page(State(app): State<App>) -> String {
    if !app.is_warm.load(Relaxed) {
        app.early.fetch_add(1, Relaxed);
    }
    sleep(Duration::from_millis(20)).await;
    let served = app.served.fetch_add(1, Relaxed) + 1;
    format!("request {served} of process {}\n", std::process::id())
}

/// An operator, or whatever measures the load, says what it is.
async fn set_load(State(app): State<App>, body: String) -> Result<String, (StatusCode, String)> {
    let load: f64 = body.trim().parse().map_err(|_| (StatusCode::BAD_REQUEST, "a number, please\n".to_owned()))?;
    app.load.set(load);
    Ok(format!("{}\n", app.load.colour()))
}
