//! However a request ends, the next one begins behind its body.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use lb_net::connect::{Connect, Dialer};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tokio::net::TcpStream;

use crate::{
    AFTER, SMUGGLED,
    http_support::Front,
    telling,
    wire::{Backend, End, answer, show},
};

/// As many bytes of requests as asked for.
fn smuggled(length: usize) -> String {
    SMUGGLED.chars().cycle().take(length).collect()
}

fn by_length(body: &str) -> String {
    format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn in_chunks(body: &str, size: usize) -> String {
    let chunks: String = body
        .as_bytes()
        .chunks(size)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    format!("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

/// Says it together with another request, and no more: as many answers come as there are requests, or the connection ends
/// where it was told to.
fn is_one_request(front: &Front, request: &str) {
    let mut client = front.client();
    client.say(format!("{request}{AFTER}")).finish();
    let (end, heard) = client.rest();
    let heard = show(&heard);
    let (answers, ends) = (heard.matches("HTTP/1.1 ").count(), heard.matches("onnection: close").count());
    assert_ne!(end, End::Hung);
    assert!(answers == 2 || (answers == 1 && ends == 1), "{} bytes: {answers} answers: {heard}", request.len());
}

/// Where what is at hand is more, with the new head, than one buffer takes.
fn sizes() -> impl Iterator<Item = usize> {
    [0, 1, 20_000].into_iter().chain((32_500..32_900).step_by(23)).chain([40_000, 65_400, 65_600])
}

#[test]
fn an_answer_of_our_own_is_not_followed_by_answers_to_the_body() {
    let gone = Backend::new(telling);
    gone.refuse();
    let front = Front::new(&gone.word());
    for size in sizes() {
        let body = smuggled(size);
        is_one_request(&front, &by_length(&body));
        for chunk in [size.max(1), 5_000] {
            is_one_request(&front, &in_chunks(&body, chunk));
        }
    }
}

#[test]
fn the_rest_of_a_body_that_is_too_large_is_no_request() {
    let backend = Backend::new(telling);
    let front = Front::with(&backend.word(), |settings| settings.limits.body_bytes = Some(1000));
    let (taken, over) = ("a".repeat(980), smuggled(SMUGGLED.len()));
    let mut client = front.client();
    let length = taken.len() + over.len();
    client.say(format!("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{taken}"));
    backend.wait("what is no more than allowed", |seen| seen.bytes.iter().any(|bytes| bytes.ends_with(b"a\r\n")));
    client.say(format!("{over}\r\n0\r\n\r\n{AFTER}")).finish();
    let (_, heard) = client.rest();
    let heard = show(&heard);
    assert!(heard.starts_with("HTTP/1.1 413") && heard.matches("HTTP/1.1 ").count() == 1, "{heard}");
    assert!(heard.contains("onnection: close"), "{heard}");
    drop(front);
    assert_eq!(backend.look(|seen| seen.connections), 1, "nothing came but the first");
}

/// Connections that take hardly anything of which nobody reads.
struct Narrow;

#[async_trait::async_trait]
impl Connect<SocketAddr> for Narrow {
    async fn connect(&self, backend: &SocketAddr) -> io::Result<TcpStream> {
        let stream = Dialer::default().connect(backend).await?;
        set_socket_send_buffer_size(&stream, 4096)?;
        Ok(stream)
    }
}

/// How much the system takes of which nobody reads is its own affair: of some of these bodies exactly the last piece is
/// at hand, and does not go on, when the answer comes.
#[test]
fn a_body_of_which_an_early_answer_wants_no_more_is_no_request() {
    const LAST: usize = 30_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let backend = Backend::on(listener, move |visit| {
        if visit.head()?.target() == "/after" {
            return visit.say(answer("after"));
        }
        thread::sleep(Duration::from_millis(200));
        visit.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")?;
        visit.finish();
        thread::sleep(Duration::from_millis(200));
        Ok(())
    });
    let front = Front::connecting(&backend.word(), Arc::new(Narrow));
    let ask = |size: usize| {
        let (mut client, request) = (front.client(), by_length(&smuggled(size)));
        let (most, last) = request.split_at(request.len() - LAST);
        client.say(most);
        thread::sleep(Duration::from_millis(100));
        client.say(last).say(AFTER).finish();
        let (_, heard) = client.rest();
        let heard = show(&heard);
        let (_, behind) = heard.split_once("\\r\\n\\r\\nno").unwrap_or_else(|| panic!("{size}: {heard}"));
        assert!(heard.starts_with("HTTP/1.1 403"), "{size}: {heard}");
        assert!(behind.is_empty() || behind.ends_with("\\r\\n\\r\\nafter"), "{size}: {heard}");
    };
    thread::scope(|scope| (LAST..120_000).step_by(5_000).for_each(|size| drop(scope.spawn(move || ask(size)))));
    drop(front);
    let firsts = backend.firsts();
    assert!(firsts.iter().all(|first| !first.contains("smuggled")), "{firsts:?}");
}
