//! A gauge's colour as time goes by. No clock: the time is an argument.

use std::time::Instant;

use super::{Colour, Thresholds};

/// A gauge's last value, and the colour it has come to.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    thresholds: Thresholds,
    /// The last number, and since when; `None` also when the last value was no number.
    value: Option<(f64, Instant)>,
    /// The colour that the numbers came to. It outlives times without a number, which count neither as a change nor as
    /// a pause: whoever forgets to measure for a moment does not begin anew.
    colour: Option<Colour>,
    /// The last change; the first colour is none.
    changed: Option<Instant>,
}

impl Meter {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, value: None, colour: None, changed: None }
    }

    pub(super) fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// The last number, if the last value was one.
    pub(super) fn value(&self) -> Option<f64> {
        self.value.map(|(value, _)| value)
    }

    /// Takes a value, and says the colour that follows.
    pub(super) fn observe(&mut self, value: f64, now: Instant) -> Colour {
        self.value = (!value.is_nan()).then_some((value, now));
        self.colour(now)
    }

    /// The colour now: it may change without a new value, when the dwell time is over or the value is too old.
    pub(super) fn colour(&mut self, now: Instant) -> Colour {
        let Some((value, at)) = self.value else { return Colour::Unknown };
        if self.thresholds.max_age.is_some_and(|most| now.saturating_duration_since(at) > most) {
            return Colour::Unknown;
        }
        let Some(before) = self.colour else {
            let first = self.thresholds.colour(value);
            self.colour = Some(first);
            return first;
        };
        let wanted = self.thresholds.colour_after(before, value);
        let holds = self.changed.is_some_and(|at| now.saturating_duration_since(at) < self.thresholds.dwell);
        if wanted == before || holds {
            return before;
        }
        (self.colour, self.changed) = (Some(wanted), Some(now));
        wanted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{
        Colour::{Green, Off, Orange, Red, Unknown, Yellow},
        *,
    };

    const DWELL: Duration = Duration::from_secs(30);

    fn epoch() -> Instant {
        lb_core::sim::epoch()
    }

    fn at(seconds: u64) -> Instant {
        epoch() + Duration::from_secs(seconds)
    }

    fn limits() -> Thresholds {
        Thresholds::higher_is_worse([(Yellow, 50.0), (Orange, 70.0), (Red, 90.0), (Off, 100.0)]).unwrap()
    }

    #[test]
    fn a_value_must_come_back_past_the_limit_by_the_margin() {
        let mut meter = Meter::new(limits().with_margin(5.0).unwrap());
        let seen = [89.0, 90.0, 89.9, 85.0, 84.9, 66.0, 44.9, 100.0, 86.0].map(|value| meter.observe(value, epoch()));
        assert_eq!(seen, [Orange, Red, Red, Red, Orange, Orange, Green, Off, Red]);
    }

    #[test]
    fn hovering_at_a_limit_gives_one_change_a_dwell_time() {
        let mut meter = Meter::new(limits().with_dwell(DWELL));
        let colours: Vec<_> = (0..300).map(|second| meter.observe(89.5 + (second % 2) as f64, at(second))).collect();
        let changes = colours.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((1..=10).contains(&changes), "{changes} in 300 s");
        assert_eq!((colours[0], colours[1], colours[30]), (Orange, Red, Red), "the first change is at once");
    }

    #[test]
    fn what_the_dwell_time_has_kept_back_comes_without_a_new_value() {
        let mut meter = Meter::new(limits().with_dwell(DWELL));
        assert_eq!(
            [(0, 0.0), (1, 95.0), (2, 0.0)].map(|(second, value)| meter.observe(value, at(second))),
            [Green, Red, Red]
        );
        assert_eq!([30, 31, 32].map(|second| meter.colour(at(second))), [Red, Green, Green]);
        assert_eq!(meter.observe(95.0, at(60)), Green, "the change was at 31");
        assert_eq!(meter.colour(at(61)), Red);
    }

    #[test]
    fn without_a_value_it_is_unknown_and_knows_again_what_it_knew() {
        let mut meter = Meter::new(limits().with_dwell(DWELL).with_max_age(Duration::from_secs(5)));
        assert_eq!(meter.colour(epoch()), Unknown);
        assert_eq!(meter.observe(f64::NAN, epoch()), Unknown);
        assert_eq!(meter.observe(0.0, at(1)), Green);
        assert_eq!(meter.observe(95.0, at(2)), Red);
        assert_eq!((meter.colour(at(7)), meter.colour(at(8))), (Red, Unknown));
        assert_eq!(meter.observe(0.0, at(9)), Red, "the dwell time is not over because nobody measured");
        assert_eq!(meter.observe(f64::NAN, at(10)), Unknown);
        assert_eq!(meter.observe(0.0, at(33)), Green);
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let mut meter = Meter::new(limits().with_dwell(DWELL).with_max_age(DWELL));
        assert_eq!(meter.observe(0.0, at(100)), Green);
        assert_eq!(meter.observe(95.0, at(101)), Red);
        assert_eq!(meter.observe(0.0, at(7)), Red);
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![0.0..110.0_f64, 85.0..95.0_f64, Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(90.0)]
    }

    /// Steps of milliseconds with values.
    fn story() -> impl Strategy<Value = Vec<(u64, f64)>> {
        prop::collection::vec((0..20_000_u64, value()), 1..60)
    }

    proptest! {
        #[test]
        fn changes_are_a_dwell_time_apart(story in story(), margin in 0.0..20.0_f64) {
            let mut meter = Meter::new(limits().with_margin(margin).unwrap().with_dwell(DWELL));
            let (mut now, mut last, mut changed) = (epoch(), None, None::<Instant>);
            for (step, value) in story {
                now += Duration::from_millis(step);
                let colour = meter.observe(value, now);
                if last.replace(colour).is_some_and(|last| last != colour) {
                    prop_assert!(changed.is_none_or(|changed| now - changed >= DWELL));
                    changed = Some(now);
                }
            }
        }

        #[test]
        fn without_margin_and_dwell_the_value_decides_alone(story in story()) {
            let mut meter = Meter::new(limits());
            for (_, value) in story {
                prop_assert_eq!(meter.observe(value, epoch()), limits().colour(value));
            }
        }

        #[test]
        fn a_value_that_stays_has_its_own_colour_in_the_end(story in story(), margin in 0.0..9.0_f64, rest in value()) {
            let mut meter = Meter::new(limits().with_margin(margin).unwrap().with_dwell(DWELL));
            let mut now = epoch();
            for (step, value) in story {
                now += Duration::from_millis(step);
                meter.observe(value, now);
            }
            meter.observe(rest, now);
            let colour = meter.colour(now + DWELL);
            let (own, eased) = (limits().colour(rest), limits().colour(rest + margin));
            prop_assert!(own <= colour && colour <= eased, "{own} {colour} {eased}");
        }

        #[test]
        fn lower_is_worse_is_the_mirror_image(story in story(), margin in 0.0..20.0_f64) {
            let mirrored = [(Yellow, -50.0), (Orange, -70.0), (Red, -90.0), (Off, -100.0)];
            let mirrored = Thresholds::lower_is_worse(mirrored).unwrap().with_margin(margin).unwrap().with_dwell(DWELL);
            let mut meters = [Meter::new(limits().with_margin(margin).unwrap().with_dwell(DWELL)), Meter::new(mirrored)];
            let mut now = epoch();
            for (step, value) in story {
                now += Duration::from_millis(step);
                prop_assert_eq!(meters[0].observe(value, now), meters[1].observe(-value, now));
            }
        }
    }
}
