//! The configuration file: what is planted is found, what is written is read, and nothing panics.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod difference;
mod http;
mod keys;
mod mistakes;
mod models;
mod properties;
mod size;
mod sources;
mod warnings;

/// A good file, of which the tests change lines.
pub(crate) const GOOD: &str = "
[pools.web]
groups = \"alpha:80 beta:80\"
[services.www]
listen = 80
pool = \"web\"
";

pub(crate) const L3: &str = "groups = \"alpha:80 beta:80\"";
pub(crate) const L5: &str = "listen = 80\npool = \"web\"";
