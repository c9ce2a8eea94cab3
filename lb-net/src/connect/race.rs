//! Connect, and never wait in vain: a silent backend is raced by the next one.
//!
//! The shape is that of Happy Eyeballs (RFC 8305, section 5), over backends instead of addresses. It is the same for all
//! protocols: each says by its [`Contest`] how a backend is chosen for a client, and how that is seen to leave.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use lb_core::{BackendId, Lease, NoPick, Outcome, Tried};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::Connect;
use crate::{
    alarm::{Alarm, Alarms},
    driver::{later, now},
    observe::{NoConnection, Observer},
    sys,
};

/// The shortest time that a backend may be silent: connects on a busy machine take some of it.
const LEAST_SILENCE: Duration = Duration::from_millis(100);

/// One client that is to get a backend.
pub(crate) trait Contest<T>: Send {
    /// The next backend that is not one of the `tried`.
    fn pick(&mut self, tried: &Tried) -> Result<Lease<T>, NoPick>;

    /// Ends when nobody is there any more to be served. It is asked anew after each thing that happens.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// What the connects of one proxy have in common, and for whom they are made.
pub(crate) struct Track<'a, T> {
    pub(crate) connector: &'a Arc<dyn Connect<T>>,
    pub(crate) race: &'a Race,
    /// How long each attempt may take.
    pub(crate) timeout: Duration,
    /// How long a backend may be silent before the next is tried alongside, at most; `None`: one after the other.
    pub(crate) silence: Option<Duration>,
    /// Who is told, and of which client.
    pub(crate) observer: Option<&'a Arc<dyn Observer>>,
    pub(crate) client: SocketAddr,
}

/// What connecting learns over time.
#[derive(Debug, Default)]
pub(crate) struct Race {
    /// The average connect, in microseconds; 0 before the first.
    usual_micros: AtomicU32,
    /// Backends of which someone waits to learn whether they answer, though no client waits any more.
    learning: Arc<Mutex<BTreeSet<BackendId>>>,
}

/// The right to go on without a client, until dropped: a connector may panic, a runtime may end.
#[derive(Debug)]
struct Learning {
    all: Arc<Mutex<BTreeSet<BackendId>>>,
    id: BackendId,
}

impl Learning {
    /// `None` when someone waits for this backend already.
    fn begin(all: &Arc<Mutex<BTreeSet<BackendId>>>, id: BackendId) -> Option<Self> {
        let first = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        first.then(|| Self { all: Arc::clone(all), id })
    }
}

impl Drop for Learning {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// One connect under way.
struct Attempt<T> {
    id: BackendId,
    began: Instant,
    deadline: Instant,
    /// It holds a place at the backend until it ends; looked at after the deadline, it has ended.
    connecting: Pin<Box<dyn Future<Output = Ended<T>> + Send>>,
}

type Ended<T> = (Lease<T>, io::Result<TcpStream>);

enum Event<T> {
    Ended(usize, Ended<T>),
    Silence,
    ClientGone,
}

impl Race {
    /// How long the last attempt may be silent before the next one begins.
    fn patience(&self, most: Duration) -> Duration {
        match self.usual_micros.load(Relaxed) {
            0 => most,
            usual => Duration::from_micros(u64::from(usual) * 8).max(LEAST_SILENCE).min(most),
        }
    }

    fn learn(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let usual = self.usual_micros.load(Relaxed);
        let next = if usual == 0 { took } else { usual - usual / 8 + took / 8 };
        self.usual_micros.store(next.max(1), Relaxed);
    }
}

impl<T> Track<'_, T> {
    fn tell(&self, tell: impl FnOnce(&dyn Observer, SocketAddr)) {
        if let Some(observer) = self.observer {
            tell(&**observer, self.client);
        }
    }

    /// When the next attempt is to begin alongside, if at all. Where one has been silent the others get less time: the
    /// client has waited already.
    fn next_start(&self, attempts: &[Attempt<T>], more: bool) -> Option<Instant> {
        let most = self.silence.filter(|_| more)?;
        let silence = if attempts.len() > 1 { most.min(LEAST_SILENCE) } else { self.race.patience(most) };
        attempts.last().map(|last| later(last.began, silence))
    }
}

