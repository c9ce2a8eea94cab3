//! Each figure beside HAProxy's and beside what we ask for.
use crate::calls::Calls;
use crate::idle::{COUNTS, Idle};
use crate::product::REFERENCE;
use crate::rounds::{Run, Series};
use crate::table::{cell, line, megabytes, named, ratio};
use crate::test::{Bound, FEW_AND_MANY, Figure, Layer, Test};

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) tests: Vec<(&'static Test, Vec<Series>)>,
    pub(crate) calls: Vec<Calls>,
    pub(crate) idle: Vec<Idle>,
}

/// One line of the summary.
struct Goal {
    what: String,
    lb: Option<f64>,
    reference: Option<f64>,
    ratio: Option<f64>,
    must: Option<f64>,
    aim: Option<f64>,
    /// What the bounds are for.
    bounded: Bounded,
}

/// What a bound is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bounded {
    /// The value of `lb`, which must not be more.
    Value,
    /// The ratio, which must not be more.
    Ratio,
    /// The ratio, which must not be less.
    RatioFromBelow,
}

impl Figure {
    fn of(self, run: &Run) -> Option<f64> {
        match self {
            Self::Cpu => run.cpu_us,
            Self::Rate => Some(run.rate),
            Self::P99 => run.latency_us.map(|[_, p99, _]| p99),
        }
    }
}

impl Results {
    /// All figures that were measured, as a table.
    pub(crate) fn summary(&self) -> String {
        let head = "### summary\n\n| what | lb | haproxy | ratio | must | aim |\n|---|---|---|---|---|---|\n";
        let goals = self.tests.iter().flat_map(|(test, all)| test.goals.iter().map(|bound| of_test(test, all, *bound)));
        let goals = goals.chain(self.of_many_backends()).chain(self.of_calls()).chain(self.of_idle());
        goals.filter(Goal::is_measured).fold(head.to_owned(), |text, goal| text + &goal.line())
    }

    /// Runs that gave nothing.
    pub(crate) fn failed_runs(&self) -> usize {
        let runs = self.tests.iter().flat_map(|(_, all)| all).flat_map(|series| &series.runs);
        runs.filter(|run| run.is_none()).count()
    }

    /// What each product needs with many backends, against itself with few.
    fn of_many_backends(&self) -> Option<Goal> {
        let [few, many] = FEW_AND_MANY.map(|name| self.tests.iter().find(|(test, _)| test.name == name));
        let own = |product: &str| ratio(named(&many?.1, product)?, named(&few?.1, product)?, |run| run.cpu_us);
        let goal = Goal::absolute("HTTP, 100 backends against 2: own CPU per request", own("lb"), own(REFERENCE));
        Some(goal.with_bounds(Some(1.10), Some(1.0)))
    }

    fn of_calls(&self) -> impl Iterator<Item = Goal> {
        let value = |product: &str, test: &str| {
            self.calls.iter().find(|calls| calls.product == product && calls.test == test).map(|calls| calls.each)
        };
        let goal = move |(test, what, must, aim)| {
            Goal::absolute(what, value("lb", test), value(REFERENCE, test)).with_bounds(must, aim)
        };
        let goals = [
            ("newconn", "system calls per new connection", Some(21.0), Some(19.0)),
            ("small", "system calls per small exchange", None, None),
            ("kept", "system calls per HTTP request, kept", Some(4.2), Some(4.1)),
            ("close", "system calls per HTTP request, new connection", Some(9.2), Some(6.5)),
            ("answer100k", "system calls per HTTP answer of 100 KiB", None, None),
        ];
        goals.into_iter().map(goal)
    }

    fn of_idle(&self) -> Vec<Goal> {
        let layers = [(Layer::Tcp, "TCP", 1.8, 1.2), (Layer::Http, "HTTP", 1.3, 0.6)];
        layers.into_iter().flat_map(|(layer, name, must, aim)| self.of_idle_layer(layer, name, must, aim)).collect()
    }

    fn of_idle_layer(&self, layer: Layer, name: &str, must: f64, aim: f64) -> Vec<Goal> {
        let goal = |what: &str, value: &dyn Fn(&Idle) -> Option<f64>, must, aim| {
            let is = |idle: &&Idle, product| idle.product == product && idle.layer == layer;
            let of = |product| self.idle.iter().find(|idle| is(idle, product)).and_then(value);
            Goal::absolute(&format!("{name}: {what}"), of("lb"), of(REFERENCE)).with_bounds(must, aim)
        };
        let threads = self.idle.iter().find(|idle| idle.layer == layer).map(|idle| idle.workers as f64 + 2.0);
        let mut goals = vec![
            goal("memory at start, MB", &|idle| Some(megabytes(idle.start_kib)), Some(3.0), Some(2.0)),
            goal("threads", &|idle| Some(idle.threads as f64), threads, None),
            goal("wake-ups per second, idle", &|idle| Some(idle.most_wakes()), Some(0.0), None),
        ];
        for (index, count) in COUNTS.iter().enumerate() {
            let held = |idle: &Idle| idle.held.get(index).copied().flatten();
            let (now, later) =
                (|idle: &Idle| Some(held(idle)?.connection_kib), |idle: &Idle| Some(held(idle)?.later_kib));
            let what = format!("KiB per idle connection at {count}");
            goals.push(goal(&what, &now, Some(must), Some(aim)));
            goals.push(goal(&format!("{what}, 3 s later"), &later, Some(must), Some(aim)));
        }
        goals
    }
}

