//! Measures `lb` beside HAProxy in one interleaved run and prints Markdown tables: `proxy --help`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod calls;
mod idle;
mod load;
mod origin;
mod process;
mod product;
mod rounds;
mod session;
mod table;
mod usage;
mod wire;

use args::Args;
use process::Cpus;
use product::{Kind, Product};
use rounds::{TESTS, Test};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use session::Session;
use std::io;
use std::process::ExitCode;
use table::Results;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match act(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first word may be the hidden name of a role: backends and load are processes of their own.
fn act(words: &[String]) -> io::Result<()> {
    match words.first().map(String::as_str) {
        Some("on-cpu") => process::become_pinned(&words[1..]),
        Some("origin") => origin::main(&words[1..]),
        Some("load") => load::main(&words[1..]),
        Some("hold") => idle::hold(&words[1..]),
        Some("--help" | "-h") => {
            println!("{}", args::HELP);
            Ok(())
        }
        _ => compare(&Args::parse(words.iter().cloned()).map_err(io::Error::other)?),
    }
}

fn compare(args: &Args) -> io::Result<()> {
    let cpus = Cpus::choose()?;
    process::pin(cpus.load)?;
    if cpus.proxy == cpus.load {
        println!("Only one CPU: proxy and load compete for it, so compare CPU, not rates.\n");
    }
    let descriptors = raise_descriptor_limit();
    let products = choose(args);
    if products.is_empty() {
        return Err(io::Error::other("none of the products is here; see --help"));
    }
    let mut results = Results::default();
    let tests: Vec<&'static Test> = TESTS.iter().filter(|test| args.wants(test.name)).collect();
    if !tests.is_empty() || args.wants("calls") {
        let session = Session::start(&products, cpus, descriptors)?;
        for test in tests {
            let all = rounds::measure(&session, test, args.rounds, args.run);
            println!("{}", table::of_test(test, &all));
            results.tests.push((test, all));
        }
        if args.wants("calls") {
            let small: Vec<&Test> = TESTS.iter().filter(|test| !test.is_bulk()).collect();
            results.calls = calls::measure(&session, &small);
            println!("{}", table::of_calls(&results.calls));
        }
    }
    if args.wants("idle") {
        results.idle = idle::measure(&products, cpus, descriptors)?;
        println!("{}", table::of_idle(&results.idle));
    }
    println!("{}", results.summary());
    Ok(())
}

/// The products that are wanted and here; one that is not here is named.
fn choose(args: &Args) -> Vec<Product> {
    let wanted = |product: &Product| args.only.iter().any(|name| name == product.name);
    let all = Product::all(&args.lb).into_iter().filter(wanted);
    let (here, missing): (Vec<_>, Vec<_>) = all.partition(Product::is_here);
    for product in missing {
        let sought = if product.kind == Kind::Lb { args.lb.display().to_string() } else { "haproxy".to_owned() };
        println!("{}: left out: no {sought} here\n", product.name);
    }
    here
}

/// Children inherit the limit. Returns what it is now.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::from(u32::MAX))
}
