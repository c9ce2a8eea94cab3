//! An axum application that asks other servers through one client, balanced. One server dies, and no request fails.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::get};
use hyper_util::{
    client::legacy::{self, Client},
    rt::TokioExecutor,
};
use lb_core::{Config, health::Eject};
use lb_net::tower::{BalanceLayer, Failure, Origin};
use tokio::runtime::{self, Runtime};
use tower::{Layer as _, ServiceExt as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut names, mut servers) = (Vec::new(), Vec::new());
    for name in ["alpha", "beta", "gamma"] {
        let (address, server) = serve(Router::new().route("/", get(async move || name)))?;
        names.push(address.to_string());
        servers.push(server);
    }

    // These lines balance a client.
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let config = names.join(" ").parse::<Config>()?.with_ejection(Eject::default());
    let balancer = Origin::balancer(config)?;
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    let no_connection = |error: Failure<'_>| error.downcast_ref().is_some_and(legacy::Error::is_connect);
    let client = BalanceLayer::new(Arc::clone(&balancer)).with_connect_errors(no_connection).layer(client);

    // The application hands each request on.
    let application = Router::new().fallback(async move |request: Request| match client.oneshot(request).await {
        Ok(response) => Ok(response.map(Body::new)),
        Err(error) => Err((StatusCode::BAD_GATEWAY, error.to_string())),
    });
    let mut failed = 0;
    for number in 0..30 {
        if number == 10 {
            println!("beta dies");
            servers.remove(1).shutdown_background();
        }
        let response = application.clone().oneshot(Request::new(Body::empty())).await?;
        failed += usize::from(!response.status().is_success());
        // Read to its end: until then its server counts as busy.
        axum::body::to_bytes(response.into_body(), 1024).await?;
    }
    for backend in balancer.stats().backends {
        println!("{}: {} answered, {} connects failed", backend.name, backend.succeeded, backend.connect_failed);
    }
    println!("30 requests, {failed} failed");
    servers.into_iter().for_each(Runtime::shutdown_background);
    Ok(())
}

/// A server with a runtime of its own: when that goes, so do all its connections.
fn serve(router: Router) -> io::Result<(SocketAddr, Runtime)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let server = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    server.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await });
    Ok((address, server))
}
