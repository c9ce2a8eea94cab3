//! The close of a listener: nobody whose connect has succeeded is reset, however late that was.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{self, ErrorKind, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use lb_net::{TcpProxy, listener::bind_beside, tcp::Served};
use support::{Manner, Stub, balancer, eventually, soon};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

/// How often listeners are closed, and how many at a time: each for some microseconds in which the race can be lost.
const ROUNDS: usize = 30;
const AT_ONCE: usize = 8;

/// Clients that connect one after the other while listeners are closed.
const CLIENTS: usize = 400;

/// Longer than a handshake with ourselves: who is not connected by then was not heard, and begins anew.
const HEARD: Duration = Duration::from_millis(5);

/// Longer than anything here takes.
const HUNG: Duration = Duration::from_secs(20);

/// Listeners that share a port, until they are told to end.
struct Doors {
    address: SocketAddr,
    stop: Vec<oneshot::Sender<()>>,
    serving: Vec<JoinHandle<io::Result<Served>>>,
}

impl Doors {
    fn open(address: SocketAddr, proxy: &TcpProxy<SocketAddr>) -> Self {
        let listeners = bind_beside(address, AT_ONCE).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let serve = |listener| {
            let (proxy, (stop, stopped)) = (proxy.clone(), oneshot::channel());
            (stop, tokio::spawn(async move { proxy.serve(listener, async { drop(stopped.await) }).await }))
        };
        let (stop, serving) = listeners.into_iter().map(serve).unzip();
        Self { address, stop, serving }
    }

    async fn closed(self) {
        for serving in self.serving {
            assert_eq!(soon(serving).await.unwrap().unwrap().cut, 0);
        }
    }
}

/// Clients that have connected as fast as they could.
fn crowd(front: SocketAddr, has_begun: &AtomicBool) -> io::Result<Vec<TcpStream>> {
    let mut clients = Vec::new();
    while clients.len() < CLIENTS {
        match TcpStream::connect_timeout(&front, HEARD) {
            Ok(client) => clients.push(client),
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(error),
        }
        has_begun.store(true, SeqCst);
    }
    Ok(clients)
}

/// Ends as soon as its backend has spoken.
fn hear(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(HUNG))?;
    client.read_exact(&mut [0])?;
    // No port waits for late packets.
    lb_net::sys::set_reset_on_close(&client)
}

/// Clients go on coming while a port passes from some listeners to others.
async fn nobody_is_turned_away(address: SocketAddr) {
    let backend = Stub::new(Manner::Named(b'B'));
    let proxy = TcpProxy::new(balancer(backend.address.to_string().parse().unwrap()));
    let mut doors = Doors::open(address, &proxy);
    let mut failed = Vec::new();
    for _ in 0..ROUNDS {
        let (front, next, begun) = (doors.address, Doors::open(doors.address, &proxy), Arc::<AtomicBool>::default());
        let has_begun = Arc::clone(&begun);
        let crowd = spawn_blocking(move || crowd(front, &has_begun));
        eventually(|| begun.load(SeqCst)).await;
        doors.stop.clear();
        let clients = crowd.await.unwrap().unwrap();
        let hearing = spawn_blocking(|| clients.into_iter().filter_map(|client| hear(client).err()).collect());
        failed.append(&mut hearing.await.unwrap());
        std::mem::replace(&mut doors, next).closed().await;
    }
    assert!(failed.is_empty(), "{} of {} clients: {failed:?}", failed.len(), ROUNDS * CLIENTS);
    doors.stop.clear();
    doors.closed().await;
}

#[tokio::test]
async fn whoever_has_connected_is_served_however_often_listeners_are_closed() {
    nobody_is_turned_away(support::loopback()).await;
}

#[tokio::test]
async fn so_is_whoever_has_connected_over_ipv6() {
    let address = "[::1]:0".parse().unwrap();
    if TcpListener::bind(address).is_ok() {
        nobody_is_turned_away(address).await;
    }
}
