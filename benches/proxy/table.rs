//! Medians, ratios, and the Markdown tables made of them.
use crate::calls::Calls;
use crate::idle::{COUNTS, Idle};
use crate::product::REFERENCE;
use crate::rounds::{Run, Series, Test};

/// The middle of the values; between the two middle ones if their number is even.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The ratio of each round in which both were measured, and of those the median: noise that lasts for a round cancels.
fn ratio(of: &Series, to: &Series, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let rounds = of.runs.iter().zip(&to.runs);
    let both = rounds.filter_map(|(of, to)| Some(value(of.as_ref()?)? / value(to.as_ref()?)?));
    median(&both.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
}

impl Series {
    fn values(&self, value: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().flatten().filter_map(value).collect()
    }

    /// CPU for each unit, median, microseconds.
    fn cpu(&self) -> Option<f64> {
        median(&self.values(|run| run.cpu_us))
    }
}

/// All series of one test as a table.
pub(crate) fn of_test(test: &Test, all: &[Series]) -> String {
    let (unit, reference) = (test.unit(), named(all, REFERENCE));
    let mut text = format!(
        "### {}: {}\n\n| product | CPU us/{unit} (min..max) | ratio | {unit}/s (min..max) | ratio | proxy CPU | errors | noise |\n{}\n",
        test.name,
        test.title,
        "|---".repeat(8) + "|"
    );
    for series in all {
        let against = |value: fn(&Run) -> Option<f64>| cell(reference.and_then(|to| ratio(series, to, value)));
        let row = [
            series.product.to_owned(),
            spread(&series.values(|run| run.cpu_us)),
            against(|run| run.cpu_us),
            spread(&series.values(|run| Some(run.rate))),
            against(|run| Some(run.rate)),
            percent(median(&series.values(|run| run.cpu_us.map(|_| run.busy)))),
            series.runs.iter().flatten().map(|run| run.errors).sum::<u64>().to_string(),
            percent(median(&series.values(|run| Some(run.noise)))),
        ];
        text += &line(&row);
    }
    text
}

/// What the idle products cost, as a table.
pub(crate) fn of_idle(all: &[Idle]) -> String {
    let mut head = vec!["product".to_owned(), "MB at start".to_owned(), "threads".to_owned()];
    head.extend(COUNTS.map(|count| format!("KiB/connection at {count}")));
    head.push("wake-ups/s, fresh".to_owned());
    head.extend(COUNTS.map(|count| format!("at {count}")));
    let mut text = format!("### idle: memory and wake-ups\n\n{}{}\n", line(&head), "|---".repeat(head.len()) + "|");
    for idle in all {
        let mut row = vec![idle.product.to_owned(), cell(Some(megabytes(idle.start_kib))), idle.threads.to_string()];
        row.extend(idle.held.iter().map(|held| cell(held.map(|held| held.connection_kib))));
        row.push(cell(Some(idle.fresh_wakes)));
        row.extend(idle.held.iter().map(|held| cell(held.map(|held| held.wakes))));
        text += &line(&row);
    }
    text
}

/// System calls, as a table.
pub(crate) fn of_calls(all: &[Calls]) -> String {
    let head = "### calls: system calls for each exchange\n\n| product | test | calls |\n|---|---|---|\n".to_owned();
    all.iter().fold(head, |text, calls| {
        text + &line(&[calls.product.to_owned(), calls.test.to_owned(), cell(Some(calls.each))])
    })
}

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
    /// Whether `must` and `aim` bound the ratio; if not, the value of `lb`.
    relative: bool,
}

impl Results {
    /// Each figure beside HAProxy's and beside what we ask for.
    pub(crate) fn summary(&self) -> String {
        let head = "### summary\n\n| what | lb | haproxy | ratio | must | aim |\n|---|---|---|---|---|---|\n";
        let goals = self.tests.iter().map(|(test, all)| of_cpu(test, all));
        let goals = goals.chain(self.of_calls()).chain(self.of_idle());
        goals.fold(head.to_owned(), |text, goal| text + &goal.line())
    }

    fn of_calls(&self) -> Vec<Goal> {
        let value = |product: &str, test: &str| {
            self.calls.iter().find(|calls| calls.product == product && calls.test == test).map(|calls| calls.each)
        };
        let goal = |test, what: &str, must, aim| {
            Goal::absolute(what, value("lb", test), value(REFERENCE, test)).with_bounds(must, aim)
        };
        let goals = [
            goal("newconn", "system calls per new connection", Some(21.0), Some(19.0)),
            goal("small", "system calls per small exchange", None, None),
        ];
        goals.into_iter().filter(Goal::is_measured).collect()
    }

