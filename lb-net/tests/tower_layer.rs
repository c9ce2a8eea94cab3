//! One client in front of several servers: what it is asked for, and how long a server counts as busy with it.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/services.rs"]
mod services;

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full};
use lb_core::{Config, GroupConfig, Outcome, SelectorKind, health::Eject, selector::Metric};
use lb_net::tower::{BalanceClient, BalanceLayer, ClonedBodies, Error, ErrorChain, HttpStatus, Never, Origin, Rules};
use services::{soon, stats};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimitLayer, service_fn};

type Text = Full<&'static [u8]>;

/// What a client was asked for: method, URI, and the `Host` field.
type Seen = Arc<Mutex<Vec<(Method, String, Option<String>)>>>;

/// A body of which the test says what comes next.
#[derive(Debug, Default)]
struct Script {
    frames: VecDeque<io::Result<&'static [u8]>>,
    size: SizeHint,
}

impl Script {
    fn of(frames: impl IntoIterator<Item = io::Result<&'static [u8]>>) -> Self {
        Self { frames: frames.into_iter().collect(), size: SizeHint::with_exact(7) }
    }
}

impl Body for Script {
    type Data = &'static [u8];
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<&'static [u8]>>>> {
        Poll::Ready(self.frames.pop_front().map(|frame| frame.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

/// A client that answers with such a body.
fn answering<B>(
    answer: impl Fn(&str) -> io::Result<Response<B>> + Clone,
) -> (Seen, impl Service<Request<Text>, Response = Response<B>, Error = io::Error, Future: Send> + Clone)
where
    B: Send,
{
    let seen = Seen::default();
    let asked = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Text>| {
        let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
        let uri = request.uri().to_string();
        asked.lock().unwrap().push((request.method().clone(), uri.clone(), host));
        std::future::ready(answer(&uri))
    });
    (seen, service)
}

fn layer(config: &str) -> BalanceLayer {
    BalanceLayer::new(Origin::balancer(config.parse().unwrap()).unwrap())
}

fn request(method: Method, uri: &str) -> Request<Text> {
    Request::builder().method(method).uri(uri).header(HOST, "shop.example").body(Text::default()).unwrap()
}

fn get() -> Request<Text> {
    request(Method::GET, "/")
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[tokio::test]
async fn each_request_goes_to_the_origin_of_its_backend() {
    let (seen, client) = answering(|_| Ok(Response::new(Text::default())));
    let mut client = layer("alpha:8001 beta").layer(client);
    for uri in ["/a?b=c", "http://shop.example/d", "/"] {
        client.ready().await.unwrap().call(request(Method::PUT, uri)).await.unwrap();
    }
    let uris: Vec<String> = seen.lock().unwrap().drain(..).map(|(_, uri, host)| format!("{uri} {host:?}")).collect();
    assert_eq!(uris, ["http://alpha:8001/a?b=c None", "http://beta/d None", "http://alpha:8001/ None"]);
}

#[tokio::test]
async fn a_host_is_kept_where_that_is_wanted() {
    let (seen, client) = answering(|_| Ok(Response::new(Text::default())));
    layer("alpha").with_host_kept().layer(client).oneshot(get()).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].2.as_deref(), Some("shop.example"));
}

#[tokio::test]
async fn a_backend_is_busy_until_the_body_ends_or_is_dropped() {
    let (_, client) = answering(|_| Ok(Response::new(Script::of([Ok(&b"one"[..]), Ok(b"two")]))));
    let mut client = layer("alpha").layer(client);
    let balancer = Arc::clone(client.balancer());
    let alpha = || stats(&balancer, "alpha");
    let mut body = client.call(get()).await.unwrap().into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(7), false));
    for frame in ["one", "two"] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), frame.as_bytes());
        assert_eq!(alpha().in_flight, 1);
    }
    assert!(body.frame().await.is_none());
    assert_eq!((alpha().in_flight, alpha().succeeded), (0, 1));
    drop(body);
    let body = client.call(get()).await.unwrap().into_body();
    assert_eq!(alpha().in_flight, 1);
    drop(body);
    assert_eq!((alpha().in_flight, alpha().succeeded, alpha().cancelled), (0, 2, 0), "it has answered");
}

/// A client that is ready once, and whose calls are refused.
#[derive(Clone, Default)]
struct Once(Arc<AtomicBool>);

impl Service<Request<Text>> for Once {
    type Response = Response<Text>;
    type Error = io::Error;
    type Future = Ready<io::Result<Response<Text>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if self.0.swap(true, SeqCst) { Err(io::Error::other("closed")) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<Text>) -> Self::Future {
        ready(Err(refused()))
    }
}

