//! Choosing one backend of a group.
//!
//! # Which one
//! | selector | name | who gets a request | choose it when |
//! |---|---|---|---|
//! | [`RoundRobin`] | `round-robin` | the next in turn, smoothly by weight | backends and requests are alike; the order must be predictable |
//! | [`LeastLoaded`] | `least-loaded` | who has fewest requests in flight for its weight | requests differ in cost, or backends in speed |
//! | [`LeastLoaded`] by [`Metric::PeakEwma`] | `peak-ewma` | who has the least of requests times latency | the fastest answer counts |
//! | [`Hash`](struct@Hash) | `hash` | the owner of the request's key | the same client or key must meet the same backend (caches, sessions, shards) |
//! | [`BucketFill`] | `bucket-fill` | the first that has room | as few backends as possible should work, each up to its limit |
//! | [`Random`] | `random` | anyone, by weight | many independent balancers share one set of backends |
//! | [`Failover`] | `!` | whom the first group picks that can | there are spares, or sites of first and second choice |
//!
//! In doubt take `least-loaded` for requests: while all backends do equally well it deals in turn and by weight, as
//! `round-robin` does, and it goes round the one that does not. Take `round-robin`, the default, for connections that live long and
//! cost little, and whenever somebody must be able to say who is next. The names are those of
//! [`SelectorKind`](crate::SelectorKind); a [`Config`](crate::Config) has one for each group.
//!
//! | selector | what a pick costs | what goes wrong |
//! |---|---|---|
//! | `round-robin` | one counter that all threads write | it is blind to load: a slow backend collects requests up to its limit, so give it one |
//! | `least-loaded` | a look at each of up to 8 backends, beyond that two draws | it sees its own requests alone; failures that nobody reports look like speed |
//! | `peak-ewma` | the same | the fastest gets nearly all; cheap requests look like a fast backend |
//! | `hash` | a look at each of up to 16 backends, beyond that at a table, made anew when members or weights change | few keys, or one busy key, are no even load |
//! | `bucket-fill` | a look at a bitmap | without limits the first backend does everything |
//! | `random` | a draw, and nothing that threads share but the backend | a few requests are dealt unevenly |
//! | `!` | that of each group asked | spares are cold, and must be able to carry it all |
//!
//! No pick takes a lock or allocates, and ten thousand backends are none too many for any of them.
//!
//! # What settings do to it
//! | | weight | a backend that is full or down | slow start, and less than [all of its share](crate::health::Share) |
//! |---|---|---|---|
//! | `round-robin` | turns: 5, 1, 1 give a a b a c a a | its turn passes to the next: the others keep their proportions | a smaller weight |
//! | `least-loaded` | load is divided by it; turns of the equally loaded, beyond 8 backends chance | is not compared | a smaller weight |
//! | `peak-ewma` | load is divided by it; beyond 8 backends chance | is not compared | a smaller weight |
//! | `random` | chance | another draw | a smaller weight |
//! | `hash` | its share of the keys; a change moves only the difference | the next group (`%`), or another backend that takes over ([spilling](Hash::spilling), balance's `-H`) | a smaller limit: no key moves. Without a limit nothing |
//! | `bucket-fill` | only 0 counts | the next bucket | a smaller limit. Without a limit nothing |
//!
//! A weight of 0 leaves a backend only what is [pinned](crate::Request::with_pin) to it, whoever chooses. A limit is
//! never exceeded; a request that finds all full can [wait](crate::Balancer::wait_for) for any of them, in a hash group
//! that does not spill for the owner of its key alone. In balance's text `!` ends a group, `%` makes it a hash group
//! and ends it: `a b % ! c::64 ! d` is a hash group that fails over to `c`, and then to `d`.
//!
//! # In turn
//! ```
//! use lb_core::{Request, sim::World};
//! let mut world = World::new(7);
//! let balancer = world.balancer("a:::5 b c".parse()?);
//! let mut order = String::new();
//! for _ in 0..7 {
//!     order += balancer.pick(&Request::new(world.now()), world.rng())?.name();
//! }
//! assert_eq!(order, "aabacaa", "never five in a row");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # By load
//! A backend is less loaded than another if with the request it would be no busier, for its weight, than the other is
//! without it. Who is neither more nor less loaded than another gets in turn what its weight says. So weights, slow starts
//! and shares count when nobody is busy as they do when all are, and a backend with a small part of its share is not
//! filled for being idle:
//! ```
//! use lb_core::{Config, Request, SelectorKind, selector::Metric, sim::World};
//! let picked = |at_once: usize| {
//!     let mut world = World::new(7);
//!     let mut config: Config = "a:::3 b".parse()?;
//!     config.groups[0].selector = SelectorKind::LeastLoaded(Metric::InFlight);
//!     let balancer = world.balancer(config);
//!     for _ in 0..400 / at_once {
//!         let request = Request::new(world.now());
//!         let running: Result<Vec<_>, _> = (0..at_once).map(|_| balancer.pick(&request, world.rng())).collect();
//!         drop(running?);
//!     }
//!     let picked: Vec<u64> = balancer.stats().backends.iter().map(|backend| backend.picked()).collect();
//!     Ok::<_, Box<dyn std::error::Error>>(picked)
//! };
//! assert_eq!((picked(1)?, picked(200)?), (vec![300, 100], vec![300, 100]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! Load is what this balancer has sent and not yet heard of. So it must hear: a lease that is dropped counts as
//! cancelled and says nothing. A backend that fails at once never has much in flight; only because failures are
//! reported, and each counts like a request for some seconds, does that attract nobody. One that fails slowly, or
//! hangs, is busy and is left alone, but for the requests that it keeps waiting: bound them by a limit and a timeout.
//! ```
//! use lb_core::{Config, Outcome, Request, SelectorKind, selector::Metric, sim::World};
//! let sent_to_broken = |reported: bool| {
//!     let mut world = World::new(7);
//!     let mut config: Config = "broken slow".parse()?;
//!     config.groups[0].selector = SelectorKind::LeastLoaded(Metric::InFlight);
//!     let (balancer, mut working) = (world.balancer(config), Vec::new());
//!     for _ in 0..20 {
//!         let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
//!         match lease.name() {
//!             "slow" => working.push(lease),
//!             _ if reported => lease.finish(Outcome::ServerError, world.now()),
//!             _ => drop(lease),
//!         }
//!     }
//!     Ok::<_, Box<dyn std::error::Error>>(20 - working.len())
//! };
//! assert_eq!((sent_to_broken(true)?, sent_to_broken(false)?), (10, 19));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # By latency
//! The average rises at once and falls slowly, so one slow answer is remembered for seconds. It is the time to
//! [`Lease::answered`](crate::Lease::answered), else to the end: without that call a long download looks like a slow
//! backend. Latency times requests is divided by weight, so where nobody is busy three times the weight wins until it is
//! three times as slow: there is no turn in it. A backend of which nothing is known counts as fast, so give it a slow
//! start. Of many balancers that see
//! the same fast backend all prefer it: limits keep it alive.
//! ```
//! use lb_core::{Config, Outcome, Request, SelectorKind, selector::Metric, sim::World};
//! use std::time::Duration;
//! let mut world = World::new(7);
//! let mut config: Config = "near far".parse()?;
//! config.groups[0].selector = SelectorKind::LeastLoaded(Metric::PeakEwma);
//! let (balancer, mut near) = (world.balancer(config), 0);
//! for _ in 0..100 {
//!     let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
//!     let is_near = lease.name() == "near";
//!     near += u32::from(is_near);
//!     world.advance(Duration::from_millis(if is_near { 2 } else { 40 }));
//!     lease.finish(Outcome::Success, world.now());
//! }
//! assert!(near > 90, "{near} of 100");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # By key
//! The mapping is the same on every host and after every restart, and health moves no key but those of the backend
//! concerned. It spreads *keys* evenly, and only many of them: a dozen customers over four backends may well be six,
//! three, two and one, and a proxy in front of you makes all its clients one address. A request without a key goes
//! anywhere.
//! ```
//! use lb_core::{Config, Request, key, sim::World};
//! use std::collections::BTreeMap;
//! let mut world = World::new(7);
//! let balancer = world.balancer("a b c d %".parse()?);
//! let mut spread = |customers: u32| {
//!     let mut counts = BTreeMap::new();
//!     for customer in 0..customers {
//!         let request = Request::new(world.now()).with_key(key::of_bytes(&customer.to_le_bytes()));
//!         *counts.entry(balancer.pick(&request, world.rng())?.name().to_owned()).or_insert(0) += 1;
//!     }
//!     Ok::<Vec<u32>, lb_core::NoPick>(counts.into_values().collect())
//! };
//! let even = |counts: &[u32], share: u32| counts.iter().all(|count| count.abs_diff(share) * 10 <= share);
//! assert!(!even(&spread(12)?, 3) && even(&spread(12_000)?, 3_000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One after the other
//! What is needed is busy and the rest is idle, so the rest can be switched off: scale down from the end of the list,
//! and up when the last one works. The limits are the buckets; without one, nobody but the first ever works.
//! ```
//! use lb_core::{Config, Request, SelectorKind, sim::World};
//! let mut world = World::new(7);
//! let mut config: Config = "a::100 b::100 c::100 d::100".parse()?;
//! config.groups[0].selector = SelectorKind::BucketFill;
//! let balancer = world.balancer(config);
//! let request = Request::new(world.now());
//! let running: Result<Vec<_>, _> = (0..150).map(|_| balancer.pick(&request, world.rng())).collect();
//! let idle = balancer.stats().backends.into_iter().filter(|backend| backend.in_flight == 0);
//! assert_eq!(idle.map(|backend| backend.name).collect::<Vec<_>>(), ["c", "d"]);
//! # drop(running?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # At random
//! Balancers that know nothing of each other and deal in turn may fall into step, and a backend that all of them
//! believe idle is overrun; those that draw do neither. The price is chance: of 12 requests three backends do not get 4
//! each.
//! ```
//! use lb_core::{Config, Request, SelectorKind, sim::World};
//! let mut world = World::new(7);
//! let mut config: Config = "a b c".parse()?;
//! config.groups[0].selector = SelectorKind::Random;
//! let balancer = world.balancer(config);
//! for _ in 0..12_000 {
//!     drop(balancer.pick(&Request::new(world.now()), world.rng())?);
//! }
//! assert!(balancer.stats().backends.iter().all(|backend| (3_800..4_200).contains(&backend.picked())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Spares
//! Every request asks the first group first, so failing back needs no order. Limits make overflow of it:
//! ```
//! use lb_core::{BackendId, Request, Status, sim::World};
//! let mut world = World::new(7);
//! let balancer = world.balancer("a::1 ! b::1 ! spare".parse()?);
//! let request = Request::new(world.now());
//! let (first, second) = (balancer.pick(&request, world.rng())?, balancer.pick(&request, world.rng())?);
//! assert_eq!((first.name(), second.name()), ("a", "b"), "a is full");
//! drop((first, second));
//! balancer.set_status(BackendId::new("a", 0), Status::Disabled, world.now())?;
//! assert_eq!(balancer.pick(&request, world.rng())?.name(), "b");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Slow start
//! A backend that joins or recovers is cold. With [`Config::with_slow_start`](crate::Config::with_slow_start) it gets a
//! tenth of its share, then two tenths, and so on:
//! ```
//! use lb_core::{Config, Request, sim::World};
//! use std::time::Duration;
//! let mut world = World::new(7);
//! let fleet = |text: &str| text.parse().map(|config: Config| config.with_slow_start(Duration::from_secs(60)));
//! let balancer = world.balancer(fleet("a b")?);
//! balancer.update(fleet("a b new")?, world.now(), |_| ());
//! for _ in 0..210 {
//!     drop(balancer.pick(&Request::new(world.now()), world.rng())?);
//! }
//! let picked: Vec<u64> = balancer.stats().backends.iter().map(|backend| backend.picked()).collect();
//! assert_eq!(picked, [100, 100, 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One of your own
//! [`Selector`] is the trait; [`Balancer::with_selector`](crate::Balancer::with_selector) takes it, and limits, health,
//! status and counts stay the balancer's. Without a balancer a selector works on any slice of your own
//! [`Backend`](crate::Backend)s.

