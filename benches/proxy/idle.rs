//! What a product costs while nothing happens: memory, threads, wake-ups.
use crate::config::SPARE_DESCRIPTORS;
use crate::process::helper;
use crate::product::Product;
use crate::session::{Bench, Session, connected};
use crate::test::{Layer, USUAL_BACKENDS};
use crate::usage;
use std::io;
use std::time::Duration;

/// Connections held, one measurement each.
pub(crate) const COUNTS: [u64; 2] = [1_000, 9_000];

/// How long a process is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

/// How long after that it is read again: what is only given back later is seen by then.
const LATER: Duration = Duration::from_secs(3);

/// How long after the last connection wake-ups are counted: timers of connecting (HAProxy's: 5 s) have ended by then.
const CALM: Duration = Duration::from_secs(6);

/// How long wake-ups are counted.
const WATCH: Duration = Duration::from_secs(3);

/// What one product costs when idle.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) product: &'static str,
    pub(crate) layer: Layer,
    /// Threads it was told to work with.
    pub(crate) workers: usize,
    /// Memory of the fresh process.
    pub(crate) start_kib: u64,
    pub(crate) threads: u64,
    /// Wake-ups a second of the fresh process.
    pub(crate) fresh_wakes: f64,
    /// For each of `COUNTS`, if it could be held.
    pub(crate) held: Vec<Option<Held>>,
}

/// What one product costs with connections open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) connection_kib: f64,
    /// The same a little later.
    pub(crate) later_kib: f64,
    /// Wake-ups a second.
    pub(crate) wakes: f64,
}

impl Idle {
    /// Of all wake-ups a second that were seen, the most.
    pub(crate) fn most_wakes(&self) -> f64 {
        self.held.iter().flatten().map(|held| held.wakes).fold(self.fresh_wakes, f64::max)
    }
}

/// Every product in a fresh process for each count.
pub(crate) fn measure(products: &[Product], bench: Bench, layer: Layer) -> io::Result<Vec<Idle>> {
    let mut all = Vec::new();
    for product in products.iter().filter(|product| product.has_idle_costs() && product.is_for(layer)) {
        if let Some(idle) = one(product, bench, layer)? {
            all.push(idle);
        }
    }
    Ok(all)
}

fn one(product: &Product, bench: Bench, layer: Layer) -> io::Result<Option<Idle>> {
    let Bench { descriptors, workers, .. } = bench;
    let (start_kib, threads, fresh_wakes, held) = (0, 0, 0.0, Vec::new());
    let mut idle = Idle { product: product.name, layer, workers, start_kib, threads, fresh_wakes, held };
    for count in COUNTS {
        if 2 * count + SPARE_DESCRIPTORS > descriptors {
            println!("{}: {count} connections left out: only {descriptors} descriptors\n", product.name);
            idle.held.push(None);
            continue;
        }
        let session = Session::start(std::slice::from_ref(product), bench, layer, USUAL_BACKENDS)?;
        let Some(started) = session.products.first() else { return Ok(None) };
        let Some(pid) = started.pid() else { return Ok(None) };
        std::thread::sleep(SETTLE);
        (idle.start_kib, idle.threads) = (usage::pss_kib(pid), usage::threads(pid));
        if count == COUNTS[0] {
            idle.fresh_wakes = wakes(pid);
        }
        let role = if layer == Layer::Http { "http-hold" } else { "hold" };
        let mut holder = helper(&bench.cpus.load, role, &[started.port.to_string(), count.to_string()])?;
        let open: u64 = holder.line()?.parse().unwrap_or(0);
        if open < count {
            println!("{}: holds only {open} of {count} connections\n", product.name);
        }
        let grown = || (usage::pss_kib(pid) as f64 - idle.start_kib as f64) / open as f64;
        std::thread::sleep(SETTLE);
        let connection_kib = grown();
        std::thread::sleep(LATER);
        let later_kib = grown();
        std::thread::sleep(CALM - LATER);
        let held = Held { connection_kib, later_kib, wakes: wakes(pid) };
        idle.held.push((open == count).then_some(held));
    }
    Ok(Some(idle))
}

fn wakes(pid: u32) -> f64 {
    let before = usage::wake_ups(pid);
    std::thread::sleep(WATCH);
    (usage::wake_ups(pid) - before) as f64 / WATCH.as_secs_f64()
}

/// The hidden command `hold PORT COUNT`, or `http-hold`: opens connections, uses each once, says how many, and waits for its input to end.
pub(crate) fn hold(layer: Layer, args: &[String]) -> io::Result<()> {
    let numbers: Vec<u64> = args.iter().map_while(|arg| arg.parse().ok()).collect();
    let [port, count] = numbers[..] else { return Err(io::Error::other("hold PORT COUNT")) };
    let open: Vec<_> = (0..count).map_while(|_| connected(layer, port as u16).ok()).collect();
    println!("{}", open.len());
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
