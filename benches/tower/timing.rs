//! Times calls of a service.

use std::{io, time::Duration};

use rustix::time::ClockId;
use tokio::runtime::{Builder, Runtime};
use tower::{Service, ServiceExt as _};

/// Calls in one turn.
const CALLS: usize = 5_000;

/// Tasks that call at the same time.
pub(crate) const CALLERS: usize = 8;

/// Calls of each of them in one turn.
pub(crate) const TASK_CALLS: usize = 2_000;

pub(crate) fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().build()
}

pub(crate) fn two_threads() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).build()
}

/// Nanoseconds of processor time a call, turn by turn.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    pub(crate) own: Vec<f64>,
    pub(crate) clone: Vec<f64>,
    pub(crate) tasks: Vec<f64>,
    /// On the caller's thread, of one call.
    pub(crate) allocations: u64,
}

impl Cost {
    /// Medians, or nothing where nothing was timed.
    pub(crate) fn medians(&self) -> [String; 3] {
        [&self.own, &self.clone, &self.tasks].map(|times| {
            let mut times = times.clone();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).map_or_else(String::new, |median| format!("{median:.0}"))
        })
    }
}

pub(crate) async fn call_often(service: &mut impl Service<()>, calls: usize) {
    for _ in 0..calls {
        let Ok(ready) = service.ready().await else { return };
        let _ = ready.call(()).await;
    }
}

fn time(runtime: &Runtime, calls: usize, work: impl Future<Output = ()>) -> f64 {
    let begin = processor_time();
    runtime.block_on(work);
    (processor_time() - begin).as_nanos() as f64 / calls as f64
}

/// Of all threads: what else the machine does counts less than by a clock on the wall.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

pub(crate) fn own(runtime: &Runtime, service: &mut impl Service<()>) -> f64 {
    time(runtime, CALLS, call_often(service, CALLS))
}

pub(crate) fn clones(runtime: &Runtime, service: &(impl Service<()> + Clone)) -> f64 {
    time(runtime, CALLS, async {
        for _ in 0..CALLS {
            call_often(&mut service.clone(), 1).await;
        }
    })
}

pub(crate) fn tasks<S>(runtime: &Runtime, service: &S) -> f64
where
    S: Service<(), Future: Send, Response: Send, Error: Send> + Clone + Send + 'static,
{
    time(runtime, CALLERS * TASK_CALLS, async {
        let callers = (0..CALLERS).map(|_| {
            let mut service = service.clone();
            tokio::spawn(async move { call_often(&mut service, TASK_CALLS).await })
        });
        for caller in callers.collect::<Vec<_>>() {
            let _ = caller.await;
        }
    })
}

/// Of one call, as the mean of many.
pub(crate) fn allocations(runtime: &Runtime, service: &mut impl Service<()>) -> u64 {
    runtime.block_on(call_often(service, 10));
    let many = 100;
    let counted = allocation_counter::measure(|| runtime.block_on(call_often(service, many)));
    counted.count_total / many as u64
}
