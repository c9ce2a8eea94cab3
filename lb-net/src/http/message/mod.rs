//! What a message is: its head, its fields, its framing, and how it is written again.
//!
//! Nothing here does I/O.

pub(super) mod chunked;
pub(super) mod cookie;
pub(super) mod date;
pub(super) mod edit;
pub(super) mod field;
pub(super) mod forward;
pub(super) mod framing;
#[cfg(test)]
mod fuzz;
pub(super) mod head;
pub(super) mod host;
pub(super) mod refusal;
