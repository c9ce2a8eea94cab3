//! Checks that say a line of a protocol and listen for another, on real sockets.
#![cfg(all(feature = "probe", feature = "tcp"))]
#![allow(clippy::unwrap_used)]

#[path = "support/checks.rs"]
mod checks;
mod support;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use checks::*;
use lb_core::health::{Said, Share};
use lb_net::probe::{Answer, Exchange, Expect, Monitor, Probe};
use support::{Manner, Refusing, Stub, eventually, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What a server does when all is said.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Closes,
    Waits,
    /// Says the last of it again and again.
    Goes,
}

/// A server that reads so many bytes of each client, and tells of them; then it says these pieces one by one.
async fn server(reads: usize, pieces: &[&[u8]], then: Then) -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind(support::loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut waiting: Vec<TcpStream> = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = vec![0; reads];
            stream.read_exact(&mut heard).await.unwrap();
            let _ = tell.send(heard);
            stream.set_nodelay(true).unwrap();
            for piece in &pieces {
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            while then == Then::Goes && stream.write_all(pieces.last().unwrap()).await.is_ok() {}
            waiting.extend((then == Then::Waits).then_some(stream));
        }
    });
    (address, told)
}

fn whole(text: &str) -> Exchange {
    Exchange::default().with_expect(text)
}

fn part(text: &str) -> Exchange {
    Exchange::default().with_expect(Expect::Part(text.into()))
}

/// What comes of it when the server says these pieces at once.
async fn greeted(probe: &Exchange, pieces: &[&[u8]], then: Then) -> Answer {
    let (address, _told) = server(0, pieces, then).await;
    soon(probe.probe(&target(address))).await
}

#[tokio::test]
async fn what_is_sent_is_heard_and_the_answer_judged_although_nobody_closes() {
    let (address, mut told) = server(6, &[b"+PO", b"NG\r\n"], Then::Waits).await;
    for probe in [whole("+PONG"), part("PONG"), Exchange::default()] {
        let probe = probe.with_send("PING\r\n");
        assert_eq!(soon(probe.probe(&target(address))).await, Answer::Passed, "{probe:?}");
        assert_eq!(told.recv().await.unwrap(), b"PING\r\n");
    }
    let other = whole("+OK").with_send("PING\r\n");
    assert_eq!(soon(other.probe(&target(address))).await, failed("it says '+PONG' instead of '+OK'"));
}

#[tokio::test]
async fn a_greeting_passes_as_soon_as_it_has_the_part() {
    assert_eq!(greeted(&part("220 "), &[b"220 mail.example ESMTP\r\n"], Then::Waits).await, Answer::Passed);
    assert_eq!(greeted(&part("220 "), &[b"220-hello\r\n", b"22", b"0", b" go"], Then::Waits).await, Answer::Passed);
    let refused = greeted(&part("220 "), &[b"554 no\r\n"], Then::Closes).await;
    assert_eq!(refused, failed("it says '554 no' without '220 '"));
}

#[tokio::test]
async fn an_agent_says_how_the_application_is() {
    let rows: [(&[&[u8]], Answer); 8] = [
        (&[b"UP\n"], Answer::Passed),
        (&[b"U", b"P", b" ", b"4", b"0%", b"\n"], Answer::Said(Said::Up(Share::percent(40).unwrap()), None)),
        (&[b"\r\n", b"40%\r\n", b"more\n"], Answer::Said(Said::Up(Share::percent(40).unwrap()), None)),
        (&[b"DRAIN\n"], Answer::Said(Said::Drain, None)),
        (&[b"MAINT: disks\n"], Answer::Said(Said::Maintenance, Some("disks".into()))),
        (&[b"DOWN", b": no database", b"\n"], Answer::Said(Said::Down, Some("no database".into()))),
        (&[b"DOWNTOWN\n"], failed("it says 'DOWNTOWN' instead of 'UP'")),
        (&[b"up\n"], failed("it says 'up' instead of 'UP'")),
    ];
    for (pieces, expected) in rows {
        for then in [Then::Waits, Then::Closes] {
            assert_eq!(greeted(&whole("UP"), pieces, then).await, expected, "{pieces:?}");
        }
    }
    let any = Exchange::default();
    assert_eq!(greeted(&any, &[b"DOWN\n"], Then::Waits).await, Answer::Said(Said::Down, None));
    assert_eq!(greeted(&any, &[b"whatever\n"], Then::Waits).await, Answer::Passed);
}

