//! What is known of a request when a backend is chosen for it.

use std::time::Instant;

use crate::BackendId;

/// How many tried backends are kept without an allocation.
const INLINE: usize = 8;

/// What a choice may depend on.
/// ```
/// use lb_core::{Request, Tried, key, sim};
/// let mut tried = Tried::default();
/// tried.insert(lb_core::BackendId::new("alpha", 0));
/// let request = Request::new(sim::epoch()).with_key(key::of_bytes(b"customer 17")).with_tried(&tried);
/// assert!(request.tried.contains(lb_core::BackendId::new("alpha", 0)));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The time of the choice.
    pub now: Instant,
    /// The affinity key: equal keys go to one backend where the selector hashes. See [`key`](crate::key).
    pub key: Option<u64>,
    /// The one backend that may take it, even while that one drains (a sticky session).
    pub pin: Option<BackendId>,
    /// Who asks, so that one client alone can eject nobody. See [`key`](crate::key).
    pub client: Option<u64>,
    /// Backends that this request has been to: they are not chosen again.
    pub tried: &'a Tried,
    /// Whether backends that are silent or ejected will do, because no other is up. [`Balancer`](crate::Balancer)
    /// sets it.
    pub last_resort: bool,
    /// Whether it has been let in before, and only waits or tries again. See [`NoPick::Recovering`](crate::NoPick).
    pub is_admitted: bool,
}

/// Lives as long as any request may want it.
static NONE_TRIED: Tried = Tried { inline: [None; INLINE], more: Vec::new() };

impl Request<'_> {
    /// A request about which nothing is known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { now, key: None, pin: None, client: None, tried: &NONE_TRIED, last_resort: false, is_admitted: false }
    }
}

impl<'a> Request<'a> {
    /// With an affinity key.
    #[must_use]
    pub fn with_key(self, key: u64) -> Self {
        Self { key: Some(key), ..self }
    }

    /// With the one backend that may take it.
    #[must_use]
    pub fn with_pin(self, pin: BackendId) -> Self {
        Self { pin: Some(pin), ..self }
    }

    /// With the client that asks.
    #[must_use]
    pub fn with_client(self, client: u64) -> Self {
        Self { client: Some(client), ..self }
    }

    /// With the backends it has been to.
    #[must_use]
    pub fn with_tried(self, tried: &'a Tried) -> Self {
        Self { tried, ..self }
    }

    /// One that was let in before, and only waits or tries again: it is not refused as
    /// [`Recovering`](crate::NoPick::Recovering).
    #[must_use]
    pub fn admitted_before(self) -> Self {
        Self { is_admitted: true, ..self }
    }

    pub(crate) fn at_last_resort(self) -> Self {
        Self { last_resort: true, ..self }
    }
}

/// The backends that one request has been to: eight without an allocation, more on the caller's heap.
/// ```
/// use lb_core::{BackendId, Tried};
/// let mut tried = Tried::default();
/// for k in 0..20 { tried.insert(BackendId::new("alpha", k)); }
/// assert!(tried.contains(BackendId::new("alpha", 19)) && !tried.contains(BackendId::new("beta", 0)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tried {
    inline: [Option<BackendId>; INLINE],
    more: Vec<BackendId>,
}

impl Tried {
    /// Adds one.
    pub fn insert(&mut self, id: BackendId) {
        match self.inline.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(id),
            None => self.more.push(id),
        }
    }

    /// Takes one out again: it was tried, and did well.
    /// ```
    /// use lb_core::{BackendId, Tried};
    /// let mut tried = Tried::default();
    /// for k in 0..20 { tried.insert(BackendId::new("alpha", k)); }
    /// for k in 3..20 { tried.remove(BackendId::new("alpha", k)); }
    /// assert!(tried.contains(BackendId::new("alpha", 2)) && !tried.contains(BackendId::new("alpha", 3)));
    /// ```
    pub fn remove(&mut self, id: BackendId) {
        self.more.retain(|tried| *tried != id);
        // No gaps: the last ones move up.
        let mut kept = [None; INLINE];
        let inline = self.inline.into_iter().flatten().filter(|tried| *tried != id);
        let mut places = kept.iter_mut();
        inline.zip(&mut places).for_each(|(tried, place)| *place = Some(tried));
        let room = kept.iter().filter(|place| place.is_none()).count();
        let moved: Vec<BackendId> = self.more.drain(..room.min(self.more.len())).collect();
        self.inline = kept;
        moved.into_iter().for_each(|id| self.insert(id));
    }

    /// Whether `id` was added.
    #[must_use]
    pub fn contains(&self, id: BackendId) -> bool {
        self.inline.iter().map_while(|tried| *tried).any(|tried| tried == id) || self.more.contains(&id)
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inline[0].is_none()
    }
}
