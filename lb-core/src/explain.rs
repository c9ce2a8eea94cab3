//! Where a request would go, and why not elsewhere.

use std::fmt;

use crate::{
    BackendId, NoPick, Request, Status,
    health::Health,
    rand::{SeedableRng, rngs::SmallRng},
    snapshot::{Slot, Snapshot},
};

/// The answer to "where would this request go": the same selector decides, on a copy, so that no turn is spent.
/// ```
/// use lb_core::{BackendId, Request, Status, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha beta ! spare".parse()?);
/// balancer.set_status(BackendId::new("alpha", 0), Status::Disabled, world.now())?;
/// let explanation = balancer.explain(&Request::new(world.now()));
/// assert_eq!(explanation.to_string(), "alpha: disabled\nbeta: chosen\nspare: has room\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// All backends in order.
    pub backends: Vec<Considered>,
    /// Why none was chosen.
    pub no_pick: Option<NoPick>,
    /// Whether it is the last resort: no backend is up.
    pub last_resort: bool,
}

/// One backend and what was made of it.
/// ```
/// # let mut world = lb_core::sim::World::new(1);
/// # let balancer = world.balancer("alpha".parse()?);
/// let explanation = balancer.explain(&lb_core::Request::new(world.now()));
/// assert_eq!(explanation.backends[0].reason, lb_core::Reason::Chosen);
/// # Ok::<(), lb_core::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Considered {
    /// Which one.
    pub id: BackendId,
    /// Its name as configured.
    pub name: String,
    /// The number of its group, from 0.
    pub group: usize,
    /// Why it was chosen or passed over.
    pub reason: Reason,
}

/// Why a backend was chosen or passed over.
/// ```
/// use lb_core::Reason;
/// assert_eq!(Reason::Full { in_flight: 2, limit: 2 }.to_string(), "full: 2 of 2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It would get the request.
    Chosen,
    /// It could take the request; the selector prefers another.
    HasRoom,
    /// The request has been there.
    Tried,
    /// People ordered so.
    Ordered(Status),
    /// Its weight is 0: only what is pinned to it.
    Weightless,
    /// It was observed to be so.
    Observed {
        /// What it is.
        health: Health,
        /// Why it is so, as told last.
        because: String,
    },
    /// Its limit is reached.
    Full {
        /// Requests it is working on.
        in_flight: u32,
        /// The limit in force.
        limit: u32,
    },
    /// It is no longer configured.
    Removed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => f.pad("chosen"),
            Self::HasRoom => f.pad("has room"),
            Self::Tried => f.pad("tried already"),
            Self::Ordered(status) => status.fmt(f),
            Self::Weightless => f.pad("weight 0"),
            Self::Observed { health, because } => write!(f, "{health} ({because})"),
            Self::Full { in_flight, limit } => write!(f, "full: {in_flight} of {limit}"),
            Self::Removed => f.pad("removed"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backends.iter().try_for_each(|backend| writeln!(f, "{}: {}", backend.name, backend.reason))?;
        self.no_pick.iter().try_for_each(|no_pick| writeln!(f, "{no_pick}"))
    }
}

impl Explanation {
    pub(crate) fn of<T: Send + Sync>(snapshot: &Snapshot<T>, request: &Request<'_>) -> Self {
        let last_resort = snapshot.is_nobody_up() && snapshot.has_last_resort();
        let request = if last_resort { request.at_last_resort() } else { *request };
        let chosen = choose(snapshot, &request);
        let considered = |(at, slot): (usize, &Slot<T>)| Considered {
            id: slot.member.id,
            name: slot.member.name.to_string(),
            group: slot.member.group(),
            reason: if chosen == Some(at) { Reason::Chosen } else { reason(slot, &request) },
        };
        let backends = snapshot.roster.slots.iter().enumerate().map(considered).collect();
        let no_pick = chosen.is_none().then(|| snapshot.why_not(&request));
        Self { backends, no_pick, last_resort }
    }
}

/// What the selector says, on a copy of it: a turn looked at is not a turn taken.
fn choose<T: Send + Sync>(snapshot: &Snapshot<T>, request: &Request<'_>) -> Option<usize> {
    if let Some(pin) = request.pin {
        let fits = |slot: &&Slot<T>| slot.member.id == pin && is_pinnable(slot, request);
        return snapshot.roster.slots.iter().position(|slot| fits(&slot));
    }
    let plain = Request { last_resort: request.last_resort, ..Request::new(request.now) };
    let copy = snapshot.selector.rebuild(&snapshot.roster, &plain);
    copy.pick(&snapshot.roster, request, &mut SmallRng::seed_from_u64(request.key.unwrap_or_default()))
}

fn is_pinnable<T: Send + Sync>(slot: &Slot<T>, request: &Request<'_>) -> bool {
    matches!(crate::Backend::fit(slot, request), crate::Fit::Yes | crate::Fit::PinnedOnly)
}

fn reason<T>(slot: &Slot<T>, request: &Request<'_>) -> Reason {
    let door = slot.member.door.read();
    if door.is_removed() {
        Reason::Removed
    } else if request.tried.contains(slot.member.id) {
        Reason::Tried
    } else if door.status() != Status::Enabled {
        Reason::Ordered(door.status())
    } else if door.is_weightless() {
        Reason::Weightless
    } else if !door.is_up(request.last_resort) || door.is_said() {
        Reason::Observed { health: door.health(), because: slot.member.told().reason }
    } else if let Some(limit) = door.limit().filter(|_| door.is_full()) {
        Reason::Full { in_flight: door.in_flight(), limit }
    } else {
        Reason::HasRoom
    }
}