#[tokio::test]
async fn who_closes_has_said_all() {
    assert_eq!(greeted(&whole("UP"), &[b"UP"], Then::Closes).await, Answer::Passed);
    assert_eq!(greeted(&whole("UP"), &[b"U"], Then::Closes).await, failed("it says 'U' instead of 'UP'"));
    assert_eq!(greeted(&part("PONG"), &[b"+PON"], Then::Closes).await, failed("it says '+PON' without 'PONG'"));
    for probe in [whole("UP"), part("UP"), Exchange::default().with_send("x")] {
        let nothing = greeted(&probe, &[], Then::Closes).await;
        // What was sent to it and not read makes a reset of its end.
        let resets = Answer::Failed("connection reset by peer".into());
        assert!([failed("it closed the connection without an answer"), resets].contains(&nothing), "{nothing:?}");
    }
    let lines = "220-one\r\n220 two";
    assert_eq!(
        greeted(&whole(lines), &[b"220-one\r\n", b"220 two\r\n250 three\r\n"], Then::Waits).await,
        Answer::Passed
    );
}

#[tokio::test]
async fn of_a_flood_not_more_than_4_kib_are_read() {
    let flood = [b'x'; 1000];
    assert_eq!(greeted(&part("UP"), &[&flood], Then::Goes).await, failed("it says more than 4 KiB without 'UP'"));
    assert_eq!(greeted(&whole("UP"), &[&flood], Then::Goes).await, failed("it says more than 4 KiB instead of 'UP'"));
    assert_eq!(greeted(&whole("UP"), &[b"UP\n"], Then::Goes).await, Answer::Passed);
    let late = [&flood[..], &flood, &flood, &flood, &flood, b"UP"];
    assert_eq!(greeted(&part("UP"), &late, Then::Waits).await, failed("it says more than 4 KiB without 'UP'"));
}

#[tokio::test]
async fn garbage_is_told_on_one_line() {
    let garbage = greeted(&whole("UP"), &[b"\x00\xff\x1b[2J\x07'\n"], Then::Waits).await;
    assert_eq!(garbage, failed("it says '\\0\u{fffd}\\u{1b}[2J\\u{7}'' instead of 'UP'"));
    let (refusing, reset) = (Refusing::new(), Stub::new(Manner::Reset));
    let refused = whole("UP").probe(&target(refusing.address)).await;
    assert_eq!(refused, Answer::Silent("connection refused".into()));
    assert!(matches!(whole("UP").probe(&target(reset.address)).await, Answer::Failed(_)));
}

#[tokio::test]
async fn when_its_time_is_over_what_was_said_until_then_is_told() {
    let patience = Duration::from_millis(50);
    let part = part("PONG").with_patience(patience);
    let loading = greeted(&part, &[b"-LOADING\r\n"], Then::Waits).await;
    assert_eq!(loading, failed("it says '-LOADING' without 'PONG'"));
    assert_eq!(greeted(&part, &[], Then::Waits).await, Answer::Silent("no answer within 50ms".into()));
    let unended = whole("UP").with_patience(patience);
    assert_eq!(
        greeted(&unended, &[b"UP 4%"], Then::Waits).await,
        Answer::Said(Said::Up(Share::percent(4).unwrap()), None)
    );
    let deaf = whole("UP").with_send(vec![b'x'; 16 << 20]).with_patience(patience);
    assert_eq!(greeted(&deaf, &[], Then::Waits).await, Answer::Silent("no answer within 50ms".into()));
}

#[tokio::test]
async fn a_monitor_talks_from_its_source_and_tells_what_it_heard() {
    let (address, mut told) = server(6, &[b"-LOADING\r\n"], Then::Waits).await;
    let text = r"connect:send=PING\r\n:contains=PONG:timeout=0.1";
    let balancer = over(&[address], &spec(text));
    let mut running = Running::new(text, &balancer);
    assert_eq!(soon(told.recv()).await.unwrap(), b"PING\r\n");
    assert_eq!(running.next().await.reason, "probe: connect: it says '-LOADING' without 'PONG'");
    eventually(|| health(&balancer, 0) == DOWN).await;
    running.stop().await;

    let listener = TcpListener::bind(support::loopback()).await.unwrap();
    let (address, source): (_, IpAddr) = (listener.local_addr().unwrap(), "127.0.0.9".parse().unwrap());
    let spec = spec("connect:expect=UP");
    let running = Running::of(Monitor::new(&spec, Duration::from_secs(5), Some(source)), &over(&[address], &spec));
    let (_stream, peer) = soon(listener.accept()).await.unwrap();
    assert_eq!(peer.ip(), source);
    running.stop().await;
}
