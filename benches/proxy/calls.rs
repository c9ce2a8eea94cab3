//! System calls for each unit of work, counted by `perf stat` or, where that is not allowed, by `strace -c`.
use crate::process::{Running, helper, pinned, scratch};
use crate::product::in_path;
use crate::session::Session;
use crate::test::{Job, Test};
use crate::usage;
use crate::work::Work;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Long enough for thousands of exchanges.
const RUN: Duration = Duration::from_secs(1);

/// No child of these takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// System calls of one product for each unit of one test.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) product: &'static str,
    pub(crate) test: &'static str,
    pub(crate) each: f64,
}

/// Counts for every product; one that cannot be counted is left out and named.
pub(crate) fn measure(session: &Session, tests: &[&Test]) -> Vec<Calls> {
    let mut all = Vec::new();
    for test in tests {
        for started in &session.products {
            let Some(pid) = started.pid().filter(|_| started.product.suits(test)) else { continue };
            let job = test.job(started.port, Duration::ZERO, RUN);
            match with_perf(session, pid, &job).or_else(|_| with_strace(session, pid, &job)) {
                Ok((calls, work)) if work.exchanges > 0 => {
                    let each = calls as f64 / (work.exchanges + work.other_exchanges) as f64;
                    all.push(Calls { product: started.product.name, test: test.name, each });
                }
                Ok(_) => println!("calls of {}: left out: nothing came back\n", started.product.name),
                Err(error) => println!("calls of {}: left out: {error}\n", started.product.name),
            }
        }
    }
    all
}

fn program(name: &str) -> io::Result<std::path::PathBuf> {
    in_path(name).ok_or_else(|| io::Error::other(format!("needs perf (as root) or strace; {name} is not here")))
}

/// perf counts in the kernel while its child, the load, runs.
fn with_perf(session: &Session, pid: u32, load: &Job) -> io::Result<(u64, Work)> {
    let mut said = scratch("")?;
    let mut command = pinned(&session.bench.cpus.load, program("perf")?)?;
    let pids = usage::family(pid).iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    command.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", &pids, "--"]);
    command.arg(std::env::current_exe()?).arg(load.role).args(&load.args).stderr(Stdio::from(said.try_clone()?));
    let printed = Running::start(&mut command)?.finish(LIMIT)?;
    let counted = |line: &str| line.contains("sys_enter").then(|| line.split(',').next()?.parse().ok()).flatten();
    let calls = content(&mut said)?.lines().find_map(counted);
    both(calls, &printed, "perf may not count system calls here")
}

/// strace stops the product at each call, which makes it slower but not different.
fn with_strace(session: &Session, pid: u32, load: &Job) -> io::Result<(u64, Work)> {
    let mut said = scratch("")?;
    let mut command = pinned(&session.bench.cpus.load, program("strace")?)?;
    let family = usage::family(pid).into_iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]);
    command.args(["-f", "-c"]).args(family).stderr(Stdio::from(said.try_clone()?));
    let strace = Running::start(&mut command)?;
    let deadline = Instant::now() + LIMIT / 10;
    while usage::field(&format!("/proc/{pid}/status"), "TracerPid:") == Some(0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let printed = helper(&session.bench.cpus.load, load.role, &load.args)?.finish(LIMIT)?;
    if let Some(tracer) = Pid::from_raw(strace.pid() as i32) {
        kill_process(tracer, Signal::INT)?;
    }
    strace.finish(LIMIT)?;
    // `100.00 0.123456 4 30521 12 total`; the errors before the last word may be missing.
    let total = |line: &str| line.ends_with(" total").then(|| line.split_whitespace().nth(3)?.parse().ok()).flatten();
    let calls = content(&mut said)?.lines().find_map(total);
    both(calls, &printed, "strace may not attach here")
}

fn both(calls: Option<u64>, printed: &str, why: &str) -> io::Result<(u64, Work)> {
    calls.zip(Work::from_line(printed)).ok_or_else(|| io::Error::other(why.to_owned()))
}

fn content(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}
