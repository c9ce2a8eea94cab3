//! An HTTP proxy that answers some requests by itself: what is closed for maintenance never reaches a backend. With an
//! address to listen on, the shop is closed until the process is ended:
//! `cargo run -p lb-examples --bin http_answer 127.0.0.1:8000`.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use lb_core::{
    Balancer, Config,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::http::{EditError, Hooks, HttpProxy, OwnAnswer, RequestView};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Answers in place of the shop, as long as that is closed.
#[derive(Default)]
struct Doorkeeper {
    closed: AtomicBool,
}

impl Hooks for Doorkeeper {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        match request.path() {
            "/robots.txt" => Some(OwnAnswer::new(200).with_body("User-agent: *\nDisallow: /cart\n")),
            path if path.starts_with("/shop") && self.closed.load(Relaxed) => sorry().ok(),
            _ => None,
        }
    }
}

fn sorry() -> Result<OwnAnswer, EditError> {
    Ok(OwnAnswer::new(503).with_field("Retry-After", "600")?.with_body("We are back in ten minutes.\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Nothing listens there: whatever is answered is answered by us.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config: Config = "shop".parse()?;
    let mut rng = SmallRng::seed_from_u64(7);
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, |_| vec![nobody]));

    let doorkeeper = Arc::new(Doorkeeper::default());
    let proxy = HttpProxy::new(balancer).with_hooks(Arc::clone(&doorkeeper) as Arc<dyn Hooks>);
    let address = std::env::args().nth(1);
    doorkeeper.closed.store(address.is_some(), Relaxed);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
    let front = listener.local_addr()?;
    println!("serving at {front}");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move { proxy.serve(listener, async { drop(stopped.await) }).await });

    if address.is_some() {
        serving.await??;
        return Ok(());
    }

    println!("{}\n", get(front, "/robots.txt").await?);
    println!("{}\n", get(front, "/shop").await?);
    doorkeeper.closed.store(true, Relaxed);
    println!("{}", get(front, "/shop").await?);

    drop(stop);
    println!("{} connections had to be cut", serving.await??.cut);
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
