//! What a process has used, read from /proc.
use std::fs::{read_dir, read_to_string};

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;

/// CPU time of a process, all its threads and its children, as the scheduler counts it (not in ticks).
///
/// The time of a running thread is brought up to date when it stops: ask when the work is done.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    let on_cpu = |schedstat: String| schedstat.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    sum_over_tasks(pid, |task| read_to_string(format!("{task}/schedstat")).ok().and_then(on_cpu))
}

/// How often the threads of a process went to sleep and were woken again.
pub(crate) fn wake_ups(pid: u32) -> u64 {
    sum_over_tasks(pid, |task| field(&format!("{task}/status"), "voluntary_ctxt_switches:"))
}

/// Threads of a process and its children.
pub(crate) fn threads(pid: u32) -> u64 {
    sum_over_tasks(pid, |_| Some(1))
}

/// Resident memory, each page divided by the number of processes that share it.
pub(crate) fn pss_kib(pid: u32) -> u64 {
    let pss = |pid: u32| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
    family(pid).into_iter().filter_map(pss).sum()
}

/// CPU time of the whole machine: used by processes and interrupts, and taken by the hypervisor.
pub(crate) fn machine_ns() -> f64 {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| ticks.get(*index)).sum();
    busy * SECOND_NS / rustix::param::clock_ticks_per_second() as f64
}

/// A process and all its descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        for task in tasks(pid) {
            let children = read_to_string(format!("{task}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// The value behind `name` in a file of lines like `Threads:  4`.
pub(crate) fn field(path: &str, name: &str) -> Option<u64> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn sum_over_tasks(pid: u32, value: impl Fn(&str) -> Option<u64>) -> u64 {
    family(pid).into_iter().flat_map(tasks).filter_map(|task| value(&task)).sum()
}

/// The folders of a process's threads.
fn tasks(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/task");
    let entries = read_dir(&folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(format!("{folder}/{}", entry.file_name().to_str()?))).collect()
}
