//! A TCP proxy inside your own program, on your own runtime. With an address to listen on, it serves until it is ended:
//! `cargo run -p lb-examples --bin tcp_proxy 127.0.0.1:8000`, and `nc 127.0.0.1 8000` elsewhere.
#![allow(clippy::print_stdout)]

use std::{error::Error, net::SocketAddr, sync::Arc, time::Instant};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::{TcpProxy, listener};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backends = [greeter("alpha").await?, greeter("beta").await?];

    let group = GroupConfig::new(backends.map(|address| BackendConfig::new(address.to_string())));
    let config = Config::default().with_group(group);
    let mut addresses = backends.into_iter();
    let mut rng = SmallRng::seed_from_u64(7);
    let make = |_: &BackendConfig| addresses.next().into_iter().collect::<Vec<_>>();
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, make));
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));

    let address = std::env::args().nth(1);
    let mut listeners = listener::bind(address.as_deref().unwrap_or("127.0.0.1:0").parse()?, 1)?;
    let listener = listeners.remove(0);
    let front = listener.local_addr()?;
    println!("serving at {front}");
    let proxy = TcpProxy::new(balancer);
    let serving = tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
    if address.is_some() {
        serving.await??;
    }

    for _ in 0..4 {
        let mut said = String::new();
        TcpStream::connect(front).await?.read_to_string(&mut said).await?;
        println!("{said}");
    }
    Ok(())
}

/// A server that says its name and hangs up.
async fn greeter(name: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.write_all(name.as_bytes()).await;
        }
    });
    Ok(address)
}
