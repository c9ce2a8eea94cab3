//! A health endpoint in an axum application, in each way to mount it.
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

use axum::{Router, routing::get};
use lb_core::health::Said;
use lb_net::health_endpoint::{Endpoint, Health, Switch};

/// Serves on a thread and a runtime of its own, for as long as the test runs.
fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await })
    });
    address
}

fn send(server: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

/// The whole answer, its head in small letters.
fn ask(server: SocketAddr, request: &str) -> (String, String) {
    let mut answer = String::new();
    send(server, request).read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn it_is_a_service_a_nested_one_and_a_handler() {
    let switch = Switch::new(Said::Down, "not yet");
    let endpoint = Endpoint::new(&Health::new().with("switch", switch.clone()));
    let handler = endpoint.clone();
    let router = Router::new()
        .route_service("/service", endpoint.clone())
        .nest_service("/nested", endpoint)
        .route("/handler", get(move || async move { handler.answer() }));
    let address = serve(router);
    for path in ["/service", "/nested", "/nested/deeper", "/handler"] {
        let (head, body) = ask(address, &format!("GET {path}"));
        assert!(head.starts_with("http/1.1 200 ") && head.contains("cache-control: no-store"), "{path}: {head}");
        assert_eq!(body, "DOWN: switch: not yet\n", "{path}");
        let (head, body) = ask(address, &format!("HEAD {path}"));
        assert!(head.starts_with("http/1.1 200 ") && head.contains("content-length: 22") && body.is_empty(), "{head}");
        assert!(ask(address, &format!("POST {path}")).0.starts_with("http/1.1 405 "), "{path}");
    }
    switch.set(Said::Maintenance, "");
    assert_eq!(ask(address, "GET /handler").1, "MAINT: switch\n");
}

#[test]
fn on_a_thread_of_its_own_it_answers_while_a_handler_blocks_the_application() {
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = std::sync::Arc::new(std::sync::Mutex::new(left));
    let block = move || async move {
        enter.send(()).unwrap();
        let _ = left.lock().unwrap().recv();
        "done"
    };
    let endpoint = Endpoint::new(&Health::new());
    let application = serve(Router::new().route("/", get(block)).route_service("/health", endpoint.clone()));
    let aside = serve(Router::new().route_service("/health", endpoint));
    let mut blocked = send(application, "GET /");
    entered.recv_timeout(Duration::from_secs(30)).unwrap();
    let mut unanswered = send(application, "GET /health");
    assert_eq!(ask(aside, "GET /health").1, "UP\n");
    unanswered.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(unanswered.read(&mut [0; 1]).is_err(), "the application's own has nobody to answer");
    leave.send(()).unwrap();
    let mut answer = String::new();
    blocked.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("done"), "{answer}");
}