mod bucket_fill;
mod failover;
mod hash;
mod least_loaded;
mod random;
mod ranking;
mod round_robin;
mod shares;
mod turns;
mod wheel;

use std::fmt::Debug;

pub use self::{
    bucket_fill::BucketFill, failover::Failover, hash::Hash, least_loaded::LeastLoaded, random::Random,
    round_robin::RoundRobin,
};
pub use crate::backend::Metric;
use crate::{Fit, Group, Request, WaitFor, rand::Rng, wait_for};

/// Draws before every slot is looked at: with one backend in four open, 16 miss once in a hundred picks.
const DRAWS: usize = 16;

/// Chooses one backend of a group, from many threads at once, without waiting and without an allocation.
///
/// A selector is made for a group by [`rebuild`](Self::rebuild) and must stay right, if slower, while the group's
/// members change their health; it is rebuilt soon after.
/// ```
/// use lb_core::{Group, Request, Selector, rand::Rng, selector::BucketFill};
/// #[derive(Debug)]
/// struct LastFirst;
/// impl Selector for LastFirst {
///     fn pick(&self, group: &dyn Group, request: &Request<'_>, _: &mut dyn Rng) -> Option<usize> {
///         (0..group.len()).rev().find(|slot| group.backend(*slot).fit(request) == lb_core::Fit::Yes)
///     }
///     fn rebuild(&self, _: &dyn Group, _: &Request<'_>) -> Box<dyn Selector> {
///         Box::new(LastFirst)
///     }
/// }
/// let mut world = lb_core::sim::World::new(1);
/// let config = "alpha beta".parse()?;
/// let balancer = world.balancer(config).with_selector(&LastFirst);
/// assert_eq!(balancer.pick(&Request::new(world.now()), world.rng())?.name(), "beta");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Selector: Debug + Send + Sync {
    /// The slot of a backend that fits the request, if this selector will give it one.
    fn pick(&self, group: &dyn Group, request: &Request<'_>, rng: &mut dyn Rng) -> Option<usize>;

    /// The same selector for a changed group, with the turn carried over. `request` is what a request about which
    /// nothing is known asks now: a backend that is no fit for it may be left out, but for one that is only full.
    fn rebuild(&self, group: &dyn Group, request: &Request<'_>) -> Box<dyn Selector>;

    /// The slots that a request may wait for to which this selector has just given none. By default any that is full.
    fn wait_for(&self, group: &dyn Group, request: &Request<'_>) -> WaitFor<usize> {
        wait_for::any_of(group, request)
    }

    /// Whether slow starts and [shares](crate::health::Share) may scale the weights it sees. Where a weight decides who owns
    /// a key they must not, and where weights decide nothing it would be in vain: then they scale the limits of those
    /// backends that have one, and nothing else.
    fn ramps_weight(&self) -> bool {
        true
    }
}

/// The slots that take part in turns and draws, each with its weight: not what is down, but what is only full.
fn taking_part(group: &dyn Group, request: &Request<'_>) -> Vec<(usize, u32)> {
    let slots = 0..group.len();
    let open = |slot: &usize| matches!(group.backend(*slot).fit(request), Fit::Yes | Fit::Full);
    slots.filter(open).map(|slot| (slot, group.backend(slot).weight())).filter(|(_, weight)| *weight > 0).collect()
}

fn is_open(group: &dyn Group, slot: usize, request: &Request<'_>) -> bool {
    slot < group.len() && group.fits(slot, request)
}