/// A connection to the backend that the balancer prefers of those that answer, beginning with `first` where that was
/// picked already. Whatever is tried is added to `tried`.
pub(crate) async fn connect<T: Send + Sync + 'static>(
    track: Track<'_, T>,
    contest: &mut impl Contest<T>,
    mut first: Option<Lease<T>>,
    tried: &mut Tried,
    alarms: Arc<Alarms>,
) -> Result<(TcpStream, Lease<T>), NoConnection> {
    let mut attempts: Vec<Attempt<T>> = Vec::new();
    let mut alarm = Alarm::new(alarms);
    let mut exhausted = None;
    loop {
        if exhausted.is_none() {
            match first.take().map_or_else(|| contest.pick(tried), Ok) {
                Ok(lease) => {
                    tried.insert(lease.id());
                    track.tell(|observer, client| observer.attempt(client, lease.name()));
                    attempts.push(Attempt::begin(&track, lease));
                }
                // Those under way may still answer.
                Err(no_pick) => exhausted = Some(NoConnection::NoPick(no_pick)),
            }
        }
        if let Some(reason) = exhausted.filter(|_| attempts.is_empty()) {
            return Err(reason);
        }
        let next_start = track.next_start(&attempts, exhausted.is_none());
        match next_event(&mut attempts, contest.gone(), next_start, &mut alarm).await {
            Event::Ended(at, (lease, Ok(stream))) => {
                let took = attempts.swap_remove(at).began.elapsed();
                track.race.learn(took);
                track.tell(|observer, client| observer.connected(client, lease.name(), took));
                attempts.into_iter().for_each(|loser| loser.go_on_alone(&track));
                return Ok((stream, lease));
            }
            Event::Ended(at, (lease, Err(error))) => {
                attempts.remove(at);
                // Time has passed: who was full then may have room now.
                exhausted = sys::lacks_means(&error).then_some(NoConnection::Shortage);
                track.tell(|observer, client| observer.attempt_failed(client, lease.name(), &error));
                lease.finish(failure(&error), now());
            }
            Event::Silence => {}
            Event::ClientGone => {
                attempts.into_iter().for_each(|attempt| attempt.go_on_alone(&track));
                return Err(NoConnection::ClientGone);
            }
        }
    }
}

/// What a failed connect says of its backend: nothing, when it is us who lack something.
fn failure(error: &io::Error) -> Outcome {
    if sys::lacks_means(error) { Outcome::Cancelled } else { Outcome::ConnectFailed }
}

async fn next_event<T>(
    attempts: &mut [Attempt<T>],
    gone: impl Future<Output = ()>,
    next_start: Option<Instant>,
    alarm: &mut Alarm,
) -> Event<T> {
    let attempts = poll_fn(|cx| {
        for (at, attempt) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(ended) = attempt.connecting.as_mut().poll(cx) {
                return Poll::Ready(Event::Ended(at, ended));
            }
        }
        if next_start.is_some_and(|at| at <= Instant::now()) {
            return Poll::Ready(Event::Silence);
        }
        let deadline = attempts.iter().map(|attempt| attempt.deadline).min();
        deadline.into_iter().chain(next_start).min().into_iter().for_each(|at| alarm.set(at, cx.waker()));
        Poll::Pending
    });
    tokio::select! {
        // First: the reactor tells of both at once when a client has reset in the queue already, and what it said before
        // must not reach a backend.
        biased;
        () = gone => Event::ClientGone,
        event = attempts => event,
    }
}

