//! Probes and the monitor, on real sockets and with a real shell.
#![cfg(all(feature = "probe", feature = "tcp"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Cause, Config, EventKind, GroupConfig, Health, Outcome, Request, Start, Status,
    rand::{SeedableRng, rngs::SmallRng},
};
use lb_net::{
    connect::Addresses,
    probe::{Answer, Check, Exec, Finding, Http, Monitor, MonitorSpec, Probe, StatusSet, Switch, Target, Tcp},
};
use support::{Front, Manner, Refusing, Silent, Stub, balancer, eventually, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

const DOWN: Health = Health::Down(Cause::Silent);

fn target(address: SocketAddr) -> Target {
    Target::new("alpha", address)
}

fn spec(text: &str) -> MonitorSpec {
    text.parse().unwrap()
}

/// A balancer over these backends, in one group.
fn over(addresses: &[SocketAddr], spec: &MonitorSpec) -> Arc<Balancer<SocketAddr>> {
    balancer(config(addresses).with_probes(spec.policy()))
}

fn config(addresses: &[SocketAddr]) -> Config {
    let backends = addresses.iter().map(|address| BackendConfig::new(address.to_string()));
    Config::default().with_start(Start::First).with_group(GroupConfig::new(backends))
}

fn health(balancer: &Balancer<SocketAddr>, at: usize) -> Health {
    balancer.stats().backends[at].health
}

/// A monitor that runs, and what it finds.
struct Running {
    task: JoinHandle<()>,
    findings: mpsc::UnboundedReceiver<Finding>,
    switch: Switch,
}

impl Running {
    fn new(text: &str, balancer: &Arc<Balancer<SocketAddr>>) -> Self {
        Self::of(Monitor::new(&spec(text), Duration::from_secs(5), None), balancer)
    }

    fn of(monitor: Monitor, balancer: &Arc<Balancer<SocketAddr>>) -> Self {
        let (heard, findings) = mpsc::unbounded_channel();
        let monitor = monitor.with_trace(move |finding| drop(heard.send(finding.clone())));
        let switch = monitor.switch();
        let task = tokio::spawn(monitor.run(Arc::clone(balancer), Addresses::all_addresses));
        Self { task, findings, switch }
    }

    async fn next(&mut self) -> Finding {
        soon(self.findings.recv()).await.unwrap()
    }

    /// Drops it, as a shutdown does.
    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A directory of this test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lb-probe-{}-{}", process::id(), NEXT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The words of a file that a command writes, once they are all there.
    async fn words(&self, name: &str, count: usize) -> Vec<u32> {
        let read = || fs::read_to_string(self.0.join(name)).unwrap_or_default();
        eventually(|| read().ends_with('\n') && read().split_whitespace().count() >= count).await;
        read().split_whitespace().map(|word| word.parse().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a process does anything any more; one that only waits to be reaped does not.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| !"ZX".contains(state))
}

/// A command that hangs, and so does what it has started.
fn hung(scratch: &Scratch) -> String {
    format!("sleep 1000 & echo $$ $! > {}; wait", scratch.file("pids"))
}

/// A server that answers each request with these pieces, and then closes, or stays silent.
async fn serve(pieces: &[&[u8]], then_silent: bool) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind(support::loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let (heard, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = heard.send(request(&mut stream).await);
            for piece in &pieces {
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if then_silent {
                silent.push(stream);
            }
        }
    });
    (address, requests)
}

async fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(request).unwrap()
}

async fn ask(probe: &Http, answer: &str) -> Answer {
    let (address, _requests) = serve(&[answer.as_bytes()], false).await;
    soon(probe.probe(&target(address))).await
}

fn failed(reason: &str) -> Answer {
    Answer::Failed(reason.into())
}

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

