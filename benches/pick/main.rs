//! What a pick and its finish cost: nanoseconds, allocations and instructions, for every selector.
#![allow(clippy::print_stdout)]

mod case;
mod instructions;
#[cfg(feature = "peers")]
mod peers;
mod timing;

use std::time::Instant;

use case::{Case, Openness};
use timing::{Measured, measure};

const SIZES: [usize; 4] = [3, 10, 1_000, 10_000];

const HELP: &str = "\
usage: cargo run --release -p lb-benches --bin pick [--features peers] [-- --instructions | --help]

Prints, for every selector and for 3 to 10 000 backends, the nanoseconds of one pick with its finish on one thread and
on two in a tight loop (the fastest and the median of 25), and the allocations of one pick. `1 in 4 open`: the others have reached their
limits. With the feature `peers`, the selectors of pingora-load-balancing and tower stand beside them (it builds C: cmake).
--instructions counts instructions instead, which no other program on the machine disturbs; it needs valgrind.";

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
    println!("| selector | backends | open | 1 thread, ns | 2 threads, ns | allocations |\n|---|---|---|---|---|---|");
    for case in Case::all(&SIZES) {
        let subject = case.build();
        let picked = |worker| case::pick_and_finish(&subject, worker, Instant::now());
        show(&case.name(), case.backends, case.openness, measure(&picked));
    }
    #[cfg(feature = "peers")]
    peers::table(&SIZES);
}

fn show(name: &str, backends: usize, openness: Openness, measured: Measured) {
    let Measured { one, two, allocations } = measured;
    println!("| {name} | {backends} | {openness} | {one:.0} | {two:.0} | {allocations} |");
}
