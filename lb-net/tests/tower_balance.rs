//! A service over a set of services: where calls go, when their places are free again, and what goes on to another.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/services.rs"]
mod services;

use std::{
    collections::BTreeSet,
    error::Error as _,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, BackendId, Balancer, Config, GroupConfig, NoPick, Outcome, SelectorKind, Status,
    health::Eject,
    rand::{SeedableRng as _, rngs::SmallRng},
    selector::Metric,
};
use lb_net::tower::{Balance, Cloned, End, Error, Failure, Hints, Hold, Never, Policy, Rules};
use services::{Manner, Named, Stage, eventually, now, soon, stats};
use tower::{Service, ServiceExt as _, service_fn};

async fn call<P>(balance: &mut Balance<Named, P>) -> Result<String, Error>
where
    P: Policy<u64, Arc<str>, Named, Held = Arc<str>>,
{
    soon(balance.ready().await?.call(17)).await.map(|name| name.to_string())
}

async fn calls<P>(balance: &mut Balance<Named, P>, count: usize) -> Vec<String>
where
    P: Policy<u64, Arc<str>, Named, Held = Arc<str>>,
{
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(call(balance).await.unwrap());
    }
    names
}

fn inner(error: &Error) -> io::ErrorKind {
    error.source().unwrap().downcast_ref::<io::Error>().unwrap().kind()
}

/// A call lasts as long as its caller likes.
struct Kept;

impl<Res, T> Hold<Res, T> for Kept {
    type Held = (Res, End<T>);

    fn hold(&self, response: Res, end: End<T>) -> (Res, End<T>) {
        (response, end)
    }
}

#[tokio::test]
async fn calls_take_turns_whichever_clone_they_are_made_through() {
    let stage = Stage::new("alpha beta");
    let mut balance = Balance::new(Arc::clone(&stage.balancer));
    assert_eq!(calls(&mut balance, 4).await, ["alpha", "beta", "alpha", "beta"]);
    let mut other = balance.clone();
    assert_eq!(call(&mut other).await.unwrap(), "alpha");
    assert_eq!(call(&mut balance).await.unwrap(), "beta");
    assert_eq!(stats(&stage.balancer, "alpha").succeeded, 3);
}

#[tokio::test]
async fn a_service_is_waited_for_until_it_is_ready() {
    let stage = Stage::made("alpha".parse().unwrap(), Named::slow);
    assert_eq!(call(&mut Balance::new(stage.balancer)).await.unwrap(), "alpha");
}

#[tokio::test]
async fn one_that_is_never_ready_is_as_one_that_is_not_there() {
    let stage = Stage::new("alpha beta");
    stage.order("alpha", Manner::Unready);
    let mut balance = Balance::new(Arc::clone(&stage.balancer));
    assert_eq!(call(&mut balance).await.unwrap(), "beta");
    assert_eq!((stats(&stage.balancer, "alpha").connect_failed, stage.called().len()), (1, 1));
}

#[tokio::test]
async fn what_nobody_has_seen_visits_each_backend_once() {
    let stage = Stage::new("a b c d e f g h i j k l");
    stage.order_all(Manner::Refuses);
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_budget(0, 0);
    let error = call(&mut balance).await.unwrap_err();
    let called = stage.called();
    assert_eq!((called.len(), called.iter().collect::<BTreeSet<_>>().len()), (12, 12), "{called:?}");
    assert_eq!(error.to_string(), format!("{}: the request failed", called.last().unwrap()));
    assert_eq!(inner(&error), io::ErrorKind::ConnectionRefused);
    assert!(
        stage.balancer.stats().backends.iter().all(|backend| (backend.connect_failed, backend.in_flight) == (1, 0))
    );
}

#[tokio::test]
async fn without_a_copy_nothing_goes_on() {
    let stage = Stage::new("alpha beta");
    stage.order_all(Manner::Refuses);
    let rules = Rules::plain().with_retry(Never);
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_rules(rules);
    assert_eq!(inner(&call(&mut balance).await.unwrap_err()), io::ErrorKind::ConnectionRefused);
    assert_eq!(stage.called(), ["alpha"]);
}

