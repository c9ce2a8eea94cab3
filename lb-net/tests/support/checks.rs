//! What tests of probes and of the monitor share: servers that answer as told, a monitor that tells, commands that hang.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use super::support::{balancer, eventually, soon};
use lb_core::{BackendConfig, Balancer, Cause, Config, GroupConfig, Health, Start};
use lb_net::{
    connect::Addresses,
    probe::{Answer, Finding, Http, Monitor, MonitorSpec, Probe, Switch, Target},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

pub(crate) const DOWN: Health = Health::Down(Cause::Silent);

pub(crate) fn target(address: SocketAddr) -> Target {
    Target::new("alpha", address)
}

pub(crate) fn spec(text: &str) -> MonitorSpec {
    text.parse().unwrap()
}

/// A balancer over these backends, in one group.
pub(crate) fn over(addresses: &[SocketAddr], spec: &MonitorSpec) -> Arc<Balancer<SocketAddr>> {
    balancer(config(addresses).with_probes(spec.policy()))
}

pub(crate) fn config(addresses: &[SocketAddr]) -> Config {
    let backends = addresses.iter().map(|address| BackendConfig::new(address.to_string()));
    Config::default().with_start(Start::First).with_group(GroupConfig::new(backends))
}

pub(crate) fn health(balancer: &Balancer<SocketAddr>, at: usize) -> Health {
    balancer.stats().backends[at].health
}

/// A monitor that runs, and what it finds.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<()>,
    pub(crate) findings: mpsc::UnboundedReceiver<Finding>,
    pub(crate) switch: Switch,
}

impl Running {
    pub(crate) fn new(text: &str, balancer: &Arc<Balancer<SocketAddr>>) -> Self {
        Self::of(Monitor::new(&spec(text), Duration::from_secs(5), None), balancer)
    }

    pub(crate) fn of(monitor: Monitor, balancer: &Arc<Balancer<SocketAddr>>) -> Self {
        let (heard, findings) = mpsc::unbounded_channel();
        let monitor = monitor.with_trace(move |finding| drop(heard.send(finding.clone())));
        let switch = monitor.switch();
        let task = tokio::spawn(monitor.run(Arc::clone(balancer), Addresses::all_addresses));
        Self { task, findings, switch }
    }

    pub(crate) async fn next(&mut self) -> Finding {
        soon(self.findings.recv()).await.unwrap()
    }

    /// Drops it, as a shutdown does.
    pub(crate) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A directory of this test's own.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lb-probe-{}-{}", process::id(), NEXT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// The words of a file that a command writes, once they are all there.
    pub(crate) async fn words(&self, name: &str, count: usize) -> Vec<u32> {
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
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| !"ZX".contains(state))
}

/// A command that hangs, and so does what it has started.
pub(crate) fn hung(scratch: &Scratch) -> String {
    format!("sleep 1000 & echo $$ $! > {}; wait", scratch.file("pids"))
}

/// A server that answers each request with these pieces, and then closes, or stays silent.
pub(crate) async fn serve(pieces: &[&[u8]], then_silent: bool) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind(super::support::loopback()).await.unwrap();
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

pub(crate) async fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(request).unwrap()
}

pub(crate) async fn ask(probe: &Http, answer: &str) -> Answer {
    let (address, _requests) = serve(&[answer.as_bytes()], false).await;
    soon(probe.probe(&target(address))).await
}

pub(crate) fn failed(reason: &str) -> Answer {
    Answer::Failed(reason.into())
}
