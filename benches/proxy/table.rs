//! Medians, ratios, and the Markdown tables made of them.
use crate::calls::Calls;
use crate::idle::{COUNTS, Held, Idle};
use crate::product::REFERENCE;
use crate::rounds::{Run, Series};
use crate::test::{Layer, Test};

/// The middle of the values; between the two middle ones if their number is even.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The ratio of each round in which both were measured, and of those the median: noise that lasts for a round cancels.
pub(crate) fn ratio(of: &Series, to: &Series, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let rounds = of.runs.iter().zip(&to.runs);
    let both = rounds.filter_map(|(of, to)| Some(value(of.as_ref()?)? / value(to.as_ref()?)?));
    median(&both.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
}

impl Series {
    fn values(&self, value: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().flatten().filter_map(value).collect()
    }

    /// The median of the runs that gave a value.
    pub(crate) fn median(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(&self.values(value))
    }
}

/// All series of one test as a table.
pub(crate) fn of_test(test: &Test, all: &[Series]) -> String {
    let (unit, reference) = (test.unit.name(), named(all, REFERENCE));
    let mut head: Vec<String> =
        ["product", "CPU us/", "ratio", "/s", "ratio", "proxy CPU", "errors", "noise"].map(str::to_owned).to_vec();
    head[1] += &format!("{unit} (min..max)");
    head[3] = format!("{unit}/s (min..max)");
    if test.is_paced() {
        head.extend(["p50 us", "p99 us", "p99.9 us", "p99 ratio"].map(str::to_owned));
    }
    let mut text = format!("### {}: {}\n\n{}{}\n", test.name, test.title, line(&head), rule(&head));
    for series in all {
        let against = |value: fn(&Run) -> Option<f64>| cell(reference.and_then(|to| ratio(series, to, value)));
        let mut row = vec![
            series.product.to_owned(),
            spread(&series.values(|run| run.cpu_us)),
            against(|run| run.cpu_us),
            spread(&series.values(|run| Some(run.rate))),
            against(|run| Some(run.rate)),
            percent(series.median(|run| run.cpu_us.map(|_| run.busy))),
            series.runs.iter().flatten().map(|run| run.errors).sum::<u64>().to_string(),
            percent(series.median(|run| Some(run.noise))),
        ];
        if test.is_paced() {
            row.extend([0, 1, 2].map(|index| cell(series.median(|run| run.latency_us.map(|all| all[index])))));
            row.push(against(|run| run.latency_us.map(|[_, p99, _]| p99)));
        }
        text += &line(&row);
    }
    text
}

/// What the idle products cost, as a table.
pub(crate) fn of_idle(layer: Layer, all: &[Idle]) -> String {
    let mut head = vec!["product".to_owned(), "MB at start".to_owned(), "threads".to_owned()];
    head.extend(COUNTS.into_iter().flat_map(|count| [format!("KiB/connection at {count}"), "3 s later".to_owned()]));
    head.push("wake-ups/s, fresh".to_owned());
    head.extend(COUNTS.map(|count| format!("at {count}")));
    let name = if layer == Layer::Http { "http-idle" } else { "idle" };
    let mut text = format!("### {name}: memory and wake-ups\n\n{}{}\n", line(&head), rule(&head));
    for idle in all {
        let mut row = vec![idle.product.to_owned(), cell(Some(megabytes(idle.start_kib))), idle.threads.to_string()];
        let kib = |held: Option<Held>| [held.map(|held| held.connection_kib), held.map(|held| held.later_kib)];
        row.extend(idle.held.iter().flat_map(|held| kib(*held)).map(cell));
        row.push(cell(Some(idle.fresh_wakes)));
        row.extend(idle.held.iter().map(|held| cell(held.map(|held| held.wakes))));
        text += &line(&row);
    }
    text
}

/// System calls, as a table.
pub(crate) fn of_calls(name: &str, all: &[Calls]) -> String {
    let head = format!("### {name}: system calls for each exchange\n\n| product | test | calls |\n|---|---|---|\n");
    all.iter().fold(head, |text, calls| {
        text + &line(&[calls.product.to_owned(), calls.test.to_owned(), cell(Some(calls.each))])
    })
}

pub(crate) fn named<'a>(all: &'a [Series], product: &str) -> Option<&'a Series> {
    all.iter().find(|series| series.product == product)
}

pub(crate) fn megabytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// What stands between the first line of a table and the others.
fn rule(head: &[String]) -> String {
    "|---".repeat(head.len()) + "|"
}

pub(crate) fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

pub(crate) fn cell(value: Option<f64>) -> String {
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

    fn series(product: &'static str, cpu_us: &[Option<f64>]) -> Series {
        let run =
            |cpu_us: f64| Run { cpu_us: Some(cpu_us), rate: 1.0, busy: 1.0, errors: 0, noise: 0.0, latency_us: None };
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
}
