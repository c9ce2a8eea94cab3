//! Ejection and readmission from end to end, with the driver at work.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{BackendConfig, Config, GroupConfig, Health, health::Eject};
use lb_net::{TcpProxy, tcp::Settings};
use support::{Front, Manner, Refusing, Script, Scripted, Silent, Stub, ask, balancer, eventually, soon};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Two backends, ejection after three failed connects, and short periods.
fn ejecting(first: &str, second: &str, period: Duration) -> Config {
    let eject = Eject::default().with_connect_failures(NonZeroU32::new(3).unwrap()).with_periods(period, period);
    let group = GroupConfig::new([first, second].map(BackendConfig::new));
    Config::default().with_start(lb_core::Start::First).with_group(group).with_ejection(eject)
}

fn driven(config: Config) -> Front {
    let balancer = balancer(config);
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    Front::of(Arc::clone(&balancer), TcpProxy::new(balancer))
}

#[tokio::test]
async fn a_refusing_backend_is_ejected_and_readmitted_without_any_client_noticing() {
    let (refusing, b) = (Refusing::new(), Stub::new(Manner::Named(b'B')));
    let period = Duration::from_millis(200);
    let (begin, front) =
        (Instant::now(), driven(ejecting(&refusing.address.to_string(), &b.address.to_string(), period)));
    assert_eq!(front.ask_often(3).await, "BBB");
    assert_eq!(front.stats()[0].connect_failed, 3);
    eventually(|| front.stats()[0].health == Health::Ejected).await;
    // Each trial fails, and it stays out: the third comes after three periods.
    while front.stats()[0].connect_failed < 6 {
        assert_eq!(ask(front.address).await.unwrap(), "B");
    }
    assert!(begin.elapsed() >= 3 * period, "{:?}", begin.elapsed());
    let a = refusing.revive(Manner::Named(b'A'));
    while front.stats()[0].health != Health::Up {
        assert!(["A", "B"].contains(&&*ask(front.address).await.unwrap()));
    }
    let answers = front.ask_often(4).await;
    assert!(["ABAB", "BABA"].contains(&&*answers), "{answers}");
    assert!(a.seen.accepted() >= 3);
}

#[tokio::test]
async fn a_silent_backend_is_ejected_by_what_its_losers_learn() {
    let (silent, b) = (Silent::new(), Stub::new(Manner::Named(b'B')));
    let config = ejecting(&silent.address.to_string(), &b.address.to_string(), Duration::from_secs(60));
    let balancer = balancer(config);
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    let settings =
        Settings::default().with_race(Some(Duration::from_millis(20))).with_connect_timeout(Duration::from_millis(100));
    let front = Front::of(Arc::clone(&balancer), TcpProxy::new(balancer).with_settings(settings));
    while front.stats()[0].health != Health::Ejected {
        assert_eq!(ask(front.address).await.unwrap(), "B");
    }
    front.idle().await;
    let picked = front.stats()[0].picked();
    assert_eq!(front.ask_often(5).await, "BBBBB");
    assert_eq!(front.stats()[0].picked(), picked, "it is asked no more");
}

#[tokio::test]
async fn a_good_connect_readmits_however_long_its_session_lasts() {
    let (refusing, b) = (Refusing::new(), Stub::new(Manner::Named(b'B')));
    let front = driven(ejecting(&refusing.address.to_string(), &b.address.to_string(), Duration::from_millis(50)));
    assert_eq!(front.ask_often(3).await, "BBB");
    let _a = refusing.revive(Manner::Named(b'A'));
    let mut trial = loop {
        let mut client = TcpStream::connect(front.address).await.unwrap();
        if soon(client.read_u8()).await.unwrap() == b'A' {
            break client;
        }
    };
    eventually(|| front.stats()[0].health == Health::Up).await;
    trial.write_all(b"still here").await.unwrap();
}

#[tokio::test]
async fn refusals_between_good_connects_are_no_row_though_the_sessions_go_on() {
    let (stub, b) = (Stub::new(Manner::Named(b'A')), Stub::new(Manner::Named(b'B')));
    let connector = Arc::new(Scripted::default());
    let config = ejecting(&stub.address.to_string(), &b.address.to_string(), Duration::from_secs(60));
    let balancer = balancer(config);
    tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
    let proxy = TcpProxy::with_connector(Arc::clone(&balancer), connector.clone());
    let front = Front::of(balancer, proxy);
    let mut sessions = Vec::new();
    for _ in 0..4 {
        for script in [Script::Refuse, Script::Dial] {
            connector.set(stub.address, script);
            // Both are refused, or one of them has its turn there.
            for _ in 0..2 {
                let mut client = TcpStream::connect(front.address).await.unwrap();
                soon(client.read_u8()).await.unwrap();
                sessions.push(client);
            }
        }
    }
    assert_eq!((front.stats()[0].connect_failed, front.stats()[0].health), (8, Health::Up));
}
