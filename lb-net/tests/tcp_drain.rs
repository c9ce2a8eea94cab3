//! The end of serving: who was there is served, who runs may finish, and nothing is left behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_net::{TcpProxy, tcp::Settings};
use support::{Front, Manner, Script, Scripted, Silent, Stub, abc, balancer, bind, eventually, is_closed, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};

/// A client whose session runs.
async fn guest(front: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(front).await.unwrap();
    client.write_all(b"?").await.unwrap();
    assert_eq!(soon(client.read_u8()).await.unwrap(), b'?');
    client
}

async fn refused(front: SocketAddr) {
    let closed = async {
        // Not heard in the last moment before the close, the system would ask again after a second.
        let connect = || timeout(Duration::from_millis(20), TcpStream::connect(front));
        while !matches!(connect().await, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon(closed).await;
}

#[tokio::test]
async fn sessions_that_run_finish_after_the_listener_is_closed() {
    let echo = Stub::new(Manner::Echo);
    let front = Front::new(&echo.address.to_string());
    let (address, balancer) = (front.address, Arc::clone(&front.balancer));
    let mut guests = Vec::new();
    for _ in 0..5 {
        guests.push(guest(address).await);
    }
    let serving = front.stop();
    refused(address).await;
    for mut guest in guests {
        guest.write_all(b"goodbye").await.unwrap();
        guest.shutdown().await.unwrap();
        let mut heard = String::new();
        soon(guest.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "goodbye");
    }
    assert_eq!(soon(serving).await.unwrap().unwrap().cut, 0);
    // Among them are some that only looked whether the port is closed.
    let stats = &balancer.stats().backends[0];
    assert!(stats.in_flight == 0 && stats.succeeded >= 5, "{stats:?}");
}

#[tokio::test]
async fn serving_ends_with_the_last_session_and_not_with_the_grace_period() {
    let echo = Stub::new(Manner::Echo);
    let front = Front::with(&echo.address.to_string(), Settings::default().with_grace(Duration::from_secs(3600)));
    let guest = guest(front.address).await;
    let serving = front.stop();
    drop(guest);
    assert_eq!(soon(serving).await.unwrap().unwrap().cut, 0);
}

#[tokio::test]
async fn clients_that_were_in_the_queue_are_served() {
    let echo = Stub::new(Manner::Echo);
    let balancer = balancer(echo.address.to_string().parse().unwrap());
    let listener = bind();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    // Told to end before it has begun.
    let proxy = TcpProxy::new(Arc::clone(&balancer));
    let serving = tokio::spawn(async move { proxy.serve(listener, std::future::ready(())).await });
    refused(address).await;
    for client in &mut clients {
        client.write_all(b"?").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = String::new();
        soon(client.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "?");
    }
    assert_eq!(soon(serving).await.unwrap().unwrap().cut, 0);
    let stats = &balancer.stats().backends[0];
    assert!(stats.in_flight == 0 && stats.succeeded >= 200, "{stats:?}");
}

#[tokio::test]
async fn sessions_that_do_not_end_are_cut_after_the_grace_period_and_give_their_places_back() {
    let echo = Stub::new(Manner::Echo);
    let grace = Duration::from_millis(150);
    let front = Front::with(&echo.address.to_string(), Settings::default().with_grace(grace));
    let (address, balancer) = (front.address, Arc::clone(&front.balancer));
    let mut guests = [guest(address).await, guest(address).await, guest(address).await];
    let begin = Instant::now();
    assert_eq!(soon(front.stop()).await.unwrap().unwrap().cut, 3);
    assert!(begin.elapsed() >= grace);
    assert_eq!((balancer.stats().backends[0].in_flight, balancer.stats().backends[0].cancelled), (0, 3));
    for guest in &mut guests {
        assert!(is_closed(guest).await);
    }
    eventually(|| echo.seen.open() == 0).await;
}

#[tokio::test]
async fn with_no_grace_sessions_are_cut_at_once() {
    let echo = Stub::new(Manner::Echo);
    let front = Front::with(&echo.address.to_string(), Settings::default().with_grace(Duration::ZERO));
    let _guest = guest(front.address).await;
    assert_eq!(soon(front.stop()).await.unwrap().unwrap().cut, 1);
}

#[tokio::test]
async fn a_client_for_whom_we_connect_at_the_stop_is_served() {
    let [a, _, _] = abc();
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(a.address, Script::DialWhen(Arc::clone(&told)));
    let settings = Settings::default().with_connect_timeout(Duration::from_secs(3600));
    let front = Front::connecting(&a.address.to_string(), &connector, settings);
    let (address, mut client) = (front.address, TcpStream::connect(front.address).await.unwrap());
    eventually(|| connector.asked().len() == 1).await;
    // Who looks whether the port is closed may be served as well.
    connector.set(a.address, Script::Dial);
    let serving = front.stop();
    refused(address).await;
    told.notify_one();
    assert_eq!(soon(client.read_u8()).await.unwrap(), b'A');
    drop(client);
    assert_eq!(soon(serving).await.unwrap().unwrap().cut, 0);
}

#[tokio::test]
async fn a_race_that_is_run_at_the_stop_is_run_to_its_end() {
    let (silent, b) = (Silent::new(), Stub::new(Manner::Named(b'B')));
    let settings = Settings::default().with_connect_timeout(Duration::from_millis(400));
    let front = Front::with(&format!("{} ! {}", silent.address, b.address), settings);
    let (balancer, mut client) = (Arc::clone(&front.balancer), TcpStream::connect(front.address).await.unwrap());
    eventually(|| front.in_flight() > 0).await;
    let serving = front.stop();
    assert_eq!(soon(client.read_u8()).await.unwrap(), b'B');
    drop(client);
    assert_eq!(soon(serving).await.unwrap().unwrap().cut, 0);
    // The loser ends by itself.
    eventually(|| balancer.stats().backends[0].connect_failed == 1).await;
    assert!(balancer.stats().backends.iter().all(|backend| backend.in_flight == 0));
}

#[tokio::test]
async fn a_race_is_cut_after_the_grace_period() {
    let silent = [Silent::new(), Silent::new()];
    let race = Some(Duration::from_millis(10));
    let settings = Settings::default().with_race(race).with_grace(Duration::from_millis(100));
    let front = Front::with(&format!("{} {}", silent[0].address, silent[1].address), settings);
    let (balancer, mut client) = (Arc::clone(&front.balancer), TcpStream::connect(front.address).await.unwrap());
    eventually(|| front.in_flight() == 2).await;
    assert_eq!(soon(front.stop()).await.unwrap().unwrap().cut, 1);
    assert!(is_closed(&mut client).await);
    assert!(balancer.stats().backends.iter().all(|backend| backend.in_flight == 0 && backend.cancelled == 1));
}

#[tokio::test]
async fn serving_that_is_dropped_leaves_no_session_and_no_lease() {
    let (echo, other) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let connector = Arc::new(Scripted::default());
    connector.set(other.address, Script::Never);
    let settings = Settings::default().with_race(None).with_connect_timeout(Duration::from_secs(3600));
    let front = Front::connecting(&format!("{} {}", echo.address, other.address), &connector, settings);
    let mut running = guest(front.address).await;
    let mut waiting = TcpStream::connect(front.address).await.unwrap();
    eventually(|| front.in_flight() == 2).await;
    front.serving.abort();
    assert!(is_closed(&mut running).await);
    assert!(is_closed(&mut waiting).await);
    front.idle().await;
    refused(front.address).await;
    eventually(|| echo.seen.open() == 0).await;
}

#[tokio::test]
async fn a_stop_is_heard_although_new_clients_do_not_cease() {
    let echo = Stub::new(Manner::Echo);
    let balancer = balancer(echo.address.to_string().parse().unwrap());
    let listener = bind();
    let address = listener.local_addr().unwrap();
    // More than tokio lets one task take in a turn.
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let (watched, mut served_before) = (Arc::clone(&balancer), None);
    let (stop, stopped) = oneshot::channel::<()>();
    stop.send(()).unwrap();
    let stopped = async {
        // The listener learns of the queue.
        tokio::task::yield_now().await;
        stopped.await.unwrap();
        served_before = Some(watched.stats().backends[0].picked());
    };
    let settings = Settings::default().with_grace(Duration::ZERO);
    soon(TcpProxy::new(balancer).with_settings(settings).serve(listener, stopped)).await.unwrap();
    assert_eq!(served_before, Some(0), "it is asked for only when nobody is in the queue");
}

#[tokio::test]
async fn a_clone_goes_on_when_another_has_ended() {
    let [a, b, _] = abc();
    let balancer = balancer(format!("{} {}", a.address, b.address).parse().unwrap());
    let proxy = TcpProxy::new(Arc::clone(&balancer));
    let (first, second) = (Front::of(Arc::clone(&balancer), proxy.clone()), Front::of(balancer, proxy));
    assert_eq!(first.ask_often(1).await, "A");
    assert_eq!(soon(first.stop()).await.unwrap().unwrap().cut, 0);
    assert_eq!(second.ask_often(2).await, "BA");
}
