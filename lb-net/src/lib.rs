//! Moving bytes where [`lb_core`] decides.
//!
//! Start from [`TcpProxy`]: it accepts, asks a [`Balancer`](lb_core::Balancer) for a backend, connects, relays and
//! reports; `http::HttpProxy` does so for each request. Everything is `Send` and runs on whatever tokio runtime you have;
//! the `lb` program runs one single-threaded runtime for each worker.
//!
//! | feature | adds |
//! |---|---|
//! | `tcp` (default) | [`TcpProxy`]: L4 balancing |
//! | `http` | `http::HttpProxy`: HTTP balancing |
//! | `probe` | `probe`: active checks of backends |
//! | `resolve` | `resolve`: host and service names to addresses, kept fresh |
//! | `discover` | `discover`: backends from node files and DNS, watched |
//! | `manage` | `manage`: balance's commands for a running balancer, over a unix socket |
//! | `manage-http` | `manage::http`: the same over HTTP, as a JSON API, and metrics for Prometheus |
//! | `serve` | `serve`: a listener for any tower service over HTTP/1, with limits |
//! | `config` | `config`: the whole model of configuration as a value, read from TOML and written back |
//! | `instance` | `instance`: one such model, running, and changed while clients are served |
//! | `proxy-protocol` | `proxy_protocol`: who the client is, told by one proxy to the next; with `tcp`, both ways, with `http` of clients |
//!
//! Without features there are the pieces to build a transport from: [`listener`], [`connect`], [`relay`], [`drive`].

#[cfg(any(feature = "tcp", feature = "http"))]
mod alarm;
#[cfg(feature = "resolve")]
mod asking;
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
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(feature = "proxy-protocol")]
pub mod proxy_protocol;
pub mod relay;
#[cfg(feature = "resolve")]
pub mod resolve;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(any(feature = "probe", feature = "manage-http"))]
mod spelling;
pub mod sys;
#[cfg(feature = "tcp")]
pub mod tcp;
#[cfg(any(feature = "config", feature = "manage-http"))]
mod token;
#[cfg(any(feature = "manage", feature = "serve"))]
mod unix_socket;

pub use driver::{drive, drive_with};
#[cfg(feature = "tcp")]
pub use tcp::TcpProxy;
