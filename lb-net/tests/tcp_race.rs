//! Connecting: silent backends are raced, what loses is learned, and no place is lost on the way.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_net::{TcpProxy, tcp::Settings};
use support::{Front, Manner, Script, Scripted, Silent, Stub, abc, ask, balancer, eventually, is_closed, reset, soon};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::Notify};

/// The patience of the clients that balance lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Settings under which a silent backend costs the tests no time.
fn hasty() -> Settings {
    Settings::default().with_race(Some(Duration::from_millis(20)))
}

fn counts(front: &Front) -> Vec<(u64, u64, u64, u64, u32)> {
    let count = |b: &lb_core::BackendStats| (b.succeeded, b.failed, b.connect_failed, b.cancelled, b.in_flight);
    front.stats().iter().map(count).collect()
}

#[tokio::test]
async fn a_client_of_little_patience_is_served_at_once_although_the_first_backend_is_silent() {
    let (silent, b) = (Silent::new(), Stub::new(Manner::Named(b'B')));
    for config in [format!("{} {}", silent.address, b.address), format!("{} ! {}", silent.address, b.address)] {
        assert!(once(async || asks_in_time(&Front::new(&config)).await.is_some_and(|name| name == "B")).await);
    }
}

/// What a client of little patience is answered.
async fn asks_in_time(front: &Front) -> Option<String> {
    tokio::time::timeout(PATIENCE, ask(front.address)).await.ok().map(Result::unwrap)
}

