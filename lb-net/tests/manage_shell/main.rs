//! balance's commands against a real balancer: their texts, their effects, and what they leave alone.
#![cfg(feature = "manage")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

mod channels;
mod desk;
mod groups;
mod sessions;
mod tables;
