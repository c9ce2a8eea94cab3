//! Times something that is done many times over, on one thread and on two.

use std::{sync::Barrier, thread, time::Instant};

/// Repetitions: of one thread the fastest counts, which nothing else on the machine disturbed, of two the median.
const BATCHES: usize = 25;
const ROUNDS: usize = 20_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Nanoseconds a round.
    pub(crate) one: f64,
    /// The same while another thread does it too.
    pub(crate) two: f64,
    /// Allocations of one round.
    pub(crate) allocations: u64,
}

/// `work(n)` does it n times.
pub(crate) fn measure(work: &(impl Fn(usize) + Sync)) -> Measured {
    work(ROUNDS / 10);
    let allocations = allocation_counter::measure(|| work(1)).count_total;
    let one = (0..BATCHES).map(|_| time(work)).fold(f64::INFINITY, f64::min);
    let two = median((0..BATCHES).flat_map(|_| {
        let start = Barrier::new(2);
        let timed = || {
            start.wait();
            time(work)
        };
        thread::scope(|scope| [scope.spawn(timed), scope.spawn(timed)].map(|worker| worker.join().unwrap_or(f64::NAN)))
    }));
    Measured { one, two, allocations }
}

fn time(work: &impl Fn(usize)) -> f64 {
    let begin = Instant::now();
    work(ROUNDS);
    begin.elapsed().as_nanos() as f64 / ROUNDS as f64
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
