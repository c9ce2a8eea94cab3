//! Moving bytes where [`lb_core`] decides.
//!
//! # Where to start
//! | you balance | start from | feature |
//! |---|---|---|
//! | connections, whatever is spoken on them | [`TcpProxy`]: accepts, asks a [`Balancer`](lb_core::Balancer) for a backend, connects, relays, reports | `tcp` |
//! | requests of HTTP/1.0 and 1.1 | `http::HttpProxy`: does so for each request, over connections that are kept on both sides | `http` |
//! | what a configuration file says, and change it live | `instance::Instance`: pools, services, probes, control, of one `config::Model` | `instance` |
//! | calls between tower services | `tower::BalanceLayer`: one HTTP client for many servers; `tower::Balance`: a service over services | `tower` |
//! | with a transport of your own | [`listener`], [`connect`], [`relay`]: accept, connect, carry | none |
//! | with no transport at all | [`lb_core`] alone | |
//! | nothing: others balance you | `health_endpoint`: says how the application is, and stops it in order | `health-endpoint` |
//!
//! A balancer wants to be driven: [`drive`] puts its changes into force, once for each. A transport takes the backends'
//! addresses from the balancer's payloads, most simply a `Vec<SocketAddr>`; `resolve` keeps those of names fresh.
//! Probes run beside the traffic (`probe::Monitor`), and management orders what people want (`manage`): both know the
//! balancer and nothing of the transport, so that each may be left out.
//! ```
//! # #[cfg(feature = "tcp")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use lb_core::{Balancer, Config, rand::{SeedableRng, rngs::SmallRng}};
//! use lb_net::{TcpProxy, listener};
//! use std::{net::SocketAddr, sync::Arc, time::Instant};
//!
//! let config: Config = "127.0.0.1:8081 127.0.0.1:8082 ! 127.0.0.1:8083".parse()?;
//! let addresses = |backend: &lb_core::BackendConfig| -> Vec<SocketAddr> { backend.name.parse().into_iter().collect() };
//! let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(7), addresses));
//! tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
//! for listener in listener::bind("127.0.0.1:0".parse()?, 1)? {
//!     let (proxy, stop) = (TcpProxy::new(Arc::clone(&balancer)), std::future::ready(()));
//!     assert_eq!(proxy.serve(listener, stop).await?.cut, 0); // a signal in place of `stop` ends it later
//! }
//! # Ok(()) }
//! # #[cfg(not(feature = "tcp"))]
//! # fn main() {}
//! ```
//! Everything is `Send` and runs on whatever tokio runtime you have; the `lb` program runs one single-threaded runtime
//! for each worker, with a listener of its own.
//!
//! # Features
//! Each adds names and leaves behaviour alone. Without any there are the pieces to build a transport from.
//!
//! | feature | adds | with it come | and the crates |
//! |---|---|---|---|
//! | `tcp` (default) | [`TcpProxy`]: L4 balancing | | |
//! | `http` | `http::HttpProxy`: HTTP balancing | `proxy-protocol` | httparse, httpdate, libc |
//! | `probe` | `probe`: active checks of backends | | futures-util, httparse |
//! | `resolve` | `resolve`: host and service names to addresses, kept fresh | | arc-swap, dns-lookup |
//! | `discover` | `discover`: backends from node files and DNS, watched | `resolve` | |
//! | `manage` | `manage`: balance's commands for a running balancer, over a unix socket | | serde_json |
//! | `manage-http` | `manage::http`: the same over HTTP, as a JSON API, and metrics for Prometheus | `manage`, `serve` | http-body-util |
//! | `serve` | `serve`: a listener for any tower service over HTTP/1, with limits | | http, http-body, hyper, hyper-util, tower-service |
//! | `config` | `config`: the whole model of configuration as a value, read from TOML and written back | `discover`, `http`, `probe`, `tcp` | humantime, serde_json, toml |
//! | `instance` | `instance`: one such model, running, and changed while clients are served | `config`, `manage-http` | |
//! | `health-endpoint` | `health_endpoint`: how an application says how it is, and stops in order; no proxy | | http, serde_json, tower-layer, tower-service |
//! | `proxy-protocol` | `proxy_protocol`: who the client is, told by one proxy to the next; with `tcp`, both ways, with `http` of clients | | ipnet |
//! | `tower` | `tower`: a balanced HTTP client, and a service over a set of services | | http, http-body, tower-layer, tower-service |
//! | `tower-discover` | `tower::follow`: that set as a `tower::discover::Discover` says | `tower` | tower |

#[cfg(any(feature = "tcp", feature = "http"))]
mod alarm;
#[cfg(feature = "resolve")]
mod asking;
#[cfg(feature = "discover")]
mod causes;
#[cfg(feature = "config")]
pub mod config;
pub mod connect;
#[cfg(feature = "tcp")]
mod counted;
#[cfg(feature = "http")]
mod deadline;
#[cfg(feature = "discover")]
pub mod discover;
#[cfg(any(feature = "tcp", feature = "http"))]
mod drain;
mod driver;
#[cfg(any(feature = "http", feature = "probe"))]
mod field_text;
#[cfg(feature = "health-endpoint")]
pub mod health_endpoint;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "config", feature = "serve"))]
mod http_address;
#[cfg(any(feature = "http", feature = "manage"))]
mod http_stats;
#[cfg(feature = "instance")]
pub mod instance;
mod keepalive;
pub mod listener;
#[cfg(feature = "manage")]
pub mod manage;
#[cfg(any(feature = "tcp", feature = "http"))]
pub mod observe;
#[cfg(any(feature = "discover", feature = "manage", feature = "probe"))]
mod printable;
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(feature = "proxy-protocol")]
pub mod proxy_protocol;
pub mod relay;
#[cfg(feature = "resolve")]
pub mod resolve;
#[cfg(any(feature = "tcp", feature = "http"))]
mod room;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(any(feature = "config", feature = "discover", feature = "health-endpoint", feature = "http"))]
mod small_file;
#[cfg(any(feature = "probe", feature = "manage-http"))]
mod spelling;
pub mod sys;
#[cfg(feature = "tcp")]
pub mod tcp;
#[cfg(any(feature = "config", feature = "manage-http"))]
mod token;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(any(feature = "manage", feature = "serve"))]
mod unix_socket;

pub use driver::{drive, drive_with};
#[cfg(feature = "tcp")]
pub use tcp::TcpProxy;
