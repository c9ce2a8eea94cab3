//! Ten thousand backends, of which a reload removes, adds and changes a hundred each while clients come. It prints what it has measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use support::{Brief, File, Load, Visits, clients, fresh_address, fresh_port};

const BACKENDS: usize = 10_000;
const CHANGED: usize = 100;
const CLIENTS_EACH_SECOND: u32 = 200;
/// Clients of each phase at least, and in the second one between two reloads.
const CLIENTS: usize = 600;
const CLIENTS_BETWEEN: usize = 60;

/// What works longer is not slow, but wrong: it takes some hundredths of a second.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Whom clients wait for longer is in their way, unless they wait a tenth of that anyway.
const UNNOTICED: Duration = Duration::from_millis(500);

/// A service over backends that are all the same one, each with an address of its own. The last hundred have others for
/// each number, and so has a limit of a hundred more.
fn text(front: SocketAddr, port: u16, at: usize) -> String {
    let word = |number: usize| {
        let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
        let limit = if number < CHANGED { format!(":{}", 1_000 + at) } else { String::new() };
        format!("127.32.{high}.{low}:{port}{limit}")
    };
    let same = BACKENDS - CHANGED;
    let moved = same + at * CHANGED;
    let words: Vec<String> = (0..same).chain(moved..moved + CHANGED).map(word).collect();
    format!("[pools.web]\ngroups = \"{}\"\n[services.www]\nlisten = \"{front}\"\npool = \"web\"\n", words.join(" "))
}

/// Clients while this is done.
fn meanwhile(front: SocketAddr, act: impl FnOnce(&Load)) -> Visits {
    Load::meanwhile(|load| clients(front, 4, CLIENTS_EACH_SECOND, load), act)
}

fn tell(what: &str, visits: &Visits) {
    let [median, most, all] = [500, 990, 1000].map(|permille| visits.within(permille));
    println!("{what}: {} clients, median {median:?}, p99 {most:?}, longest {all:?}", visits.served.len());
}

#[test]
fn a_reload_of_ten_thousand_backends_is_quick_and_keeps_nobody_waiting() {
    let port = fresh_port();
    let _all = Brief::start("all", SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    let front = fresh_address();
    let file = File::new(&text(front, port, 0));
    let began = Instant::now();
    let lb = file.run();
    lb.line_with("10000 backends in 1 group");
    println!("start: {:?}", began.elapsed());
    let without = meanwhile(front, |load| load.wait_for(CLIENTS));
    let mut reloads = Vec::new();
    let with = meanwhile(front, |load| {
        for at in 1..=CLIENTS / CLIENTS_BETWEEN {
            file.rewrite(&text(front, port, at));
            let before = lb.worked();
            let said = file.must(front, "reload");
            reloads.push(lb.worked() - before);
            assert!(said.contains("280 more changes of backends"), "{said}");
            load.wait_for(CLIENTS_BETWEEN);
        }
    });
    tell("without reloads", &without);
    tell("with reloads", &with);
    reloads.sort();
    let (median, longest) = (reloads[reloads.len() / 2], reloads[reloads.len() - 1]);
    println!("{} reloads, median {median:?}, longest {longest:?}", reloads.len());
    assert_eq!((&without.failed[..], &with.failed[..]), (&[][..], &[][..]));
    assert!(longest < AT_ONCE, "{longest:?}");
    let noticed = UNNOTICED.max(without.within(990) * 10);
    assert!(with.within(990) < noticed, "{:?}, without reloads {:?}", with.within(990), without.within(990));
    assert_eq!(file.channels(front, 0).len(), BACKENDS);
}
