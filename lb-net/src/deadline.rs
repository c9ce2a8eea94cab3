//! Many deadlines that move with every request and hardly ever come due, on one timer.
//!
//! Moving one is a store; whether any is due is looked at by one task, and only when one may be. What [`alarm`] is for
//! connects, which are short, this is for connections, which last: thousands at a time, each with its deadline.
//!
//! [`alarm`]: crate::alarm

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout_at};

use crate::driver::{later, now};

/// Looks happen at multiples of this, so that many deadlines share one: how late a deadline may be noticed.
pub(crate) const TICK: Duration = Duration::from_millis(100);

const TICK_NANOS: u64 = TICK.as_nanos() as u64;

/// As late as a deadline can be.
const FAR: u64 = NEVER - 2 * TICK_NANOS;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// Deadlines that lie side by side. A look at as many costs less than a microsecond.
const CHUNK: usize = 256;

/// The deadlines of one listener's connections. Moments are nanoseconds since it was made.
pub(crate) struct Sweep {
    epoch: Instant,
    /// When the task has looked last.
    looked: AtomicU64,
    /// When the task looks next. Whoever sets an earlier deadline moves it.
    next_look: AtomicU64,
    moved: Notify,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    chunks: Vec<Chunk>,
    free: Vec<usize>,
}

struct Chunk {
    /// Shared with those whose places they are.
    at: Arc<[AtomicU64; CHUNK]>,
    /// Who is woken.
    wakers: Box<[Option<Waker>; CHUNK]>,
}

/// One deadline, none at first. Its place is free again when it is dropped.
pub(crate) struct Deadline {
    sweep: Arc<Sweep>,
    chunk: Arc<[AtomicU64; CHUNK]>,
    place: usize,
    /// What is registered, so that doing it again costs nothing.
    waker: Option<Waker>,
}

impl Sweep {
    pub(crate) fn new() -> Arc<Self> {
        let (epoch, next_look) = (now(), AtomicU64::new(NEVER));
        Arc::new(Self { epoch, looked: AtomicU64::new(0), next_look, moved: Notify::new(), places: Mutex::default() })
    }

    /// Wakes those whose time has come, for as long as it is polled. They are woken again at each tick until they have set
    /// another deadline, or none.
    pub(crate) async fn run(self: Arc<Self>) -> Infallible {
        let (mut looked, mut sure) = (0, true);
        loop {
            self.wait(looked, if sure { NEVER } else { next_tick(looked) }).await;
            looked = self.nanos(now());
            self.looked.store(looked, Relaxed);
            let expected = self.next_look.load(Relaxed) <= looked;
            let earliest = self.wake_due(looked);
            if expected {
                self.next_look.store(earliest, Relaxed);
            } else {
                self.next_look.fetch_min(earliest, Relaxed);
            }
            // While it looked, a deadline may have been set on another thread: too late to be seen, and too early to know
            // when the next look is. So there is one more, at the next tick.
            sure = !expected;
        }
    }

    /// Waits for the next look, which may be moved meanwhile: it is at `most`, and a tick after the one before.
    async fn wait(&self, looked: u64, most: u64) {
        loop {
            let moved = self.moved.notified();
            let next = self.next_look.load(Relaxed).min(most);
            if next == NEVER {
                moved.await;
                continue;
            }
            let at = Duration::from_nanos(next.max(next_tick(looked)));
            if timeout_at(later(self.epoch.into(), at), moved).await.is_err() {
                return;
            }
        }
    }

    /// Wakes all, whatever their deadlines are.
    pub(crate) fn wake_all(&self) {
        let all: Vec<Waker> =
            self.places().chunks.iter().flat_map(|chunk| chunk.wakers.iter().flatten().cloned()).collect();
        all.into_iter().for_each(Waker::wake);
    }

    /// Returns when to look again.
    fn wake_due(&self, now: u64) -> u64 {
        let (mut due, mut earliest) = (Vec::new(), NEVER);
        for chunk in &self.places().chunks {
            for (at, waker) in chunk.at.iter().zip(chunk.wakers.iter()) {
                let at = at.load(Relaxed);
                if at <= now {
                    due.extend(waker.clone());
                }
                earliest = earliest.min(at);
            }
        }
        due.into_iter().for_each(Waker::wake);
        if earliest <= now { next_tick(now) } else { tick(earliest) }
    }

