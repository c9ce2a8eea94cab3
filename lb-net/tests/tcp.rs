//! The TCP proxy between real clients and real backends: whose turn it is, and who stands in for whom.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{BackendConfig, Config, GroupConfig, SelectorKind};
use lb_net::{TcpProxy, listener, tcp::Settings};
use support::{
    Front, Manner, Refusing, Script, Scripted, Stub, abc, ask, ask_from, balancer, eventually, is_closed, loopback,
    reset, soon,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
};

#[tokio::test]
async fn sequential_clients_get_backends_strictly_in_turn() {
    let [a, b, c] = abc();
    let front = Front::new(&format!("{} {} {}", a.address, b.address, c.address));
    assert_eq!(front.ask_often(7).await, "ABCABCA");
    front.idle().await;
    let succeeded: Vec<_> = front.stats().iter().map(|backend| (backend.succeeded, backend.picked())).collect();
    assert_eq!(succeeded, [(3, 3), (2, 2), (2, 2)]);
}

/// As the servers do that write the head and the body of an answer one by one, and have left the system as it is.
#[tokio::test]
async fn who_answers_in_pieces_waits_for_no_late_acknowledgement() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::new(&server.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"a").unwrap();
            stream.write_all(b"b").unwrap();
            // Closing it would send what waits.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    });
    let mut took = Vec::new();
    for _ in 0..10 {
        // What it says is there when it is accepted, and so goes out with the end of the handshake.
        let mut client = std::net::TcpStream::connect(front.address).unwrap();
        client.write_all(b"?").unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut client, began) = (TcpStream::from_std(client).unwrap(), Instant::now());
        soon(client.read_exact(&mut [0; 2])).await.unwrap();
        took.push(began.elapsed());
    }
    // The system sends it 40 ms late.
    assert!(took.iter().min().unwrap() < &Duration::from_millis(30), "{took:?}");
}

