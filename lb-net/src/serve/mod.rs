//! A listener for any tower [`Service`](tower_service::Service), over HTTP/1.
//!
//! For what is no hot path: management, metrics, health. Clients are given little time and little room, so that one who
//! dawdles or floods keeps nobody else waiting for long.

mod limits;
mod listener;
mod patient;
mod server;

pub use self::{
    limits::Limits,
    listener::{ListenError, Listener},
    server::serve,
};
pub use crate::http_address::{HttpAddress, HttpAddressError};
