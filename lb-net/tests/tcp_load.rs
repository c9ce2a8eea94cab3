//! Many clients at a time, much data, and backends that die under them.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use lb_net::tcp::Settings;
use support::{Front, Manner, Stub, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Barrier,
};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_sessions_run_side_by_side() {
    lb_net::sys::raise_descriptor_limit().unwrap();
    let stubs = [Stub::new(Manner::Echo), Stub::new(Manner::Echo)];
    // A race would be one more pick where a busy machine connects slowly.
    let config = format!("{} {}", stubs[0].address, stubs[1].address);
    let front = Front::with(&config, Settings::default().with_race(None));
    let (address, all_there) = (front.address, Arc::new(Barrier::new(501)));
    let session = |number: u32, all_there: Arc<Barrier>| async move {
        let mut client = TcpStream::connect(address).await.unwrap();
        for round in 0..3 {
            client.write_u32(number + round).await.unwrap();
            assert_eq!(client.read_u32().await.unwrap(), number + round);
            all_there.wait().await;
            all_there.wait().await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    };
    let sessions: Vec<_> = (0..500).map(|number| tokio::spawn(session(number, Arc::clone(&all_there)))).collect();
    for _ in 0..3 {
        soon(all_there.wait()).await;
        assert_eq!(stubs.each_ref().map(|stub| stub.seen.open()), [250, 250]);
        assert_eq!(front.in_flight(), 500);
        soon(all_there.wait()).await;
    }
    for session in sessions {
        soon(session).await.unwrap();
    }
    front.idle().await;
    assert!(front.stats().iter().all(|backend| backend.succeeded == 250 && backend.picked() == 250));
}

/// Byte `at` of a stream in which no shift, loss or mix-up of blocks goes unnoticed.
fn word(at: usize) -> [u8; 8] {
    let word = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word ^ (word >> 29)).to_le_bytes()
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), bytes: usize) {
    for block in 0..bytes / MIB {
        let words = block * MIB / 8..(block + 1) * MIB / 8;
        to.write_all(&words.flat_map(word).collect::<Vec<u8>>()).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

async fn check(from: &mut (impl AsyncReadExt + Unpin), bytes: usize) {
    let mut block = vec![0; MIB];
    for number in 0..bytes / MIB {
        from.read_exact(&mut block).await.unwrap();
        let words = number * MIB / 8..(number + 1) * MIB / 8;
        assert!(block.as_chunks::<8>().0.iter().copied().eq(words.map(word)), "block {number}");
    }
    assert_eq!(from.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_each_way_at_a_time_arrive_whole() {
    let echo = Stub::new(Manner::Echo);
    let front = Front::new(&echo.address.to_string());
    let (mut reader, mut writer) = TcpStream::connect(front.address).await.unwrap().into_split();
    let sending = tokio::spawn(async move { send(&mut writer, 64 * MIB).await });
    tokio::time::timeout(Duration::from_secs(120), check(&mut reader, 64 * MIB)).await.expect("it stalls");
    sending.await.unwrap();
    front.idle().await;
    assert_eq!(front.stats()[0].succeeded, 1);
}

/// How a client's request went: it talks until it is answered what it said.
enum Talk {
    Answered,
    /// Closed or reset after the connection to us stood.
    Broken,
}

async fn talk(front: SocketAddr) -> Talk {
    let answered = async {
        let mut client = TcpStream::connect(front).await?;
        client.write_all(b"hello").await?;
        client.shutdown().await?;
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await?;
        std::io::Result::Ok(heard == b"hello")
    };
    if soon(answered).await.unwrap_or(false) { Talk::Answered } else { Talk::Broken }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_die_and_come_back_cost_only_those_whom_they_had_accepted() {
    let (steady, mut shaky) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let config = format!("{} ! {}", shaky.address, steady.address);
    let settings = Settings::default().with_race(None);
    let front = Front::with(&config, settings);
    let (address, over) = (front.address, Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(keep_talking(address, Arc::clone(&over)))).collect();
    let mut accepted = 0;
    for _ in 0..10 {
        support::eventually(|| shaky.seen.accepted() > 20).await;
        let seen = Arc::clone(&shaky.seen);
        let (before, dead) = (steady.seen.accepted(), shaky.kill().await);
        accepted += seen.accepted();
        support::eventually(|| steady.seen.accepted() > before + 20).await;
        shaky = Stub::at(dead, Manner::Echo);
    }
    over.store(true, SeqCst);
    let (mut answered, mut broken) = (0, 0);
    for client in clients {
        let (more_answered, more_broken) = soon(client).await.unwrap();
        (answered, broken) = (answered + more_answered, broken + more_broken);
    }
    accepted += shaky.seen.accepted() + steady.seen.accepted();
    // At each death no more than the eight at hand, accepted by the backend or in its queue.
    assert!(broken <= 80, "{broken} of {answered}");
    assert!(answered + 80 >= accepted, "{answered} answers, {accepted} accepted");
    front.idle().await;
    let stats = front.stats();
    let picked: u64 = stats.iter().map(lb_core::BackendStats::picked).sum();
    let refused: u64 = stats.iter().map(|backend| backend.connect_failed).sum();
    assert_eq!(picked - refused, (answered + broken) as u64, "each client had one session");
    assert_eq!(stats[1].connect_failed + stats[1].failed, 0);
}

async fn keep_talking(front: SocketAddr, over: Arc<AtomicBool>) -> (usize, usize) {
    let (mut answered, mut broken) = (0, 0);
    while !over.load(SeqCst) {
        match talk(front).await {
            Talk::Answered => answered += 1,
            Talk::Broken => broken += 1,
        }
    }
    (answered, broken)
}