#[tokio::test]
async fn what_a_backend_may_have_begun_with_goes_on_once_where_that_does_no_harm() {
    let stage = Stage::new("alpha beta gamma");
    stage.order_all(Manner::Breaks);
    let mut balance = Balance::new(Arc::clone(&stage.balancer));
    assert_eq!(inner(&call(&mut balance).await.unwrap_err()), io::ErrorKind::ConnectionReset);
    assert_eq!(stage.called(), ["alpha"], "it may do harm");
    let mut balance = balance.with_rules(Rules::plain().with_retry(Cloned::repeatable()));
    call(&mut balance).await.unwrap_err();
    assert_eq!(stage.called(), ["beta", "gamma"]);
    stage.order("beta", Manner::Answers);
    stage.order("gamma", Manner::Refuses);
    assert_eq!(call(&mut balance).await.unwrap(), "beta", "it broke at alpha");
    assert_eq!(stats(&stage.balancer, "alpha").failed, 2);
    stage.order("alpha", Manner::Refuses);
    stage.order("beta", Manner::TimesOut);
    stage.order("gamma", Manner::Answers);
    stage.called();
    let names =
        [call(&mut balance).await.unwrap(), call(&mut balance).await.unwrap(), call(&mut balance).await.unwrap()];
    assert_eq!(names, ["gamma"; 3], "{:?}", stage.called());
}

#[tokio::test(start_paused = true)]
async fn repetitions_stay_within_the_budget() {
    let stage = Stage::new("alpha beta gamma");
    stage.order_all(Manner::Breaks);
    let rules = Rules::plain().with_retry(Cloned::repeatable());
    let balance = Balance::new(Arc::clone(&stage.balancer)).with_rules(rules).with_budget(20, 0);
    for _ in 0..100 {
        call(&mut balance.clone()).await.unwrap_err();
    }
    assert_eq!(stage.called().len(), 120, "all clones have one budget");
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_place_back_and_counts_as_cancelled() {
    let stage = Stage::new("alpha::1");
    stage.order("alpha", Manner::Hangs);
    let mut balance = Balance::new(Arc::clone(&stage.balancer));
    drop(balance.call(1));
    assert_eq!((stats(&stage.balancer, "alpha").cancelled, stage.called().len()), (1, 0), "before it was polled");
    {
        let mut running = pin!(balance.call(2));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut cx).is_pending());
        assert_eq!(stats(&stage.balancer, "alpha").in_flight, 1);
        let full = call(&mut balance).await.unwrap_err();
        assert!(matches!(full, Error::NoPick(NoPick::AllFull)), "{full}");
    }
    let alpha = stats(&stage.balancer, "alpha");
    assert_eq!((alpha.cancelled, alpha.in_flight, alpha.failed), (2, 0, 0));
}

#[test]
fn a_call_that_is_polled_after_its_end_says_nothing_more() {
    for manner in [Manner::Answers, Manner::Breaks, Manner::Unready] {
        let stage = Stage::new("alpha");
        stage.order("alpha", manner);
        let mut balance = Balance::new(Arc::clone(&stage.balancer));
        let mut running = pin!(balance.call(1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut cx).is_ready());
        assert!(running.as_mut().poll(&mut cx).is_pending());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_limit_is_exceeded_by_many_at_once() {
    #[derive(Clone, Default)]
    struct Gauge(Arc<(AtomicU32, AtomicU32)>);
    let gauges: Vec<Gauge> = std::iter::repeat_with(Gauge::default).take(3).collect();
    let mut each = gauges.clone().into_iter();
    let make = |_: &lb_core::BackendConfig| {
        let gauge = each.next().unwrap();
        service_fn(move |()| {
            let Gauge(gauge) = gauge.clone();
            async move {
                let running = gauge.0.fetch_add(1, SeqCst) + 1;
                gauge.1.fetch_max(running, SeqCst);
                tokio::task::yield_now().await;
                gauge.0.fetch_sub(1, SeqCst);
                Ok::<_, io::Error>(())
            }
        })
    };
    let config = "alpha::2 beta::2 gamma::2".parse().unwrap();
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut SmallRng::seed_from_u64(1), make));
    let balance = Balance::new(Arc::clone(&balancer));
    let callers = (0..32).map(|_| {
        let mut balance = balance.clone();
        tokio::spawn(async move {
            let mut done = 0;
            for _ in 0..200 {
                match balance.call(()).await {
                    Ok(()) => done += 1,
                    Err(error) => assert!(matches!(error, Error::NoPick(NoPick::AllFull)), "{error}"),
                }
            }
            done
        })
    });
    let mut done = 0;
    for caller in callers.collect::<Vec<_>>() {
        done += soon(caller).await.unwrap();
    }
    let stats = balancer.stats();
    assert_eq!(stats.backends.iter().map(|backend| backend.succeeded).sum::<u64>(), done);
    assert!(stats.backends.iter().all(|backend| backend.in_flight == 0));
    assert!(gauges.iter().all(|gauge| gauge.0.1.load(SeqCst) <= 2) && done > 0);
}

