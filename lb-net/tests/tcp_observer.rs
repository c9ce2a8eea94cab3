//! An observer is told what happens to clients, and a tap hears what they say.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use lb_core::{NoPick, Status};
use lb_net::{
    TcpProxy,
    relay::Relayed,
    tcp::{Direction, NoConnection, Observer, Settings, Tap},
};
use support::{Front, Manner, Refusing, Silent, Stub, ask, balancer, eventually, is_closed, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Writes down what it is told, and what sessions say where it is to listen.
#[derive(Default)]
struct Notes {
    told: Mutex<Vec<String>>,
    clients: Mutex<Vec<SocketAddr>>,
    listens: bool,
    /// Ends are none of its business.
    looks_away: bool,
    heard: Arc<Mutex<[Vec<u8>; 2]>>,
}

impl Notes {
    fn note(&self, client: SocketAddr, text: String) {
        self.told.lock().unwrap().push(text);
        self.clients.lock().unwrap().push(client);
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn wait_for(&self, text: &str) {
        eventually(|| self.told().iter().any(|told| told.starts_with(text))).await;
    }
}

impl Observer for Notes {
    fn accepted(&self, peer: SocketAddr) {
        self.note(peer, "accepted".to_owned());
    }

    fn attempt(&self, client: SocketAddr, backend: &str) {
        self.note(client, format!("attempt {backend}"));
    }

    fn attempt_failed(&self, client: SocketAddr, backend: &str, error: &io::Error) {
        self.note(client, format!("failed {backend} {:?}", error.kind()));
    }

    fn connected(&self, client: SocketAddr, backend: &str, _: Duration) {
        self.note(client, format!("connected {backend}"));
    }

    fn no_backend(&self, client: SocketAddr, reason: NoConnection) {
        self.note(client, format!("no backend: {reason}"));
    }

    fn follows(&self, _: SocketAddr, _: &str) -> bool {
        !self.looks_away
    }

    fn ended(&self, client: SocketAddr, backend: &str, relayed: &Relayed, lasted: Duration) {
        assert!(lasted < Duration::from_secs(60), "{lasted:?}");
        let Relayed { to_upstream_bytes, to_client_bytes, end, .. } = relayed;
        self.note(client, format!("ended {backend} {to_upstream_bytes} {to_client_bytes} {end:?}"));
    }

    fn tap(&self, _: SocketAddr, _: &str) -> Option<Box<dyn Tap>> {
        self.listens.then(|| Box::new(Ear(Arc::clone(&self.heard))) as Box<dyn Tap>)
    }
}

struct Ear(Arc<Mutex<[Vec<u8>; 2]>>);

impl Tap for Ear {
    fn bytes(&mut self, direction: Direction, bytes: &[u8]) {
        self.0.lock().unwrap()[usize::from(direction == Direction::ToClient)].extend_from_slice(bytes);
    }
}

fn observed(config: &str, settings: Settings, notes: &Arc<Notes>) -> Front {
    let balancer = balancer(config.parse().unwrap());
    let proxy = TcpProxy::new(Arc::clone(&balancer)).with_settings(settings);
    Front::of(balancer, proxy.with_observer(Arc::clone(notes) as Arc<dyn Observer>))
}

#[tokio::test]
async fn a_session_is_told_of_from_its_accept_to_its_end() {
    let (refusing, b, notes) = (Refusing::new(), Stub::new(Manner::Named(b'B')), Arc::<Notes>::default());
    let front = observed(&format!("{} ! {}", refusing.address, b.address), Settings::default(), &notes);
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    soon(client.read_to_end(&mut Vec::new())).await.unwrap();
    notes.wait_for("ended").await;
    let (a, b) = (refusing.address, b.address);
    let expected = [
        "accepted".to_owned(),
        format!("attempt {a}"),
        format!("failed {a} ConnectionRefused"),
        format!("attempt {b}"),
        format!("connected {b}"),
        format!("ended {b} 5 1 Finished"),
    ];
    assert_eq!(notes.told(), expected);
    let address = client.local_addr().unwrap();
    assert!(notes.clients.lock().unwrap().iter().all(|client| *client == address));
}

#[tokio::test]
async fn a_session_that_is_not_followed_ends_untold() {
    let (b, notes) = (Stub::new(Manner::Named(b'B')), Arc::new(Notes { looks_away: true, ..Notes::default() }));
    let front = observed(&b.address.to_string(), Settings::default(), &notes);
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.shutdown().await.unwrap();
    soon(client.read_to_end(&mut Vec::new())).await.unwrap();
    front.idle().await;
    let expected = ["accepted".to_owned(), format!("attempt {}", b.address), format!("connected {}", b.address)];
    assert_eq!(notes.told(), expected);
}

#[tokio::test]
async fn a_client_that_is_turned_away_is_told_of_with_the_reason() {
    let (refusing, notes) = (Refusing::new(), Arc::<Notes>::default());
    let front = observed(&refusing.address.to_string(), Settings::default(), &notes);
    assert!(is_closed(&mut TcpStream::connect(front.address).await.unwrap()).await);
    notes.wait_for(&format!("no backend: {}", NoPick::AllTried)).await;
    let id = front.stats()[0].id;
    front.balancer.set_status(id, Status::Disabled, std::time::Instant::now()).unwrap();
    assert!(is_closed(&mut TcpStream::connect(front.address).await.unwrap()).await);
    notes.wait_for(&format!("no backend: {}", NoPick::AllDown)).await;
}

#[tokio::test]
async fn a_connect_that_fails_after_its_client_was_served_is_told_of() {
    let (silent, b, notes) = (Silent::new(), Stub::new(Manner::Named(b'B')), Arc::<Notes>::default());
    let settings =
        Settings::default().with_race(Some(Duration::from_millis(20))).with_connect_timeout(Duration::from_millis(300));
    let front = observed(&format!("{} ! {}", silent.address, b.address), settings, &notes);
    assert_eq!(ask(front.address).await.unwrap(), "B");
    notes.wait_for(&format!("failed {} TimedOut", silent.address)).await;
}

#[tokio::test]
async fn a_tap_hears_all_that_is_said_in_order_also_in_bulk() {
    let (echo, notes) = (Stub::new(Manner::Echo), Arc::new(Notes { listens: true, ..Notes::default() }));
    let front = observed(&echo.address.to_string(), Settings::default(), &notes);
    let said: Vec<u8> = (0..8_u32 << 20).map(|at| (at / 7 % 251) as u8).collect();
    let (mut from, mut to) = TcpStream::connect(front.address).await.unwrap().into_split();
    let (sent, mut received) = (said.clone(), vec![0; said.len()]);
    let sending = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to
    });
    soon(from.read_exact(&mut received)).await.unwrap();
    drop((sending.await.unwrap(), from));
    notes.wait_for("ended").await;
    let heard = notes.heard.lock().unwrap();
    assert!(heard.iter().all(|heard| *heard == said) && received == said);
}