/// Whether this goes well once: others use this machine too.
async fn once(what: impl AsyncFn() -> bool) -> bool {
    for _ in 0..5 {
        if what().await {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn two_silent_backends_are_within_half_a_second_of_patience_too() {
    let (silent, c) = ([Silent::new(), Silent::new()], Stub::new(Manner::Named(b'C')));
    let config = format!("{} ! {} ! {}", silent[0].address, silent[1].address, c.address);
    let twice = async || {
        let front = Front::new(&config);
        let first = asks_in_time(&front).await;
        // Connects are known to be fast now.
        [first, asks_in_time(&front).await] == [Some("C".to_owned()), Some("C".to_owned())]
    };
    assert!(once(twice).await, "patience is at an end");
}

#[tokio::test]
async fn without_a_race_backends_are_tried_one_after_the_other_up_to_the_connect_timeout() {
    let (silent, c) = ([Silent::new(), Silent::new()], Stub::new(Manner::Named(b'C')));
    let settings = Settings::default().with_race(None).with_connect_timeout(Duration::from_millis(150));
    let front = Front::with(&format!("{} {} {}", silent[0].address, silent[1].address, c.address), settings);
    let begin = Instant::now();
    assert_eq!(ask(front.address).await.unwrap(), "C");
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    front.idle().await;
    assert_eq!(counts(&front), [(0, 0, 1, 0, 0), (0, 0, 1, 0, 0), (1, 0, 0, 0, 0)]);
}

#[tokio::test]
async fn without_a_race_no_backend_is_asked_while_another_may_answer() {
    let [a, b, _] = abc();
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(a.address, Script::DialWhen(Arc::clone(&told)));
    let settings = Settings::default().with_race(None);
    let front = Front::connecting(&format!("{} {}", a.address, b.address), &connector, settings);
    let asking = tokio::spawn(ask(front.address));
    eventually(|| connector.asked().len() == 1).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(400), eventually(|| connector.asked().len() > 1)).await.is_err()
    );
    told.notify_one();
    assert_eq!(asking.await.unwrap().unwrap(), "A");
}

#[tokio::test]
async fn attempts_begin_in_the_order_of_the_selector_and_a_refusal_goes_on_at_once() {
    let [a, b, c] = abc();
    let connector = Arc::new(Scripted::default());
    connector.set(a.address, Script::Refuse);
    connector.set(b.address, Script::Refuse);
    let settings = Settings::default().with_race(Some(Duration::from_secs(60)));
    let front = Front::connecting(&format!("{} {} ! {}", a.address, b.address, c.address), &connector, settings);
    assert_eq!(ask(front.address).await.unwrap(), "C");
    assert_eq!(connector.asked(), [a.address, b.address, c.address]);
}

#[tokio::test]
async fn a_loser_that_fails_is_learned_after_its_connect_timeout() {
    let (silent, b) = (Silent::new(), Stub::new(Manner::Named(b'B')));
    let settings = hasty().with_connect_timeout(Duration::from_secs(2));
    let front = Front::with(&format!("{} ! {}", silent.address, b.address), settings);
    assert_eq!(ask(front.address).await.unwrap(), "B");
    assert_eq!(counts(&front)[0], (0, 0, 0, 0, 1), "it still holds its place");
    front.idle().await;
    assert_eq!(counts(&front), [(0, 0, 1, 0, 0), (1, 0, 0, 0, 0)]);
}

#[tokio::test]
async fn a_loser_that_answers_is_no_failure() {
    let [a, b, _] = abc();
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(a.address, Script::DialWhen(Arc::clone(&told)));
    let front = Front::connecting(&format!("{} ! {}", a.address, b.address), &connector, hasty());
    assert_eq!(ask(front.address).await.unwrap(), "B");
    assert_eq!(counts(&front)[0], (0, 0, 0, 0, 1));
    told.notify_one();
    front.idle().await;
    assert_eq!(counts(&front), [(1, 0, 0, 0, 0), (1, 0, 0, 0, 0)]);
    eventually(|| a.seen.accepted() == 1 && a.seen.open() == 0).await;
    assert_eq!(a.seen.heard(), b"");
}

#[tokio::test]
async fn of_each_backend_one_loser_at_most_goes_on() {
    let [a, b, _] = abc();
    let connector = Arc::new(Scripted::default());
    connector.set(a.address, Script::Never);
    let settings = hasty().with_connect_timeout(Duration::from_secs(3));
    let front = Front::connecting(&format!("{} ! {}", a.address, b.address), &connector, settings);
    let asking: Vec<_> = (0..10).map(|_| tokio::spawn(ask(front.address))).collect();
    for asking in asking {
        assert_eq!(asking.await.unwrap().unwrap(), "B");
    }
    eventually(|| counts(&front)[1] == (10, 0, 0, 0, 0)).await;
    assert_eq!(counts(&front)[0], (0, 0, 0, 9, 1));
    front.idle().await;
    assert_eq!(counts(&front)[0], (0, 0, 1, 9, 0));
    // Once it is known the next one may go on.
    assert_eq!(ask(front.address).await.unwrap(), "B");
    assert_eq!(counts(&front)[0], (0, 0, 1, 9, 1));
}

#[tokio::test]
async fn a_slow_backend_that_answers_first_wins_over_one_that_is_slower() {
    let [a, b, _] = abc();
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(a.address, Script::DialWhen(Arc::clone(&told)));
    connector.set(b.address, Script::Never);
    let front = Front::connecting(&format!("{} {}", a.address, b.address), &connector, hasty());
    let asking = tokio::spawn(ask(front.address));
    eventually(|| connector.asked().len() == 2).await;
    told.notify_one();
    assert_eq!(asking.await.unwrap().unwrap(), "A");
}

#[tokio::test]
async fn all_silent_backends_are_waited_for_and_then_the_client_is_closed() {
    let silent = [Silent::new(), Silent::new()];
    let settings = hasty().with_connect_timeout(Duration::from_millis(100));
    let front = Front::with(&format!("{} {}", silent[0].address, silent[1].address), settings);
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert!(is_closed(&mut client).await);
    assert_eq!(counts(&front), [(0, 0, 1, 0, 0), (0, 0, 1, 0, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_a_race_hold_places_so_that_no_limit_is_exceeded() {
    let [a, b, c] = abc();
    let connector = Arc::new(Limits { inner: Scripted::default(), connecting: std::sync::Mutex::default() });
    connector.inner.set(a.address, Script::Never);
    let words = [&a, &b, &c].map(|stub| format!("{}:1", stub.address));
    let balancer = balancer(words.join(" ").parse().unwrap());
    let settings = hasty().with_connect_timeout(Duration::from_millis(40));
    let proxy = TcpProxy::with_connector(Arc::clone(&balancer), connector.clone()).with_settings(settings);
    let front = Front::of(balancer, proxy);
    let asking: Vec<_> = (0..50).map(|_| tokio::spawn(ask(front.address))).collect();
    for asking in asking {
        // Who comes when all are taken is closed.
        let _ = asking.await.unwrap();
    }
    front.idle().await;
    assert!(connector.connecting.lock().unwrap().values().all(|(_, most)| *most == 1));
    assert_eq!((b.seen.most_open(), c.seen.most_open()), (1, 1));
    assert!(front.stats()[0].connect_failed > 0);
}

/// Counts how many attempts are under way at each backend.
struct Limits {
    inner: Scripted,
    connecting: std::sync::Mutex<BTreeMap<std::net::SocketAddr, (usize, usize)>>,
}

struct Connecting<'a>(&'a Limits, std::net::SocketAddr);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.lock().unwrap().get_mut(&self.1).unwrap().0 -= 1;
    }
}

#[async_trait::async_trait]
impl lb_net::connect::Connect<std::net::SocketAddr> for Limits {
    async fn connect(&self, backend: &std::net::SocketAddr) -> std::io::Result<TcpStream> {
        {
            let mut all = self.connecting.lock().unwrap();
            let (now, most) = all.entry(*backend).or_default();
            *now += 1;
            *most = (*most).max(*now);
        }
        let _connecting = Connecting(self, *backend);
        self.inner.connect(backend).await
    }
}

#[tokio::test]
async fn a_backend_that_was_full_is_asked_again_before_the_client_is_given_up() {
    let [_, b, _] = abc();
    let silent = Silent::new();
    // No delay at all: the full one is asked as soon as the silent one is.
    let settings = Settings::default().with_race(Some(Duration::ZERO)).with_connect_timeout(Duration::from_secs(2));
    let front = Front::with(&format!("{} ! {}:1", silent.address, b.address), settings);
    let mut first = TcpStream::connect(front.address).await.unwrap();
    assert_eq!(soon(first.read_u8()).await.unwrap(), b'B');
    front_tries(&front, 1).await;
    let second = tokio::spawn(ask(front.address));
    eventually(|| front.stats()[0].picked() == 2).await;
    drop(first);
    assert_eq!(second.await.unwrap().expect("another backend has become free meanwhile"), "B");
}

async fn front_tries(front: &Front, failed: u64) {
    eventually(|| front.stats()[0].connect_failed == failed).await;
}

#[tokio::test]
async fn a_connector_that_panics_costs_its_client_and_no_place() {
    let [a, b, _] = abc();
    let connector = Arc::new(Scripted::default());
    connector.set(a.address, Script::Panic);
    let front = Front::connecting(&format!("{}:1 {}", a.address, b.address), &connector, hasty());
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert!(is_closed(&mut client).await);
    front.idle().await;
    assert_eq!(ask(front.address).await.unwrap(), "B", "the proxy goes on");
    connector.set(a.address, Script::Dial);
    assert_eq!(ask(front.address).await.unwrap(), "A", "its place is free");
}

#[tokio::test]
async fn a_loser_that_panics_is_not_the_last_that_is_learned() {
    let [a, b, _] = abc();
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(a.address, Script::PanicWhen(Arc::clone(&told)));
    let settings = hasty().with_connect_timeout(Duration::from_secs(2));
    let front = Front::connecting(&format!("{} ! {}", a.address, b.address), &connector, settings);
    assert_eq!(ask(front.address).await.unwrap(), "B");
    told.notify_one();
    front.idle().await;
    assert_eq!(counts(&front)[0], (0, 0, 0, 1, 0));
    connector.set(a.address, Script::Never);
    assert_eq!(ask(front.address).await.unwrap(), "B");
    front.idle().await;
    assert_eq!(counts(&front)[0], (0, 0, 1, 1, 0));
}

#[tokio::test]
async fn losers_of_a_runtime_that_ended_are_not_the_last_that_are_learned() {
    let [a, b, _] = abc();
    let connector = Arc::new(Scripted::default());
    connector.set(a.address, Script::Never);
    let balancer = balancer(format!("{} ! {}", a.address, b.address).parse().unwrap());
    let settings = hasty().with_connect_timeout(Duration::from_secs(2));
    let proxy = TcpProxy::with_connector(Arc::clone(&balancer), connector).with_settings(settings);
    let (listener, other) = (support::bind(), proxy.clone());
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(other.serve(listener, async { drop(stopped.await) })).unwrap()
    });
    assert_eq!(ask(address).await.unwrap(), "B");
    stop.send(()).unwrap();
    tokio::task::spawn_blocking(|| worker.join().unwrap()).await.unwrap();
    assert_eq!(balancer.stats().backends[0].cancelled, 1);
    let front = Front::of(balancer, proxy);
    assert_eq!(ask(front.address).await.unwrap(), "B");
    front.idle().await;
    assert_eq!(counts(&front)[0], (0, 0, 1, 1, 0));
}

