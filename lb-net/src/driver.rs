//! Runs one core balancer: calls it when it wants to be called.

use std::{sync::Arc, time::Duration};

use lb_core::Balancer;
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
    let changed = Arc::new(Notify::new());
    let wake = Arc::clone(&changed);
    balancer.on_change(move || wake.notify_one());
    async move {
        loop {
            let next = balancer.settle(now());
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
