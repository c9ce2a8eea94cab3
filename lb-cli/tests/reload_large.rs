//! Ten thousand backends, of which a reload removes, adds and changes a hundred each while clients come. It prints what it has measured.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::AtomicBool,
    thread,
    time::{Duration, Instant},
};

use support::{Brief, File, Stop, Visits, clients, fresh_address, fresh_port};

const BACKENDS: usize = 10_000;
const CHANGED: usize = 100;
const CLIENTS_EACH_SECOND: u32 = 200;
const PHASE: Duration = Duration::from_secs(3);

/// What takes longer is not slow, but wrong: it takes some hundredths of a second.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Whom clients wait for longer is in their way.
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
fn meanwhile(front: SocketAddr, act: impl FnOnce()) -> Visits {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| clients(front, 4, CLIENTS_EACH_SECOND, &stop));
        let stop = Stop(&stop);
        act();
        drop(stop);
        load.join().unwrap()
    })
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
    let without = meanwhile(front, || thread::sleep(PHASE));
    let mut reloads = Vec::new();
    let with = meanwhile(front, || {
        let began = Instant::now();
        for at in 1.. {
            file.rewrite(&text(front, port, at));
            let began_this = Instant::now();
            let said = file.must(front, "reload");
            reloads.push(began_this.elapsed());
            assert!(said.contains("280 more changes of backends"), "{said}");
            if began.elapsed() > PHASE {
                break;
            }
            thread::sleep(PHASE / 10);
        }
    });
    tell("without reloads", &without);
    tell("with reloads", &with);
    reloads.sort();
    let (median, longest) = (reloads[reloads.len() / 2], reloads[reloads.len() - 1]);
    println!("{} reloads, median {median:?}, longest {longest:?}", reloads.len());
    assert_eq!((&without.failed[..], &with.failed[..]), (&[][..], &[][..]));
    assert!(longest < AT_ONCE, "{longest:?}");
    assert!(with.within(990) < UNNOTICED, "{:?}", with.within(990));
    assert_eq!(file.channels(front, 0).len(), BACKENDS);
}
