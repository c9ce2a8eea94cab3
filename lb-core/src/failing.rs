//! Whose requests failed at a backend: those clients with the most failures, of late.

/// Clients that are told apart: as many as a rule can ask for.
const CLIENTS: usize = 8;

/// How far back to look: a window, or with it the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    This,
    Both,
}

/// Failures by client, in this window and in the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failing {
    before: Worst,
    this: Worst,
}

/// A client and its failures. Of those with few failures some are forgotten, and whoever comes in their place inherits
/// theirs: so none who has more than an eighth of all is missed (Metwally et al., Space-Saving).
#[derive(Clone, Copy, Debug, Default)]
struct Worst([Option<(u64, u64)>; CLIENTS]);

impl Failing {
    pub(crate) fn note(&mut self, client: u64) {
        self.this.note(client);
    }

    pub(crate) fn begin_window(&mut self) {
        *self = Self { before: self.this, this: Worst::default() };
    }

    /// Whether a request of this client has failed of late.
    pub(crate) fn knows(&self, client: u64) -> bool {
        self.this.of(client).or(self.before.of(client)).is_some()
    }

    /// How many failures are those of the so many clients who have the most of them.
    pub(crate) fn of_worst(&self, clients: usize, span: Span) -> u64 {
        let before = if span == Span::Both { self.before } else { Worst::default() };
        let mut all = [0; 2 * CLIENTS];
        let both = self.this.0.iter().flatten().map(|(client, count)| count + before.of(*client).unwrap_or(0));
        let gone = before.0.iter().flatten().filter(|(client, _)| self.this.of(*client).is_none());
        all.iter_mut().zip(both.chain(gone.map(|(_, count)| *count))).for_each(|(place, count)| *place = count);
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.iter().take(clients).sum()
    }
}

impl Worst {
    fn of(&self, client: u64) -> Option<u64> {
        self.0.iter().flatten().find(|(known, _)| *known == client).map(|(_, count)| *count)
    }

    fn note(&mut self, client: u64) {
        if let Some((_, count)) = self.0.iter_mut().flatten().find(|(known, _)| *known == client) {
            *count += 1;
        } else if let Some(place) = self.0.iter_mut().min_by_key(|place| place.map_or(0, |(_, count)| count)) {
            *place = Some((client, place.map_or(0, |(_, count)| count) + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_are_found_over_both_windows() {
        let mut failing = Failing::default();
        [1, 1, 1, 2].into_iter().for_each(|client| failing.note(client));
        failing.begin_window();
        [2, 2, 3].into_iter().for_each(|client| failing.note(client));
        let of = |clients| [Span::This, Span::Both].map(|span| failing.of_worst(clients, span));
        assert_eq!([0, 1, 2, 3, 99].map(of), [[0, 0], [2, 3], [3, 6], [3, 7], [3, 7]]);
        assert_eq!([1, 2, 3, 4].map(|client| failing.knows(client)), [true, true, true, false]);
        (0..2).for_each(|_| failing.begin_window());
        assert!(!failing.knows(1) && failing.of_worst(9, Span::Both) == 0);
    }

    #[test]
    fn who_fails_most_is_not_lost_among_many() {
        let mut failing = Failing::default();
        for client in 100..1100 {
            failing.note(client);
            failing.note(7);
        }
        assert!(failing.knows(7) && failing.of_worst(1, Span::This) >= 1000);
    }
}