#[tokio::test]
async fn our_own_shortage_of_descriptors_is_no_failure_of_a_backend() {
    let [a, b, _] = abc();
    let connector = Arc::new(Scripted::default());
    // EMFILE, ENFILE, ENOMEM, ENOBUFS.
    for errno in [24, 23, 12, 105] {
        connector.set(a.address, Script::Fail(errno));
        connector.set(b.address, Script::Fail(errno));
        let front = Front::connecting(&format!("{} {}", a.address, b.address), &connector, hasty());
        let mut client = TcpStream::connect(front.address).await.unwrap();
        assert!(is_closed(&mut client).await);
        front.idle().await;
        assert_eq!(counts(&front), [(0, 0, 0, 1, 0), (0, 0, 0, 0, 0)], "errno {errno}: the next would lack them too");
    }
}

#[tokio::test]
async fn a_shortage_while_another_attempt_is_under_way_does_not_end_that_one() {
    let [a, b, _] = abc();
    let (connector, told) = (Arc::new(Scripted::default()), Arc::new(Notify::new()));
    connector.set(a.address, Script::DialWhen(Arc::clone(&told)));
    connector.set(b.address, Script::Fail(24));
    let front = Front::connecting(&format!("{} {}", a.address, b.address), &connector, hasty());
    let asking = tokio::spawn(ask(front.address));
    eventually(|| counts(&front)[1] == (0, 0, 0, 1, 0)).await;
    told.notify_one();
    assert_eq!(asking.await.unwrap().unwrap(), "A");
}

