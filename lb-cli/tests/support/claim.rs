//! Addresses and ports that are this process's alone, whoever else tests on this machine meanwhile.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{self, UnixListener},
    },
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
};

/// Where all listen, each on an address of its own.
pub(crate) const PORT: u16 = 17_480;

/// Networks of 254 addresses from 127.64.0.0 on.
const NETWORKS: u16 = 1 << 14;

/// Where ports for all addresses begin, and how many there are.
const PORTS: (u16, u16) = (10_000, 6_000);

/// Whether nobody else has this. It is ours until this process ends, however it ends: the system lets one only listen at
/// a name. The number of a process would not do, as there are more of them than networks.
fn claim(what: &str) -> bool {
    static CLAIMED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = net::SocketAddr::from_abstract_name(format!("lb-test-{what}")).unwrap();
    match UnixListener::bind_addr(&name) {
        Ok(claimed) => CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).push(claimed),
        Err(error) if error.kind() == ErrorKind::AddrInUse => return false,
        Err(error) => panic!("{what}: {error}"),
    }
    true
}

/// An address of this machine that no other test uses.
pub(crate) fn fresh_ip() -> Ipv4Addr {
    static LAST: Mutex<Option<(u16, u8)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (network, host) = match *last {
        Some((network, host)) if host < 254 => (network, host + 1),
        _ => (fresh_network(), 1),
    };
    *last = Some((network, host));
    let [high, low] = network.to_be_bytes();
    Ipv4Addr::new(127, 64 | high, low, host)
}

fn fresh_network() -> u16 {
    // Others begin elsewhere, so that few ask for the same ones.
    let first = std::process::id() % u32::from(NETWORKS);
    let numbers = (0..NETWORKS).map(|at| (first as u16 + at) % NETWORKS);
    numbers.into_iter().find(|number| claim(&format!("network-{number}"))).expect("a network that nobody has")
}

pub(crate) fn fresh_address() -> SocketAddr {
    SocketAddr::from((fresh_ip(), PORT))
}

/// A port that is free on all addresses, for what cannot have an address of its own. Not one that the system chooses:
/// those are also given to clients.
pub(crate) fn fresh_port() -> u16 {
    static USED: AtomicU16 = AtomicU16::new(0);
    let (begin, count) = PORTS;
    let first = std::process::id() * 16 % u32::from(count);
    let mut ports = std::iter::repeat_with(|| begin + (first as u16 + USED.fetch_add(1, Relaxed) % count) % count);
    let is_free =
        |port: &u16| TcpListener::bind(("0.0.0.0", *port)).is_ok() && TcpListener::bind(("::", *port)).is_ok();
    ports.by_ref().take(1_000).find(|port| claim(&format!("port-{port}")) && is_free(port)).expect("a free port")
}