#[tokio::test]
async fn the_turn_is_shared_by_workers_with_a_runtime_each() {
    let [a, b, c] = abc();
    let balancer = balancer(format!("{} {} {}", a.address, b.address, c.address).parse().unwrap());
    let proxy = TcpProxy::new(Arc::clone(&balancer));
    let listeners = listener::bind(loopback(), 4).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let mut workers = Vec::new();
    for listener in listeners {
        let (proxy, (stop, stopped)) = (proxy.clone(), oneshot::channel::<()>());
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(proxy.serve(listener, async { drop(stopped.await) })).unwrap()
        });
        workers.push((stop, worker));
    }
    let mut answers = String::new();
    for _ in 0..60 {
        answers += &ask(address).await.unwrap();
    }
    assert_eq!(answers, "ABC".repeat(20));
    for (stop, worker) in workers {
        stop.send(()).unwrap();
        assert_eq!(worker.join().unwrap().cut, 0);
    }
    assert!(balancer.stats().backends.iter().all(|backend| backend.in_flight == 0 && backend.succeeded == 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_turn_is_shared_by_listeners_on_one_runtime_of_many_threads() {
    let [a, b, c] = abc();
    let balancer = balancer(format!("{} {} {}", a.address, b.address, c.address).parse().unwrap());
    let proxy = TcpProxy::new(balancer);
    let listeners = listener::bind(loopback(), 4).unwrap();
    let address = listeners[0].local_addr().unwrap();
    for listener in listeners {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
    }
    let mut answers = String::new();
    for _ in 0..60 {
        answers += &ask(address).await.unwrap();
    }
    assert_eq!(answers, "ABC".repeat(20));
}

#[tokio::test]
async fn a_backend_that_refuses_is_passed_and_the_others_keep_their_turns() {
    let [_, b, c] = abc();
    let refusing = Refusing::new();
    let front = Front::new(&format!("{} {} {}", refusing.address, b.address, c.address));
    assert_eq!(front.ask_often(6).await, "BCBCBC");
    front.idle().await;
    let counts: Vec<_> = front.stats().iter().map(|backend| (backend.succeeded, backend.connect_failed)).collect();
    assert_eq!(counts, [(0, 3), (3, 0), (3, 0)]);
}

#[tokio::test]
async fn a_group_that_refuses_hands_over_to_the_next_and_is_back_at_once() {
    let (first, second, spare) = (Refusing::new(), Refusing::new(), Stub::new(Manner::Named(b'S')));
    let front = Front::new(&format!("{} {} ! {}", first.address, second.address, spare.address));
    assert_eq!(front.ask_often(3).await, "SSS");
    let revived = first.revive(Manner::Named(b'A'));
    assert_eq!(front.ask_often(3).await, "AAA");
    assert_eq!(revived.seen.accepted(), 3);
}

#[tokio::test]
async fn a_client_is_closed_when_all_backends_refuse() {
    let refusing = [Refusing::new(), Refusing::new(), Refusing::new()];
    let front = Front::new(&format!("{} {} ! {} %", refusing[0].address, refusing[1].address, refusing[2].address));
    for _ in 0..5 {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        assert!(is_closed(&mut client).await);
    }
    front.idle().await;
    assert!(front.stats().iter().all(|backend| backend.connect_failed == 5 && backend.picked() == 5));
}

#[tokio::test]
async fn a_client_is_closed_when_there_are_no_backends() {
    let front = Front::new("");
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert!(is_closed(&mut client).await);
}

/// A client that stays until it is told to go.
async fn guest(front: SocketAddr, go: Arc<tokio::sync::Semaphore>) -> u8 {
    let mut stream = TcpStream::connect(front).await.unwrap();
    let name = soon(stream.read_u8()).await.unwrap();
    drop(soon(go.acquire()).await);
    stream.shutdown().await.unwrap();
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_fill_in_order_and_no_limit_is_ever_exceeded() {
    let [a, b, c] = abc();
    let front = Front::new(&format!("{}:5 ! {}:7 ! {}", a.address, b.address, c.address));
    for _ in 0..3 {
        let go = Arc::new(tokio::sync::Semaphore::new(0));
        let guests: Vec<_> = (0..50).map(|_| tokio::spawn(guest(front.address, Arc::clone(&go)))).collect();
        eventually(|| a.seen.open() == 5 && b.seen.open() == 7 && c.seen.open() == 38).await;
        // All leave at once, and others come meanwhile.
        go.add_permits(1000);
        let more: Vec<_> = (0..50).map(|_| tokio::spawn(guest(front.address, Arc::clone(&go)))).collect();
        for guest in guests.into_iter().chain(more) {
            guest.await.unwrap();
        }
        front.idle().await;
    }
    assert_eq!((a.seen.most_open(), b.seen.most_open()), (5, 7));
    assert_eq!(front.stats().iter().map(|backend| backend.succeeded).sum::<u64>(), 300);
}

#[tokio::test]
async fn a_client_too_many_is_closed_and_its_place_is_free_again_afterwards() {
    let a = Stub::new(Manner::Named(b'A'));
    let front = Front::new(&format!("{}:1", a.address));
    let mut first = TcpStream::connect(front.address).await.unwrap();
    assert_eq!(soon(first.read_u8()).await.unwrap(), b'A');
    let mut second = TcpStream::connect(front.address).await.unwrap();
    assert!(is_closed(&mut second).await);
    drop(first);
    front.idle().await;
    assert_eq!(ask(front.address).await.unwrap(), "A");
}

fn host(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 0))
}

async fn names_by_host(front: &Front) -> Vec<String> {
    let mut names = Vec::new();
    for last in 2..26 {
        names.push(ask_from(host(last), front.address).await.unwrap());
    }
    names
}

#[tokio::test]
async fn a_hash_group_keeps_each_client_address_at_its_backend() {
    let [a, b, c] = abc();
    let front = Front::new(&format!("{} {} {} %", a.address, b.address, c.address));
    let names = names_by_host(&front).await;
    assert!(["A", "B", "C"].iter().all(|name| names.iter().any(|seen| seen == name)), "{names:?}");
    assert_eq!(names_by_host(&front).await, names);
    assert_eq!(names_by_host(&front).await, names);
}

#[tokio::test]
async fn clients_of_a_dead_owner_leave_the_group_and_the_others_stay() {
    let [a, b, spare] = abc();
    let front = Front::new(&format!("{} {} % {}", a.address, b.address, spare.address));
    let before = names_by_host(&front).await;
    let dead = a.kill().await;
    let after = names_by_host(&front).await;
    let expected: Vec<_> = before.iter().map(|name| if name == "A" { "C" } else { "B" }).collect();
    assert_eq!(after, expected);
    let _back = Stub::at(dead, Manner::Named(b'A'));
    assert_eq!(names_by_host(&front).await, before);
}

#[tokio::test]
async fn clients_of_a_dead_owner_spill_to_the_group_where_that_is_asked_for() {
    let [a, b, spare] = abc();
    let backends = [&a, &b].map(|stub| BackendConfig::new(stub.address.to_string()));
    let config = Config::default()
        .with_group(GroupConfig::new(backends).with_selector(SelectorKind::Hash { spill: true }))
        .with_group(GroupConfig::new([BackendConfig::new(spare.address.to_string())]));
    let balancer = balancer(config);
    let front = Front::of(Arc::clone(&balancer), TcpProxy::new(balancer));
    let before = names_by_host(&front).await;
    assert!(before.iter().any(|name| name == "A") && !before.iter().any(|name| name == "C"));
    a.kill().await;
    assert_eq!(names_by_host(&front).await, ["B"; 24]);
    assert_eq!(spare.seen.accepted(), 0);
}

#[tokio::test]
async fn either_side_may_speak_first() {
    let (greeting, echo) = (Stub::new(Manner::Named(b'A')), Stub::new(Manner::Echo));
    let front = Front::new(&format!("{} {}", greeting.address, echo.address));
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert_eq!(soon(client.read_u8()).await.unwrap(), b'A');
    client.write_all(b"thanks").await.unwrap();
    drop(client);
    eventually(|| greeting.seen.heard() == b"thanks").await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    for word in [&b"one"[..], b"two", b"three"] {
        client.write_all(word).await.unwrap();
        let mut heard = vec![0; word.len()];
        soon(client.read_exact(&mut heard)).await.unwrap();
        assert_eq!(heard, word);
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_hears_of_a_silent_client_at_once() {
    let [a, ..] = abc();
    let front = Front::new(&a.address.to_string());
    let mut least = Duration::MAX;
    // Others use this machine too: one good time will do.
    for _ in 0..50 {
        let (begin, mut client) = (Instant::now(), TcpStream::connect(front.address).await.unwrap());
        soon(client.read_exact(&mut [0])).await.unwrap();
        least = least.min(begin.elapsed());
    }
    // An acknowledgement that waits does so for 40 ms at least (Linux).
    assert!(least < Duration::from_millis(35), "{least:?}");
}

/// A proxy whose one backend can be connected only when the test says so.
fn gated(stub: &Stub) -> (Front, Arc<Scripted>, Arc<Notify>) {
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(stub.address, Script::DialWhen(Arc::clone(&told)));
    (Front::connecting(&stub.address.to_string(), &connector, Settings::default()), connector, told)
}

#[tokio::test]
async fn a_client_that_sent_and_ended_while_we_connect_is_served() {
    let a = Stub::new(Manner::Echo);
    let (front, connector, told) = gated(&a);
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    eventually(|| connector.asked().len() == 1).await;
    told.notify_one();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "question");
}

#[tokio::test]
async fn a_client_that_reset_while_we_connect_is_not_forwarded() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, connector, told) = gated(&a);
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(b"question").await.unwrap();
    eventually(|| connector.asked().len() == 1).await;
    reset(client);
    // A second one, behind whom the first is known to have been noticed.
    let second = TcpStream::connect(front.address).await.unwrap();
    eventually(|| connector.asked().len() == 2).await;
    reset(second);
    eventually(|| front.in_flight() == 1).await;
    told.notify_one();
    front.idle().await;
    eventually(|| a.seen.open() == 0).await;
    assert_eq!(a.seen.heard(), b"", "the late backend heard of it");
    let stats = &front.stats()[0];
    assert_eq!((stats.connect_failed, stats.failed), (0, 0));
    assert_eq!((stats.succeeded, stats.cancelled), (1, 1), "one outcome was learned, the other cancelled");
}