#[tokio::test]
async fn down_is_the_applications_word_whatever_the_status() {
    for status in ["200 OK", "503 Service Unavailable"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nDOWN\n");
        assert_eq!(ask(&Http::new("/").with_expect("UP"), &answer).await, Answer::SaidDown);
        assert_eq!(ask(&Http::new("/"), &answer).await, Answer::SaidDown);
    }
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nDOWNTOWN\n";
    assert_eq!(ask(&Http::new("/"), page).await, Answer::Passed, "a page that only begins so says nothing");
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

#[tokio::test]
async fn twenty_silent_backends_take_one_timeout() {
    let silent: Vec<Silent> = (0..20).map(|_| Silent::new()).collect();
    let addresses: Vec<SocketAddr> = silent.iter().map(|silent| silent.address).collect();
    let text = "connect:timeout=0.5";
    let balancer = over(&addresses, &spec(text));
    let begin = Instant::now();
    let running = Running::new(text, &balancer);
    eventually(|| balancer.stats().backends.iter().all(|backend| backend.health == DOWN)).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_millis(500) && passed < Duration::from_secs(5), "{passed:?}");
    running.stop().await;
}

#[tokio::test]
async fn twenty_hung_commands_take_one_timeout_and_other_backends_wait_for_none() {
    let stubs: Vec<Stub> = (0..21).map(|_| Stub::new(Manner::Echo)).collect();
    let addresses: Vec<SocketAddr> = stubs.iter().map(|stub| stub.address).collect();
    let well = addresses[20];
    let text = format!("command=test %P = {} || sleep 1000:timeout=1", well.port());
    let balancer = over(&addresses, &spec(&text));
    let begin = Instant::now();
    let mut running = Running::new(&text, &balancer);
    assert_eq!(running.next().await.backend, well.to_string(), "it has not waited for those that hang");
    for _ in 0..20 {
        assert_eq!(running.next().await.reason, "probe: command: no answer within 1s");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    running.stop().await;
}

#[tokio::test]
async fn the_first_round_is_at_once_and_the_next_an_interval_later() {
    let refusing = Refusing::new();
    let balancer = over(&[refusing.address], &spec("connect"));
    let running = Running::new("connect:interval=60", &balancer);
    eventually(|| health(&balancer, 0) == DOWN).await;
    running.stop().await;
    let (scratch, begin) = (Scratch::new(), Instant::now());
    // Its second round begins one interval after the start, not after the end, of the first.
    let text = format!("command=echo 1 >> {}; sleep 0.4:interval=0.5", scratch.file("rounds"));
    let running = Running::new(&text, &balancer);
    scratch.words("rounds", 3).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_secs(1) && passed < Duration::from_millis(1700), "{passed:?}");
    running.stop().await;
}

