//! Bytes show at their backend while sessions run, and all of them once they have ended.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used)]

mod support;

use support::{Front, Manner, Stub, eventually, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn bytes(front: &Front) -> (u64, u64) {
    let backend = &front.stats()[0];
    (backend.to_backend_bytes, backend.to_client_bytes)
}

async fn exchange(client: &mut TcpStream, bytes: usize) {
    let (sent, mut received) = (vec![7; bytes], vec![0; bytes]);
    let (mut from, mut to) = client.split();
    let (write, read) = soon(async { tokio::join!(to.write_all(&sent), from.read_exact(&mut received)) }).await;
    write.and(read.map(drop)).unwrap();
}

#[tokio::test]
async fn the_first_messages_show_at_once_and_the_rest_at_the_end() {
    let echo = Stub::new(Manner::Echo);
    let front = Front::new(&echo.address.to_string());
    let mut client = TcpStream::connect(front.address).await.unwrap();
    for round in 1..=4_u64 {
        exchange(&mut client, 10).await;
        eventually(|| bytes(&front) == (10 * round, 10 * round)).await;
    }
    for _ in 0..1000 {
        exchange(&mut client, 10).await;
    }
    let (to_backend, to_client) = bytes(&front);
    assert!(to_backend > 9_000 && to_client > 9_000, "{to_backend} {to_client}");
    drop(client);
    front.idle().await;
    assert_eq!(bytes(&front), (10_040, 10_040));
}

#[tokio::test]
async fn a_bulk_transfer_shows_while_it_runs() {
    let echo = Stub::new(Manner::Echo);
    let front = Front::new(&echo.address.to_string());
    let mut client = TcpStream::connect(front.address).await.unwrap();
    exchange(&mut client, 8 << 20).await;
    let (to_backend, to_client) = bytes(&front);
    assert!(to_backend > 7 << 20 && to_client > 7 << 20, "{to_backend} {to_client}");
    drop(client);
    front.idle().await;
    assert_eq!(bytes(&front), (8 << 20, 8 << 20));
}
