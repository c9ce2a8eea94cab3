//! What a call costs through a balanced service, over services that answer at once: ours and tower's own.
#![allow(clippy::print_stdout)]

mod instructions;
mod subject;
mod timing;

use subject::Subject;
use timing::{CALLERS, Cost, TASK_CALLS};

const HELP: &str = "\
usage: cargo run --release -p lb-benches --features tower --bin tower [-- --instructions | --help]

Prints the nanoseconds of processor time, of all threads, and the allocations of one call: through `lb_net::tower::Balance`
with selectors like tower's and with round robin, and through `tower::balance::p2c::Balance`, by itself and behind the
`Buffer` that makes it `Clone`. `own`: one caller has the service for itself. `clone`: it makes a clone for each call.
`tasks`: so many tasks have a clone each, on two threads. Medians of rounds in which the subjects take turns.
--instructions counts those of one call instead, with the service to itself, where no thread of its own has a part in it:
the same on every run. It needs valgrind, which sees what reads the clock only up to the kernel's door.";

/// Rounds in which each subject has its turn.
const ROUNDS: usize = 31;

const SIZES: [usize; 3] = [3, 10, 100];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => table(),
        Some("--instructions") => instructions::table(),
        Some("--count") => instructions::run(&arguments[1..]),
        Some(_) => println!("{HELP}"),
    }
}

fn table() {
    let (Ok(one), Ok(two)) = (timing::one_thread(), timing::two_threads()) else {
        println!("there is no runtime");
        return;
    };
    println!("{CALLERS} tasks, {TASK_CALLS} calls each\n");
    println!("| service | backends | own, ns | clone, ns | tasks, ns | allocations |\n|---|---|---|---|---|---|");
    for backends in SIZES {
        let mut subjects = two.block_on(async { Subject::all(backends) });
        let mut costs: Vec<Cost> = subjects.iter().map(|_| Cost::default()).collect();
        for _ in 0..ROUNDS {
            for (subject, cost) in subjects.iter_mut().zip(&mut costs) {
                subject.measure(&one, &two, cost);
            }
        }
        for (subject, cost) in subjects.iter().zip(costs) {
            let [own, clone, tasks] = cost.medians();
            println!("| {} | {backends} | {own} | {clone} | {tasks} | {} |", subject.name, cost.allocations);
        }
    }
}