#[tokio::test]
async fn a_client_that_is_not_ready_for_a_second_try_is_held_against_no_backend() {
    let mut client = layer("alpha beta").layer(Once::default());
    let error = client.ready().await.unwrap().call(get()).await.unwrap_err();
    assert!(matches!(&error, Error::NotReady(source) if source.to_string() == "closed"), "{error:?}");
    let [alpha, beta] = ["alpha", "beta"].map(|name| stats(client.balancer(), name));
    assert_eq!((alpha.connect_failed, beta.connect_failed, beta.cancelled, beta.in_flight), (1, 0, 1, 0));
}

#[tokio::test]
async fn a_body_without_a_frame_keeps_nobody_busy() {
    let (_, client) = answering(|_| Ok(Response::new(Empty::<&[u8]>::new())));
    let mut client = layer("alpha").layer(client);
    let response = client.call(request(Method::HEAD, "/")).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(stats(client.balancer(), "alpha").succeeded, 1);
}

#[tokio::test]
async fn a_body_that_says_that_it_has_ended_is_not_asked_again() {
    let (_, client) = answering(|_| Ok(Response::new(Text::new(b"whole"))));
    let mut client = layer("alpha").layer(client);
    let mut body = client.call(get()).await.unwrap().into_body();
    assert_eq!(stats(client.balancer(), "alpha").in_flight, 1);
    body.frame().await.unwrap().unwrap();
    assert_eq!(stats(client.balancer(), "alpha").in_flight, 0, "as a server does that knows the length");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_handed_on_and_is_no_failure_to_connect() {
    let (seen, client) = answering(|_| Ok(Response::new(Script::of([Ok(&b"one"[..]), Err(refused())]))));
    let mut client = layer("alpha beta").layer(client);
    let body = client.call(get()).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    let alpha = stats(client.balancer(), "alpha");
    assert_eq!((alpha.in_flight, alpha.succeeded, alpha.connect_failed, alpha.failed), (0, 1, 0, 0));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_error_counts_against_its_backend_and_is_handed_on() {
    let (seen, client) = answering(|_| {
        let mut response = Response::new(Text::new(b"sorry"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok(response)
    });
    let mut client = layer("alpha beta").layer(client);
    let response = client.call(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "sorry");
    let alpha = stats(client.balancer(), "alpha");
    assert_eq!((alpha.failed, alpha.succeeded, seen.lock().unwrap().len()), (1, 0, 1));
}

#[tokio::test]
async fn what_nobody_has_seen_goes_to_the_next_server_whatever_it_is() {
    let answer = |uri: &str| if uri.contains("gamma") { Ok(Response::new(Text::default())) } else { Err(refused()) };
    let (seen, client) = answering(answer);
    let mut client = layer("alpha beta gamma").with_budget(0, 0).layer(client);
    client.call(request(Method::POST, "/order?n=1")).await.unwrap();
    let uris: Vec<String> = seen.lock().unwrap().drain(..).map(|(method, uri, _)| format!("{method} {uri}")).collect();
    assert_eq!(uris, ["alpha", "beta", "gamma"].map(|name| format!("POST http://{name}/order?n=1")));
    assert_eq!(stats(client.balancer(), "beta").connect_failed, 1);
}

#[tokio::test]
async fn a_body_goes_on_only_where_it_can_be_copied() {
    let (seen, client) = answering(|_| Err::<Response<Text>, _>(refused()));
    let post = || Request::post("/").body(Text::new(b"x=1")).unwrap();
    let (plain, copying) =
        (layer("alpha beta gamma"), layer("alpha beta gamma").with_rules(Rules::http().with_retry(ClonedBodies)));
    plain.layer(client.clone()).oneshot(post()).await.unwrap_err();
    assert_eq!(seen.lock().unwrap().drain(..).len(), 1);
    copying.layer(client).oneshot(post()).await.unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_server_may_have_begun_with_is_repeated_with_idempotent_methods_only() {
    let (seen, client) = answering(|_| Err::<Response<Text>, _>(broken()));
    let client = layer("alpha beta gamma").layer(client);
    for (method, attempts) in [(Method::GET, 2), (Method::DELETE, 2), (Method::POST, 1), (Method::PATCH, 1)] {
        client.clone().oneshot(request(method.clone(), "/")).await.unwrap_err();
        assert_eq!(seen.lock().unwrap().drain(..).len(), attempts, "{method}");
    }
}

#[tokio::test]
async fn a_client_tells_in_its_own_way_that_there_was_no_connection() {
    #[derive(Debug, thiserror::Error)]
    #[error("nobody picks up")]
    struct NobodyPicksUp;
    let (seen, client) = answering(|_| Err::<Response<Text>, _>(io::Error::other(NobodyPicksUp)));
    let client = service_fn(move |request| {
        let mut client = client.clone();
        async move { client.call(request).await.map_err(|_| NobodyPicksUp) }
    });
    let errors = ErrorChain::default().with_connect_errors(|error| error.is::<NobodyPicksUp>());
    let rules = Rules::http().with_classifier(HttpStatus::default().with_errors(errors));
    let mut balanced = layer("alpha beta").with_rules(rules).layer(client.clone());
    balanced.call(request(Method::POST, "/")).await.unwrap_err();
    assert_eq!((seen.lock().unwrap().drain(..).len(), stats(balanced.balancer(), "beta").connect_failed), (2, 1));
    let mut balanced = layer("alpha beta").layer(client);
    balanced.call(request(Method::POST, "/")).await.unwrap_err();
    assert_eq!(
        (seen.lock().unwrap().len(), stats(balanced.balancer(), "alpha").failed),
        (1, 1),
        "untold it is unknown"
    );
}

#[tokio::test]
async fn what_takes_too_long_is_told_from_what_breaks() {
    let outcome = |kind: io::ErrorKind| {
        let error = io::Error::from(kind);
        lb_net::tower::Classify::<()>::outcome(&ErrorChain::default(), Err(&error))
    };
    assert_eq!(outcome(io::ErrorKind::TimedOut), Outcome::TimedOut);
    assert_eq!(outcome(io::ErrorKind::HostUnreachable), Outcome::Broken, "a connection that stood may end so as well");
}

/// Ready once a permit is there, which it uses up when it is called; a clone has none.
#[tokio::test]
async fn the_client_that_was_ready_is_the_one_that_is_called() {
    let (_, client) = answering(|_| Ok(Response::new(Script::of([]))));
    let client = ServiceBuilder::new().layer(layer("alpha beta")).layer(ConcurrencyLimitLayer::new(1)).service(client);
    let (mut first, mut second) = (client.clone(), client);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.poll_ready(&mut cx).is_ready());
    assert!(second.poll_ready(&mut cx).is_pending(), "the client has no room");
    let running = first.call(get());
    assert!(first.poll_ready(&mut cx).is_pending());
    drop(running);
    assert!(soon(second.ready()).await.is_ok(), "it went with the call");
}

#[tokio::test]
async fn a_client_that_will_never_be_ready_says_so() {
    let error = layer("alpha").layer(NeverReady).oneshot(get()).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::NotReady(_)), "{error}");
}

#[derive(Clone)]
struct NeverReady;

impl Service<Request<Text>> for NeverReady {
    type Response = Response<Text>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Response<Text>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }

    fn call(&mut self, _: Request<Text>) -> Self::Future {
        std::future::ready(Err(io::ErrorKind::NotConnected.into()))
    }
}

/// The one that begins its answers at once is preferred, however long these are.
#[tokio::test(start_paused = true)]
async fn latency_is_the_time_to_the_head_and_not_that_of_the_body() {
    let client = service_fn(|request: Request<Text>| async move {
        let is_slow = request.uri().host() == Some("slow");
        tokio::time::sleep(Duration::from_millis(if is_slow { 500 } else { 5 })).await;
        Ok::<_, io::Error>(Response::new(Script::of([Ok(&b"one"[..])])))
    });
    let names = ["slow", "fast"].map(lb_core::BackendConfig::new);
    let group = GroupConfig::new(names).with_selector(SelectorKind::LeastLoaded(Metric::PeakEwma));
    let config = Config::default().with_group(group).with_ejection(Eject::default());
    let mut client = BalanceLayer::new(Origin::balancer(config).unwrap()).layer(client);
    for _ in 0..20 {
        let response = client.call(get()).await.unwrap();
        let is_fast = stats(client.balancer(), "fast").in_flight == 1;
        tokio::time::sleep(Duration::from_millis(if is_fast { 600 } else { 1 })).await;
        drop(response);
    }
    let picked = |name| stats(client.balancer(), name).picked();
    assert!(picked("fast") > 3 * picked("slow"), "{} and {}", picked("fast"), picked("slow"));
}

#[tokio::test]
async fn any_path_comes_to_an_answer_or_an_error() {
    let (_, client) = answering(|_| Ok(Response::new(Text::default())));
    let client = layer("alpha").layer(client);
    for uri in ["*", "//", "/?", "host:443", "?a", "http://h?q", "/a//b/../c"] {
        let Ok(uri) = uri.parse::<http::Uri>() else { continue };
        let request = Request::builder().method(Method::OPTIONS).uri(uri).body(Text::default()).unwrap();
        let _ = client.clone().oneshot(request).await;
    }
    assert_eq!(stats(client.balancer(), "alpha").in_flight, 0);
}

#[test]
fn layers_and_clients_go_to_other_threads() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn is_send<T: Send>(_: &T) {}
    let layer = layer("alpha").with_rules(Rules::http().with_retry(Never)).with_seed(7);
    is_shared(&layer);
    let mut client: BalanceClient<NeverReady, _, _> = layer.layer(NeverReady);
    is_shared(&client);
    is_send(&client.call(get()));
}
