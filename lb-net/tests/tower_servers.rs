//! Real servers and a real client: one server dies under load and comes back, and nobody notices.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/services.rs"]
mod services;

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::IntoResponse,
    routing::{get, post},
};
use http::{Request, StatusCode, header::HOST};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lb_core::{BackendConfig, Config, GroupConfig, Health, SelectorKind, health::Eject, selector::Metric};
use lb_net::tower::{BalanceClient, BalanceLayer, ErrorChain, HttpRules, HttpStatus, Origin, Rules};
use services::{eventually, soon, stats};
use socket2::{Domain, Socket, Type};
use tokio::{runtime, sync::oneshot};
use tower::{Layer as _, ServiceExt as _};

/// A server with a runtime of its own, which can be torn down with all its connections.
struct Server {
    address: SocketAddr,
    /// Bound and not listening: while the server is dead nobody else gets its port.
    _place: Socket,
    die: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server was asked, so that it can be told which one answered.
async fn whoami(State(name): State<SocketAddr>, request: Request<Body>) -> impl IntoResponse {
    // So that there is always somebody in the middle of it.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
    format!("{name} {}", host.unwrap_or_default())
}

/// Says something at once and never ends.
async fn stream() -> Body {
    Body::new(Endless(Some(Bytes::from_static(b"so far"))))
}

struct Endless(Option<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

impl Server {
    fn new() -> Self {
        let place = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        place.set_reuse_address(true).unwrap();
        place.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = place.local_addr().unwrap().as_socket().unwrap();
        let mut server = Self { address, _place: place, die: None, thread: None };
        server.live();
        server
    }

    fn live(&mut self) {
        let address = self.address;
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (die, dead) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let router = Router::new()
                    .route("/", get(whoami))
                    .route("/stream", get(stream))
                    .route("/order", post(whoami))
                    .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
                    .with_state(address);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = dead => {}
                }
            });
        });
        (self.die, self.thread) = (Some(die), Some(thread));
    }

    /// All its connections are closed when this returns.
    fn die(&mut self) {
        drop(self.die.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

type Inner = Client<HttpConnector, Body>;

fn config(servers: &[Server]) -> Config {
    let names = servers.iter().map(|server| BackendConfig::new(server.address.to_string()));
    let eject = Eject::default().with_connect_failures(NonZeroU32::MIN);
    let eject = eject.with_periods(Duration::from_millis(50), Duration::from_millis(50));
    Config::default().with_group(GroupConfig::new(names)).with_ejection(eject)
}

fn client(config: Config) -> BalanceClient<Inner> {
    let balancer = Origin::balancer(config).unwrap();
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    BalanceLayer::new(balancer).layer(Client::builder(TokioExecutor::new()).build_http())
}

fn ask(path: &str) -> Request<Body> {
    Request::get(path).header(HOST, "shop.example").body(Body::empty()).unwrap()
}

async fn answer(client: &BalanceClient<Inner>) -> String {
    let response = soon(client.clone().oneshot(ask("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(soon(response.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_dies_under_load_and_comes_back_and_no_request_fails() {
    let mut servers = [Server::new(), Server::new(), Server::new()];
    let client = client(config(&servers));
    let (going, answered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let visitors: Vec<_> = (0..6)
        .map(|_| {
            let (client, going, answered) = (client.clone(), Arc::clone(&going), Arc::clone(&answered));
            tokio::spawn(async move {
                while going.load(SeqCst) {
                    answer(&client).await;
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let name = servers[1].address.to_string();
    let of_it = || stats(client.balancer(), &name);
    eventually(|| of_it().succeeded > 20).await;
    for _ in 0..2 {
        servers[1].die();
        eventually(|| of_it().health == Health::Ejected).await;
        let before = answered.load(SeqCst);
        eventually(|| answered.load(SeqCst) > before + 50).await;
        let succeeded = of_it().succeeded;
        servers[1].live();
        eventually(|| of_it().health == Health::Up && of_it().succeeded > succeeded + 10).await;
    }
    going.store(false, SeqCst);
    for visitor in visitors {
        visitor.await.expect("no request fails");
    }
    assert!(client.balancer().stats().backends.iter().all(|backend| backend.in_flight == 0));
}

#[tokio::test]
async fn answers_come_in_turns_from_servers_that_are_asked_by_their_own_names() {
    let servers = [Server::new(), Server::new()];
    let client = client(config(&servers).with_start(lb_core::Start::First));
    for server in servers.iter().cycle().take(4) {
        assert_eq!(answer(&client).await, format!("{0} {0}", server.address));
    }
}

#[tokio::test]
async fn a_body_goes_out_once_and_what_has_none_goes_on() {
    let mut servers = [Server::new(), Server::new()];
    let mut config = config(&servers).with_start(lb_core::Start::First);
    config.ejection = None;
    let client = client(config);
    servers[0].die();
    let order = |body: Body| soon(client.clone().oneshot(Request::post("/order").body(body).unwrap()));
    assert_eq!(order(Body::empty()).await.unwrap().status(), StatusCode::OK, "nobody had seen it");
    let error = order(Body::from("n=1")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{}: the request failed", servers[0].address));
    assert_eq!(order(Body::from("n=1")).await.unwrap().status(), StatusCode::OK, "the other's turn");
}

#[tokio::test]
async fn a_stream_keeps_its_server_busy_until_it_is_dropped() {
    let servers = [Server::new()];
    let client = client(config(&servers));
    let in_flight = || client.balancer().stats().backends[0].in_flight;
    let mut body = soon(client.clone().oneshot(ask("/stream"))).await.unwrap().into_body();
    assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "so far");
    assert_eq!(in_flight(), 1);
    drop(body);
    assert_eq!(in_flight(), 0);
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_no_failure_to_connect() {
    let mut servers = [Server::new()];
    let client = client(config(&servers));
    let mut body = soon(client.clone().oneshot(ask("/stream"))).await.unwrap().into_body();
    soon(body.frame()).await.unwrap().unwrap();
    servers[0].die();
    soon(body.frame()).await.unwrap().unwrap_err();
    let only = &client.balancer().stats().backends[0];
    assert_eq!((only.in_flight, only.succeeded, only.connect_failed, only.failed), (0, 1, 0, 0));
}

#[tokio::test]
async fn head_and_server_errors_are_told_apart() {
    let servers = [Server::new()];
    let client = client(config(&servers));
    let head = Request::head("/").body(Body::empty()).unwrap();
    let response = soon(client.clone().oneshot(head)).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(client.balancer().stats().backends[0].succeeded, 1, "there is nothing to wait for");
    let broken = soon(client.clone().oneshot(ask("/broken"))).await.unwrap();
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
    drop(broken);
    assert_eq!(client.balancer().stats().backends[0].failed, 1);
}

/// hyper's client as it is told in the documentation.
#[tokio::test]
async fn a_connect_that_takes_too_long_counts_as_none() {
    // Its queue is full after the first, so that further connects are not answered.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap().as_socket().unwrap();
    let fill = || {
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        stream.set_nonblocking(true).unwrap();
        let _ = stream.connect(&address.into());
        stream
    };
    let _waiting = [fill(), fill(), fill()];
    let server = Server::new();
    let names = [address, server.address].map(|address| BackendConfig::new(address.to_string()));
    let config = Config::default().with_group(GroupConfig::new(names)).with_start(lb_core::Start::First);
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(50)));
    let inner: Inner = Client::builder(TokioExecutor::new()).build(connector);
    let errors =
        ErrorChain::default().with_connect_errors(|error| error.downcast_ref().is_some_and(legacy::Error::is_connect));
    let rules: HttpRules = Rules::http().with_classifier(HttpStatus::default().with_errors(errors));
    let client = BalanceLayer::new(Origin::balancer(config).unwrap()).with_rules(rules).layer(inner);
    let order = Request::post("/order").body(Body::empty()).unwrap();
    assert_eq!(soon(client.clone().oneshot(order)).await.unwrap().status(), StatusCode::OK);
    assert_eq!(stats(client.balancer(), &address.to_string()).connect_failed, 1);
}

#[tokio::test]
async fn servers_come_and_go_while_requests_are_made() {
    let servers = [Server::new(), Server::new(), Server::new()];
    let client = client(config(&servers[..2]));
    let least = SelectorKind::LeastLoaded(Metric::InFlight);
    for set in [&servers[1..], &servers[2..], &servers[..]] {
        let mut config = config(set);
        config.groups[0].selector = least;
        Origin::update(client.balancer(), config).unwrap();
        for _ in 0..12 {
            let answered = answer(&client).await;
            assert!(set.iter().any(|server| answered.starts_with(&server.address.to_string())), "{answered}");
        }
    }
    let all = client.balancer().stats();
    assert!(all.backends.iter().all(|backend| backend.succeeded > 0), "{all:?}");
}