#[tokio::test]
async fn a_key_meets_the_same_backend_and_a_pin_its_own() {
    let names = (0..10).map(|n| lb_core::BackendConfig::new(format!("shard-{n}")));
    let group = GroupConfig::new(names).with_selector(SelectorKind::Hash { spill: false });
    let stage = Stage::of(Config::default().with_group(group));
    let rules = Rules::plain().with_hints(|request: &u64| Hints::default().with_key(*request));
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_rules(rules);
    let mut homes = BTreeSet::new();
    for customer in 0..100 {
        let (first, second) = (balance.call(customer).await.unwrap(), balance.call(customer).await.unwrap());
        assert_eq!(first, second);
        homes.insert(first);
    }
    assert!(homes.len() > 5, "{homes:?}");
    let pin = BackendId::new("shard-7", 0);
    stage.balancer.set_status(pin, Status::Draining, now()).unwrap();
    let mut balance = balance.with_rules(Rules::plain().with_hints(move |_: &u64| Hints::default().with_pin(pin)));
    assert_eq!(calls(&mut balance, 3).await, ["shard-7"; 3]);
    stage.balancer.set_status(pin, Status::Disabled, now()).unwrap();
    assert!(matches!(call(&mut balance).await.unwrap_err(), Error::NoPick(NoPick::PinGone)));
}

