//! The proxy when descriptors run out. Alone in its binary, because they are counted for the whole process.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs::File, net::SocketAddr, time::Duration};

use lb_net::tcp::Settings;
use support::{Front, Manner, Stub, ask, eventually, is_closed, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A client whose socket is made before there are none left.
async fn talk(socket: TcpSocket, front: SocketAddr) -> std::io::Result<u8> {
    let mut client = socket.connect(front).await?;
    client.write_all(b"?").await?;
    client.read_u8().await
}

/// One test, so that nothing else opens and closes meanwhile.
#[tokio::test]
async fn no_descriptor_is_lost_and_their_lack_is_no_backends_fault() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Named(b'B')));
    let front = Front::new(&format!("{} ! {}", a.address, b.address));
    let first = talk(TcpSocket::new_v4().unwrap(), front.address).await.unwrap();
    assert_eq!(first, b'?');
    front.idle().await;
    eventually(|| a.seen.open() == 0).await;
    let before = open_descriptors();

    let (socket, mut files) = (TcpSocket::new_v4().unwrap(), Vec::new());
    lower_limit(before + 40);
    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    // Room for the client that is accepted, and not for its backend.
    files.pop();
    let mut client = soon(socket.connect(front.address)).await.unwrap();
    assert!(is_closed(&mut client).await);
    drop((client, files));
    lb_net::sys::raise_descriptor_limit().unwrap();
    let stats = front.stats();
    assert_eq!((stats[0].connect_failed, stats[0].cancelled, stats[0].in_flight), (0, 1, 0));
    assert_eq!(stats[1].picked(), 0, "there would be no descriptor for it either");

    for _ in 0..100 {
        assert_eq!(talk(TcpSocket::new_v4().unwrap(), front.address).await.unwrap(), b'?');
    }
    let address = a.kill().await;
    for _ in 0..100 {
        assert_eq!(ask(front.address).await.unwrap(), "B");
    }
    let a = Stub::at(address, Manner::Reset);
    for _ in 0..100 {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        assert!(is_closed(&mut client).await);
    }
    front.idle().await;
    eventually(|| a.seen.open() + b.seen.open() == 0).await;
    eventually(|| open_descriptors() <= before).await;

    let settings = Settings::default().with_grace(Duration::from_millis(100));
    let front = Front::with(&b.address.to_string(), settings);
    front.idle().await;
    let waiting = TcpSocket::new_v4().unwrap();
    lower_limit(open_descriptors() + 10);
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let _waiting = soon(waiting.connect(front.address)).await.unwrap();
    // A client that cannot be accepted does not keep us from ending.
    soon(front.stop()).await.unwrap().unwrap();
    drop(files);
    lb_net::sys::raise_descriptor_limit().unwrap();

    nobody_is_accepted_for_whom_there_is_no_descriptor().await;
}

async fn nobody_is_accepted_for_whom_there_is_no_descriptor() {
    let echo = Stub::new(Manner::Echo);
    // It counts on 64 for everything else.
    lower_limit(64 + 2 * 3);
    let front = Front::new(&echo.address.to_string());
    assert_eq!(talk(TcpSocket::new_v4().unwrap(), front.address).await.unwrap(), b'?');
    front.idle().await;
    lb_net::sys::raise_descriptor_limit().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        client.write_all(b"?").await.unwrap();
        waiting.push(client);
    }
    let mut served = waiting.drain(..3).collect::<Vec<_>>();
    for client in &mut served {
        assert_eq!(soon(client.read_u8()).await.unwrap(), b'?');
    }
    assert_eq!(echo.seen.accepted(), 1 + 3);
    // Each has its turn when somebody has left, and whoever waits at the end is served too.
    for mut client in waiting.drain(..3) {
        drop(served.remove(0));
        assert_eq!(soon(client.read_u8()).await.unwrap(), b'?');
        served.push(client);
    }
    assert_eq!(echo.seen.accepted(), 1 + 6);
    let stopping = front.stop();
    for client in &mut waiting {
        assert_eq!(soon(client.read_u8()).await.unwrap(), b'?');
    }
    drop((served, waiting));
    assert_eq!(soon(stopping).await.unwrap().unwrap().cut, 0);
}

fn lower_limit(descriptors: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors as u64), maximum }).unwrap();
}
