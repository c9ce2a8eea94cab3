//! The tests under full load: rounds in which every product has its turn.
use crate::load::{Plan, Work};
use crate::process::{self, helper};
use crate::session::{Session, Started};
use crate::usage;
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

/// A reply that never ends within a run.
const ENDLESS: u64 = 1 << 60;

/// Bytes of a small reply.
const SMALL: u64 = 100;

/// One kind of load, and the ratio of CPU to HAProxy that we ask of `lb`.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) connections: usize,
    pub(crate) reply_bytes: u64,
    pub(crate) reconnect: bool,
    pub(crate) warm: Duration,
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

/// Every test, in the order it is made.
pub(crate) const TESTS: [Test; 4] = [
    Test {
        name: "newconn",
        title: "new connections",
        connections: 64,
        reply_bytes: SMALL,
        reconnect: true,
        warm: Duration::from_millis(500),
        must: 0.95,
        aim: 0.85,
    },
    Test {
        name: "small",
        title: "small messages",
        connections: 64,
        reply_bytes: SMALL,
        reconnect: false,
        warm: Duration::from_millis(500),
        must: 0.95,
        aim: 0.85,
    },
    Test {
        name: "bulk1",
        title: "bulk, 1 connection",
        connections: 1,
        reply_bytes: ENDLESS,
        reconnect: false,
        warm: Duration::from_millis(300),
        must: 0.30,
        aim: 0.25,
    },
    Test {
        name: "bulk8",
        title: "bulk, 8 connections",
        connections: 8,
        reply_bytes: ENDLESS,
        reconnect: false,
        warm: Duration::from_millis(300),
        must: 0.26,
        aim: 0.20,
    },
];

impl Test {
    pub(crate) fn is_bulk(&self) -> bool {
        self.reply_bytes == ENDLESS
    }

    /// What is counted.
    pub(crate) fn unit(&self) -> &'static str {
        if self.is_bulk() { "MiB" } else { "exchange" }
    }

    /// What to ask of `port` for so long after the warm-up.
    pub(crate) fn plan(&self, port: u16, run: Duration) -> Plan {
        let &Self { connections, reply_bytes, reconnect, warm, .. } = self;
        Plan { port, connections, reply_bytes, reconnect, warm, run }
    }

    /// Units of work: in the measured time, and with the warm-up.
    fn units(&self, work: &Work) -> (f64, f64) {
        let (measured, warm) =
            if self.is_bulk() { (work.bytes, work.warm_bytes) } else { (work.exchanges, work.warm_exchanges) };
        let size = if self.is_bulk() { f64::from(1 << 20) } else { 1.0 };
        (measured as f64 / size, (measured + warm) as f64 / size)
    }
}

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
}

/// The runs of one product, one place for each round.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) product: &'static str,
    pub(crate) runs: Vec<Option<Run>>,
}

/// All rounds of one test: A B C, then B C A, and so on.
pub(crate) fn measure(session: &Session, test: &Test, rounds: usize, run: Duration) -> Vec<Series> {
    let suits = |started: &&Started| test.is_bulk() || !started.product.only_bulk;
    let products: Vec<&Started> = session.products.iter().filter(suits).collect();
    let empty = |started: &&Started| Series { product: started.product.name, runs: vec![None; rounds] };
    let mut all: Vec<Series> = products.iter().map(empty).collect();
    for round in 0..rounds {
        for turn in 0..products.len() {
            let index = (round + turn) % products.len();
            match quietest(session, products[index], test, run) {
                Ok(run) => all[index].runs[round] = Some(run),
                Err(error) => println!("{}: a run failed: {error}\n", products[index].product.name),
            }
        }
    }
    all
}

fn quietest(session: &Session, started: &Started, test: &Test, run: Duration) -> io::Result<Run> {
    let mut best = once(session, started, test, run)?;
    for _ in 0..REPEATS {
        if best.noise <= QUIET {
            break;
        }
        let again = once(session, started, test, run)?;
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
    fn read(session: &Session, started: &Started) -> Self {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let own_ns = own.tv_sec as f64 * 1e9 + own.tv_nsec as f64;
        Self {
            proxy_ns: started.pid().map_or(0, usage::cpu_ns) as f64,
            ours_ns: usage::cpu_ns(session.origin_pid()) as f64 + own_ns,
            machine_ns: usage::machine_ns(),
        }
    }
}

fn once(session: &Session, started: &Started, test: &Test, run: Duration) -> io::Result<Run> {
    let plan = test.plan(started.port, run);
    let (before, begin) = (Clocks::read(session, started), Instant::now());
    let work = load(session.cpus, &plan)?;
    std::thread::sleep(SETTLE);
    let (after, wall_ns) = (Clocks::read(session, started), begin.elapsed().as_secs_f64() * 1e9);
    let proxy_ns = after.proxy_ns - before.proxy_ns;
    let ours_ns = after.ours_ns - before.ours_ns + work.cpu_ns as f64;
    let others_ns = after.machine_ns - before.machine_ns - proxy_ns - ours_ns;
    let (measured, whole) = test.units(&work);
    if whole == 0.0 {
        return Err(io::Error::other(format!("nothing came back, {} errors", work.errors)));
    }
    Ok(Run {
        cpu_us: started.pid().map(|_| proxy_ns / 1e3 / whole),
        rate: measured / run.as_secs_f64(),
        busy: proxy_ns / (plan.warm + plan.run).as_nanos() as f64,
        errors: work.errors,
        noise: (others_ns / wall_ns).max(0.0),
    })
}

/// The load as a process of its own.
fn load(cpus: process::Cpus, plan: &Plan) -> io::Result<Work> {
    let child = helper(cpus.load, "load", &plan.to_args())?;
    let printed = child.finish(plan.warm + plan.run + GRACE)?;
    Work::from_line(&printed).ok_or_else(|| io::Error::other("the load generator failed"))
}