#[tokio::test]
async fn checks_slower_than_the_interval_delay_only_their_own_backend() {
    let (silent, stub) = (Silent::new(), Stub::new(Manner::Echo));
    let text = "connect:timeout=5:interval=0.05";
    let balancer = over(&[silent.address, stub.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    for _ in 0..5 {
        assert_eq!(running.next().await.backend, stub.address.to_string());
    }
    running.stop().await;
}

#[tokio::test]
async fn the_checks_of_a_backend_are_made_in_order_and_the_first_that_fails_decides() {
    let (stub, refusing, scratch) = (Stub::new(Manner::Echo), Refusing::new(), Scratch::new());
    let text = format!("connect:command=echo %P >> {}; exit 7:interval=60", scratch.file("ran"));
    let balancer = over(&[refusing.address, stub.address], &spec(&text));
    let mut running = Running::new(&text, &balancer);
    let mut reasons = [running.next().await.reason, running.next().await.reason];
    reasons.sort();
    assert_eq!(reasons, ["probe: command: exit status 7", "probe: connect: connection refused"]);
    assert_eq!(scratch.words("ran", 1).await, [u32::from(stub.address.port())], "the other has skipped the rest");
    running.stop().await;
}

#[tokio::test]
async fn a_backend_that_dies_is_out_after_its_first_failed_check_and_back_after_its_first_good_one() {
    let stub = Stub::new(Manner::Echo);
    let text = "connect:interval=0.05";
    let balancer = over(&[stub.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    assert_eq!(running.next().await.answer, Answer::Passed);
    assert_eq!(health(&balancer, 0), Health::Up);
    let address = stub.kill().await;
    while running.next().await.answer == Answer::Passed {}
    eventually(|| health(&balancer, 0) == DOWN).await;
    let _stub = Stub::at(address, Manner::Echo);
    while running.next().await.answer != Answer::Passed {}
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
}

#[tokio::test]
async fn every_change_comes_with_its_reason() {
    let refusing = Refusing::new();
    let text = "connect:interval=0.05";
    let balancer = over(&[refusing.address], &spec(text));
    balancer.record_events();
    let running = Running::new(text, &balancer);
    eventually(|| health(&balancer, 0) == DOWN).await;
    let _stub = refusing.revive(Manner::Echo);
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
    let changes = balancer.take_events().into_iter().filter_map(|event| match event.kind {
        EventKind::Health { to, reason, .. } => Some((to, reason)),
        _ => None,
    });
    let expected = [(DOWN, "probe: connect: connection refused".into()), (Health::Up, "probe: passed".into())];
    assert_eq!(changes.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn rise_and_fall_count_rounds() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let text = format!("command=test -e {}:interval=0.05:rise=2:fall=3", scratch.file("well"));
    let balancer = over(&[stub.address], &spec(&text));
    let seen: Arc<Mutex<Vec<(bool, Health)>>> = Arc::default();
    let monitor = Monitor::new(&spec(&text), Duration::from_secs(5), None);
    // What each finding finds: the health before it counts.
    let (before, noted) = (Arc::clone(&balancer), Arc::clone(&seen));
    let monitor = monitor.with_trace(move |found| {
        noted.lock().unwrap().push((found.answer == Answer::Passed, health(&before, 0)));
    });
    let task = tokio::spawn(monitor.run(Arc::clone(&balancer), Addresses::all_addresses));
    eventually(|| health(&balancer, 0) == DOWN).await;
    let bad = seen.lock().unwrap().iter().filter(|seen| **seen == (false, Health::Up)).count();
    assert_eq!(bad, 3);
    fs::write(scratch.0.join("well"), "").unwrap();
    eventually(|| health(&balancer, 0) == Health::Up).await;
    let good = seen.lock().unwrap().iter().filter(|seen| **seen == (true, DOWN)).count();
    assert_eq!(good, 2);
    task.abort();
}

#[tokio::test]
async fn what_the_application_says_counts_at_once() {
    let (address, _requests) = serve(&[b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nDOWN"], false).await;
    let text = "http=/:fall=5:interval=60";
    let balancer = over(&[address], &spec(text));
    let mut running = Running::new(text, &balancer);
    assert_eq!(running.next().await.reason, "probe: http=/: the application said DOWN");
    eventually(|| health(&balancer, 0) == Health::Down(Cause::Said)).await;
    running.stop().await;
}

/// Takes a backend down as balance's `-a` does.
fn disable_by_traffic(balancer: &Balancer<SocketAddr>) {
    let lease = balancer.pick(&Request::new(Instant::now()), &mut SmallRng::seed_from_u64(1)).unwrap();
    lease.finish(Outcome::ConnectFailed, Instant::now());
    assert_eq!(health(balancer, 0), DOWN);
}

#[tokio::test]
async fn noenable_looks_after_no_backend_that_is_down() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let text = "connect:noenable:interval=0.05";
    let config = config(&[a.address, b.address]).with_probes(spec(text).policy()).with_autodisable();
    let balancer = balancer(config);
    disable_by_traffic(&balancer);
    let mut running = Running::new(text, &balancer);
    for _ in 0..4 {
        assert_eq!(running.next().await.backend, b.address.to_string());
    }
    assert_eq!((health(&balancer, 0), a.seen.accepted()), (DOWN, 0));
    b.kill().await;
    eventually(|| health(&balancer, 1) == DOWN).await;
    running.stop().await;
    let running = Running::new("connect:interval=60", &balancer);
    eventually(|| health(&balancer, 0) == Health::Up).await;
    running.stop().await;
}

#[tokio::test]
async fn nodisable_looks_after_no_backend_that_is_up() {
    let (a, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:nodisable:interval=0.05";
    let config = config(&[a.address, refusing.address]).with_probes(spec(text).policy()).with_autodisable();
    let balancer = balancer(config);
    disable_by_traffic(&balancer);
    let mut running = Running::new(text, &balancer);
    assert_eq!(running.next().await.backend, a.address.to_string());
    eventually(|| health(&balancer, 0) == Health::Up).await;
    assert_eq!(health(&balancer, 1), Health::Up);
    running.stop().await;
}

#[tokio::test]
async fn noenable_holds_for_a_backend_that_went_down_during_its_check() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let go = scratch.file("go");
    let text = format!(
        "command=echo $$ > {}; until test -e {go}; do sleep 0.01; done:noenable:interval=60",
        scratch.file("pids")
    );
    let balancer = balancer(config(&[stub.address]).with_probes(spec(&text).policy()).with_autodisable());
    let mut running = Running::new(&text, &balancer);
    scratch.words("pids", 1).await;
    disable_by_traffic(&balancer);
    fs::write(go, "").unwrap();
    assert_eq!(running.next().await.answer, Answer::Passed);
    running.stop().await;
    assert_eq!(health(&balancer, 0), DOWN);
}

#[tokio::test]
async fn what_people_disabled_is_not_touched_and_what_drains_is_looked_at() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let text = "connect:interval=0.05";
    let balancer = over(&[a.address, b.address], &spec(text));
    let ids = balancer.stats().backends.iter().map(|backend| backend.id).collect::<Vec<_>>();
    balancer.set_status(ids[0], Status::Disabled, Instant::now()).unwrap();
    balancer.set_status(ids[1], Status::Draining, Instant::now()).unwrap();
    let mut running = Running::new(text, &balancer);
    for _ in 0..3 {
        assert_eq!(running.next().await.backend, b.address.to_string());
    }
    assert_eq!((a.seen.accepted(), balancer.stats().backends[0].status), (0, Status::Disabled));
    balancer.enable(ids[0], Instant::now()).unwrap();
    while running.next().await.backend != a.address.to_string() {}
    running.stop().await;
}

#[tokio::test]
async fn backends_of_groups_made_later_are_checked_and_removed_ones_are_not() {
    let (a, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:interval=60";
    let balancer = over(&[a.address], &spec(text));
    let mut running = Running::new(text, &balancer);
    running.next().await;
    let group = GroupConfig::new([BackendConfig::new(refusing.address.to_string())]);
    let both = config(&[a.address]).with_group(group).with_probes(spec(text).policy());
    let make = |backend: &BackendConfig| backend.name.parse().unwrap();
    balancer.update(both.clone(), Instant::now(), make);
    let begin = Instant::now();
    let found = running.next().await;
    assert_eq!(found.backend, refusing.address.to_string());
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    eventually(|| health(&balancer, 1) == DOWN).await;
    // Gone and back again, it is new: its round is at once, not after its old interval.
    balancer.update(config(&[a.address]).with_probes(spec(text).policy()), Instant::now(), make);
    running.switch.set_enabled(false);
    running.switch.set_enabled(true);
    assert_eq!(running.next().await.backend, a.address.to_string(), "the round without it");
    balancer.update(both, Instant::now(), make);
    assert_eq!(running.next().await.backend, refusing.address.to_string());
    running.stop().await;
}

#[tokio::test]
async fn the_switch_stops_checks_and_starts_a_round_at_once() {
    let (stub, refusing) = (Stub::new(Manner::Echo), Refusing::new());
    let text = "connect:interval=60";
    let balancer = over(&[stub.address, refusing.address], &spec(text));
    let switch = Switch::default();
    switch.set_enabled(false);
    let monitor = Monitor::new(&spec(text), Duration::from_secs(5), None).with_switch(switch.clone());
    let mut running = Running::of(monitor, &balancer);
    let early = tokio::time::timeout(Duration::from_millis(200), running.findings.recv()).await;
    assert!(early.is_err(), "it is off from the start");
    for _ in 0..3 {
        assert!(switch.set_enabled(true));
        let mut found = [running.next().await.backend, running.next().await.backend];
        let mut all = [stub.address.to_string(), refusing.address.to_string()];
        found.sort();
        all.sort();
        assert_eq!(found, all);
        assert!(switch.set_enabled(false));
    }
    assert_eq!(stub.seen.accepted(), 3);
    running.stop().await;
}

#[tokio::test]
async fn what_is_found_after_the_switch_went_off_changes_nothing() {
    let (scratch, stub) = (Scratch::new(), Stub::new(Manner::Echo));
    let (go, ended) = (scratch.file("go"), scratch.file("ended"));
    let text = format!(
        "command=echo $$ > {}; until test -e {go}; do sleep 0.01; done; echo $$ > {ended}; exit 1:interval=60",
        scratch.file("pids")
    );
    let balancer = over(&[stub.address], &spec(&text));
    let mut running = Running::new(&text, &balancer);
    scratch.words("pids", 1).await;
    running.switch.set_enabled(false);
    fs::write(go, "").unwrap();
    let pid = scratch.words("ended", 1).await[0];
    eventually(|| !PathBuf::from(format!("/proc/{pid}")).exists()).await;
    // It was heard of and passed over: the next round is a round of its own.
    assert_eq!(health(&balancer, 0), Health::Up);
    assert!(running.findings.try_recv().is_err());
    running.switch.set_enabled(true);
    assert_eq!(running.next().await.reason, "probe: command: exit status 1");
    running.stop().await;
}

/// Panics for one backend, and trusts the others.
#[derive(Debug)]
struct Panicking(SocketAddr);

#[async_trait::async_trait]
impl Probe for Panicking {
    async fn probe(&self, target: &Target) -> Answer {
        assert!(target.address != self.0, "the probe's own fault");
        Answer::Passed
    }
}

#[tokio::test]
async fn a_probe_that_panics_stops_no_other_and_changes_nothing() {
    let (a, b) = (Stub::new(Manner::Echo), Stub::new(Manner::Echo));
    let pace = spec("connect:interval=0.05").policy();
    let balancer = balancer(config(&[a.address, b.address]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Panicking(a.address)), Duration::from_secs(1));
    let mut running = Running::of(Monitor::with_checks([check], pace), &balancer);
    let (mut panics, mut passes) = (0, 0);
    while panics < 3 || passes < 3 {
        match running.next().await {
            found if found.answer == Answer::Passed => passes += 1,
            found => {
                assert_eq!(found.reason, "probe: mine: the probe panicked");
                panics += 1;
            }
        }
    }
    assert_eq!(health(&balancer, 0), Health::Up);
    running.stop().await;
}

#[tokio::test]
async fn of_several_addresses_the_first_that_answers_decides() {
    let (refusing, refusing_too, well) = (Refusing::new(), Refusing::new(), Stub::new(Manner::Echo));
    let (sick, _requests) = serve(&[b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], false).await;
    let (up, _requests) = serve(&[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], false).await;
    let rows: [(&str, Vec<SocketAddr>, &str); 6] = [
        ("connect", vec![refusing.address, well.address], "probe: passed"),
        ("connect", vec![refusing.address, refusing_too.address], "probe: connect: connection refused"),
        ("connect", vec![], "probe: it has no address"),
        ("http=/", vec![refusing.address, sick, up], "probe: http=/: status 500"),
        ("http=/", vec![refusing.address, up, sick], "probe: passed"),
        ("command=test %P = 1", vec![sick, "127.0.0.1:1".parse().unwrap()], "probe: passed"),
    ];
    for (text, addresses, reason) in rows {
        let spec = spec(text);
        let config = "many".parse::<Config>().unwrap().with_probes(spec.policy());
        let rng = &mut SmallRng::seed_from_u64(1);
        let balancer = Arc::new(Balancer::new(config, Instant::now(), rng, |_| addresses.clone()));
        let (heard, mut findings) = mpsc::unbounded_channel();
        let monitor = Monitor::new(&spec, Duration::from_secs(5), None);
        let monitor = monitor.with_trace(move |finding| drop(heard.send(finding.reason.clone())));
        let task = tokio::spawn(monitor.run(balancer, Addresses::all_addresses));
        assert_eq!(soon(findings.recv()).await.unwrap(), reason);
        task.abort();
    }
}

#[tokio::test]
async fn jitter_spreads_rounds_and_the_seed_repeats_them() {
    // In the same simulated time, so that only chance can make a difference.
    let rounds = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let pace = spec("connect:interval=10:jitter=0.5").policy();
            let balancer = balancer(config(&["127.0.0.1:1".parse().unwrap()]).with_probes(pace.clone()));
            let check = Check::new("mine", Arc::new(Panicking(support::loopback())), Duration::from_secs(1));
            let (heard, mut times) = mpsc::unbounded_channel();
            let monitor = Monitor::with_checks([check], pace).with_seed(seed);
            let monitor = monitor.with_trace(move |_| heard.send(tokio::time::Instant::now()).unwrap_or_default());
            tokio::spawn(monitor.run(balancer, Addresses::all_addresses));
            let (mut gaps, mut last) = (Vec::new(), soon(times.recv()).await.unwrap());
            for _ in 0..20 {
                let next = soon(times.recv()).await.unwrap();
                gaps.push((next - last).as_millis());
                last = next;
            }
            gaps
        })
    };
    let [gaps, same, other] = [1, 1, 2].map(|seed| std::thread::spawn(move || rounds(seed)).join().unwrap());
    assert_eq!(gaps, same);
    assert_ne!(gaps, other);
    assert!(gaps.iter().all(|gap| (5_000..=15_020).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max().unwrap() - gaps.iter().min().unwrap() > 3_000, "{gaps:?}");
}

/// The outage that balance.fm's monitoring was written for: the main host is black-holed, and clients have half a second
/// of patience where a connect has two.
#[tokio::test]
async fn the_last_fm_outage_ends_with_the_first_check() {
    let (silent, spare) = (Silent::new(), Stub::new(Manner::Named(b'S')));
    let text = "connect:timeout=0.3:interval=1";
    let words = format!("{} ! {}", silent.address, spare.address);
    let balancer = balancer(words.parse::<Config>().unwrap().with_probes(spec(text).policy()));
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    // As balance does it: one backend after the other.
    let settings = lb_net::tcp::Settings::default().with_race(None).with_connect_timeout(Duration::from_secs(2));
    let front = Front::of(Arc::clone(&balancer), lb_net::TcpProxy::new(Arc::clone(&balancer)).with_settings(settings));
    let patience = Duration::from_millis(500);
    let ask = async || tokio::time::timeout(patience, support::ask(front.address)).await;
    assert!(ask().await.is_err(), "without a check it waits in vain");
    let begin = Instant::now();
    let running = Running::new(text, &balancer);
    eventually(|| health(&balancer, 0) == DOWN).await;
    let passed = begin.elapsed();
    assert!(passed >= Duration::from_millis(300) && passed < Duration::from_millis(1300), "{passed:?}");
    for _ in 0..5 {
        assert_eq!(ask().await.unwrap().unwrap(), "S");
    }
    running.stop().await;
}