#[tokio::test]
async fn the_set_changes_while_calls_go_on() {
    let stage = Stage::new("alpha beta");
    let mut balance = Balance::new(Arc::clone(&stage.balancer));
    stage.order("alpha", Manner::Hangs);
    let hanging = tokio::spawn(balance.call(1));
    eventually(|| stage.called() == ["alpha"]).await;
    stage.update("beta gamma");
    let names: BTreeSet<String> = calls(&mut balance, 4).await.into_iter().collect();
    assert_eq!(names, BTreeSet::from(["beta".into(), "gamma".into()]));
    assert!(!hanging.is_finished(), "what runs goes on");
    hanging.abort();
    stage.update("");
    assert!(matches!(call(&mut balance).await.unwrap_err(), Error::NoPick(NoPick::Empty)));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_there_is_ejected_and_comes_back() {
    let (second, config) = (Duration::from_secs(1), "alpha beta gamma".parse::<Config>().unwrap());
    let stage = Stage::of(config.with_ejection(Eject::default().with_periods(10 * second, 10 * second)));
    tokio::spawn(lb_net::drive(Arc::clone(&stage.balancer)));
    tokio::task::yield_now().await;
    stage.order("beta", Manner::Refuses);
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_budget(0, 0);
    for _ in 0..100 {
        call(&mut balance).await.unwrap();
    }
    let asked = |stage: &Stage| stage.called().iter().filter(|name| *name == "beta").count();
    assert_eq!(asked(&stage), 3, "then it is left alone");
    stage.order("beta", Manner::Answers);
    tokio::time::sleep(11 * second).await;
    calls(&mut balance, 9).await;
    tokio::time::sleep(second).await;
    asked(&stage);
    calls(&mut balance, 9).await;
    assert_eq!(asked(&stage), 3, "its third");
}

#[tokio::test(start_paused = true)]
async fn a_failure_counts_as_load_and_is_forgotten_as_time_passes() {
    let least = GroupConfig::new(["alpha", "beta"].map(BackendConfig::new))
        .with_selector(SelectorKind::LeastLoaded(Metric::InFlight));
    let stage = Stage::of(Config::default().with_group(least));
    let mut balance = Balance::new(Arc::clone(&stage.balancer));
    stage.order("alpha", Manner::Breaks);
    while stage.balancer.stats().backends[0].failed == 0 {
        let _ = call(&mut balance).await;
    }
    stage.order_all(Manner::Answers);
    assert_eq!(calls(&mut balance, 4).await, ["beta"; 4]);
    tokio::time::advance(Duration::from_secs(200)).await;
    let both: BTreeSet<String> = calls(&mut balance, 4).await.into_iter().collect();
    assert_eq!(both.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_began_when_nobody_asked_for_its_time_is_no_slow_one() {
    let group = |kind| GroupConfig::new(["alpha", "beta"].map(BackendConfig::new)).with_selector(kind);
    let config = |kind| Config::default().with_group(group(kind));
    let stage = Stage::of(config(SelectorKind::RoundRobin));
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_rules(Rules::plain().with_end(Kept));
    tokio::time::advance(Duration::from_secs(100)).await;
    let (_, end) = balance.call(1).await.unwrap();
    let by_latency = config(SelectorKind::LeastLoaded(Metric::PeakEwma));
    stage.balancer.update(by_latency, now(), |_| unreachable!("both are known"));
    tokio::time::advance(Duration::from_millis(1)).await;
    drop(end);
    let mut balance = balance.with_rules(Rules::plain());
    let both: BTreeSet<String> = calls(&mut balance, 4).await.into_iter().collect();
    assert_eq!(both.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_long_is_a_slow_one_where_latency_decides() {
    let make = |backend: &BackendConfig| {
        let (name, time) = (backend.name.clone(), Duration::from_secs(u64::from(backend.name == "slow")));
        service_fn(move |(): ()| {
            let name = name.clone();
            async move {
                tokio::time::sleep(time).await;
                Ok::<_, io::Error>(name)
            }
        })
    };
    let group = GroupConfig::new(["slow", "fast"].map(BackendConfig::new));
    let config = Config::default().with_group(group.with_selector(SelectorKind::LeastLoaded(Metric::PeakEwma)));
    let mut balance = Balance::new(Arc::new(Balancer::new(config, now(), &mut SmallRng::seed_from_u64(1), make)));
    while balance.call(()).await.unwrap() == "fast" {}
    for _ in 0..4 {
        assert_eq!(balance.call(()).await.unwrap(), "fast");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_choices() {
    let drawn = async |seed| {
        let names = (0..10).map(|n| lb_core::BackendConfig::new(format!("b{n}")));
        let group = GroupConfig::new(names).with_selector(SelectorKind::Random);
        let stage = Stage::of(Config::default().with_group(group));
        let mut balance = Balance::new(stage.balancer).with_seed(seed);
        (calls(&mut balance.clone(), 20).await, calls(&mut balance, 20).await)
    };
    let (clone, own) = drawn(7).await;
    assert_ne!(clone, own, "each has chance of its own");
    assert_eq!(drawn(7).await, (clone, own));
}

#[tokio::test]
async fn a_classifier_of_ones_own_says_what_failed() {
    let stage = Stage::new("alpha beta");
    let rules = Rules::plain().with_classifier(|result: Result<&Arc<str>, Failure<'_>>| match result {
        Ok(name) if &**name == "beta" => Outcome::ServerError,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Cancelled,
    });
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_rules(rules);
    assert_eq!(calls(&mut balance, 2).await, ["alpha", "beta"]);
    assert_eq!((stats(&stage.balancer, "alpha").succeeded, stats(&stage.balancer, "beta").failed), (1, 1));
    stage.order("alpha", Manner::Refuses);
    call(&mut balance).await.unwrap_err();
    assert_eq!(stage.called().len(), 3, "what is cancelled goes nowhere else");
    assert_eq!(stats(&stage.balancer, "alpha").cancelled, 1);
}

#[tokio::test]
async fn a_call_lasts_as_long_as_its_end_is_kept() {
    let stage = Stage::new("alpha");
    let mut balance = Balance::new(Arc::clone(&stage.balancer)).with_rules(Rules::plain().with_end(Kept));
    let (_, end) = balance.call(1).await.unwrap();
    assert_eq!((stats(&stage.balancer, "alpha").in_flight, end.outcome()), (1, Outcome::Success));
    drop(end.with_outcome(Outcome::Broken));
    let alpha = stats(&stage.balancer, "alpha");
    assert_eq!((alpha.in_flight, alpha.failed, alpha.succeeded), (0, 1, 0));
}

#[test]
fn services_and_calls_go_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let mut balance = Balance::new(Stage::new("alpha").balancer);
    is_shared(&balance);
    is_send(&Service::<u64>::call(&mut balance, 1));
}

/// A service that is not `Sync` in its future, and a request that is not `Clone`.
#[tokio::test]
async fn a_request_need_not_be_cloneable() {
    struct Once(Pin<Box<dyn Future<Output = u32> + Send>>);
    let make = |_: &lb_core::BackendConfig| service_fn(|Once(work)| async move { Ok::<_, io::Error>(work.await) });
    let mut rng = SmallRng::seed_from_u64(1);
    let balancer = Arc::new(Balancer::new("alpha".parse().unwrap(), now(), &mut rng, make));
    let mut balance = Balance::new(balancer).with_rules(Rules::plain().with_retry(Never));
    assert_eq!(balance.call(Once(Box::pin(async { 5 }))).await.unwrap(), 5);
    assert!(matches!(
        Service::<Once>::poll_ready(&mut balance, &mut Context::from_waker(Waker::noop())),
        Poll::Ready(Ok(()))
    ));
}
