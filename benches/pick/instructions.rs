//! Counts instructions with valgrind: the same on every run, whatever else the machine does.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    SIZES,
    case::{Case, pick_and_finish},
};

/// The difference between two runs of such lengths is picks and nothing else.
const ROUNDS: [usize; 2] = [1_000, 3_000];

pub(crate) fn table() {
    println!("| selector | backends | open | instructions |\n|---|---|---|---|");
    for (at, case) in Case::all(&SIZES).iter().enumerate() {
        let counted = ROUNDS.map(|rounds| count(at, rounds));
        let [Some(few), Some(many)] = counted else {
            println!("valgrind is not installed, or did not count");
            return;
        };
        let each = many.saturating_sub(few) / (ROUNDS[1] - ROUNDS[0]) as u64;
        println!("| {} | {} | {} | {each} |", case.name(), case.backends, case.openness);
    }
}

/// The instructions of this program when it does one case only.
fn count(case: usize, rounds: usize) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this);
    let output =
        valgrind.args(["--count", &case.to_string(), &rounds.to_string()]).stdin(Stdio::null()).output().ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split("Collected :").nth(1))?;
    collected.trim().parse().ok()
}

/// What valgrind watches: `--count CASE ROUNDS`.
pub(crate) fn run(arguments: &[String]) {
    let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<usize>().ok());
    if let Some((case, rounds)) = number(0).and_then(|at| Case::all(&SIZES).get(at).copied()).zip(number(1)) {
        pick_and_finish(&case.build(), rounds, Instant::now());
    }
}