#[tokio::test]
async fn a_client_that_resets_during_a_race_starts_no_further_attempts() {
    let [a, b, c] = abc();
    let connector = Arc::new(Scripted::default());
    connector.set(a.address, Script::Never);
    let settings =
        Settings::default().with_race(Some(Duration::from_secs(1))).with_connect_timeout(Duration::from_secs(2));
    let front = Front::connecting(&format!("{} {} {}", a.address, b.address, c.address), &connector, settings);
    let client = TcpStream::connect(front.address).await.unwrap();
    eventually(|| connector.asked().len() == 1).await;
    reset(client);
    front.idle().await;
    assert_eq!(connector.asked(), [a.address]);
    assert_eq!(counts(&front)[0], (0, 0, 1, 0, 0), "what became of it is learned");
}

#[tokio::test]
async fn what_a_client_said_before_it_reset_in_the_queue_is_not_forwarded() {
    let a = Stub::new(Manner::Named(b'A'));
    let front = Front::new(&a.address.to_string());
    for _ in 0..20 {
        // Blocking, so that the proxy on this thread accepts when all of it is over.
        let mut client = std::net::TcpStream::connect(front.address).unwrap();
        client.write_all(b"pay").unwrap();
        client.set_nonblocking(true).unwrap();
        reset(TcpStream::from_std(client).unwrap());
    }
    eventually(|| front.stats()[0].picked() == 20).await;
    front.idle().await;
    eventually(|| a.seen.open() == 0).await;
    assert_eq!(a.seen.heard(), b"");
}
