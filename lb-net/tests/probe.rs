//! Probes, each by itself, on real sockets and with a real shell.
#![cfg(all(feature = "probe", feature = "tcp"))]
#![allow(clippy::unwrap_used)]

#[path = "support/checks.rs"]
mod checks;
mod support;

use std::{fs, net::IpAddr, path::PathBuf, time::Duration};

use checks::*;
use lb_core::{
    Health,
    health::{Said, Share},
};
use lb_net::probe::{Answer, Exec, Expect, Http, Monitor, Probe, StatusSet, Target, Tcp};
use support::{Manner, Refusing, Stub, eventually, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn a_connect_passes_where_somebody_listens() {
    let (stub, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    assert_eq!(Tcp::default().probe(&target(stub.address)).await, Answer::Passed);
    let refused = Tcp::default().probe(&target(refusing.address)).await;
    assert_eq!(refused, Answer::Silent("connection refused".into()));
}

#[tokio::test]
async fn connections_come_from_the_source_address() {
    let listener = TcpListener::bind(support::loopback()).await.unwrap();
    let (address, source): (_, IpAddr) = (listener.local_addr().unwrap(), "127.0.0.9".parse().unwrap());
    let spec = spec("connect");
    let balancer = over(&[address], &spec);
    let running = Running::of(Monitor::new(&spec, Duration::from_secs(5), Some(source)), &balancer);
    let (_, peer) = soon(listener.accept()).await.unwrap();
    assert_eq!(peer.ip(), source);
    running.stop().await;
    let nobody = Http::new("/").with_source("192.0.2.1".parse().unwrap()).probe(&target(address)).await;
    assert!(matches!(nobody, Answer::Inconclusive(_)), "an address that we do not have: {nobody:?}");
}

#[tokio::test]
async fn http_judges_the_status_and_the_body() {
    let http = Http::new("/");
    let up = || Http::new("/").with_expect("UP");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n UP\r\n";
    assert_eq!(ask(&http, ok).await, Answer::Passed);
    assert_eq!(ask(&up(), ok).await, Answer::Passed);
    assert_eq!(ask(&http, "HTTP/1.1 204 No Content\r\n\r\n").await, Answer::Passed);
    assert_eq!(ask(&http, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await, failed("status 302"));
    let status: StatusSet = "302".parse().unwrap();
    let found = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(&Http::new("/").with_status(status), found).await, Answer::Passed);
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nSTARTING\n";
    assert_eq!(ask(&up(), other).await, failed("it says 'STARTING' instead of 'UP'"));
    let error = "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nUP";
    assert_eq!(ask(&up(), error).await, failed("status 500"));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nU\r\n1\r\nP\r\n0\r\n\r\n";
    assert_eq!(ask(&up(), chunked).await, Answer::Passed);
    assert_eq!(ask(&up(), "HTTP/1.0 200 OK\r\n\r\nUP\n").await, Answer::Passed);
}

fn up(percent: u8, reason: Option<&str>) -> Answer {
    said(Said::Up(Share::percent(percent).unwrap()), reason)
}

fn said(word: Said, reason: Option<&str>) -> Answer {
    Answer::Said(word, reason.map(str::to_owned))
}

#[tokio::test]
async fn the_applications_word_counts_and_being_up_needs_a_good_status() {
    let rows = [
        ("UP\n", Answer::Passed),
        ("UP 40%", up(40, None)),
        ("40%", up(40, None)),
        ("UP: warm", up(100, Some("warm"))),
        (" UP 7%: can't do more \r\n", up(7, Some("can't do more"))),
        ("0%", said(Said::Drain, None)),
        ("DRAIN", said(Said::Drain, None)),
        ("\u{feff}UP\0", Answer::Passed),
        ("DOWN\n", said(Said::Down, None)),
        ("DOWN: no database\r\nand more of it\n", said(Said::Down, Some("no database"))),
        ("DOWN: \x1b[2Jgone", said(Said::Down, Some("\\u{1b}[2Jgone"))),
        ("MAINT: new disks", said(Said::Maintenance, Some("new disks"))),
    ];
    for (body, expected) in rows {
        let answer = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for probe in [Http::new("/"), Http::new("/").with_expect("UP")] {
            assert_eq!(ask(&probe, &answer("200 OK")).await, expected, "{body:?}");
            let is_up = matches!(expected, Answer::Passed | Answer::Said(Said::Up(_), _));
            let expected = if is_up { failed("status 503") } else { expected.clone() };
            assert_eq!(ask(&probe, &answer("503 Service Unavailable")).await, expected, "{body:?}");
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_a_word_says_nothing() {
    for body in ["DOWNTOWN", "down", "UP40%", "101%", "DOWN\nUP", "<p>DOWN</p>"] {
        let page = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(ask(&Http::new("/"), &page).await, Answer::Passed, "{body:?}");
        let expecting = ask(&Http::new("/").with_expect("UP"), &page).await;
        assert!(matches!(&expecting, Answer::Failed(why) if why.ends_with("' instead of 'UP'")), "{expecting:?}");
    }
}

#[tokio::test]
async fn a_part_of_the_body_may_be_enough() {
    let ready = || Http::new("/").with_expect(Expect::Part("\"ready\"".into()));
    let page = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(ask(&ready(), &page("{\"state\": \"ready\"}\n")).await, Answer::Passed);
    assert_eq!(ask(&ready(), &page("{\"state\": 5}")).await, failed("it says '{\"state\": 5}' without '\"ready\"'"));
    assert_eq!(ask(&ready(), &page("")).await, failed("it says nothing without '\"ready\"'"));
    assert_eq!(ask(&ready(), &page("UP 40%")).await, failed("it says 'UP 40%' without '\"ready\"'"));
    let share = Http::new("/").with_expect(Expect::Part("UP".into()));
    assert_eq!(ask(&share, &page("UP 40%")).await, up(40, None));
    let oops = "HTTP/1.1 500 Oops\r\nContent-Length: 7\r\n\r\n\"ready\"";
    assert_eq!(ask(&ready(), oops).await, failed("status 500"));
}

#[tokio::test]
async fn the_request_names_the_host_and_the_headers_that_it_was_told_to() {
    let (address, mut requests) = serve(&[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], false).await;
    let text = r"http=/:host=www.example\:81:header=X-Probe\: lb:header=X-Probe\: é\:2:header=user-agent\: me";
    let running = Running::new(text, &over(&[address], &spec(text)));
    let request = soon(requests.recv()).await.unwrap();
    let lines: Vec<&str> = request.trim_end().split("\r\n").collect();
    assert_eq!(
        lines,
        [
            "GET / HTTP/1.1",
            "Host: www.example:81",
            "Accept: */*",
            "X-Probe: lb",
            "X-Probe: é:2",
            "user-agent: me",
            "Connection: close",
        ]
    );
    running.stop().await;
}

#[tokio::test]
async fn http_asks_with_the_backends_name_on_a_connection_of_its_own() {
    let (address, mut requests) = serve(&[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], false).await;
    let target = Target::new("alpha:http", address);
    assert_eq!(Http::new("/health?full=1").probe(&target).await, Answer::Passed);
    assert_eq!(Http::new("a b\r\nX: é").probe(&target).await, Answer::Passed);
    let request = requests.recv().await.unwrap();
    assert!(requests.recv().await.unwrap().starts_with("GET /a%20b%0D%0AX:%20%C3%A9 HTTP/1.1\r\n"));
    let lines: Vec<&str> = request.split("\r\n").collect();
    assert_eq!(lines[0], "GET /health?full=1 HTTP/1.1");
    assert_eq!(lines[1], format!("Host: alpha:{}", address.port()));
    assert!(lines.contains(&"Connection: close"), "{request}");
}

#[tokio::test]
async fn an_answer_may_dribble_and_its_connection_is_closed_by_the_check() {
    let listener = TcpListener::bind(support::loopback()).await.unwrap();
    let target = target(listener.local_addr().unwrap());
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nUP 40%: so so\n";
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        request(&mut stream).await;
        for byte in answer.chunks(1) {
            stream.write_all(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        // It would keep the connection for more.
        stream.read(&mut [0]).await.unwrap()
    };
    let probe = Http::new("/").with_expect("UP");
    let (answer, more) = soon(async { tokio::join!(probe.probe(&target), server) }).await;
    assert_eq!((answer, more), (up(40, Some("so so")), 0));
}

#[tokio::test]
async fn garbage_and_half_answers_fail() {
    let http = Http::new("/");
    assert_eq!(ask(&http, "220 mail.example ESMTP\r\n").await, failed("what it answers is not HTTP"));
    assert_eq!(ask(&http, "").await, failed("it closed the connection without an answer"));
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nUP";
    assert_eq!(ask(&http, half).await, failed("it closed the connection in the middle of its answer"));
    let (refusing, reset) = (Refusing::new(), Stub::new(Manner::Reset));
    let refused = http.probe(&target(refusing.address)).await;
    assert_eq!(refused, Answer::Silent("connection refused".into()));
    assert!(matches!(http.probe(&target(reset.address)).await, Answer::Failed(_)));
}

#[tokio::test]
async fn of_an_endless_answer_not_more_than_64_kib_are_read() {
    let page = vec![b'x'; 16 * 1024];
    let mut pieces: Vec<&[u8]> = vec![b"HTTP/1.1 200 OK\r\n\r\n"];
    pieces.resize(9, &page);
    let (address, _requests) = serve(&pieces, true).await;
    assert_eq!(soon(Http::new("/").probe(&target(address))).await, Answer::Passed);
    let expecting = soon(Http::new("/").with_expect("UP").probe(&target(address))).await;
    assert_eq!(expecting, failed("it says more than 64 KiB instead of 'UP'"));
    let part = |text: &str| Http::new("/").with_expect(Expect::Part(text.into()));
    assert_eq!(soon(part("xx").probe(&target(address))).await, Answer::Passed, "it was in what was read");
    let absent = soon(part("UP").probe(&target(address))).await;
    assert_eq!(absent, failed("it says more than 64 KiB without 'UP'"));
    pieces[0] = b"HTTP/1.1 200 OK\r\nX: ";
    let (address, _requests) = serve(&pieces, true).await;
    let endless_head = soon(Http::new("/").probe(&target(address))).await;
    assert_eq!(endless_head, failed("the head of its answer is longer than 64 KiB"));
}

#[tokio::test]
async fn an_http_server_that_dawdles_has_no_answer_in_time() {
    let (address, _requests) = serve(&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nU"], true).await;
    let spec = "http=/:timeout=0.1";
    let balancer = over(&[address], &self::spec(spec));
    let mut running = Running::new(spec, &balancer);
    let found = running.next().await;
    assert_eq!(
        (found.answer, &*found.reason),
        (Answer::Silent("no answer within 100ms".into()), "probe: http=/: no answer within 100ms")
    );
    eventually(|| health(&balancer, 0) == DOWN).await;
    running.stop().await;
}

#[tokio::test]
async fn a_command_is_judged_by_its_exit_status() {
    let target = target("127.0.0.1:4711".parse().unwrap());
    let run = async |probe: Exec| soon(probe.probe(&target)).await;
    assert_eq!(run(Exec::new("test %H = 127.0.0.1 -a %P = 4711 -a %% = '%%'")).await, Answer::Passed);
    assert_eq!(run(Exec::new("exit 3")).await, Answer::Silent("exit status 3".into()));
    assert_eq!(run(Exec::new("exit 3").with_pass([0, 3])).await, Answer::Passed);
    assert_eq!(run(Exec::new("exit 0").with_pass([3])).await, Answer::Silent("exit status 0".into()));
    assert_eq!(run(Exec::new("no-such-command-here")).await, Answer::Silent("exit status 127".into()));
    assert_eq!(run(Exec::new("kill -9 $$")).await, Answer::Inconclusive("killed by signal 9".into()));
}

#[tokio::test]
async fn a_command_that_prints_and_reads_does_not_fail() {
    let target = target("127.0.0.1:1".parse().unwrap());
    let talkative = "echo out && echo err >&2 && cat && head -c 300000 /dev/zero";
    assert_eq!(soon(Exec::new(talkative).probe(&target)).await, Answer::Passed);
    let nowhere = r#"for fd in 0 1 2; do test "$(readlink /proc/$$/fd/$fd)" = /dev/null || exit 1; done"#;
    assert_eq!(soon(Exec::new(nowhere).probe(&target)).await, Answer::Passed);
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_it_has_started() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let text = format!("command={}:timeout=0.3", hung(&scratch));
    let balancer = over(&[stub.address], &spec(&text));
    let mut running = Running::new(&text, &balancer);
    let pids = scratch.words("pids", 2).await;
    assert!(pids.iter().all(|pid| is_alive(*pid)), "it hangs");
    let found = running.next().await;
    assert_eq!(found.reason, "probe: command: no answer within 300ms");
    eventually(|| !pids.iter().any(|pid| is_alive(*pid))).await;
    // And not as a zombie of ours either.
    eventually(|| !PathBuf::from(format!("/proc/{}", pids[0])).exists()).await;
    running.stop().await;
}

#[tokio::test]
async fn no_command_survives_the_monitor() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let text = format!("command={}:timeout=100", hung(&scratch));
    let balancer = over(&[stub.address], &spec(&text));
    let running = Running::new(&text, &balancer);
    let pids = scratch.words("pids", 2).await;
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    running.stop().await;
    eventually(|| !pids.iter().any(|pid| is_alive(*pid))).await;
    assert_eq!(health(&balancer, 0), Health::Up, "a check that was broken off says nothing");
}

#[tokio::test]
async fn what_a_command_leaves_behind_on_purpose_goes_on() {
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let restart = format!("(until test -e {go}; do sleep 0.01; done; echo 1 > {}) &", scratch.file("done"));
    assert_eq!(soon(Exec::new(restart).probe(&target("127.0.0.1:1".parse().unwrap()))).await, Answer::Passed);
    fs::write(go, "").unwrap();
    assert_eq!(scratch.words("done", 1).await, [1]);
}
