//! In the steady state a request on a kept connection allocates nothing on the thread that relays it.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

#[path = "support/exchanges.rs"]
mod exchanges;

use std::{net::SocketAddr, sync::mpsc, thread};

use allocation_counter::measure;
use exchanges::{CLIENTS, Kept, ask_anew, origin, proxy};
use lb_net::listener;
use tokio::{runtime::Builder, sync::oneshot};

/// What is asked of a proxy's thread: allocations while `act` went on after `prepare`.
fn allocations<T: Send + 'static>(prepare: impl FnOnce(SocketAddr) -> T, act: impl FnOnce(SocketAddr, &mut T)) -> u64 {
    let proxy = proxy(origin());
    let socket = listener::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let front = socket.local_addr().unwrap();
    let ((begin, begun), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
    let (start, started) = mpsc::sync_channel(1);
    let worker = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(async move { proxy.serve(socket, std::future::pending()).await });
        runtime.block_on(begun).unwrap();
        measure(|| {
            start.send(()).unwrap();
            runtime.block_on(ended).unwrap();
        })
        .count_total
    });
    let mut prepared = prepare(front);
    begin.send(()).unwrap();
    started.recv().unwrap();
    act(front, &mut prepared);
    end.send(()).unwrap();
    // Whatever was prepared lasts until here: its end is no part of what is counted.
    worker.join().unwrap()
}

#[test]
fn a_request_on_a_kept_connection_allocates_nothing() {
    assert_eq!(allocations(Kept::new, |_, clients| clients.ask(50)), 0, "for {} requests", 50 * CLIENTS);
}

/// And the count sees what is there to be seen.
#[test]
fn a_new_connection_allocates() {
    assert!(allocations(|_| (), |front, _| ask_anew(front, 1)) >= CLIENTS as u64);
}
