//! Accept with no descriptor left. Alone in its binary, because the limit is the whole process's.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lb_net::listener::{Listener, bind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Time is simulated: it passes while everybody waits for it.
#[tokio::test(start_paused = true)]
async fn clients_wait_in_the_queue_until_there_are_descriptors_again() {
    let mut listener = Listener::new(bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0)).unwrap();
    let address = listener.local_address().unwrap();
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: hard }).unwrap();
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();

    let accepting = tokio::spawn(async move {
        let mut taken = Vec::new();
        while taken.len() < 3 {
            taken.push(listener.accept().await.unwrap());
        }
        taken
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!accepting.is_finished(), "there was no descriptor for them");
    files.truncate(files.len() - 3);
    let taken = tokio::time::timeout(Duration::from_secs(10), accepting).await.unwrap().unwrap();
    let mut peers: Vec<_> = taken.iter().map(|(_, peer)| *peer).collect();
    let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    peers.sort();
    expected.sort();
    assert_eq!(peers, expected);

    drop(files);
    assert_eq!(lb_net::sys::raise_descriptor_limit().unwrap(), hard);
    assert_eq!(getrlimit(Resource::Nofile).current, hard);
}
