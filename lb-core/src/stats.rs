//! Counters and gauges, as plain numbers.

use std::{fmt, sync::atomic::Ordering::Relaxed, time::Instant};

use crate::{
    BackendId, Status,
    entry::Entry,
    health::{Health, Share},
    member::Member,
};

/// What a balancer has counted.
/// ```
/// use lb_core::{Request, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha::9 beta".parse()?);
/// let lease = balancer.pick(&Request::new(world.now()), world.rng())?;
/// let stats = balancer.stats();
/// assert_eq!((stats.backends[0].in_flight, stats.backends[0].picked()), (1, 1));
/// # drop(lease);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// One entry for each configured backend, in order.
    pub backends: Vec<BackendStats>,
    /// How many of 100 requests are let in: fewer than all while backends come back that had all said that they are down.
    /// See [`Config::slow_start`](crate::Config::slow_start).
    pub admitted_percent: u8,
}

/// What was counted at one backend since it was configured, or since its counters were
/// [reset](crate::Balancer::reset_counters).
/// ```
/// # let mut world = lb_core::sim::World::new(1);
/// # let balancer = world.balancer("alpha".parse()?);
/// let alpha = &balancer.stats().backends[0];
/// assert_eq!((alpha.name.as_str(), alpha.group, alpha.weight), ("alpha", 0, 1));
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendStats {
    /// Which one.
    pub id: BackendId,
    /// Its name as configured.
    pub name: String,
    /// The number of its group, from 0.
    pub group: usize,
    /// What people ordered.
    pub status: Status,
    /// A number of its own in its balancer: another one in its place, with the same id, has another.
    pub serial: u64,
    /// How often people have enabled it, one that was enabled included: what was found before the last time may be old.
    pub enabled_times: u64,
    /// What was observed.
    pub health: Health,
    /// Why it has this health, as told last: `probe: http=/health: the application said DOWN: no database`. A readmission
    /// is told by the next [`settle`](crate::Balancer::settle).
    pub reason: String,
    /// When its health changed last; it is as it was at first where that is nothing.
    pub since: Option<Instant>,
    /// When it is probed next, where whoever probes it [says so](crate::Balancer::set_next_probe).
    pub next_probe: Option<Instant>,
    /// How it stands with its ejection, where it is ejected. Of one that is down besides, the health says that.
    pub ejected: Option<Ejected>,
    /// How much of its weight (or of its limit, where the weights of its group are left alone) its policy lets it take.
    pub share: Share,
    /// What it is to take beside the others of its group, before any slow start and share.
    pub weight: u16,
    /// Its limit, before any slow start and share.
    pub limit: Option<u32>,
    /// Requests it is working on.
    pub in_flight: u32,
    /// Requests that ended well.
    pub succeeded: u64,
    /// Requests that failed after the connection was there.
    pub failed: u64,
    /// Connects that failed.
    pub connect_failed: u64,
    /// Requests of which nobody knows how they went.
    pub cancelled: u64,
    /// Bytes that went from clients to it, as [leases](crate::Lease::add_bytes) said.
    pub to_backend_bytes: u64,
    /// Bytes that came from it and went to clients.
    pub to_client_bytes: u64,
    /// Picks made at last resort, because no backend was up, or those that are had failed the request.
    pub last_resort: u64,
    /// Requests that were in flight when its counters were reset: they count when they end, and not as picked since.
    pub in_flight_at_reset: u32,
}

impl BackendStats {
    /// How often it was picked.
    #[must_use]
    pub fn picked(&self) -> u64 {
        let ended = self.succeeded + self.failed + self.connect_failed + self.cancelled;
        (ended + u64::from(self.in_flight)).saturating_sub(u64::from(self.in_flight_at_reset))
    }

    pub(crate) fn of<T>(entry: &Entry<T>) -> Self {
        let (member, door, told) = (&*entry.member, entry.member.door.read(), entry.member.told());
        let (all, before) = (Counts::of(member), &entry.before_reset);
        // Counters are read one by one while others write them: a difference may be off by one and is never below 0.
        let since = |count: fn(&Counts) -> u64| count(&all).saturating_sub(count(before));
        Self {
            id: member.id,
            name: member.name.to_string(),
            group: entry.group(),
            status: door.status(),
            serial: entry.serial,
            enabled_times: entry.enabled_times,
            health: door.health(),
            reason: told.reason,
            since: told.since,
            next_probe: told.next_probe,
            ejected: entry.ejected(),
            share: member.share(),
            weight: entry.weight,
            limit: entry.limit,
            in_flight: door.in_flight(),
            succeeded: since(|counts| counts.succeeded),
            failed: since(|counts| counts.failed),
            connect_failed: since(|counts| counts.connect_failed),
            cancelled: since(|counts| counts.cancelled),
            to_backend_bytes: since(|counts| counts.to_backend_bytes),
            to_client_bytes: since(|counts| counts.to_client_bytes),
            last_resort: since(|counts| counts.last_resort),
            in_flight_at_reset: before.in_flight,
        }
    }
}

/// How it stands with a backend that was set aside because its traffic failed.
/// ```
/// use lb_core::{Ejected, Outcome, Request, health::Eject, sim};
/// let mut world = sim::World::new(1);
/// let config: lb_core::Config = "alpha beta".parse()?;
/// let balancer = world.balancer(config.with_ejection(Eject::default()));
/// let alpha = Request::new(world.now()).with_pin(lb_core::BackendId::new("alpha", 0));
/// for _ in 0..3 {
///     balancer.pick(&alpha, world.rng())?.finish(Outcome::ConnectFailed, world.now());
/// }
/// let until = world.now() + Eject::default().period;
/// assert_eq!(balancer.stats().backends[0].ejected, Some(Ejected::Until(Some(until))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ejected {
    /// It gets nothing until then; without an end, until people enable it.
    Until(Option<Instant>),
    /// Its time is over: it gets one request, and that decides.
    HalfOpen,
    /// That request is under way.
    Trial,
}

impl fmt::Display for Ejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Until(_) => "out",
            Self::HalfOpen => "half-open",
            Self::Trial => "on trial",
        })
    }
}

/// All that a member has counted, as it never goes back: judges count on that, whatever people reset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    succeeded: u64,
    failed: u64,
    connect_failed: u64,
    cancelled: u64,
    to_backend_bytes: u64,
    to_client_bytes: u64,
    last_resort: u64,
    in_flight: u32,
}

impl Counts {
    pub(crate) fn of<T>(member: &Member<T>) -> Self {
        let (ended, carried) = (&member.ended, &member.carried);
        Self {
            in_flight: member.door.read().in_flight(),
            succeeded: member.door.successes(),
            failed: ended.failed.load(Relaxed),
            connect_failed: ended.connect_failed.load(Relaxed),
            cancelled: ended.cancelled.load(Relaxed),
            to_backend_bytes: carried.to_backend_bytes.load(Relaxed),
            to_client_bytes: carried.to_client_bytes.load(Relaxed),
            last_resort: carried.last_resort.load(Relaxed),
        }
    }
}
