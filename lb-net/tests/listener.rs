//! Listening on real sockets.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};

use lb_net::listener::{Listener, bind};

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[test]
fn a_second_instance_on_the_same_address_is_refused() {
    for (ours, theirs) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
        let first = bind(loopback(), ours).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = bind(address, theirs).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}

#[test]
fn the_same_address_can_be_taken_again_at_once() {
    let first = bind(loopback(), 2).unwrap();
    let address = first[0].local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let accepted = first.iter().find_map(|listener| listener.accept().ok()).unwrap();
    drop(first);
    let second = bind(address, 2).unwrap();
    drop((accepted, client, second));
}

#[tokio::test]
async fn every_worker_listens_on_the_same_free_port_and_gets_its_share() {
    let sockets = bind(loopback(), 3).unwrap();
    let address = sockets[0].local_addr().unwrap();
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
    let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut accepted = 0;
    for socket in sockets {
        let mut listener = Listener::new(socket).unwrap();
        let mut share = 0;
        while listener.accept_queued().await.unwrap().is_some() {
            share += 1;
        }
        assert!(share > 20, "one worker got {share} of 200");
        accepted += share;
    }
    assert_eq!(accepted, clients.len());
}

#[tokio::test]
async fn an_ipv6_listener_takes_ipv4_clients() {
    let Ok(sockets) = bind("[::]:0".parse().unwrap(), 1) else { return };
    let port = sockets[0].local_addr().unwrap().port();
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for socket in sockets {
        let (_, peer) = Listener::new(socket).unwrap().accept().await.unwrap();
        assert_eq!(peer.ip().to_canonical(), std::net::Ipv4Addr::LOCALHOST);
    }
}

#[tokio::test]
async fn who_waits_in_the_queue_is_taken_before_the_listener_closes() {
    let mut listener = Listener::new(bind(loopback(), 1).unwrap().remove(0)).unwrap();
    let address = listener.local_address().unwrap();
    let mut clients: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut taken = Vec::new();
    while let Some((stream, _)) = listener.accept_queued().await.unwrap() {
        taken.push(stream);
    }
    drop(listener);
    assert_eq!(taken.len(), 50);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(taken);
    assert!(clients.iter_mut().all(|client| client.read(&mut [0]).unwrap() == 0), "an end, no reset");
}

#[tokio::test]
async fn accept_wakes_up_for_each_client_and_its_socket_is_ready_for_a_session() {
    let mut listener = Listener::new(bind(loopback(), 1).unwrap().remove(0)).unwrap();
    let address = listener.local_address().unwrap();
    let accepting = tokio::spawn(async move { (listener.accept().await.unwrap(), listener.accept().await.unwrap()) });
    tokio::task::yield_now().await;
    let first = TcpStream::connect(address).unwrap();
    tokio::task::yield_now().await;
    let second = TcpStream::connect(address).unwrap();
    let ((stream, peer), (_, other)) = accepting.await.unwrap();
    assert_eq!((peer, other), (first.local_addr().unwrap(), second.local_addr().unwrap()));
    assert!(stream.nodelay().unwrap());
    assert!(socket2::SockRef::from(&stream).keepalive().unwrap());
    assert_eq!((&stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn another_program_on_the_port_is_noticed_with_several_workers() {
    let other = TcpListener::bind(loopback()).unwrap();
    assert!(bind(other.local_addr().unwrap(), 4).is_err());
}
