//! Management of a running balancer: commands in, changes applied, answers out.
//!
//! A [`Shell`] is one control session in balance's language, over any [`Fleet`]; [`Managed`] makes one of a
//! [`Balancer`](lb_core::Balancer). [`serve`] answers sessions on the [`ControlSocket`] of a [`Place`], and [`Client`]
//! is the other end. With the feature `manage-http`, `http` offers the same commands as a JSON API, and `metrics` are for
//! Prometheus.
//!
//! # On the wire
//! Lines of text, so that `socat - UNIX-CONNECT:/run/lb/80.0.0.0.0/control` is a shell too. The server greets with
//! `lb PID VERSION`. A request is one line of up to 64 KiB. The reply to it is a line `ok GROUP LENGTH` or
//! `failed GROUP LENGTH` (the current group; the length of the text in bytes), with ` quit` or ` kill` behind it when the
//! session ends here, and then the text. To `kill` the server closes the connection when it has stopped.

mod aside;
mod balance;
mod client;
mod command;
mod explain;
mod fleet;
mod frame;
#[cfg(feature = "manage-http")]
pub mod http;
#[cfg(feature = "manage-http")]
mod metrics;
mod process;
mod rendezvous;
mod said;
mod server;
mod show;
mod socket;
mod sweep;
mod whole;

#[cfg(feature = "manage-http")]
pub use self::metrics::metrics;
#[cfg(feature = "instance")]
pub(crate) use self::server::serve_at;
pub use self::{
    balance::{End, Reply, Shell},
    client::{Answer, Client, ConnectError},
    fleet::{ChangeError, Edit, Fleet, Managed, Order},
    process::{Process, ServiceState},
    rendezvous::{Place, PlaceError},
    server::{Settings, serve},
    socket::ControlSocket,
};
pub use crate::http_stats::{Histogram, HttpStats};
