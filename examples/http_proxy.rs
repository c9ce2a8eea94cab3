//! An HTTP proxy inside your own program that adds a field to each request and to each answer. With an address to listen
//! on, it serves until it is ended: `cargo run -p lb-examples --bin http_proxy 127.0.0.1:8000`.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::http::{AnswerView, Hooks, HttpProxy, OwnAnswer, Record, RequestView};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Numbers requests, so that a client's can be found in the logs of all who had a part in it.
#[derive(Default)]
struct Numbered(AtomicU64);

impl Hooks for Numbered {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        let number = self.0.fetch_add(1, Relaxed).to_string();
        // Name and value are good, so that this cannot fail.
        let _ = request.set("X-Request-Id", &number);
        None
    }

    fn on_answer(&self, answer: &mut AnswerView<'_, '_>) {
        let _ = answer.add("X-Served-By", "my program");
    }

    fn on_end(&self, record: &Record<'_>) {
        let target = String::from_utf8_lossy(record.target);
        println!("{} {target}: {} from {}", record.method, record.status, record.backend.unwrap_or("nobody"));
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backends = [server("alpha").await?, server("beta").await?];

    let group = GroupConfig::new(backends.map(|address| BackendConfig::new(address.to_string())));
    let mut addresses = backends.into_iter();
    let make = |_: &BackendConfig| addresses.next().into_iter().collect::<Vec<_>>();
    let config = Config::default().with_group(group);
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(7), make));
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));

    let address = std::env::args().nth(1);
    let listener = std::net::TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
    let front = listener.local_addr()?;
    println!("serving at {front}");
    let proxy = HttpProxy::new(balancer).with_hooks(Arc::new(Numbered::default()));
    let serving = tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
    if address.is_some() {
        serving.await??;
    }

    for page in ["/", "/news", "/about"] {
        println!("{}\n", get(front, page).await?);
    }
    Ok(())
}

async fn get(server: SocketAddr, page: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {page} HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A server that answers one request of each connection: with its name, and the number that the request has.
async fn server(name: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && client.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let number = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap_or("?");
            let body = format!("{name}, request {number}");
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    Ok(address)
}
