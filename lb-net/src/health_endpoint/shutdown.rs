//! How an application stops so that nobody notices.

use std::{fmt, pin::pin, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::Health;

/// For the answer that told of the end to arrive and to be acted upon.
const ARRIVAL: Duration = Duration::from_millis(250);

/// Stops an application in order: it says DOWN, waits until the balancer must have noticed, accepts nobody any more,
/// finishes what runs, and returns.
///
/// A server that closes its listener first makes every request fail that comes before the next probe. So it goes on
/// serving while it says DOWN; the answers of this time best end their connections
/// ([`ClosingLayer`](super::ClosingLayer)).
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::health_endpoint::{Ended, Health, Shutdown};
/// use std::{future::{pending, ready}, time::Duration};
/// let health = Health::new();
/// let shutdown = Shutdown::new(&health).with_notice(Duration::from_millis(20)).with_grace(Duration::from_secs(9));
/// // With axum: |stop| axum::serve(listener, app).with_graceful_shutdown(stop.wait()).into_future()
/// let serve = |stop: lb_net::health_endpoint::Stop| async move {
///     stop.wait().await;
///     "all is done"
/// };
/// // With signals: let (first, second) = lb_net::health_endpoint::signals()?;
/// let ended = shutdown.run(ready(()), pending(), serve).await;
/// assert_eq!((ended, health.report().to_string().as_str()), (Ended::Served("all is done"), "DOWN: shutting down"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing unless run"]
pub struct Shutdown {
    health: Health,
    drain: Duration,
    notice: Duration,
    asks: Option<u64>,
    grace: Duration,
}

/// How a server ended.
/// ```
/// use lb_net::health_endpoint::Ended;
/// let text = |ended: Ended<()>| match ended {
///     Ended::Served(()) => "all requests were answered",
///     _ => "some were cut",
/// };
/// # let _ = text;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended<T> {
    /// By itself, before or after the stop, and with this.
    Served(T),
    /// It still ran when the grace period was over, and was dropped.
    GraceOver,
    /// A second signal came, and it was dropped.
    Hurried,
}

/// Tells a server when to accept nobody any more. Clones hear the same, for several listeners.
/// ```
/// # use lb_net::health_endpoint::Stop;
/// # async fn accept() {}
/// async fn serve(stop: Stop) {
///     let mut stopped = std::pin::pin!(stop.wait());
///     loop {
///         tokio::select! { () = accept() => {}, () = &mut stopped => return }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Ends when nobody must be accepted any more.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.0.clone();
        // An error is the end of whoever would tell.
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&*self.0.borrow()).finish()
    }
}

impl Shutdown {
    /// Of an application of this health: no DRAIN, 10 s for the balancer to notice, 30 s for what runs.
    pub fn new(health: &Health) -> Self {
        let (drain, notice, grace) = (Duration::ZERO, Duration::from_secs(10), Duration::from_secs(30));
        Self { health: health.clone(), drain, notice, asks: None, grace }
    }

    /// Says DRAIN for so long before it says DOWN: clients that are pinned to this backend may finish their visit.
    pub fn with_drain(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    /// Goes on accepting for so long after it says DOWN: the balancer's interval between two probes, their timeout, and a
    /// second. For one that reads only the status, `fall` times the interval.
    pub fn with_notice(self, notice: Duration) -> Self {
        Self { notice, ..self }
    }

    /// Waits no longer when the endpoint has said DOWN so many times: once for each process that probes it. Whoever asks
    /// counts, people too: the time of [`with_notice`](Self::with_notice) is certain, and the most it waits.
    pub fn with_asks(self, asks: u64) -> Self {
        Self { asks: Some(asks), ..self }
    }

    /// Gives what runs so much time after the stop.
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Serves until the `first` signal, and then stops in order; at once when a `second` one comes.
    ///
    /// `serve` is given what tells it to accept nobody any more; it ends when all requests are answered. A server that is
    /// dropped may leave connections behind, as tasks of the runtime: they end with it.
    pub async fn run<F: Future>(
        self,
        first: impl Future<Output = ()>,
        second: impl Future<Output = ()>,
        serve: impl FnOnce(Stop) -> F,
    ) -> Ended<F::Output> {
        let (tell, stop) = watch::channel(false);
        let mut serving = pin!(serve(Stop(stop)));
        tokio::select! {
            ended = &mut serving => return Ended::Served(ended),
            () = first => {}
        }
        let order = async {
            self.announce().await;
            tell.send_replace(true);
            sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            ended = &mut serving => Ended::Served(ended),
            () = second => {
                self.health.shut_down();
                Ended::Hurried
            }
            () = order => Ended::GraceOver,
        }
    }

    /// Says what is to come until those who ask must know it. [`run`](Self::run) does this.
    pub async fn announce(&self) {
        if self.drain > Duration::ZERO {
            self.health.drain();
            sleep(self.drain).await;
        }
        let told = self.health.told();
        self.health.shut_down();
        // An error is the end of the time.
        let _ = timeout(self.notice, self.heard(told)).await;
    }

    async fn heard(&self, mut told: watch::Receiver<u64>) {
        let Some(asks) = self.asks else { return std::future::pending().await };
        // It fails when the health is gone, which we hold.
        let _ = told.wait_for(|count| *count >= asks).await;
        sleep(ARRIVAL).await;
    }
}
