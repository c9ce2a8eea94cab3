//! What the demo shows: a table on a terminal, otherwise a line.

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use lb_core::Stats;
use tokio::time::Instant;

use super::{
    backend::{Backend, State},
    visitor::{RECENT, Visits},
};

/// Over how long answers per second are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Answers of each backend as they were counted, over the last second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    counts: VecDeque<(Instant, Vec<u64>)>,
}

impl Rates {
    /// Answers per second of each backend.
    pub(super) fn next(&mut self, backends: &[Backend]) -> Vec<f64> {
        let now = Instant::now();
        let counts: Vec<u64> = backends.iter().map(Backend::answers).collect();
        // The oldest that is kept is at least a second old, once there is one.
        while self.counts.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.counts.pop_front();
        }
        let rates = self.counts.front().map(|(began, then)| {
            let seconds = began.elapsed().as_secs_f64().max(0.001);
            counts.iter().zip(then).map(|(now, then)| (now - then) as f64 / seconds).collect()
        });
        let rates = rates.unwrap_or_else(|| vec![0.0; counts.len()]);
        self.counts.push_back((now, counts));
        rates
    }
}

/// Everything at one moment.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) running_for: Duration,
    pub(super) backends: &'a [Backend],
    pub(super) rates: Vec<f64>,
    pub(super) stats: Stats,
    pub(super) visits: &'a Visits,
    /// What the keys do, when there are any.
    pub(super) keys: &'a str,
}

impl View<'_> {
    /// The table's lines.
    pub(super) fn table(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            format!("    {:8}{:9}{:>9}{:>9}{:>17}", "backend", "state", "answers/s", "total", "failed connects"),
        ];
        for (at, (backend, rate)) in self.backends.iter().zip(&self.rates).enumerate() {
            let (number, state, total) = (at + 1, word(backend.state()), backend.answers());
            let failed = self.stats.backends.get(at).map_or(0, |stats| stats.connect_failed);
            let bar = "#".repeat(rate.round() as usize);
            let name = backend.name;
            lines.push(format!("  {number} {name:8}{state:9}{rate:>9.1}{total:>9}{failed:>17}  {bar}"));
        }
        lines.push(String::new());
        lines.push(format!("  demo client: {}", self.client()));
        lines.push(format!("  {}", self.keys));
        lines
    }

    /// All of it on one line.
    pub(super) fn line(&self) -> String {
        let mut line = clock(self.running_for);
        for (backend, rate) in self.backends.iter().zip(&self.rates) {
            let _ = write!(line, "  {} {rate:.0}/s", backend.name);
            if backend.state() != State::Running {
                let _ = write!(line, " {}", word(backend.state()));
            }
        }
        line + "  client: " + &self.client()
    }

    fn client(&self) -> String {
        let Visits { answered, failed, .. } = self.visits;
        let (slowest, recent) = (millis(self.visits.slowest_recently()), RECENT.as_secs());
        format!("{answered} answered, {failed} failed, slowest {slowest} (last {recent} s)")
    }

    /// What is left to say at the end.
    pub(super) fn summary(&self) -> String {
        let count = |backend: &Backend| format!("{} {}", backend.name, backend.answers());
        let answers: Vec<String> = self.backends.iter().map(count).collect();
        let Visits { answered, failed, slowest, .. } = self.visits;
        let slowest = millis(*slowest);
        format!(
            "answers: {}\ndemo client: {} requests, {failed} failed, slowest {slowest}",
            answers.join(", "),
            answered + failed
        )
    }
}

/// The time since the start, as events are stamped with.
pub(super) fn clock(running_for: Duration) -> String {
    format!("{:6.1} s", running_for.as_secs_f64())
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Killed => "killed",
        State::Silent => "silent",
    }
}
