//! The PROXY protocol between real sockets: introduced clients, and backends that are told of them.
#![cfg(all(feature = "tcp", feature = "proxy-protocol"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use lb_core::{
    key,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    TcpProxy,
    proxy_protocol::{Header, Route, Version},
    tcp::{AcceptProxy, Observer},
};
use support::{Front, Manner, Stub, abc, balancer, eventually, is_closed, reset, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CLIENT: &str = "192.0.2.1:5000";

/// Writes down who was introduced and who was refused.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn introduced(&self, _: SocketAddr, client: SocketAddr) {
        self.0.lock().unwrap().push(format!("introduced {client}"));
    }

    fn refused(&self, peer: SocketAddr, why: &(dyn Error + 'static)) {
        assert!(peer.ip().is_loopback());
        self.0.lock().unwrap().push(format!("refused: {why}"));
    }

    fn attempt(&self, client: SocketAddr, _: &str) {
        self.0.lock().unwrap().push(format!("attempt for {}", client.ip()));
    }
}

impl Notes {
    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A proxy in front of these that expects headers from these networks, and one that sends them.
fn accepting(config: &str, networks: &str, timeout: Duration) -> (Front, Arc<Notes>) {
    let (balancer, notes) = (balancer(config.parse().unwrap()), Arc::<Notes>::default());
    let accept = AcceptProxy::new(networks.parse().unwrap()).with_timeout(timeout);
    let proxy = TcpProxy::new(Arc::clone(&balancer))
        .with_accept_proxy(Some(accept))
        .with_observer(Arc::clone(&notes) as Arc<dyn Observer>);
    (Front::of(balancer, proxy), notes)
}

fn accepting_from_here(config: &str) -> (Front, Arc<Notes>) {
    accepting(config, "127.0.0.0/8", Duration::from_secs(60))
}

fn sending(config: &str, version: Version) -> Front {
    let balancer = balancer(config.parse().unwrap());
    let proxy = TcpProxy::new(Arc::clone(&balancer)).with_send_proxy(Some(version));
    Front::of(balancer, proxy)
}

fn header(version: Version, source: &str) -> Vec<u8> {
    let route = Route::new(source.parse().unwrap(), "198.51.100.1:25".parse().unwrap());
    Header { version, route: Some(route) }.to_bytes()
}

/// A connection that says this and ends, and what it is answered.
async fn say(front: SocketAddr, words: &[&[u8]]) -> String {
    soon(async {
        let mut client = TcpStream::connect(front).await.unwrap();
        client.write_all(&words.concat()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

#[tokio::test]
async fn what_follows_a_header_reaches_the_backend_and_nothing_else_does() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, notes) = accepting_from_here(&a.address.to_string());
    for version in [Version::V1, Version::V2] {
        a.seen.heard.lock().unwrap().clear();
        assert_eq!(say(front.address, &[&header(version, CLIENT), b"hello"]).await, "A");
        eventually(|| a.seen.heard() == b"hello").await;
    }
    let told = [format!("introduced {CLIENT}"), "attempt for 192.0.2.1".to_owned()];
    assert_eq!(notes.told(), [told.clone(), told].concat());
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, notes) = accepting_from_here(&a.address.to_string());
    for version in [Version::V1, Version::V2] {
        a.seen.heard.lock().unwrap().clear();
        let mut client = TcpStream::connect(front.address).await.unwrap();
        client.set_nodelay(true).unwrap();
        for byte in header(version, CLIENT) {
            client.write_u8(byte).await.unwrap();
            // The proxy runs on this thread, too.
            tokio::task::yield_now().await;
        }
        assert_eq!(soon(client.read_u8()).await.unwrap(), b'A');
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        eventually(|| a.seen.heard() == b"hello").await;
    }
    assert_eq!(notes.told().len(), 4);
}

#[tokio::test]
async fn the_client_of_the_header_is_hashed_and_not_the_proxy_that_sent_it() {
    let abc = abc();
    let (front, _) = accepting_from_here(&format!("{} {} {} %", abc[0].address, abc[1].address, abc[2].address));
    let mut answers = std::collections::BTreeSet::new();
    for client in 0..20 {
        let source: SocketAddr = format!("192.0.2.{client}:5000").parse().unwrap();
        let key = key::of_address(source.ip());
        let request = lb_core::Request::new(std::time::Instant::now()).with_key(key);
        let expected = front.balancer.pick(&request, &mut SmallRng::seed_from_u64(1)).unwrap().id();
        let expected = front.stats().iter().position(|backend| backend.id == expected).unwrap();
        let answer = say(front.address, &[&header(Version::V2, &source.to_string())]).await;
        assert_eq!(answer, ["A", "B", "C"][expected]);
        answers.insert(answer);
    }
    assert!(answers.len() > 1, "{answers:?}");
}

#[tokio::test]
async fn a_connection_that_stands_for_itself_is_its_peers() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, notes) = accepting_from_here(&a.address.to_string());
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), Header { version: Version::V2, route: None }.to_bytes()] {
        assert_eq!(say(front.address, &[&header]).await, "A");
    }
    assert_eq!(notes.told(), ["attempt for 127.0.0.1", "attempt for 127.0.0.1"]);
}

