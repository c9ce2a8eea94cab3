//! Keepalive on both sides of a proxy.
#![allow(clippy::unwrap_used)]

use std::{net::TcpListener, os::fd::AsFd, time::Duration};

use lb_net::{
    connect::{Connect, Dialer},
    listener::{Listener, bind},
    sys::Keepalive,
};
use rustix::net::sockopt;

const LOOPBACK: &str = "127.0.0.1:0";

fn of(socket: impl AsFd) -> (bool, Duration, Duration, u32) {
    (
        sockopt::socket_keepalive(&socket).unwrap(),
        sockopt::tcp_keepidle(&socket).unwrap(),
        sockopt::tcp_keepintvl(&socket).unwrap(),
        sockopt::tcp_keepcnt(&socket).unwrap(),
    )
}

#[tokio::test]
async fn accepted_connections_have_their_listeners_keepalive() {
    let socket = bind(LOOPBACK.parse().unwrap(), 1).unwrap().remove(0);
    "61,11,4".parse::<Keepalive>().unwrap().set(&socket).unwrap();
    let mut listener = Listener::new(socket).unwrap();
    let _client = std::net::TcpStream::connect(listener.local_address().unwrap()).unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert_eq!(of(&accepted), (true, Duration::from_secs(61), Duration::from_secs(11), 4));
}

#[tokio::test]
async fn connections_to_backends_have_the_dialers_keepalive_and_else_the_systems() {
    let server = TcpListener::bind(LOOPBACK).unwrap();
    let plain = Dialer::default().connect(&server.local_addr().unwrap()).await.unwrap();
    let system = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    assert_eq!(of(&plain).1.as_secs(), system.trim().parse::<u64>().unwrap());
    let dialer = Dialer::default().with_keepalive("62,12,5".parse().unwrap());
    let connected = dialer.connect(&server.local_addr().unwrap()).await.unwrap();
    assert_eq!(of(&connected), (true, Duration::from_secs(62), Duration::from_secs(12), 5));
}
