//! Less than all of a share, for a while: in a slow start, or because the application said so.

/// Steps of a slow start.
pub(crate) const STEPS: u32 = 10;

/// What a backend has of its share, of the two kinds of reasons that it may have less than all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Of a slow start.
    pub(crate) tenths: u32,
    /// Of what the application said.
    pub(crate) percent: u32,
}

impl Part {
    pub(crate) const WHOLE: Self = Self { tenths: STEPS, percent: 100 };

    /// So much of a limit, and not less than 1.
    pub(crate) fn of(self, limit: u32) -> u32 {
        let parts = u64::from(limit) * u64::from(self.tenths) * u64::from(self.percent);
        (parts / u64::from(STEPS * 100)).max(1) as u32
    }
}

/// In how small parts the weights of a group count, so that nothing is lost by rounding: in whole ones where every
/// backend has all of its share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scale {
    in_tenths: bool,
    in_percent: bool,
}

impl Scale {
    /// The same, fine enough for this backend too.
    pub(crate) fn with(self, part: Part) -> Self {
        let Part { tenths, percent } = Part::WHOLE;
        Self {
            in_tenths: self.in_tenths || part.tenths != tenths,
            in_percent: self.in_percent || part.percent != percent,
        }
    }

    /// A weight, at most 65 535 000 and 0 only where it is.
    pub(crate) fn weight(self, weight: u16, part: Part) -> u32 {
        let tenths = if self.in_tenths { part.tenths } else { 1 };
        let percent = if self.in_percent { part.percent } else { 1 };
        u32::from(weight) * tenths * percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_weight_that_there_is_comes_to_nothing_and_the_largest_fits() {
        let least = Part { tenths: 1, percent: 1 };
        let scale = Scale::default().with(least);
        let weights = [0, 1, u16::MAX].map(|weight| [least, Part::WHOLE].map(|part| scale.weight(weight, part)));
        assert_eq!(weights, [[0, 0], [1, 1000], [65_535, 65_535_000]]);
        assert_eq!(Scale::default().with(Part::WHOLE).weight(7, Part::WHOLE), 7, "whole ones where all have all");
    }

    #[test]
    fn a_part_of_a_limit_is_at_least_one() {
        let limits = |tenths, percent| [1, 10, 1000, u32::MAX].map(|limit| Part { tenths, percent }.of(limit));
        assert_eq!(limits(10, 100), [1, 10, 1000, u32::MAX]);
        assert_eq!(limits(10, 40), [1, 4, 400, 1_717_986_918]);
        assert_eq!(limits(5, 50)[..3], [1, 2, 250]);
    }
}