fn of_test(test: &Test, all: &[Series], Bound { of, must, aim }: Bound) -> Goal {
    let (lb, reference) = (named(all, "lb"), named(all, REFERENCE));
    let value = |run: &Run| of.of(run);
    let ratio = lb.zip(reference).and_then(|(lb, reference)| ratio(lb, reference, value));
    let (figure, bounded) = match of {
        Figure::Cpu => (format!("CPU us/{}", test.unit.name()), Bounded::Ratio),
        Figure::Rate => (format!("{}/s, at least", test.unit.name()), Bounded::RatioFromBelow),
        Figure::P99 => ("p99 us".to_owned(), Bounded::Ratio),
    };
    let what = format!("{}: {figure}", test.title);
    let [lb, reference] = [lb, reference].map(|series| series.and_then(|series| series.median(value)));
    Goal { what, lb, reference, ratio, must: Some(must), aim: Some(aim), bounded }
}

impl Goal {
    fn absolute(what: &str, lb: Option<f64>, reference: Option<f64>) -> Self {
        let ratio = lb.zip(reference).map(|(lb, reference)| lb / reference).filter(|ratio| ratio.is_finite());
        Self { what: what.to_owned(), lb, reference, ratio, must: None, aim: None, bounded: Bounded::Value }
    }

    fn with_bounds(self, must: Option<f64>, aim: Option<f64>) -> Self {
        Self { must, aim, ..self }
    }

    fn is_measured(&self) -> bool {
        self.lb.is_some() || self.reference.is_some()
    }

    /// A bound that is not kept says so.
    fn line(&self) -> String {
        let missed = |must: f64| match self.bounded {
            Bounded::Value => self.lb.is_some_and(|lb| lb > must),
            Bounded::Ratio => self.ratio.is_some_and(|ratio| ratio > must),
            Bounded::RatioFromBelow => self.ratio.is_some_and(|ratio| ratio < must),
        };
        let must = cell(self.must) + if self.must.is_some_and(missed) { " missed" } else { "" };
        let [lb, reference, ratio, aim] = [self.lb, self.reference, self.ratio, self.aim].map(cell);
        line(&[self.what.clone(), lb, reference, ratio, must, aim])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::TESTS;

    fn series(product: &'static str, cpu_us: f64, rate: f64) -> Series {
        let run = Run { cpu_us: Some(cpu_us), rate, busy: 1.0, errors: 0, noise: 0.0, latency_us: None };
        Series { product, runs: vec![Some(run)] }
    }

    #[test]
    fn the_summary_says_which_bound_is_missed() {
        let all = |cpu_us, rate| [series("lb", cpu_us, rate), series(REFERENCE, 10.0, 100.0)];
        let line = |cpu_us, rate, bound| of_test(&TESTS[0], &all(cpu_us, rate), bound).line();
        let cpu = Bound { of: Figure::Cpu, must: 0.95, aim: 0.85 };
        assert!(line(9.0, 1.0, cpu).contains("| 0.90 | 0.95 | 0.85 |"), "{}", line(9.0, 1.0, cpu));
        assert!(line(9.9, 1.0, cpu).contains("| 0.99 | 0.95 missed | 0.85 |"), "{}", line(9.9, 1.0, cpu));
        let rate = Bound { of: Figure::Rate, must: 1.4, aim: 2.0 };
        assert!(line(9.0, 150.0, rate).contains("| 1.50 | 1.40 | 2.00 |"), "{}", line(9.0, 150.0, rate));
        assert!(line(9.0, 130.0, rate).contains("| 1.30 | 1.40 missed | 2.00 |"), "{}", line(9.0, 130.0, rate));
    }

    #[test]
    fn a_product_with_many_backends_is_compared_with_itself() {
        let [few, many] = FEW_AND_MANY.map(|name| TESTS.iter().find(|test| test.name == name).unwrap());
        let tests = vec![(few, vec![series("lb", 10.0, 1.0)]), (many, vec![series("lb", 12.0, 1.0)])];
        let summary = Results { tests, ..Results::default() }.summary();
        assert!(summary.contains("own CPU per request | 1.20 | - | - | 1.10 missed | 1.00 |"), "{summary}");
    }

    #[test]
    fn runs_that_failed_are_counted() {
        let failed = Series { product: "lb", runs: vec![None, None] };
        let results =
            Results { tests: vec![(&TESTS[0], vec![failed, series(REFERENCE, 1.0, 1.0)])], ..Results::default() };
        assert_eq!(results.failed_runs(), 2);
    }
}
