//! How often requests fail somewhere, and whether that is more often than elsewhere.

/// How a backend's rate of failure must stand out: more than twice the others', by more than so much, and more than chance
/// makes likely. For that the measure is that of the G-test (Sokal and Rohlf): 20 is rarer than four standard deviations,
/// and as every failure is a test, 16 found an outlier by chance every few hours.
const MARGIN: f64 = 0.1;
const EVIDENCE: f64 = 20.0;
/// So many requests at the others say how often a request fails there.
const MANY: u64 = 5;

/// Requests that ended, and those of them that failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    pub(crate) ended: u64,
    pub(crate) failed: u64,
}

impl Rate {
    pub(crate) fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.failed += other.failed;
    }

    /// Whether more fail than elsewhere: clearly more, and so many more that it is no chance.
    pub(crate) fn stands_out(self, others: Self) -> bool {
        if self.ended == 0 || others.ended < MANY {
            return false;
        }
        let all = Self { ended: self.ended + others.ended, failed: self.failed + others.failed };
        let (own, elsewhere) = (self.share(), others.share());
        let evidence = 2.0 * (self.surprise(all.share()) + others.surprise(all.share()));
        own > 2.0 * elsewhere && own > elsewhere + MARGIN && evidence >= EVIDENCE
    }

    fn share(self) -> f64 {
        self.failed as f64 / self.ended as f64
    }

    /// How much better its own share explains what happened than this one does, as logarithm of the likelihoods.
    fn surprise(self, share: f64) -> f64 {
        let part = |count: u64, expected: f64| match count {
            0 => 0.0,
            count => count as f64 * (count as f64 / (expected * self.ended as f64)).ln(),
        };
        part(self.failed, share) + part(self.ended.saturating_sub(self.failed), 1.0 - share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate((failed, ended): (u64, u64)) -> Rate {
        Rate { ended, failed }
    }

    #[test]
    fn only_what_is_more_often_by_more_than_chance_stands_out() {
        // Failed of all here, and elsewhere.
        for (own, others, expected) in [
            ((6, 6), (0, 12), true),
            ((3, 3), (0, 5), false),
            ((5, 5), (0, 4), false),
            ((50, 100), (2, 200), true),
            ((50, 100), (40, 100), false),
            ((100, 100), (200, 200), false),
            // Too little to matter, however sure that is.
            ((900, 10_000), (0, 20_000), false),
            ((1100, 10_000), (0, 20_000), true),
            ((0, 0), (0, 0), false),
            ((0, 9), (9, 9), false),
        ] {
            assert_eq!(rate(own).stands_out(rate(others)), expected, "{own:?} {others:?}");
        }
    }
}
