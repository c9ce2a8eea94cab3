//! Counts instructions with valgrind: the same on every run, whatever else the machine does.

use std::process::{Command, Stdio};

use crate::{SIZES, subject::Subject, timing};

/// The difference between two runs of such lengths is calls and nothing else.
const CALLS: [usize; 2] = [1_000, 3_000];

pub(crate) fn table() {
    let Some(names) = with_subjects(SIZES[0], |subjects| {
        let alone = subjects.iter().enumerate().filter(|(_, subject)| subject.is_alone);
        alone.map(|(at, subject)| (at, subject.name)).collect::<Vec<_>>()
    }) else {
        return;
    };
    println!("| service | backends | instructions |\n|---|---|---|");
    for backends in SIZES {
        for (at, name) in &names {
            let [Some(few), Some(many)] = CALLS.map(|calls| count([*at, backends, calls])) else {
                println!("valgrind is not installed, or did not count");
                return;
            };
            let each = many.saturating_sub(few) / (CALLS[1] - CALLS[0]) as u64;
            println!("| {name} | {backends} | {each} |");
        }
    }
}

/// The instructions of this program when it does one case only.
fn count(case: [usize; 3]) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this);
    let case = case.map(|number| number.to_string());
    let output = valgrind.arg("--count").args(case).stdin(Stdio::null()).output().ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split("Collected :").nth(1))?;
    collected.trim().parse().ok()
}

/// What valgrind watches: `--count SUBJECT BACKENDS CALLS`.
pub(crate) fn run(arguments: &[String]) {
    let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<usize>().ok());
    let (Some(at), Some(backends), Some(calls)) = (number(0), number(1), number(2)) else { return };
    let Ok(one) = timing::one_thread() else { return };
    with_subjects(backends, |subjects| {
        if let Some(subject) = subjects.get_mut(at) {
            subject.call(&one, calls);
        }
    });
}

/// They are made where there is a runtime: a buffer spawns its worker.
fn with_subjects<R>(backends: usize, act: impl FnOnce(&mut [Subject]) -> R) -> Option<R> {
    let one = timing::one_thread().ok()?;
    let mut subjects = one.block_on(async { Subject::all(backends) });
    Some(act(&mut subjects))
}