#[tokio::test]
async fn a_session_goes_to_a_backend_that_resets_and_counts_against_it() {
    let a = Stub::new(Manner::Reset);
    let front = Front::new(&a.address.to_string());
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert!(is_closed(&mut client).await);
    front.idle().await;
    assert_eq!((front.stats()[0].failed, front.stats()[0].succeeded), (1, 0));
}

#[tokio::test]
async fn a_silent_session_ends_with_the_idle_timeout() {
    let a = Stub::new(Manner::Echo);
    let relay = lb_net::relay::Settings::default().with_idle_timeout(Some(Duration::from_millis(50)));
    let front = Front::with(&a.address.to_string(), Settings::default().with_relay(relay));
    let begin = Instant::now();
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert!(is_closed(&mut client).await);
    assert!(begin.elapsed() >= Duration::from_millis(50));
    front.idle().await;
}

#[tokio::test]
async fn a_change_of_the_configuration_reaches_the_next_client() {
    let [a, b, _] = abc();
    let front = Front::new(&a.address.to_string());
    assert_eq!(ask(front.address).await.unwrap(), "A");
    let config = b.address.to_string().parse().unwrap();
    front.balancer.update(config, Instant::now(), |backend| backend.name.parse().unwrap());
    assert_eq!(front.ask_often(2).await, "BB");
}
