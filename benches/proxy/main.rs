//! Measures `lb` beside HAProxy, nginx and Caddy in one interleaved run and prints Markdown tables: `proxy --help`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod calls;
mod config;
mod http;
mod idle;
mod origin;
mod place;
mod process;
mod product;
mod rounds;
mod session;
mod summary;
mod table;
mod tcp;
mod test;
mod usage;
mod wire;
mod work;

use args::Args;
use process::Cpus;
use product::{Kind, Product};
use rounds::{Lane, Series};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use session::{Bench, Session};
use std::io;
use std::process::ExitCode;
use summary::Results;
use test::{Layer, TESTS, Test, USUAL_BACKENDS};

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
        Some("origin") => origin::main::<tcp::origin::Peer>(&words[1..]),
        Some("http-origin") => origin::main::<http::origin::Peer>(&words[1..]),
        Some("load") => tcp::load::main(&words[1..]),
        Some("http-load") => http::load::main(&words[1..]),
        Some("hold") => idle::hold(Layer::Tcp, &words[1..]),
        Some("http-hold") => idle::hold(Layer::Http, &words[1..]),
        Some("--help" | "-h") => {
            println!("{}", args::HELP);
            Ok(())
        }
        _ => compare(&Args::parse(words.iter().cloned()).map_err(io::Error::other)?),
    }
}

fn compare(args: &Args) -> io::Result<()> {
    let (cpus, workers) = (Cpus::choose(args.workers)?, args.workers);
    process::pin(&cpus.load)?;
    if cpus.are_shared() {
        println!("Too few CPUs: proxy and load compete for them, so compare CPU, not rates.\n");
    }
    let bench = Bench { cpus, descriptors: raise_descriptor_limit(), workers };
    let products = choose(args);
    if products.is_empty() {
        return Err(io::Error::other("none of the products is here; see --help"));
    }
    let mut results = Results::default();
    let mut sessions = Vec::new();
    let tests: Vec<&'static Test> = TESTS.iter().filter(|test| args.wants(test.name)).collect();
    for batch in tests.chunk_by(|one, next| one.is_beside(next)) {
        measure(batch, args, &products, bench, &mut sessions, &mut results)?;
    }
    for (layer, calls, idle) in [(Layer::Tcp, "calls", "idle"), (Layer::Http, "http-calls", "http-idle")] {
        if args.wants(calls) {
            let counted: Vec<&Test> = TESTS.iter().filter(|test| test.counted && test.layer() == layer).collect();
            let counts = calls::measure(session(&mut sessions, &products, bench, layer, USUAL_BACKENDS)?, &counted);
            println!("{}", table::of_calls(calls, &counts));
            results.calls.extend(counts);
        }
        if args.wants(idle) {
            let all = idle::measure(&products, bench, layer)?;
            println!("{}", table::of_idle(layer, &all));
            results.idle.extend(all);
        }
    }
    println!("{}", results.summary());
    match results.failed_runs() {
        0 => Ok(()),
        failed => Err(io::Error::other(format!("{failed} runs failed: what stands above is not all"))),
    }
}

/// Tests that are made in the same rounds. The products of the one have their turns beside those of the other.
fn measure(
    batch: &[&'static Test],
    args: &Args,
    products: &[Product],
    bench: Bench,
    sessions: &mut Vec<Session>,
    results: &mut Results,
) -> io::Result<()> {
    for test in batch {
        session(sessions, products, bench, test.layer(), test.backends)?;
    }
    let lanes = batch.iter().flat_map(|test| {
        let suits = |session: &&Session| session.layer == test.layer() && session.backends == test.backends;
        sessions.iter().filter(suits).flat_map(|session| rounds::lanes(session, test))
    });
    let mut lanes: Vec<Lane<'_>> = lanes.collect();
    lanes.sort_by_key(|lane| products.iter().position(|product| product.name == lane.started.product.name));
    let all = rounds::measure(&lanes, args.rounds, args.run);
    let mut named: Vec<(&str, Series)> = lanes.iter().map(|lane| lane.test.name).zip(all).collect();
    for test in batch {
        let own: Vec<Series> = named.extract_if(.., |(name, _)| *name == test.name).map(|(_, series)| series).collect();
        println!("{}", table::of_test(test, &own));
        results.tests.push((test, own));
    }
    Ok(())
}

/// The session of that layer and as many backends, started if it is not yet.
fn session<'a>(
    sessions: &'a mut Vec<Session>,
    products: &[Product],
    bench: Bench,
    layer: Layer,
    backends: usize,
) -> io::Result<&'a Session> {
    let known = sessions.iter().position(|session| session.layer == layer && session.backends == backends);
    let index = known.unwrap_or(sessions.len());
    if known.is_none() {
        sessions.push(Session::start(products, bench, layer, backends)?);
    }
    Ok(&sessions[index])
}

/// The products that are wanted and here; one that is not here is named.
fn choose(args: &Args) -> Vec<Product> {
    let wanted = |product: &Product| args.only.iter().any(|name| name == product.name);
    let all = Product::all(&args.lb).into_iter().filter(wanted);
    let (here, missing): (Vec<_>, Vec<_>) = all.partition(Product::is_here);
    for product in missing {
        let sought = match product.kind {
            Kind::Lb => args.lb.display().to_string(),
            Kind::Haproxy { .. } => "haproxy".to_owned(),
            _ => product.name.to_owned(),
        };
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