impl<T: Send + Sync + 'static> Attempt<T> {
    fn begin(track: &Track<'_, T>, lease: Lease<T>) -> Self {
        let (connector, id, began) = (Arc::clone(track.connector), lease.id(), Instant::now());
        let deadline = later(began, track.timeout);
        let connecting = Box::pin(async move {
            let mut connect = connector.connect(lease.payload());
            let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
                Poll::Pending if deadline <= Instant::now() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                other => other,
            });
            let connected = connected.await;
            drop(connect);
            (lease, connected)
        });
        Self { id, began, deadline, connecting }
    }

    /// Nobody waits for it any more. What becomes of it is still worth knowing, once for each backend.
    fn go_on_alone(self, track: &Track<'_, T>) {
        let Some(learning) = Learning::begin(&track.race.learning, self.id) else { return };
        let Self { deadline, mut connecting, .. } = self;
        let (observer, client) = (track.observer.cloned(), track.client);
        tokio::spawn(async move {
            let _learning = learning;
            let (lease, connected) = match timeout_at(deadline, &mut connecting).await {
                Ok(ended) => ended,
                Err(_) => connecting.await,
            };
            if let (Some(observer), Err(error)) = (observer, &connected) {
                observer.attempt_failed(client, lease.name(), error);
            }
            lease.finish(connected.map_or_else(|error| failure(&error), |_| Outcome::Success), now());
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use async_trait::async_trait;
    use lb_core::{
        Balancer, Config, Request,
        rand::{SeedableRng as _, rngs::SmallRng},
    };

    use super::*;
    use crate::connect::Dialer;

    /// A client that is there, or has gone.
    struct Client {
        balancer: Arc<Balancer<SocketAddr>>,
        rng: SmallRng,
        gone: bool,
    }

    impl Contest<SocketAddr> for Client {
        fn pick(&mut self, tried: &Tried) -> Result<Lease<SocketAddr>, NoPick> {
            self.balancer.pick(&Request::new(now()).with_tried(tried), &mut self.rng)
        }

        async fn gone(&mut self) {
            if self.gone { ready(()).await } else { pending().await }
        }
    }

    struct Silent;

    #[async_trait]
    impl Connect<SocketAddr> for Silent {
        async fn connect(&self, _: &SocketAddr) -> io::Result<TcpStream> {
            pending().await
        }
    }

    fn client(backends: &[SocketAddr]) -> Client {
        let names: Vec<_> = backends.iter().map(ToString::to_string).collect();
        let (config, mut rng): (Config, _) = (names.join(" ").parse().unwrap(), SmallRng::seed_from_u64(1));
        let balancer = Balancer::new(config, now(), &mut rng, |backend| backend.name.parse().unwrap());
        Client { balancer: Arc::new(balancer), rng, gone: false }
    }

    async fn run(
        client: &mut Client,
        connector: Arc<dyn Connect<SocketAddr>>,
        first: Option<Lease<SocketAddr>>,
        tried: &mut Tried,
    ) -> Result<SocketAddr, NoConnection> {
        let (alarms, timeout) = (Arc::<Alarms>::default(), Duration::from_secs(5));
        let (race, from) = (Race::default(), "127.0.0.1:1".parse().unwrap());
        let track = Track { connector: &connector, race: &race, timeout, silence: None, observer: None, client: from };
        tokio::select! {
            connected = connect(track, client, first, tried, Arc::clone(&alarms)) => {
                connected.map(|(stream, _)| stream.peer_addr().unwrap())
            }
            never = alarms.ring() => match never {},
        }
    }

    fn listener() -> (std::net::TcpListener, SocketAddr) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_backend_that_was_picked_already_is_first_and_what_was_tried_is_not_tried_again() {
        let (closed, dead) = listener();
        drop(closed);
        let ((_first, one), (_second, other)) = (listener(), listener());
        let mut client = client(&[one, dead, other]);
        let mut tried = Tried::default();
        let first = loop {
            let lease = client.pick(&Tried::default()).unwrap();
            if *lease.payload() == dead {
                break lease;
            }
        };
        let dialer: Arc<dyn Connect<SocketAddr>> = Arc::new(Dialer::default());
        let reached = run(&mut client, Arc::clone(&dialer), Some(first), &mut tried).await.unwrap();
        assert!(reached == one || reached == other);
        // The same client once more, with what it has learned.
        let again = run(&mut client, Arc::clone(&dialer), None, &mut tried).await.unwrap();
        assert!(again != reached && again != dead);
        let none = run(&mut client, dialer, None, &mut tried).await;
        assert!(matches!(none, Err(NoConnection::NoPick(_))), "{none:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_connects_for_a_client_that_has_gone() {
        let mut client = client(&[listener().1]);
        client.gone = true;
        let outcome = run(&mut client, Arc::new(Silent), None, &mut Tried::default()).await;
        assert_eq!(outcome, Err(NoConnection::ClientGone));
    }
}
