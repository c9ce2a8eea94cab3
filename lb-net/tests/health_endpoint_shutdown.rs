//! The shutdown of an application, in simulated time.
#![cfg(feature = "health-endpoint")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

use std::{
    future::{pending, poll_fn, ready},
    task::Poll,
    time::Duration,
};

use lb_net::health_endpoint::{Ended, Endpoint, Health, Shutdown, Stop};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a server that takes so long for its last request saw: when it was told to stop, and what was said then.
async fn serve(stop: Stop, health: Health, last: Duration) -> (Duration, String) {
    let began = Instant::now();
    stop.wait().await;
    let told = (began.elapsed(), health.report().to_string());
    sleep(last).await;
    told
}

fn down() -> String {
    "DOWN: shutting down".to_owned()
}

#[tokio::test(start_paused = true)]
async fn it_says_down_serves_on_for_the_notice_stops_and_waits_for_what_runs() {
    let health = Health::new();
    let (signal, signalled) = oneshot::channel::<()>();
    let first = async { drop(signalled.await) };
    let shutdown = Shutdown::new(&health).with_notice(seconds(6)).with_grace(seconds(30));
    let serving = health.clone();
    let began = Instant::now();
    let running = tokio::spawn(shutdown.run(first, pending(), move |stop| serve(stop, serving, seconds(20))));
    sleep(seconds(100)).await;
    assert_eq!(health.report().to_string(), "UP");
    drop(signal);
    sleep(seconds(1)).await;
    assert_eq!(health.report().to_string(), down());
    let ended = running.await.unwrap();
    assert_eq!((ended, began.elapsed()), (Ended::Served((seconds(106), down())), seconds(126)));
}

#[tokio::test(start_paused = true)]
async fn it_says_drain_first_if_that_is_wanted() {
    let health = Health::new();
    let shutdown = Shutdown::new(&health).with_drain(seconds(60)).with_notice(seconds(6));
    let serving = health.clone();
    let running = tokio::spawn(shutdown.run(ready(()), pending(), move |stop| serve(stop, serving, Duration::ZERO)));
    sleep(seconds(59)).await;
    assert_eq!(health.report().to_string(), "DRAIN: shutting down");
    sleep(seconds(2)).await;
    assert_eq!(health.report().to_string(), down());
    assert_eq!(running.await.unwrap(), Ended::Served((seconds(66), down())));
}

#[tokio::test(start_paused = true)]
async fn it_waits_no_longer_than_until_all_who_ask_have_heard() {
    let health = Health::new();
    let endpoint = Endpoint::new(&health);
    // Who heard UP does not count.
    assert_eq!([endpoint.answer(), endpoint.answer()].map(|answer| answer.body().clone()), ["UP\n", "UP\n"]);
    let shutdown = Shutdown::new(&health).with_asks(2).with_notice(seconds(600));
    let serving = health.clone();
    let running = tokio::spawn(shutdown.run(ready(()), pending(), move |stop| serve(stop, serving, Duration::ZERO)));
    for _ in 0..2 {
        sleep(seconds(1)).await;
        assert!(!running.is_finished());
        assert_eq!(endpoint.answer().body(), "DOWN: shutting down\n");
    }
    let Ended::Served((took, _)) = running.await.unwrap() else { panic!("it ended by itself") };
    assert!(took > seconds(2) && took < seconds(3), "a moment for the answer to arrive: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_asks_the_notice_is_the_most_it_waits() {
    let health = Health::new();
    let shutdown = Shutdown::new(&health).with_asks(2).with_notice(seconds(6));
    let ended = shutdown.run(ready(()), pending(), |stop| serve(stop, health.clone(), Duration::ZERO)).await;
    assert_eq!(ended, Ended::Served((seconds(6), down())));
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_after_the_grace_period_is_dropped() {
    let (health, began) = (Health::new(), Instant::now());
    let shutdown = Shutdown::new(&health).with_notice(seconds(6)).with_grace(seconds(10));
    let ended = shutdown.run(ready(()), pending(), |stop| serve(stop, health.clone(), seconds(11))).await;
    assert_eq!((ended, began.elapsed()), (Ended::GraceOver, seconds(16)));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_it_at_once_in_every_stage() {
    // While it says DRAIN, while it says DOWN, while the last request runs.
    for after in [30, 63, 70] {
        let (health, began) = (Health::new(), Instant::now());
        let shutdown = Shutdown::new(&health).with_drain(seconds(60)).with_notice(seconds(6));
        let ended =
            shutdown.run(ready(()), sleep(seconds(after)), |stop| serve(stop, health.clone(), seconds(20))).await;
        assert_eq!((ended, began.elapsed()), (Ended::Hurried, seconds(after)));
        assert_eq!(health.report().to_string(), down());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_ends_it_before_and_after_the_signal() {
    let health = Health::new();
    let fail = |_: Stop| async { "no descriptors" };
    let ended = Shutdown::new(&health).run(pending(), pending(), fail).await;
    assert_eq!((ended, health.report().is_up()), (Ended::Served("no descriptors"), true));
    let fail = |_: Stop| sleep(seconds(3));
    let began = Instant::now();
    assert_eq!(Shutdown::new(&health).run(sleep(seconds(1)), pending(), fail).await, Ended::Served(()));
    assert_eq!(began.elapsed(), seconds(3));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_by_all_and_also_when_nobody_is_left_to_tell() {
    let health = Health::new();
    let shutdown = Shutdown::new(&health).with_notice(seconds(1));
    let two = |stop: Stop| async move { tokio::join!(stop.clone().wait(), stop.wait()) };
    assert_eq!(shutdown.run(ready(()), pending(), two).await, Ended::Served(((), ())));
    let mut kept = None;
    let keep = |stop: Stop| {
        kept = Some(stop);
        ready(())
    };
    Shutdown::new(&health).run(pending(), pending(), keep).await;
    kept.unwrap().wait().await;
}

#[tokio::test]
async fn the_second_signal_is_not_the_first_once_more() {
    let (first, second) = lb_net::health_endpoint::signals().unwrap();
    let us = rustix::process::getpid();
    rustix::process::kill_process(us, rustix::process::Signal::TERM).unwrap();
    first.await;
    let mut second = std::pin::pin!(second);
    // All who wait for signals are told of one at the same time.
    let is_told = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_ready()));
    assert!(!is_told.await, "there was one signal");
    rustix::process::kill_process(us, rustix::process::Signal::INT).unwrap();
    second.await;
}
