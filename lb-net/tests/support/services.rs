//! Services that do as they are told, and balancers over them.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part of this one")]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, BackendStats, Balancer, Config,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use tower_service::Service;

/// What a service says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Its name.
    Answers,
    /// That nobody listens there.
    Refuses,
    /// That the connection broke.
    Breaks,
    /// That its answer did not begin in time.
    TimesOut,
    /// Nothing, ever.
    Hangs,
    /// That it will never be ready.
    Unready,
}

/// A service with a name. A clone is as unready as a new one, and what is called unready has failed the test.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    manner: Arc<Mutex<Manner>>,
    /// Names in the order in which they were called.
    calls: Arc<Mutex<Vec<Arc<str>>>>,
    /// Whether it takes two polls to be ready.
    is_slow: bool,
    is_ready: AtomicBool,
    was_polled: bool,
}

impl Clone for Named {
    fn clone(&self) -> Self {
        let (name, manner, calls) = (Arc::clone(&self.name), Arc::clone(&self.manner), Arc::clone(&self.calls));
        Self { name, manner, calls, is_slow: self.is_slow, is_ready: AtomicBool::new(false), was_polled: false }
    }
}

impl Named {
    pub(crate) fn slow(self) -> Self {
        Self { is_slow: true, ..self }
    }
}

type Answer = Pin<Box<dyn Future<Output = io::Result<Arc<str>>> + Send>>;

impl<Req> Service<Req> for Named {
    type Response = Arc<str>;
    type Error = io::Error;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if *self.manner.lock().unwrap() == Manner::Unready {
            return Poll::Ready(Err(io::Error::other("not ready")));
        }
        if self.is_slow && !self.was_polled {
            self.was_polled = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_ready.store(true, SeqCst);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Answer {
        assert!(self.is_ready.swap(false, SeqCst), "{} was called unready", self.name);
        self.calls.lock().unwrap().push(Arc::clone(&self.name));
        let (name, manner) = (Arc::clone(&self.name), *self.manner.lock().unwrap());
        Box::pin(async move {
            match manner {
                Manner::Answers => Ok(name),
                Manner::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                Manner::TimesOut => Err(io::ErrorKind::TimedOut.into()),
                Manner::Breaks | Manner::Unready => Err(io::ErrorKind::ConnectionReset.into()),
                Manner::Hangs => std::future::pending().await,
            }
        })
    }
}

/// Named services, and what was asked of them.
pub(crate) struct Stage {
    pub(crate) balancer: Arc<Balancer<Named>>,
    calls: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Stage {
    pub(crate) fn new(config: &str) -> Self {
        Self::of(config.parse().unwrap())
    }

    pub(crate) fn of(config: Config) -> Self {
        Self::made(config, |named| named)
    }

    pub(crate) fn made(config: Config, change: impl Fn(Named) -> Named) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let make = |backend: &BackendConfig| change(named(&backend.name, &calls));
        let mut rng = SmallRng::seed_from_u64(1);
        let balancer = Arc::new(Balancer::new(config, now(), &mut rng, make));
        Self { balancer, calls }
    }

    pub(crate) fn update(&self, config: &str) {
        self.balancer.update(config.parse().unwrap(), now(), |backend| named(&backend.name, &self.calls));
    }

    /// From now on this one behaves so.
    pub(crate) fn order(&self, name: &str, manner: Manner) {
        self.balancer.for_each(|_, named| {
            if &*named.name == name {
                *named.manner.lock().unwrap() = manner;
            }
        });
    }

    pub(crate) fn order_all(&self, manner: Manner) {
        self.balancer.for_each(|_, named| *named.manner.lock().unwrap() = manner);
    }

    /// The names called since this was last asked.
    pub(crate) fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap()).iter().map(ToString::to_string).collect()
    }
}

fn named(name: &str, calls: &Arc<Mutex<Vec<Arc<str>>>>) -> Named {
    let (manner, is_ready) = (Arc::new(Mutex::new(Manner::Answers)), AtomicBool::new(false));
    Named { name: name.into(), manner, calls: Arc::clone(calls), is_slow: false, is_ready, was_polled: false }
}

/// The runtime's time.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) fn stats<T: Send + Sync>(balancer: &Balancer<T>, name: &str) -> BackendStats {
    balancer.stats().backends.into_iter().find(|backend| backend.name == name).unwrap()
}

/// The future's outcome, or a failed test when it hangs.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it hangs")
}

/// Waits for something that has no event of its own.
pub(crate) async fn eventually(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
