//! Load balancing as a pure decision.
//!
//! A [`Balancer`] holds groups of backends and says where a request goes: [`pick`](Balancer::pick) gives a [`Lease`],
//! and the lease is told how it went. That is all: no sockets, no clock, no runtime, no randomness of its own. Time and
//! chance are arguments, so the same seed gives the same choices, in a test as in production.
//!
//! ```
//! use lb_core::{Balancer, Config, Outcome, Request, rand::{SeedableRng, rngs::SmallRng}};
//! use std::time::Instant;
//!
//! // Two backends that take 256 requests each, and a spare for when both are full or down.
//! let config: Config = "alpha:80:256 beta:80:256 ! spare:80".parse()?;
//! let mut rng = SmallRng::seed_from_u64(7);
//! let balancer = Balancer::new(config, Instant::now(), &mut rng, |backend| backend.name.clone());
//!
//! let lease = balancer.pick(&Request::new(Instant::now()), &mut rng)?;
//! println!("sending the request to {}", lease.payload());
//! lease.finish(Outcome::Success, Instant::now());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which door
//! - Most take [`Balancer`]: members with limits, health, status and counts; `T` is whatever you keep for each of them.
//! - If your backends live elsewhere, implement [`Backend`] for them and use a [`selector`] on a slice of them.
//! - A [`Selector`] or a [`HealthPolicy`] of your own fits into a [`Balancer`].
//!
//! Two pages help to choose: [which selector](selector#which-one), and [what to switch on](health#what-to-switch-on)
//! so that work avoids backends that are not well.
//!
//! # What holds
//! A pick takes no lock and allocates nothing. A limit is never exceeded, and a lease always gives its place back. Once
//! a change of status has returned, nobody is picked against it. State belongs to a backend's name and survives every
//! change of configuration that does not concern it. When no backend is up, those that are only silent are tried anyway;
//! what people disabled, or applications said, is never overridden.

mod backend;
mod balancer;
mod budget;
mod change;
mod clock_use;
mod config;
mod control;
mod decay;
mod door;
mod ejection;
mod entry;
mod event;
mod explain;
mod failing;
mod group;
mod handle;
pub mod health;
mod journal;
pub mod key;
mod lease;
mod member;
mod openings;
mod outcome;
mod part;
mod queue;
mod rate;
mod recovery;
mod request;
pub mod selector;
pub mod sim;
mod snapshot;
mod spec;
mod stats;
mod status;
mod wait_for;
mod watchers;

pub use rand;

pub use self::{
    backend::{Backend, BackendId, Fit},
    balancer::{Balancer, Diff, NoPick, UnknownBackend},
    budget::Budget,
    config::{BackendConfig, Config, GroupConfig, SelectorKind, Start, UnknownSelector},
    event::{Event, EventKind, Subject},
    explain::{Considered, Explanation, Reason},
    group::Group,
    health::{Cause, Health, HealthPolicy},
    lease::Lease,
    outcome::Outcome,
    queue::{Queue, QueueFull, Ticket},
    request::{Request, Tried},
    selector::Selector,
    spec::SpecError,
    stats::{BackendStats, Ejected, Stats},
    status::{Status, UnknownStatus},
    wait_for::WaitFor,
};