    fn of_idle(&self) -> Vec<Goal> {
        let goal = |what: &str, value: &dyn Fn(&Idle) -> Option<f64>, must, aim| {
            let of = |product| self.idle.iter().find(|idle| idle.product == product).and_then(value);
            Goal::absolute(what, of("lb"), of(REFERENCE)).with_bounds(Some(must), aim)
        };
        let mut goals = vec![
            goal("memory at start, MB", &|idle| Some(megabytes(idle.start_kib)), 3.0, Some(2.0)),
            goal("threads with one worker", &|idle| Some(idle.threads as f64), 3.0, None),
            goal("wake-ups per second, idle", &|idle| Some(idle.most_wakes()), 0.0, None),
        ];
        for (index, count) in COUNTS.iter().enumerate() {
            let value = |idle: &Idle| idle.held.get(index).copied().flatten().map(|held| held.connection_kib);
            goals.push(goal(&format!("KiB per idle connection at {count}"), &value, 1.8, Some(1.2)));
        }
        goals.into_iter().filter(Goal::is_measured).collect()
    }
}

fn of_cpu(test: &Test, all: &[Series]) -> Goal {
    let (lb, reference) = (named(all, "lb"), named(all, REFERENCE));
    let ratio = lb.zip(reference).and_then(|(lb, reference)| ratio(lb, reference, |run| run.cpu_us));
    let what = format!("{}: CPU us/{}", test.title, test.unit());
    let (lb, reference) = (lb.and_then(Series::cpu), reference.and_then(Series::cpu));
    Goal { what, lb, reference, ratio, must: Some(test.must), aim: Some(test.aim), relative: true }
}

impl Goal {
    fn absolute(what: &str, lb: Option<f64>, reference: Option<f64>) -> Self {
        let ratio = lb.zip(reference).map(|(lb, reference)| lb / reference).filter(|ratio| ratio.is_finite());
        Self { what: what.to_owned(), lb, reference, ratio, must: None, aim: None, relative: false }
    }

    fn with_bounds(self, must: Option<f64>, aim: Option<f64>) -> Self {
        Self { must, aim, ..self }
    }

    fn is_measured(&self) -> bool {
        self.lb.is_some() || self.reference.is_some()
    }

    /// A bound that is not kept says so.
    fn line(&self) -> String {
        let held = if self.relative { self.ratio } else { self.lb };
        let missed = self.must.zip(held).is_some_and(|(must, held)| held > must);
        let must = cell(self.must) + if missed { " missed" } else { "" };
        let [lb, reference, ratio, aim] = [self.lb, self.reference, self.ratio, self.aim].map(cell);
        line(&[self.what.clone(), lb, reference, ratio, must, aim])
    }
}

fn named<'a>(all: &'a [Series], product: &str) -> Option<&'a Series> {
    all.iter().find(|series| series.product == product)
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.0} %", value * 100.0))
}

fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return cell(None) };
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    format!("{} ({}..{})", cell(Some(middle)), cell(least), cell(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::TESTS;

    fn series(product: &'static str, cpu_us: &[Option<f64>]) -> Series {
        let run = |cpu_us: f64| Run { cpu_us: Some(cpu_us), rate: 1.0, busy: 1.0, errors: 0, noise: 0.0 };
        Series { product, runs: cpu_us.iter().map(|cpu_us| cpu_us.map(run)).collect() }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_values() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_round_by_round_and_skip_rounds_that_failed() {
        // The second round is slow for both: the ratio stays. The fourth lacks a partner.
        let lb = series("lb", &[Some(8.0), Some(80.0), Some(9.0), Some(1.0)]);
        let haproxy = series(REFERENCE, &[Some(10.0), Some(100.0), Some(10.0), None]);
        assert_eq!(ratio(&lb, &haproxy, |run| run.cpu_us), Some(0.8));
    }

    #[test]
    fn the_summary_says_which_bound_is_missed() {
        let all = |cpu_us| vec![series("lb", &[Some(cpu_us)]), series(REFERENCE, &[Some(10.0)])];
        let line = |cpu_us| of_cpu(&TESTS[0], &all(cpu_us)).line();
        assert!(line(9.0).contains("| 0.90 | 0.95 | 0.85 |"), "{}", line(9.0));
        assert!(line(9.9).contains("| 0.99 | 0.95 missed | 0.85 |"), "{}", line(9.9));
    }
}
