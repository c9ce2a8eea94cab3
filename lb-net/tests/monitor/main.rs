//! The monitor: who is checked when, and what follows.
#![cfg(all(feature = "probe", feature = "tcp"))]
#![allow(clippy::unwrap_used)]

#[path = "../support/checks.rs"]
mod checks;
mod cost;
mod found;
mod orders;
mod rounds;
#[path = "../support/mod.rs"]
mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use checks::*;
use lb_core::Balancer;
use lb_net::probe::{Answer, Check, Monitor, Probe, Target};
use support::balancer;

/// Says what it is told to say.
#[derive(Debug)]
struct Saying(Arc<Mutex<Answer>>);

#[async_trait::async_trait]
impl Probe for Saying {
    async fn probe(&self, _: &Target) -> Answer {
        self.0.lock().unwrap().clone()
    }
}

/// One backend that has said this, under a monitor that is still running.
fn saying(answer: Answer) -> (Arc<Balancer<SocketAddr>>, Arc<Mutex<Answer>>, Running) {
    let says = Arc::new(Mutex::new(answer));
    let pace = spec("connect:interval=0.02:rise=1:fall=2").policy();
    let balancer = balancer(config(&["127.0.0.1:9".parse().unwrap()]).with_probes(pace.clone()));
    let check = Check::new("mine", Arc::new(Saying(Arc::clone(&says))), Duration::from_secs(1));
    let running = Running::of(Monitor::with_checks([check], pace), &balancer);
    (balancer, says, running)
}

/// A backend that says this to whoever connects.
fn saying_over_tcp(text: &'static str) -> (SocketAddr, Arc<Mutex<&'static str>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, says) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(text)));
    let said = Arc::clone(&says);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Who has gone needs to hear nothing.
            let _ = std::io::Write::write_all(&mut stream, said.lock().unwrap().as_bytes());
        }
    });
    (address, says)
}
