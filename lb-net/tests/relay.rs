//! Sessions between real sockets on loopback.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use lb_net::relay::{End, Relay, Relayed, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

const MIB: usize = 1024 * 1024;

/// Both ends of a connection, with small socket buffers if asked for.
async fn pair(buffer: Option<u32>) -> (TcpStream, TcpStream) {
    let listening = TcpSocket::new_v4().unwrap();
    let connecting = TcpSocket::new_v4().unwrap();
    for socket in [&listening, &connecting] {
        if let Some(bytes) = buffer {
            socket.set_send_buffer_size(bytes).unwrap();
            socket.set_recv_buffer_size(bytes).unwrap();
        }
    }
    listening.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener: TcpListener = listening.listen(1).unwrap();
    let far = connecting.connect(listener.local_addr().unwrap()).await.unwrap();
    (far, listener.accept().await.unwrap().0)
}

/// A running session: the user's end, the server's end, and how it went.
async fn session(buffer: Option<u32>, settings: Settings) -> (TcpStream, TcpStream, JoinHandle<Relayed>) {
    let (user, client) = pair(buffer).await;
    let (server, upstream) = pair(buffer).await;
    (user, server, tokio::spawn(Relay::new(client, upstream, &settings)))
}

async fn end_of(session: JoinHandle<Relayed>) -> Relayed {
    tokio::time::timeout(Duration::from_secs(20), session).await.expect("the session goes on").unwrap()
}

/// Byte `at` of the stream that `seed` stands for: no shift, loss or mix-up of blocks goes unnoticed.
fn pattern(seed: u64, at: usize) -> u8 {
    let word = (at as u64 / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed);
    (word ^ (word >> 29)).to_le_bytes()[at % 8]
}

async fn send_pattern(to: &mut (impl AsyncWriteExt + Unpin), seed: u64, bytes: usize) {
    let mut sent = 0;
    while sent < bytes {
        let block: Vec<u8> = (sent..bytes.min(sent + 100_003)).map(|at| pattern(seed, at)).collect();
        to.write_all(&block).await.unwrap();
        sent += block.len();
    }
    to.shutdown().await.unwrap();
}

async fn check_pattern(from: &mut (impl AsyncReadExt + Unpin), seed: u64, bytes: usize) {
    let mut buffer = vec![0; 128 * 1024];
    let mut seen = 0;
    loop {
        let count = from.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        for (offset, byte) in buffer[..count].iter().enumerate() {
            assert_eq!(*byte, pattern(seed, seen + offset), "byte {}", seen + offset);
        }
        seen += count;
    }
    assert_eq!(seen, bytes);
}

async fn both_ways(buffer: Option<u32>, bytes: usize) {
    let (user, server, session) = session(buffer, Settings::default()).await;
    let ((mut user_read, mut user_write), (mut server_read, mut server_write)) =
        (user.into_split(), server.into_split());
    let senders = [
        tokio::spawn(async move { send_pattern(&mut user_write, 1, bytes).await }),
        tokio::spawn(async move { send_pattern(&mut server_write, 2, bytes).await }),
        tokio::spawn(async move { check_pattern(&mut server_read, 1, bytes).await }),
        tokio::spawn(async move { check_pattern(&mut user_read, 2, bytes).await }),
    ];
    for sender in senders {
        tokio::time::timeout(Duration::from_secs(120), sender).await.expect("stalled").unwrap();
    }
    let relayed = end_of(session).await;
    assert_eq!((relayed.to_upstream_bytes, relayed.to_client_bytes), (bytes as u64, bytes as u64));
    assert_eq!(relayed.end, End::Finished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_busy_directions_never_stall_and_lose_nothing() {
    both_ways(None, 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_busy_directions_never_stall_with_tiny_socket_buffers() {
    both_ways(Some(4096), 4 * MIB).await;
}

#[tokio::test]
async fn bulk_is_spliced_on_one_thread_too() {
    both_ways(None, 16 * MIB).await;
}

#[tokio::test]
async fn a_client_that_ended_still_gets_its_answer() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    user.write_all(b"question").await.unwrap();
    user.shutdown().await.unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    user.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    let relayed = end_of(session).await;
    assert_eq!((relayed.to_upstream_bytes, relayed.to_client_bytes, relayed.end), (8, 6, End::Finished));
}

#[tokio::test]
async fn a_client_that_ended_gets_a_long_answer_in_pieces() {
    let (mut user, mut server, session) = session(Some(4096), Settings::default()).await;
    user.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    for _ in 0..3 {
        server.write_all(b"piece").await.unwrap();
        user.read_exact(&mut [0; 5]).await.unwrap();
    }
    let answering = tokio::spawn(async move { send_pattern(&mut server, 3, 4 * MIB).await });
    check_pattern(&mut user, 3, 4 * MIB).await;
    answering.await.unwrap();
    assert_eq!(end_of(session).await.end, End::Finished);
}

#[tokio::test]
async fn a_backend_that_ended_still_hears_its_client() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    server.write_all(b"greeting").await.unwrap();
    server.shutdown().await.unwrap();
    let mut greeting = Vec::new();
    user.read_to_end(&mut greeting).await.unwrap();
    assert_eq!(greeting, b"greeting");
    user.write_all(b"farewell").await.unwrap();
    drop(user);
    let mut farewell = Vec::new();
    server.read_to_end(&mut farewell).await.unwrap();
    assert_eq!(farewell, b"farewell");
    assert_eq!(end_of(session).await.end, End::Finished);
}

fn reset(stream: TcpStream) {
    lb_net::sys::set_reset_on_close(&stream).unwrap();
    drop(stream);
}

async fn assert_reset(stream: &mut TcpStream) {
    let outcome = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// One byte there and back, so that the session is known to run.
async fn greet(user: &mut TcpStream, server: &mut TcpStream) {
    user.write_all(b"?").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'?');
    server.write_all(b"!").await.unwrap();
    assert_eq!(user.read_u8().await.unwrap(), b'!');
}

#[tokio::test]
async fn a_reset_by_the_client_reaches_the_backend() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    greet(&mut user, &mut server).await;
    reset(user);
    assert_reset(&mut server).await;
    let relayed = end_of(session).await;
    assert_eq!((relayed.to_upstream_bytes, relayed.to_client_bytes, relayed.end), (1, 1, End::ClientReset));
}

#[tokio::test]
async fn a_reset_by_the_backend_reaches_the_client() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    greet(&mut user, &mut server).await;
    reset(server);
    assert_reset(&mut user).await;
    let relayed = end_of(session).await;
    assert_eq!((relayed.to_upstream_bytes, relayed.to_client_bytes, relayed.end), (1, 1, End::UpstreamReset));
}

