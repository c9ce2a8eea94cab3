//! A balancer's backends as a `Discover` names them.
#![cfg(feature = "tower-discover")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/services.rs"]
mod services;

use std::{
    future::{Ready, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use futures_util::stream::poll_fn;
use lb_core::{
    BackendId, Balancer, Config, EventKind, GroupConfig, SelectorKind, Status,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::tower::{Balance, follow};
use services::{eventually, now, soon, stats};
use tokio::sync::mpsc;
use tower::{Service, discover::Change};

/// A service that answers with its number.
#[derive(Clone)]
struct Numbered(u32);

impl Service<()> for Numbered {
    type Response = u32;
    type Error = io::Error;
    type Future = Ready<io::Result<u32>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0))
    }
}

type News = mpsc::UnboundedSender<Result<Change<&'static str, Numbered>, io::Error>>;

fn balancer(config: Config) -> Arc<Balancer<Numbered>> {
    Arc::new(Balancer::new(config, now(), &mut SmallRng::seed_from_u64(1), |_| Numbered(0)))
}

/// A follower, and what tells it.
fn following(balancer: &Arc<Balancer<Numbered>>) -> (News, tokio::task::JoinHandle<io::Result<()>>) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let follower = tokio::spawn(follow(poll_fn(move |cx| told.poll_recv(cx)), Arc::clone(balancer)));
    (tell, follower)
}

fn insert(tell: &News, name: &'static str, number: u32) {
    tell.send(Ok(Change::Insert(name, Numbered(number)))).unwrap();
}

fn remove(tell: &News, name: &'static str) {
    tell.send(Ok(Change::Remove(name))).unwrap();
}

async fn becomes(balancer: &Balancer<Numbered>, names: &str) {
    eventually(|| balancer.config().to_string() == names).await;
}

#[tokio::test]
async fn backends_come_and_go_as_it_says_and_keep_what_is_known_of_them() {
    let group = GroupConfig::new([]).with_selector(SelectorKind::BucketFill);
    let balancer = balancer(Config::default().with_group(group));
    let (tell, follower) = following(&balancer);
    insert(&tell, "alpha", 1);
    insert(&tell, "beta", 2);
    becomes(&balancer, "alpha beta").await;
    assert_eq!(balancer.config().groups[0].selector, SelectorKind::BucketFill);
    let mut balance = Balance::new(Arc::clone(&balancer));
    assert_eq!(balance.call(()).await.unwrap(), 1);
    balancer.set_status(BackendId::new("alpha", 0), Status::Draining, now()).unwrap();
    insert(&tell, "gamma", 3);
    remove(&tell, "beta");
    becomes(&balancer, "alpha gamma").await;
    assert_eq!(balance.call(()).await.unwrap(), 3, "alpha still drains");
    assert_eq!(stats(&balancer, "alpha").succeeded, 1);
    drop(tell);
    soon(follower).await.unwrap().unwrap();
    assert_eq!(balancer.config().to_string(), "alpha gamma", "they stay when it ends");
}

#[tokio::test]
async fn one_that_is_inserted_once_more_has_its_new_service() {
    let balancer = balancer(Config::default());
    let (tell, _follower) = following(&balancer);
    insert(&tell, "alpha", 1);
    becomes(&balancer, "alpha").await;
    let mut balance = Balance::new(Arc::clone(&balancer));
    assert_eq!(balance.call(()).await.unwrap(), 1);
    insert(&tell, "alpha", 2);
    eventually(|| stats_of_alpha(&balancer).is_some_and(|succeeded| succeeded == 0)).await;
    assert_eq!(balance.call(()).await.unwrap(), 2);
    remove(&tell, "alpha");
    insert(&tell, "alpha", 3);
    eventually(|| stats_of_alpha(&balancer).is_some_and(|succeeded| succeeded == 0)).await;
    assert_eq!(balance.call(()).await.unwrap(), 3);
    remove(&tell, "alpha");
    becomes(&balancer, "").await;
    assert!(balance.call(()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_the_only_one_is_replaced() {
    const LAST: u32 = 300;
    let balancer = balancer(Config::default());
    let (tell, follower) = following(&balancer);
    insert(&tell, "alpha", 1);
    becomes(&balancer, "alpha").await;
    let mut balance = Balance::new(Arc::clone(&balancer));
    let caller = tokio::spawn(async move {
        while balance.call(()).await.unwrap() != LAST {
            tokio::task::yield_now().await;
        }
    });
    for number in 2..=LAST {
        insert(&tell, "alpha", number);
        // Changes that are there together would be one.
        tokio::task::yield_now().await;
    }
    soon(caller).await.unwrap();
    drop(tell);
    soon(follower).await.unwrap().unwrap();
    assert_eq!(balancer.config().to_string(), "alpha");
}

#[tokio::test]
async fn what_is_ordered_of_a_name_stays_with_the_service_that_comes_after() {
    let balancer = balancer(Config::default());
    let (tell, _follower) = following(&balancer);
    insert(&tell, "alpha", 1);
    becomes(&balancer, "alpha").await;
    balancer.set_limit(BackendId::new("alpha", 0), Some(7), now()).unwrap();
    assert_eq!(Balance::new(Arc::clone(&balancer)).call(()).await.unwrap(), 1);
    insert(&tell, "alpha", 2);
    eventually(|| stats_of_alpha(&balancer) == Some(0)).await;
    assert_eq!(balancer.config().to_string(), "alpha::7");
}

fn stats_of_alpha(balancer: &Balancer<Numbered>) -> Option<u64> {
    balancer.stats().backends.first().map(|alpha| alpha.succeeded)
}

#[tokio::test]
async fn changes_that_are_there_together_are_one_update() {
    let balancer = balancer(Config::default());
    let updates = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&updates);
    tokio::spawn(lb_net::drive_with(Arc::clone(&balancer), move |event| {
        if matches!(event.kind, EventKind::Changed { .. }) {
            counted.fetch_add(1, SeqCst);
        }
    }));
    let names = ["a", "b", "c", "d", "e", "f"];
    let changes = names.map(|name| Ok::<_, io::Error>(Change::Insert(name, Numbered(1))));
    soon(follow(futures_util::stream::iter(changes), Arc::clone(&balancer))).await.unwrap();
    assert_eq!(balancer.stats().backends.len(), 6);
    eventually(|| updates.load(SeqCst) > 0).await;
    assert_eq!(updates.load(SeqCst), 1);
}

#[tokio::test]
async fn it_ends_with_the_error_and_what_came_before_counts() {
    let balancer = balancer(Config::default());
    let (tell, follower) = following(&balancer);
    remove(&tell, "nobody");
    insert(&tell, "alpha", 1);
    tell.send(Err(io::ErrorKind::NotFound.into())).unwrap();
    assert_eq!(soon(follower).await.unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(balancer.config().to_string(), "alpha");
}
