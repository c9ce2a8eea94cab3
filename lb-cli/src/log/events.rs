//! What the balancer and the resolver tell of backends, as entries.

use std::net::SocketAddr;

use lb_core::{
    Event, EventKind, Subject,
    health::{Cause, Health},
};
use lb_net::{discover::Discovered, resolve::Refreshed};

use super::{Entry, Level};

/// Backends that one entry names.
const MOST_NAMES: usize = 100;

impl From<&Event> for Entry {
    fn from(event: &Event) -> Self {
        let message = event.to_string();
        let entry = |level, name| Self::new(level, name, message.as_str());
        match &event.kind {
            EventKind::Health { backend, from, to, reason } => {
                let (level, name) = match to {
                    Health::Up => (Level::Notice, "backend-up"),
                    Health::Draining => (Level::Notice, "backend-draining"),
                    Health::Down(Cause::Maintenance) => (Level::Notice, "backend-maintenance"),
                    Health::Down(_) => (Level::Warning, "backend-down"),
                    Health::Ejected => (Level::Warning, "backend-ejected"),
                    _ => (Level::Notice, "backend-unknown"),
                };
                let entry = entry(level, name).about(backend).with("from", from.to_string());
                entry.with("to", to.to_string()).with("reason", reason.as_str())
            }
            EventKind::Share { backend, from, to, reason } => {
                let entry = entry(Level::Notice, "backend-share").about(backend).with("from", u32::from(from.get()));
                entry.with("to", u32::from(to.get())).with("reason", reason.as_str())
            }
            EventKind::Status { backend, from, to } => {
                let entry = entry(Level::Notice, "backend-status").about(backend).with("from", from.to_string());
                entry.with("to", to.to_string())
            }
            EventKind::Drained { backend } => entry(Level::Notice, "backend-drained").about(backend),
            EventKind::LastResort { begun: true } => entry(Level::Warning, "last-resort"),
            EventKind::LastResort { begun: false } => entry(Level::Notice, "last-resort-over"),
            EventKind::Declined { begun: true } => entry(Level::Warning, "backends-decline"),
            EventKind::Declined { begun: false } => entry(Level::Notice, "backends-decline-over"),
            EventKind::Changed { added, removed, changed } => {
                let entry = entry(Level::Notice, "changed").with("added", added.as_slice());
                entry.with("removed", removed.as_slice()).with("changed", changed.as_slice())
            }
            EventKind::Missed { events } => entry(Level::Warning, "events-missed").with("events", *events),
            _ => entry(Level::Notice, "event"),
        }
    }
}

impl From<&Refreshed<'_>> for Entry {
    fn from(news: &Refreshed<'_>) -> Self {
        let message = news.to_string();
        match news {
            Refreshed::Changed { endpoint, before } => {
                let texts = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
                let entry = Self::new(Level::Notice, "addresses-changed", message).with("host", endpoint.host());
                entry.with("before", texts(before)).with("addresses", texts(&endpoint.addresses()))
            }
            Refreshed::Failed { .. } => Self::new(Level::Warning, "resolve-failed", message),
            Refreshed::Known { host } => Self::new(Level::Notice, "resolved", message).with("host", *host),
            _ => Self::new(Level::Notice, "resolve", message),
        }
    }
}

impl From<&Discovered<'_>> for Entry {
    fn from(news: &Discovered<'_>) -> Self {
        let message = news.to_string();
        match news {
            Discovered::Changed { source, backends, .. } => {
                let names: Vec<&str> = backends.iter().map(|backend| backend.name.as_str()).take(MOST_NAMES).collect();
                let entry = Self::new(Level::Notice, "discovered", message).with("source", source.to_string());
                entry.with("count", backends.len()).with("backends", names)
            }
            Discovered::Failed { source, .. } => {
                Self::new(Level::Warning, "discovery-failed", message).with("source", source.to_string())
            }
            Discovered::Known { source } => {
                Self::new(Level::Notice, "discovery-works", message).with("source", source.to_string())
            }
            _ => Self::new(Level::Notice, "discovery", message),
        }
    }
}

impl Entry {
    fn about(self, backend: &Subject) -> Self {
        self.with("backend", backend.name.as_str()).with("group", backend.group)
    }
}