    /// Has the task look at this time, if it would do so later only.
    #[cold]
    fn look_at(&self, at: u64) {
        if self.next_look.fetch_min(tick(at), Relaxed) > tick(at) {
            self.moved.notify_one();
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(since.subsec_nanos())).min(FAR)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a deadline is noticed.
fn tick(at: u64) -> u64 {
    if at == NEVER { NEVER } else { at.div_ceil(TICK_NANOS) * TICK_NANOS }
}

fn next_tick(now: u64) -> u64 {
    (now / TICK_NANOS + 1) * TICK_NANOS
}

impl Places {
    fn take(&mut self) -> (usize, Arc<[AtomicU64; CHUNK]>) {
        let place = self.free.pop().unwrap_or_else(|| {
            let first = self.chunks.len() * CHUNK;
            self.chunks.push(Chunk::new());
            self.free.extend((first + 1..first + CHUNK).rev());
            first
        });
        (place, Arc::clone(&self.chunks[place / CHUNK].at))
    }

    fn waker(&mut self, place: usize) -> &mut Option<Waker> {
        &mut self.chunks[place / CHUNK].wakers[place % CHUNK]
    }
}

impl Chunk {
    fn new() -> Self {
        let at = Arc::new([const { AtomicU64::new(NEVER) }; CHUNK]);
        Self { at, wakers: Box::new([const { None }; CHUNK]) }
    }
}

impl Deadline {
    pub(crate) fn new(sweep: &Arc<Sweep>) -> Self {
        let (place, chunk) = sweep.places().take();
        Self { sweep: Arc::clone(sweep), chunk, place, waker: None }
    }

    /// In place of what was set before. It is noticed up to a tick late: a deadline of now is the next tick.
    pub(crate) fn set(&self, at: Instant) {
        let at = self.sweep.nanos(at);
        self.at().store(at, Relaxed);
        if at < self.sweep.next_look.load(Relaxed) {
            self.sweep.look_at(at);
        }
    }

    pub(crate) fn clear(&self) {
        self.at().store(NEVER, Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn is_set(&self) -> bool {
        self.at().load(Relaxed) != NEVER
    }

    /// Whether a look has found it due: to be asked before [`is_due`](Self::is_due), as it needs no clock.
    pub(crate) fn is_noticed(&self) -> bool {
        self.at().load(Relaxed) <= self.sweep.looked.load(Relaxed)
    }

    /// Whoever was woken asks, and then sets another one or clears it.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.at().load(Relaxed) <= self.sweep.nanos(now)
    }

    /// Has `waker` woken when it is due, in place of whoever was before.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        if self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        self.waker = Some(waker.clone());
        let before = self.sweep.places().waker(self.place).replace(waker.clone());
        // It may be the last of its task, whose deadlines take the lock then: so it goes after the lock.
        drop(before);
    }

    /// Ready when it is due; otherwise this task is woken then.
    pub(crate) fn poll_due(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.watch(cx.waker());
        if self.is_due(now()) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn at(&self) -> &AtomicU64 {
        &self.chunk[self.place % CHUNK]
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.clear();
        let mut places = self.sweep.places();
        let waker = places.waker(self.place).take();
        places.free.push(self.place);
        drop(places);
        drop(waker);
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep").field("next_look", &self.next_look).finish_non_exhaustive()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("at", self.at()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize, task::Wake};

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A sweep with a task of its own, and how often that was polled.
    fn running() -> (Arc<Sweep>, Arc<AtomicUsize>) {
        let (sweep, polls) = (Sweep::new(), Arc::<AtomicUsize>::default());
        let (mut run, counter) = (Box::pin(Arc::clone(&sweep).run()), Arc::clone(&polls));
        tokio::spawn(poll_fn(move |cx| {
            counter.fetch_add(1, Relaxed);
            run.as_mut().poll(cx)
        }));
        (sweep, polls)
    }

    async fn passes(sweep: &Arc<Sweep>, time: Duration) -> Duration {
        let (mut deadline, begin) = (Deadline::new(sweep), now());
        deadline.set(begin + time);
        poll_fn(|cx| deadline.poll_due(cx)).await;
        now() - begin
    }

    /// Counts.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_are_noticed_within_a_tick() {
        let (sweep, _) = running();
        for millis in [0, 1, 99, 100, 101, 5_000, 60_000, 333] {
            sleep(Duration::from_millis(millis * 7 % 130)).await;
            let time = Duration::from_millis(millis);
            let passed = passes(&sweep, time).await;
            // Tokio's timers have milliseconds.
            assert!(passed >= time && passed <= time + TICK + Duration::from_millis(1), "{time:?}: {passed:?}");
        }
        let wait = |seconds| passes(&sweep, SECOND * seconds);
        tokio::join!(wait(60), wait(5), wait(1));
        let places = sweep.places();
        assert_eq!((places.chunks.len(), places.free.len()), (1, CHUNK));
        assert!(places.chunks[0].wakers.iter().all(Option::is_none));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_nobody_wakes_up() {
        let (sweep, polls) = running();
        let idle = Deadline::new(&sweep);
        passes(&sweep, SECOND).await;
        idle.set(now() + SECOND);
        idle.clear();
        sleep(SECOND * 2).await;
        let before = polls.load(Relaxed);
        sleep(SECOND * 100_000).await;
        assert_eq!(polls.load(Relaxed), before);
        assert!(passes(&sweep, SECOND).await <= SECOND + TICK * 2, "it still wakes up when it must");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_is_moved_often_is_looked_at_rarely() {
        let (sweep, polls) = running();
        let deadline = Deadline::new(&sweep);
        for _ in 0..6000 {
            deadline.set(now() + SECOND * 10);
            sleep(SECOND / 100).await;
        }
        // A minute, with a look every ten seconds and one more after each.
        let polls = polls.load(Relaxed);
        assert!((10..20).contains(&polls), "{polls}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_nothing_about_it_is_woken_at_each_tick_and_not_more_often() {
        let (sweep, _) = running();
        let (woken, mut deadline) = (Arc::<Woken>::default(), Deadline::new(&sweep));
        deadline.watch(&Waker::from(Arc::clone(&woken)));
        for _ in 0..100 {
            deadline.set(now());
            sleep(SECOND / 100).await;
        }
        let count = woken.0.load(Relaxed);
        assert!((8..=11).contains(&count), "{count}");
        deadline.clear();
        sleep(SECOND).await;
        assert!(woken.0.load(Relaxed) <= count + 1);
    }

    #[test]
    fn only_those_are_woken_that_are_due_of_ten_thousand() {
        let (sweep, woken) = (Sweep::new(), Arc::<Woken>::default());
        let begin = sweep.epoch;
        let mut deadlines: Vec<_> = (0..10_000).map(|_| Deadline::new(&sweep)).collect();
        for (second, deadline) in (1..).zip(&mut deadlines) {
            deadline.watch(&Waker::from(Arc::clone(&woken)));
            deadline.set(begin + SECOND * second);
        }
        let (second, minute) = (SECOND.as_nanos() as u64, 60 * SECOND.as_nanos() as u64);
        assert_eq!(sweep.wake_due(second - 1), second);
        assert_eq!(woken.0.load(Relaxed), 0);
        assert_eq!(sweep.wake_due(minute), minute + TICK_NANOS);
        assert_eq!(woken.0.load(Relaxed), 60);
        for deadline in &deadlines[..60] {
            assert!(deadline.is_due(begin + SECOND * 60));
            deadline.clear();
        }
        assert_eq!(sweep.wake_due(minute), minute + second);
        deadlines.truncate(10);
        assert_eq!((sweep.wake_due(minute), woken.0.load(Relaxed)), (NEVER, 60));
        let again: Vec<_> = (0..9_990).map(|_| Deadline::new(&sweep)).collect();
        assert!(again.iter().all(|deadline| !deadline.is_set()));
        assert_eq!(sweep.places().chunks.len(), 10_000usize.div_ceil(CHUNK));
    }

    #[tokio::test(start_paused = true)]
    async fn another_waker_takes_the_place_of_the_one_before() {
        let sweep = Sweep::new();
        let (first, second) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut deadline = Deadline::new(&sweep);
        for woken in [&first, &second, &second] {
            deadline.watch(&Waker::from(Arc::clone(woken)));
        }
        deadline.set(now());
        sweep.wake_due(sweep.nanos(now()));
        assert_eq!((first.0.load(Relaxed), second.0.load(Relaxed)), (0, 1));
        drop(deadline);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_other_threads_set_is_noticed() {
        let (sweep, _) = running();
        let tasks: Vec<_> = (0..200u64)
            .map(|number| {
                let sweep = Arc::clone(&sweep);
                tokio::spawn(async move { passes(&sweep, Duration::from_millis(number % 7 * 30)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
