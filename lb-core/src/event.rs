//! What changed, for logs: backends down and up again, orders, drains, the last resort.

use std::{fmt, time::Instant};

use crate::{
    BackendId, Diff, Status,
    health::{Health, Share},
};

/// One change, as [`take_events`](crate::Balancer::take_events) hands it out. Its text is a line for a person's log,
/// without the time.
/// ```
/// use lb_core::{BackendId, Status, sim};
/// let mut world = sim::World::new(1);
/// let balancer = world.balancer("alpha:80 beta:80".parse()?);
/// balancer.record_events();
/// balancer.set_status(BackendId::new("alpha:80", 0), Status::Draining, world.now())?;
/// let lines: Vec<String> = balancer.take_events().iter().map(ToString::to_string).collect();
/// assert_eq!(lines, ["alpha:80 is draining", "alpha:80 is drained"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it happened, or was noticed: a drain's end and a readmission are noticed by the next
    /// [`settle`](crate::Balancer::settle).
    pub at: Instant,
    /// What changed.
    pub kind: EventKind,
}

/// What changed.
/// ```
/// use lb_core::EventKind;
/// let over = EventKind::LastResort { begun: false };
/// assert_eq!(over.to_string(), "the last resort is over");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// What was observed of a backend changed. `from` and `to` are equal where an ejected backend was tried in vain and
    /// stays out.
    Health {
        /// Which one.
        backend: Subject,
        /// As it was when last told.
        from: Health,
        /// As it is.
        to: Health,
        /// Why: `connect failed`, `probe failed`, `enabled by hand`, or the words of whoever
        /// [observed](crate::Balancer::observe_because) it.
        reason: String,
    },
    /// A backend takes another part of its share than before, up or not.
    Share {
        /// Which one.
        backend: Subject,
        /// How much it took until now.
        from: Share,
        /// How much it takes.
        to: Share,
        /// Why, as for health.
        reason: String,
    },
    /// People ordered something else.
    Status {
        /// Of which one.
        backend: Subject,
        /// What was ordered before.
        from: Status,
        /// What is ordered now.
        to: Status,
    },
    /// The last request of a draining or disabled backend has ended, or it had none.
    Drained {
        /// Which one.
        backend: Subject,
    },
    /// No backend is up, and those that are only silent or ejected are tried anyway; or that is over.
    LastResort {
        /// Whether it begins.
        begun: bool,
    },
    /// All backends that would be picked say of themselves that they are down, and requests are refused; or all requests
    /// are let in again.
    Declined {
        /// Whether it begins.
        begun: bool,
    },
    /// Another configuration was taken over; the names of the backends, as in [`Diff`](crate::Diff).
    Changed {
        /// New backends.
        added: Vec<String>,
        /// Backends that are no longer picked.
        removed: Vec<String>,
        /// Backends with another weight, limit, status or group.
        changed: Vec<String>,
    },
    /// So many events before this one were not kept, because nobody took those that were there.
    Missed {
        /// How many.
        events: u64,
    },
}

/// The backend that an event is about.
/// ```
/// use lb_core::{BackendId, Subject};
/// let subject = Subject { id: BackendId::new("alpha:80", 0), name: "alpha:80".into(), group: 0 };
/// assert_eq!(subject.to_string(), "alpha:80");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which one.
    pub id: BackendId,
    /// Its name as configured.
    pub name: String,
    /// The number of its group, from 0.
    pub group: usize,
}

impl From<Diff> for EventKind {
    fn from(Diff { added, removed, changed }: Diff) -> Self {
        Self::Changed { added, removed, changed }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health { backend, from, to, reason } => {
                let still = if from == to { "still " } else { "" };
                write!(f, "{backend} is {still}{to} ({reason})")
            }
            Self::Share { backend, to, reason, .. } => {
                write!(f, "{backend} takes {} % of its share ({reason})", to.get())
            }
            Self::Status { backend, to, .. } => write!(f, "{backend} is {to}"),
            Self::Drained { backend } => write!(f, "{backend} is drained"),
            Self::LastResort { begun: true } => {
                f.write_str("last resort: no backend is up, those that are silent or ejected are tried anyway")
            }
            Self::LastResort { begun: false } => f.write_str("the last resort is over"),
            Self::Declined { begun: true } => {
                f.write_str("all backends say that they take no work: requests are refused until one says UP")
            }
            Self::Declined { begun: false } => f.write_str("all requests are let in again"),
            Self::Changed { added, removed, changed } => {
                let lists = [("added", added), ("removed", removed), ("changed", changed)];
                let said = lists.into_iter().filter(|(_, names)| !names.is_empty());
                let said: Vec<String> = said.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
                write!(f, "configuration changed: {}", said.join("; "))
            }
            Self::Missed { events } => write!(f, "{events} events were not kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Cause;

    fn alpha() -> Subject {
        Subject { id: BackendId::new("alpha:80", 0), name: "alpha:80".into(), group: 0 }
    }

    #[test]
    fn each_kind_is_a_line_for_a_log() {
        let health = |from, to, reason: &str| EventKind::Health { backend: alpha(), from, to, reason: reason.into() };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (silent, forty) = (Health::Down(Cause::Silent), Share::percent(40).unwrap());
        let rows = [
            (health(Health::Up, silent, "connect failed"), "alpha:80 is down: silent (connect failed)"),
            (health(silent, Health::Up, "enabled by hand"), "alpha:80 is up (enabled by hand)"),
            (health(Health::Ejected, Health::Ejected, "for 20s"), "alpha:80 is still ejected (for 20s)"),
            (
                EventKind::Share { backend: alpha(), from: Share::FULL, to: forty, reason: "it says UP".into() },
                "alpha:80 takes 40 % of its share (it says UP)",
            ),
            (
                EventKind::Status { backend: alpha(), from: Status::Enabled, to: Status::Disabled },
                "alpha:80 is disabled",
            ),
            (
                EventKind::LastResort { begun: true },
                "last resort: no backend is up, those that are silent or ejected are tried anyway",
            ),
            (
                EventKind::Changed { added: names(&["a", "b"]), removed: names(&[]), changed: names(&["c"]) },
                "configuration changed: added a, b; changed c",
            ),
            (
                EventKind::Declined { begun: true },
                "all backends say that they take no work: requests are refused until one says UP",
            ),
            (EventKind::Declined { begun: false }, "all requests are let in again"),
            (EventKind::Missed { events: 3 }, "3 events were not kept"),
        ];
        for (kind, line) in rows {
            assert_eq!(kind.to_string(), line);
        }
    }
}
