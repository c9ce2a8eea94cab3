//! The tests under full load: rounds in which every product has its turn.
use crate::process::{Cpus, helper};
use crate::session::{Session, Started};
use crate::test::{Job, Test, Unit};
use crate::usage;
use crate::work::Work;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::{Duration, Instant};

/// CPUs that others may take during a run; above it, the run is repeated.
const QUIET: f64 = 0.10;

/// How often a disturbed run is repeated; the quietest is kept.
const REPEATS: usize = 2;

/// What a run may take beyond its plan.
const GRACE: Duration = Duration::from_secs(10);

/// A proxy closes its connections after a run; its CPU time is read after that.
const SETTLE: Duration = Duration::from_millis(50);

/// What one run of one product gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// CPU time of the proxy for each unit, microseconds; none for `direct`.
    pub(crate) cpu_us: Option<f64>,
    /// Units a second.
    pub(crate) rate: f64,
    /// CPUs the proxy used: near 1, it was the limit.
    pub(crate) busy: f64,
    pub(crate) errors: u64,
    /// CPUs that others used.
    pub(crate) noise: f64,
    /// With a fixed rate: the 50th, 99th and 99.9th percentile, microseconds.
    pub(crate) latency_us: Option<[f64; 3]>,
}

/// The runs of one product, one place for each round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) product: &'static str,
    pub(crate) runs: Vec<Option<Run>>,
}

/// One product in one test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane<'a> {
    pub(crate) session: &'a Session,
    pub(crate) started: &'a Started,
    pub(crate) test: &'static Test,
}

/// The products of a session that suit a test.
pub(crate) fn lanes<'a>(session: &'a Session, test: &'static Test) -> impl Iterator<Item = Lane<'a>> {
    let suitable = session.products.iter().filter(|started| started.product.suits(test));
    suitable.map(move |started| Lane { session, started, test })
}

/// All rounds: A B C, then B C A, and so on. The series are in the order of the lanes.
pub(crate) fn measure(lanes: &[Lane<'_>], rounds: usize, run: Duration) -> Vec<Series> {
    let empty = |lane: &Lane<'_>| Series { product: lane.started.product.name, runs: vec![None; rounds] };
    let mut all: Vec<Series> = lanes.iter().map(empty).collect();
    for round in 0..rounds {
        for turn in 0..lanes.len() {
            let index = (round + turn) % lanes.len();
            match quietest(&lanes[index], run) {
                Ok(run) => all[index].runs[round] = Some(run),
                Err(error) => println!("{}: {}: a run failed: {error}\n", lanes[index].test.name, all[index].product),
            }
        }
    }
    all
}

fn quietest(lane: &Lane<'_>, run: Duration) -> io::Result<Run> {
    let mut best = once(lane, run)?;
    for _ in 0..REPEATS {
        if best.noise <= QUIET {
            break;
        }
        let again = once(lane, run)?;
        if again.noise < best.noise {
            best = again;
        }
    }
    Ok(best)
}

/// CPU time used so far: by the proxy, by our other processes, by the whole machine.
struct Clocks {
    proxy_ns: f64,
    ours_ns: f64,
    machine_ns: f64,
}

impl Clocks {
    fn read(Lane { session, started, .. }: &Lane<'_>) -> Self {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let own_ns = own.tv_sec as f64 * 1e9 + own.tv_nsec as f64;
        Self {
            proxy_ns: started.pid().map_or(0, usage::cpu_ns) as f64,
            ours_ns: usage::cpu_ns(session.origin_pid()) as f64 + own_ns,
            machine_ns: usage::machine_ns(),
        }
    }
}

fn once(lane: &Lane<'_>, run: Duration) -> io::Result<Run> {
    let Lane { session, started, test } = lane;
    let job = test.job(started.port, test.warm, run);
    let (before, begin) = (Clocks::read(lane), Instant::now());
    let work = load(session.bench.cpus, &job, test.warm + run)?;
    std::thread::sleep(SETTLE);
    let (after, wall_ns) = (Clocks::read(lane), begin.elapsed().as_secs_f64() * 1e9);
    let proxy_ns = after.proxy_ns - before.proxy_ns;
    let ours_ns = after.ours_ns - before.ours_ns + work.cpu_ns as f64;
    let others_ns = after.machine_ns - before.machine_ns - proxy_ns - ours_ns;
    let (measured, whole) = units(test.unit, &work);
    if whole == 0.0 {
        return Err(io::Error::other(format!("nothing came back, {} errors", work.errors)));
    }
    Ok(Run {
        cpu_us: started.pid().map(|_| proxy_ns / 1e3 / whole),
        rate: measured / run.as_secs_f64(),
        busy: proxy_ns / (test.warm + run).as_nanos() as f64,
        errors: work.errors,
        noise: (others_ns / wall_ns).max(0.0),
        latency_us: test.is_paced().then(|| work.latency_ns.map(|ns| ns as f64 / 1e3)),
    })
}

/// Units of work: in the measured time, and in all.
fn units(unit: Unit, work: &Work) -> (f64, f64) {
    let (measured, other, size) = match unit {
        Unit::Exchange => (work.exchanges, work.other_exchanges, 1.0),
        Unit::Mebibyte => (work.bytes, work.other_bytes, f64::from(1 << 20)),
    };
    (measured as f64 / size, (measured + other) as f64 / size)
}

/// The load as a process of its own; what it has to say when it fails stands on our standard error.
fn load(cpus: Cpus, job: &Job, time: Duration) -> io::Result<Work> {
    let child = helper(&cpus.load, job.role, &job.args)?;
    let printed = child.finish(time + GRACE)?;
    Work::from_line(&printed).ok_or_else(|| io::Error::other("the load failed"))
}
