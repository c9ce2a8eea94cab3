//! Backends with several addresses, and such whose addresses change while they are served.
#![cfg(all(feature = "tcp", feature = "resolve"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    connect::{Connect, Dialer},
    resolve::{Endpoint, Refreshed, Refresher},
};
use support::{Manner, Refusing, Silent, Stub, ask, bind, eventually, soon};
use tokio::sync::mpsc;

async fn peer(addresses: &[SocketAddr]) -> SocketAddr {
    let stream = soon(Dialer::default().connect(&addresses.to_vec())).await.unwrap();
    stream.peer_addr().unwrap()
}

#[tokio::test]
async fn an_address_that_refuses_is_followed_by_the_next_at_once() {
    let (refusing, b) = ([0; 4].map(|_| Refusing::new()), Stub::new(Manner::Echo));
    let mut addresses: Vec<_> = refusing.iter().map(|refusing| refusing.address).collect();
    addresses.push(b.address);
    let mut least = Duration::MAX;
    // Others use this machine too: one good time will do.
    for _ in 0..10 {
        let begin = Instant::now();
        assert_eq!(peer(&addresses).await, b.address);
        least = least.min(begin.elapsed());
    }
    assert!(least < Duration::from_millis(250), "before any race: {least:?}");
}

#[tokio::test]
async fn an_address_that_is_silent_is_raced_by_the_next() {
    let (silent, b) = (Silent::new(), Stub::new(Manner::Echo));
    let begin = Instant::now();
    assert_eq!(peer(&[silent.address, b.address]).await, b.address);
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_refusal_while_another_address_is_silent_ends_nothing() {
    let (silent, refusing) = (Silent::new(), Refusing::new());
    let addresses = vec![silent.address, refusing.address];
    let dialer = Dialer::default();
    let connecting = tokio::time::timeout(Duration::from_millis(600), dialer.connect(&addresses)).await;
    assert!(connecting.is_err(), "the silent one may still answer");
}

#[tokio::test]
async fn without_any_address_that_answers_the_refusal_is_told() {
    let refusing = [0; 2].map(|_| Refusing::new());
    let addresses: Vec<_> = refusing.iter().map(|refusing| refusing.address).collect();
    let error = soon(Dialer::default().connect(&addresses)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let none: Arc<[SocketAddr]> = Arc::new([]);
    assert_eq!(Dialer::default().connect(&none).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn connects_take_turns_at_the_addresses_of_a_name() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let endpoint = Endpoint::with_addresses("alpha", 80, vec![a.address, b.address]);
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(Dialer::default().connect(&endpoint).await.unwrap().peer_addr().unwrap());
    }
    assert_eq!(peers, [a.address, b.address, a.address, b.address]);
}

/// A name server that says what it is told to.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>, Arc<Mutex<Vec<String>>>);

impl Names {
    fn set(&self, host: &str, ips: &[IpAddr]) {
        self.0.lock().unwrap().insert(host.to_owned(), ips.to_vec());
    }

    fn forget(&self, host: &str) {
        self.0.lock().unwrap().remove(host);
    }

    fn asked(&self, host: &str) -> usize {
        self.1.lock().unwrap().iter().filter(|asked| *asked == host).count()
    }

    fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.1.lock().unwrap().push(host.to_owned());
        self.0.lock().unwrap().get(host).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A refresher that asks these names whenever it is told to, and what it says.
fn refresher(names: &Names) -> (Refresher, impl FnMut(Refreshed<'_>) + Send + use<>, mpsc::UnboundedReceiver<String>) {
    let (names, (sender, news)) = (names.clone(), mpsc::unbounded_channel());
    let refresher =
        Refresher::default().with_every(Duration::from_secs(3600)).with_lookup(move |host| names.lookup(host));
    let tell = move |refreshed: Refreshed<'_>| drop(sender.send(refreshed.to_string()));
    (refresher, tell, news)
}

fn endpoint(config: &BackendConfig) -> Endpoint {
    let (host, port) = config.host_and_port();
    let addresses = host.parse().map_or_else(|_| Vec::new(), |ip| vec![SocketAddr::new(ip, 0)]);
    Endpoint::with_addresses(host, port.unwrap().parse().unwrap(), addresses)
}

/// One at the usual address and one at this. Others may have the port there: then it is another one.
fn on_the_same_port(other: IpAddr) -> (Stub, Stub) {
    loop {
        let a = Stub::new(Manner::Named(b'A'));
        match Stub::try_at(SocketAddr::new(other, a.address.port()), Manner::Named(b'B')) {
            Ok(b) => return (a, b),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
        }
    }
}

#[tokio::test]
async fn backends_that_move_or_come_while_they_are_served_are_found() {
    let names = Names::default();
    let [one, two]: [IpAddr; 2] = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().unwrap());
    let (a, b) = on_the_same_port(two);
    let c = Stub::new(Manner::Named(b'C'));
    names.set("alpha", &[one]);
    names.set("gamma", &[one]);

    let alpha = format!("alpha:{}", a.address.port());
    let mut rng = SmallRng::seed_from_u64(1);
    let balancer = Arc::new(Balancer::new(alpha.parse().unwrap(), Instant::now(), &mut rng, endpoint));
    let (listener, proxy) = (bind(), TcpProxy::new(Arc::clone(&balancer)));
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });
    let (refresher, tell, mut news) = refresher(&names);
    let (now, backends) = (refresher.now(), Arc::clone(&balancer));
    let all = move || {
        let mut all = Vec::new();
        backends.for_each(|_, endpoint| all.push(endpoint.clone()));
        all
    };
    tokio::spawn(refresher.run(all, tell));

    now.notify_one();
    assert_eq!(soon(news.recv()).await.unwrap(), format!("{alpha}: the address is now 127.0.0.1"));
    assert_eq!(ask(front).await.unwrap(), "A");

    names.set("alpha", &[two]);
    now.notify_one();
    assert_eq!(soon(news.recv()).await.unwrap(), format!("{alpha}: the address is now 127.0.0.2"));
    assert_eq!(ask(front).await.unwrap(), "B");

    let gamma = format!("gamma:{}", c.address.port());
    balancer.update(format!("{gamma} 127.0.0.1:1").parse().unwrap(), Instant::now(), endpoint);
    now.notify_one();
    assert_eq!(soon(news.recv()).await.unwrap(), format!("{gamma}: the address is now 127.0.0.1"));
    assert_eq!(ask(front).await.unwrap(), "C");
    assert_eq!((names.asked("alpha"), names.asked("gamma"), names.asked("127.0.0.1")), (2, 1, 0));
    drop(b);
}

#[tokio::test]
async fn the_last_good_answer_stays_and_a_failure_is_said_once() {
    let names = Names::default();
    let endpoint = Endpoint::with_addresses("alpha", 80, vec!["127.0.0.1:80".parse().unwrap()]);
    let (refresher, tell, mut news) = refresher(&names);
    let (now, all) = (refresher.now(), vec![endpoint.clone(), endpoint.clone()]);
    tokio::spawn(refresher.run(move || all.clone(), tell));

    now.notify_one();
    let said = soon(news.recv()).await.unwrap();
    assert!(said.starts_with("unknown host 'alpha'") && said.ends_with("stay in use"), "{said}");
    for round in 2..5 {
        now.notify_one();
        eventually(|| names.asked("alpha") == round).await;
    }
    assert_eq!(endpoint.addresses()[..], ["127.0.0.1:80".parse().unwrap()]);
    names.set("alpha", &["127.0.0.1".parse().unwrap()]);
    now.notify_one();
    assert_eq!(soon(news.recv()).await.unwrap(), "host 'alpha' is known again");
    names.forget("alpha");
    now.notify_one();
    assert!(soon(news.recv()).await.unwrap().starts_with("unknown host 'alpha'"));
}

#[tokio::test]
async fn a_name_that_gets_no_answer_holds_up_no_other_and_is_asked_for_again_then() {
    let names = Names::default();
    names.set("alpha", &["127.0.0.1".parse().unwrap()]);
    let (refresher, tell, mut news) = refresher(&names);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (stuck, known) = (Mutex::new(released), names.clone());
    let refresher = refresher.with_lookup(move |host| {
        let answer = known.lookup(host);
        if host == "stuck" {
            let _ = stuck.lock().unwrap().recv();
        }
        answer
    });
    let now = refresher.now();
    let all = ["alpha", "stuck"].map(|host| Endpoint::with_addresses(host, 80, Vec::new()));
    tokio::spawn(refresher.run(move || all.to_vec(), tell));
    for last in 1..4 {
        names.set("alpha", &[IpAddr::from([127, 0, 0, last])]);
        now.notify_one();
        assert_eq!(soon(news.recv()).await.unwrap(), format!("alpha:80: the address is now 127.0.0.{last}"));
    }
    assert_eq!(names.asked("stuck"), 1);
    // What it is told at last may be older than the order.
    names.set("stuck", &["127.0.0.9".parse().unwrap()]);
    release.send(()).unwrap();
    assert!(soon(news.recv()).await.unwrap().starts_with("unknown host 'stuck'"));
    release.send(()).unwrap();
    assert_eq!(soon(news.recv()).await.unwrap(), "host 'stuck' is known again");
    assert_eq!(soon(news.recv()).await.unwrap(), "stuck:80: the address is now 127.0.0.9");
    assert_eq!(names.asked("stuck"), 2);
}