#[tokio::test]
async fn a_client_lost_after_it_ended_is_reported_to_the_backend() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    greet(&mut user, &mut server).await;
    user.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    reset(user);
    assert_eq!(end_of(session).await.end, End::ClientReset);
    assert_eq!(server.write_all(b"?").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_backend_lost_after_it_ended_is_reported_to_the_client() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    greet(&mut user, &mut server).await;
    server.shutdown().await.unwrap();
    assert_eq!(user.read(&mut [0]).await.unwrap(), 0);
    reset(server);
    assert_eq!(end_of(session).await.end, End::UpstreamReset);
    assert_eq!(user.write_all(b"?").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn the_last_words_of_a_backend_that_reset_are_delivered() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    server.write_all(b"too large").await.unwrap();
    reset(server);
    let mut heard = [0; 9];
    user.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"too large");
    assert_reset(&mut user).await;
    assert_eq!(end_of(session).await.end, End::UpstreamReset);
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_bulk_transfer_reaches_the_sender() {
    let (user, mut server, session) = session(None, Settings::default()).await;
    let sender = tokio::spawn(async move {
        let block = vec![7; MIB];
        loop {
            if let Err(error) = server.write_all(&block).await {
                return error.kind();
            }
        }
    });
    let mut user = user;
    user.read_exact(&mut vec![0; 8 * MIB]).await.unwrap();
    reset(user);
    assert!(matches!(sender.await.unwrap(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    assert_eq!(end_of(session).await.end, End::ClientReset);
}

#[tokio::test]
async fn a_quiet_session_is_closed_after_the_idle_timeout() {
    let timeout = Duration::from_millis(100);
    let started = tokio::time::Instant::now();
    let settings = Settings::default().with_idle_timeout(Some(timeout));
    let (mut user, mut server, session) = session(None, settings).await;
    greet(&mut user, &mut server).await;
    assert_eq!(end_of(session).await.end, End::IdleTimeout);
    assert!(started.elapsed() >= timeout);
    assert_eq!(user.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_byte_in_one_direction_keeps_the_session() {
    // Long for one byte, also on a machine that has much else to do.
    let timeout = Duration::from_millis(1500);
    let (mut user, mut server, session) = session(None, Settings::default().with_idle_timeout(Some(timeout))).await;
    let started = tokio::time::Instant::now();
    while started.elapsed() < timeout.mul_f32(1.5) {
        user.write_all(b".").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'.');
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!session.is_finished());
}

#[tokio::test]
async fn a_dropped_session_closes_both_sockets() {
    let (mut user, mut server, session) = session(None, Settings::default()).await;
    greet(&mut user, &mut server).await;
    session.abort();
    assert_eq!(user.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn only_what_the_client_does_not_take_is_held_and_only_so_long() {
    let (mut user, client) = pair(Some(4096)).await;
    let (mut server, upstream) = pair(None).await;
    let mut relay = Relay::new(client, upstream, &Settings::default());
    assert_eq!(relay.held_bytes(), 0);
    // Until nothing moves any more.
    let (block, mut rests) = (vec![1; MIB], false);
    while !(rests && relay.held_bytes() > 0) {
        rests = tokio::select! {
            _ = &mut relay => unreachable!("nobody ended"),
            outcome = server.write(&block) => outcome.map(|_| false).unwrap(),
            () = tokio::time::sleep(Duration::from_millis(100)) => true,
        };
    }
    let held = relay.held_bytes();
    assert!(held > 0 && held <= 512 * 1024, "{held}");
    drop(server);
    let mut rest = Vec::new();
    tokio::select! {
        relayed = &mut relay => unreachable!("{relayed:?}: the user did not end"),
        outcome = user.read_to_end(&mut rest) => assert!(outcome.unwrap() > 0),
    }
    assert_eq!(relay.held_bytes(), 0);
    drop(user);
    assert_eq!(pin!(relay).await.to_client_bytes, rest.len() as u64);
}

#[test]
fn a_session_is_small_and_moves_between_threads() {
    fn assert_send<T: Send + 'static>(_: &T) {}
    let _ = |relay: Relay| assert_send(&relay);
    assert!(size_of::<Relay>() <= 152, "{}", size_of::<Relay>());
}

#[tokio::test]
async fn a_preface_goes_first_although_nobody_speaks_and_is_not_counted() {
    let (mut user, client) = pair(None).await;
    let (mut server, upstream) = pair(None).await;
    let relay = Relay::new(client, upstream, &Settings::default()).with_preface(b"first ");
    let session = tokio::spawn(relay);
    let mut heard = [0; 6];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"first ");
    user.write_all(b"then").await.unwrap();
    user.shutdown().await.unwrap();
    let mut rest = String::new();
    server.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "then");
    drop((user, server));
    assert_eq!(end_of(session).await.to_upstream_bytes, 4);
}

#[tokio::test]
async fn a_preface_that_the_backend_takes_bit_by_bit_still_comes_before_the_client() {
    let (mut user, client) = pair(Some(4096)).await;
    let (mut server, upstream) = pair(Some(4096)).await;
    let preface = vec![b'p'; MIB];
    let session = tokio::spawn(Relay::new(client, upstream, &Settings::default()).with_preface(&preface));
    user.write_all(b"then").await.unwrap();
    user.shutdown().await.unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert!(heard[..MIB] == preface[..] && &heard[MIB..] == b"then");
    drop((user, server));
    assert_eq!(end_of(session).await.to_upstream_bytes, 4);
}

/// Says what it can until nobody takes any of it.
async fn flood(stream: &mut TcpStream) {
    let block = vec![7; 64 * 1024];
    while tokio::time::timeout(Duration::from_millis(200), stream.write_all(&block)).await.is_ok() {}
}

#[tokio::test]
async fn what_a_backend_says_to_a_lost_client_does_not_keep_it_from_hearing_the_rest() {
    let (mut user, server, session) = session(Some(4096), Settings::default()).await;
    let echo = tokio::spawn(async move {
        let (mut hears, mut says) = server.into_split();
        tokio::io::copy(&mut hears, &mut says).await
    });
    flood(&mut user).await;
    reset(user);
    let relayed = end_of(session).await;
    assert_eq!(relayed.end, End::ClientReset);
    assert!(relayed.to_client_bytes < relayed.to_upstream_bytes, "{relayed:?}");
    assert_eq!(echo.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_a_client_says_to_a_lost_backend_does_not_keep_it_from_hearing_the_rest() {
    let (user, mut server, session) = session(Some(4096), Settings::default()).await;
    let echo = tokio::spawn(async move {
        let (mut hears, mut says) = user.into_split();
        tokio::io::copy(&mut hears, &mut says).await
    });
    flood(&mut server).await;
    reset(server);
    assert_eq!(end_of(session).await.end, End::UpstreamReset);
    assert_eq!(echo.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_takes_none_of_the_last_words_is_not_waited_for() {
    let (mut user, mut server, session) = session(Some(4096), Settings::default()).await;
    flood(&mut user).await;
    reset(user);
    // Only now it is seen that the client is lost.
    server.write_all(b"!").await.unwrap();
    tokio::time::pause();
    let relayed = tokio::time::timeout(Duration::from_secs(60), session).await.expect("the session goes on").unwrap();
    assert_eq!(relayed.end, End::ClientReset);
}