#[tokio::test]
async fn from_peers_that_are_not_listed_a_header_is_what_the_client_says() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, notes) = accepting(&a.address.to_string(), "10.0.0.0/8,::1", Duration::from_secs(60));
    let header = header(Version::V1, CLIENT);
    assert_eq!(say(front.address, &[&header, b"hello"]).await, "A");
    eventually(|| a.seen.heard() == [&header[..], b"hello"].concat()).await;
    assert_eq!(notes.told(), ["attempt for 127.0.0.1"]);
}

#[tokio::test]
async fn a_listed_peer_that_sends_no_good_header_is_closed_and_told_of() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, notes) = accepting_from_here(&a.address.to_string());
    let cases: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1\r\n\r\n", "it sent no good PROXY header: it begins with neither"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 05000 25\r\n", "it sent no good PROXY header: its source port"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31", "it sent no good PROXY header: it is of version 3"),
        (b"PROXY TCP4 192.0", "it ended before its PROXY header was complete"),
    ];
    for (at, (bytes, why)) in cases.into_iter().enumerate() {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let _ = client.shutdown().await;
        assert!(is_closed(&mut client).await);
        eventually(|| notes.told().len() > at).await;
        assert!(notes.told()[at].starts_with(&format!("refused: {why}")), "{:?}", notes.told());
    }
    reset(TcpStream::connect(front.address).await.unwrap());
    eventually(|| notes.told().len() == 5).await;
    assert_eq!((front.stats()[0].picked(), a.seen.accepted()), (0, 0));
}

#[tokio::test]
async fn a_listed_peer_that_says_nothing_holds_no_place_and_is_closed_in_time() {
    let a = Stub::new(Manner::Named(b'A'));
    let (front, notes) = accepting(&format!("{}::1", a.address), "127.0.0.1", Duration::from_millis(300));
    let mut silent = TcpStream::connect(front.address).await.unwrap();
    let mut slow = TcpStream::connect(front.address).await.unwrap();
    slow.write_all(b"PROXY ").await.unwrap();
    assert_eq!(say(front.address, &[&header(Version::V1, CLIENT)]).await, "A");
    assert_eq!(front.in_flight(), 0);
    assert!(is_closed(&mut silent).await && is_closed(&mut slow).await);
    eventually(|| notes.told().len() == 4).await;
    assert!(notes.told()[2..].iter().all(|told| told == "refused: it sent no PROXY header within 300ms"));
    front.idle().await;
    assert_eq!(front.stats()[0].picked(), 1);
}

/// What a backend hears of one client that says "hello", and the addresses of that client's connection.
async fn heard(front: &Front, server: &TcpListener, first: &[u8]) -> (Vec<u8>, SocketAddr, SocketAddr) {
    soon(async {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        // The server speaks first, and still hears of the client first.
        let (mut stream, _) = server.accept().await.unwrap();
        stream.write_all(b"welcome").await.unwrap();
        let mut heard = vec![0; 12];
        stream.read_exact(&mut heard).await.unwrap();
        client.read_exact(&mut [0; 7]).await.unwrap();
        client.write_all(&[first, b"hello"].concat()).await.unwrap();
        client.shutdown().await.unwrap();
        stream.read_to_end(&mut heard).await.unwrap();
        (heard, client.local_addr().unwrap(), front.address)
    })
    .await
}

#[tokio::test]
async fn a_backend_is_told_of_its_client_before_anything_else() {
    for version in [Version::V1, Version::V2] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = sending(&server.local_addr().unwrap().to_string(), version);
        let (heard, source, destination) = heard(&front, &server, b"").await;
        let (header, length) = Header::parse(&heard).unwrap().unwrap();
        assert_eq!(header, Header { version, route: Some(Route::new(source, destination)) });
        assert_eq!(&heard[length..], b"hello");
        front.idle().await;
        assert_eq!(front.stats()[0].to_backend_bytes, 5, "a header is nothing that the client said");
    }
}

#[tokio::test]
async fn an_introduced_client_is_who_the_backend_is_told_of() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let balancer = balancer(server.local_addr().unwrap().to_string().parse().unwrap());
    let accept = AcceptProxy::new("127.0.0.1".parse().unwrap());
    let proxy = TcpProxy::new(Arc::clone(&balancer)).with_accept_proxy(Some(accept));
    let front = Front::of(balancer, proxy.with_send_proxy(Some(Version::V2)));
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(&[&header(Version::V1, CLIENT)[..], b"hello"].concat()).await.unwrap();
    client.shutdown().await.unwrap();
    let (mut stream, mut heard) = (soon(server.accept()).await.unwrap().0, Vec::new());
    soon(stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, [&header(Version::V2, CLIENT)[..], b"hello"].concat());
}
