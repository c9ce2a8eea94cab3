//! A health endpoint over HTTP, as a balancer sees it.
#![cfg(all(feature = "health-endpoint", feature = "serve"))]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lb_core::health::{Said, Share};
use lb_net::{
    health_endpoint::{Closing, Colour, Endpoint, Gauge, Health, Switch, Thresholds},
    serve::{HttpAddress, Limits, Listener, serve},
};
use tokio::task::JoinHandle;

/// A server with an endpoint.
struct App {
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl App {
    fn new(health: &Health, endpoint: Endpoint) -> Self {
        let listener = Listener::bind(&HttpAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
        let HttpAddress::Tcp(address) = listener.address().unwrap() else { panic!("it was TCP") };
        let service = Closing::new(health, endpoint);
        let serving = tokio::spawn(serve(listener, service, Limits::default(), std::future::pending()));
        Self { address, serving }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        BufReader::new(stream)
    }

    fn ask(&self, method: &str) -> (String, String) {
        ask(&mut self.connect(), method)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Head and body of one answer.
fn ask(stream: &mut BufReader<TcpStream>, method: &str) -> (String, String) {
    let request = format!("{method} /anything HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_answers_get_and_head_with_plain_text_that_nobody_keeps() {
    let health = Health::new();
    let app = App::new(&health, Endpoint::new(&health));
    let mut stream = app.connect();
    let (head, body) = ask(&mut stream, "GET");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == "UP\n", "{head}{body}");
    assert!(
        head.contains("content-type: text/plain; charset=utf-8\r\n") && head.contains("cache-control: no-store\r\n")
    );
    assert!(!head.contains("health-") && !head.contains("connection"), "{head}");
    let caches = health.warm_up("caches");
    // On the same connection: a HEAD's length is that of the body it does not have.
    let (head, _) = ask(&mut stream, "HEAD");
    assert!(head.contains(&format!("content-length: {}\r\n", "DOWN: warming: caches\n".len())), "{head}");
    let (head, body) = ask(&mut stream, "GET");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == "DOWN: warming: caches\n", "{head}{body}");
    drop(caches);
    assert_eq!(ask(&mut stream, "GET").1, "DOWN: warm-up failed: caches\n");
    let (head, _) = ask(&mut stream, "POST");
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn colours_stand_in_fields_and_a_balancer_that_reads_the_status_may_have_503() {
    let limits = [(Colour::Yellow, 50.0), (Colour::Red, 90.0)];
    let half = Share::percent(50).unwrap();
    let load = Gauge::new(Thresholds::higher_is_worse(limits).unwrap().with_shares(half, Share::FULL));
    let disk = Gauge::new(Thresholds::lower_is_worse([(Colour::Off, 0.0)]).unwrap());
    let health = Health::new().with("load", load.clone()).with("disk", disk.clone());
    let app = App::new(&health, Endpoint::new(&health).with_status_503());
    assert_eq!(app.ask("GET").1, "DOWN: load: UNKNOWN; disk: UNKNOWN\n");
    disk.set(17.0);
    load.set(60.0);
    let (head, body) = app.ask("GET");
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "UP 50%: load: YELLOW\n", "{head}{body}");
    assert_eq!(Said::of_body(body.as_bytes()), Some(Said::Up(half)));
    assert!(head.contains("health-colour: YELLOW\r\nhealth-gauges: load=YELLOW, disk=GREEN\r\n"), "{head}");
    load.set(95.0);
    let (head, body) = app.ask("HEAD");
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("health-colour: RED\r\n"), "{head}{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn answers_end_their_connections_once_it_is_about_to_stop_and_not_before() {
    let switch = Switch::new(Said::Down, "closed for a moment");
    let health = Health::new().with("switch", switch);
    let app = App::new(&health, Endpoint::new(&health));
    let mut stream = app.connect();
    ask(&mut stream, "GET");
    assert_eq!(ask(&mut stream, "GET").1, "DOWN: switch: closed for a moment\n", "the connection is kept");
    health.shut_down();
    let (head, body) = ask(&mut stream, "GET");
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(body, "DOWN: shutting down; switch: closed for a moment\n");
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "it is closed");
}
