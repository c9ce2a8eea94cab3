//! Runs one core balancer: calls it when it wants to be called.

use std::{sync::Arc, time::Duration};

use lb_core::{Balancer, Event};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Puts a balancer's changes into force as they happen, for as long as it is polled: run one for each balancer.
///
/// It sleeps while nothing changes. It must be made before the balancer's first change, and once only: a balancer has
/// one [`on_change`](Balancer::on_change).
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{sync::Arc, time::Duration};
/// # let mut world = lb_core::sim::World::new(1);
/// let balancer = Arc::new(world.balancer("alpha beta".parse()?));
/// tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
/// # Ok(()) }
/// ```
pub fn drive<T: Send + Sync + 'static>(balancer: Arc<Balancer<T>>) -> impl Future<Output = ()> + Send {
    run(balancer, |_| {})
}

/// As [`drive`], and calls `on_event` for each change as it happens, in order: for logs.
///
/// `on_event` holds up this balancer's changes while it runs, and no traffic. At most 1024 events wait for it; what comes
/// then is counted, as [`take_events`](Balancer::take_events) says.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let mut world = lb_core::sim::World::new(1);
/// let balancer = Arc::new(world.balancer("alpha beta".parse()?));
/// tokio::spawn(lb_net::drive_with(Arc::clone(&balancer), |event| eprintln!("{event}")));
/// # Ok(()) }
/// ```
pub fn drive_with<T: Send + Sync + 'static>(
    balancer: Arc<Balancer<T>>,
    on_event: impl FnMut(Event) + Send,
) -> impl Future<Output = ()> + Send {
    balancer.record_events();
    run(balancer, on_event)
}

fn run<T: Send + Sync + 'static>(
    balancer: Arc<Balancer<T>>,
    mut on_event: impl FnMut(Event) + Send,
) -> impl Future<Output = ()> + Send {
    let changed = Arc::new(Notify::new());
    let wake = Arc::clone(&changed);
    balancer.on_change(move || wake.notify_one());
    async move {
        loop {
            let next = balancer.settle(now());
            balancer.take_events().into_iter().for_each(&mut on_event);
            let change = changed.notified();
            match next {
                Some(at) => tokio::select! {
                    () = sleep_until(at.into()) => {}
                    () = change => {}
                },
                None => change.await,
            }
        }
    }
}

/// The runtime's time, which a test may pause and advance.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A moment so much later; as late as can be, where that is beyond all moments.
pub(crate) fn later(from: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    from.checked_add(by.min(FAR)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use lb_core::{BackendId, Outcome, Request, Status, sim};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn each_event_is_handed_over_as_it_happens_in_order() {
        let mut world = sim::World::new(1);
        let balancer = Arc::new(world.balancer("alpha beta".parse().unwrap()));
        let (tell, mut told) = mpsc::unbounded_channel();
        let on_event = move |event: Event| tell.send(event.to_string()).unwrap();
        let driver = tokio::spawn(drive_with(Arc::clone(&balancer), on_event));
        let lease = balancer.pick(&Request::new(now()), world.rng()).unwrap();
        balancer.set_status(BackendId::new("alpha", 0), Status::Draining, now()).unwrap();
        assert_eq!(told.recv().await.unwrap(), "alpha is draining");
        lease.finish(Outcome::Success, now());
        assert_eq!(told.recv().await.unwrap(), "alpha is drained", "nothing else woke the driver");
        driver.abort();
    }

    #[tokio::test]
    async fn without_a_listener_nothing_is_kept() {
        let mut world = sim::World::new(1);
        let balancer = Arc::new(world.balancer("alpha".parse().unwrap()));
        let driver = tokio::spawn(drive(Arc::clone(&balancer)));
        balancer.set_status(BackendId::new("alpha", 0), Status::Disabled, now()).unwrap();
        assert_eq!(balancer.take_events(), []);
        driver.abort();
    }
}
