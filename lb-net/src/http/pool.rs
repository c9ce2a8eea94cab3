//! Connections to backends between two requests: last used first, and no dead one is handed out knowingly.

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::{BuildHasherDefault, Hasher},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use lb_core::{BackendId, Balancer};
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::Notify,
    time::{sleep, timeout_at},
};

use super::Keep;
use crate::{
    driver::{later, now},
    sys,
};

/// Sweeps are so far apart: so long a connection that its backend has closed may stay half open.
const LOOK: Duration = Duration::from_secs(1);

/// The idle backend connections of one worker, each registered with that worker's runtime.
#[derive(Debug, Default)]
pub(super) struct Pool {
    kept: Mutex<Idle>,
    /// How many there are: to be looked at without the lock, under which it is written.
    count: AtomicUsize,
    news: Arc<News>,
}

/// Told when there is something to sweep: a connection that no sweep has seen, one of which the reactor tells, or backends
/// that have changed.
#[derive(Debug, Default)]
struct News(Notify);

impl Wake for News {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Has the pool look for connections that are not wanted any more whenever something has changed about backends, for as long
/// as it is kept.
#[derive(Debug)]
pub(super) struct Watch(Arc<News>);

#[derive(Debug, Default)]
struct Idle {
    /// By age: the last one was used last. A backend's room stays when it is empty, so that nothing is allocated again.
    backends: HashMap<BackendId, Vec<Entry>, BuildHasherDefault<IdHasher>>,
    count: usize,
    /// Whether there is one that no sweep has seen: the next one is about to come.
    has_new: bool,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// When it has been idle for too long, or is too old.
    until: Instant,
}

/// A connection to a backend that is good for another request.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stream: TcpStream,
    /// When it was connected.
    pub(super) born: Instant,
    /// Requests that it has had.
    pub(super) uses: u32,
    /// The last answer was in bulk: the next one is likely to be.
    pub(super) in_bulk: bool,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// From now on these are the backends.
    pub(super) fn watch<T: Send + Sync>(&self, balancer: &Balancer<T>) -> Arc<Watch> {
        let watch = Arc::new(Watch(Arc::clone(&self.news)));
        let told = Arc::downgrade(&watch);
        balancer.on_publish(move || told.upgrade().map(|watch| watch.0.0.notify_one()).is_some());
        self.news.0.notify_one();
        watch
    }

    /// The connection to this backend that was used last, unless it is known to be of no use any more.
    ///
    /// What the reactor has not heard of yet can only be seen by asking the kernel, which costs a system call: with
    /// `careful` it is asked, for requests that must not be sent twice. Moments later the connection may still end.
    pub(super) fn take(&self, id: BackendId, now: Instant, careful: bool) -> Option<Kept> {
        loop {
            // Those of no use are closed outside of the lock.
            let Entry { kept, until } = self.pop(id)?;
            if now < until && is_quiet(&kept.stream, careful) {
                return Some(kept);
            }
        }
    }

    /// Keeps a connection for the next request, unless there are enough of them or it has served long enough. Whoever puts
    /// it must have read the answer to its end and not a byte more.
    pub(super) fn put(&self, id: BackendId, kept: Kept, now: Instant, keep: &Keep) {
        let until = until(&kept, now, keep);
        if until <= now || keep.uses.is_some_and(|most| kept.uses >= most.get()) {
            return;
        }
        let mut idle = self.idle();
        let refused = idle.push(id, Entry { kept, until }, keep.idle);
        self.count.store(idle.count, Relaxed);
        let is_first = refused.is_none() && !std::mem::replace(&mut idle.has_new, true);
        drop(idle);
        if is_first {
            self.news.0.notify_one();
        }
    }

    /// Closes those that have expired, that their backends have closed, and all of backends that are not `wanted` any more.
    /// Returns when the next one expires. Of what happens to the others before there will be news.
    pub(super) fn sweep(&self, now: Instant, wanted: impl Fn(BackendId) -> bool) -> Option<Instant> {
        let waker = Waker::from(Arc::clone(&self.news));
        let mut cx = Context::from_waker(&waker);
        let mut idle = self.idle();
        idle.has_new = false;
        // Closed when the lock is free again.
        let mut gone = Vec::new();
        let mut next = None;
        idle.backends.retain(|id, entries| {
            let wanted = wanted(*id);
            let is_over = |entry: &mut Entry| !wanted || entry.until <= now || has_ended(&entry.kept.stream, &mut cx);
            gone.extend(entries.extract_if(.., is_over));
            next = entries.iter().map(|entry| entry.until).chain(next).min();
            wanted
        });
        idle.count -= gone.len();
        self.count.store(idle.count, Relaxed);
        next
    }

    /// Sweeps for as long as it is polled, and sleeps while there is nothing to sweep.
    pub(super) async fn keep_swept(&self, wanted: impl Fn(BackendId) -> bool) -> Infallible {
        loop {
            self.news.0.notified().await;
            while let Some(next) = self.sweep(now(), &wanted) {
                sleep(LOOK).await;
                // Ready or not, there is a reason to look.
                let _ = timeout_at(next.into(), self.news.0.notified()).await;
            }
        }
    }

    /// Closes all of them: descriptors have run out, or nothing more is to come.
    pub(super) fn clear(&self) {
        let mut idle = self.idle();
        idle.count = 0;
        self.count.store(0, Relaxed);
        let gone: Vec<Entry> = idle.backends.values_mut().flat_map(|entries| entries.drain(..)).collect();
        drop((idle, gone));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    fn pop(&self, id: BackendId) -> Option<Entry> {
        let mut idle = self.idle();
        let entry = idle.pop(id);
        self.count.store(idle.count, Relaxed);
        entry
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, id: BackendId) -> Option<Entry> {
        let entry = self.backends.get_mut(&id)?.pop()?;
        self.count -= 1;
        Some(entry)
    }

    /// Gives it back where there are `most` already.
    fn push(&mut self, id: BackendId, entry: Entry, most: u32) -> Option<Entry> {
        let entries = self.backends.entry(id).or_default();
        if entries.len() >= most as usize {
            return Some(entry);
        }
        entries.push(entry);
        self.count += 1;
        None
    }
}

fn until(kept: &Kept, now: Instant, keep: &Keep) -> Instant {
    let idle = later(now.into(), keep.idle_time).into_std();
    keep.age.map_or(idle, |age| idle.min(later(kept.born.into(), age).into_std()))
}

/// Is there nothing to read from it, not even its end? An answer that nobody asked for is as bad as an end: the next
/// client would get it.
fn is_quiet(stream: &TcpStream, careful: bool) -> bool {
    let look = || sys::peek(stream, &mut [0]);
    // The reactor may remember bytes that have been read since, so that it is not believed without a look.
    let seen = if careful { look() } else { stream.try_io(Interest::READABLE, look) };
    seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether it is of no use any more; as soon as it is, this is told from here on.
fn has_ended(stream: &TcpStream, cx: &mut Context<'_>) -> bool {
    !is_quiet(stream, false) || stream.poll_read_ready(cx).is_ready()
}

/// Ids are hashes, or numbers of an embedder's own: spread out, that is enough.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio: neighbours end far apart (Knuth, The Art of Computer Programming 3, 6.4).
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpStream as Far, num::NonZeroU32};

    use tokio::{net::TcpListener, task::yield_now};

    use super::*;

    fn id(number: u64) -> BackendId {
        BackendId::from(number)
    }

    /// A connection and its backend's end, which is not registered: what it does is there at once, and the reactor hears
    /// of it only when it gets a turn.
    async fn connection(born: Instant) -> (Kept, Far) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let far = accepted.unwrap().0.into_std().unwrap();
        (Kept { stream: stream.unwrap(), born, uses: 1, in_bulk: false }, far)
    }

    fn port(kept: Option<&Kept>) -> Option<u16> {
        kept.map(|kept| kept.stream.local_addr().unwrap().port())
    }

    #[tokio::test]
    async fn the_last_used_comes_first_and_backends_are_apart() {
        let (pool, keep, now) = (Pool::new(), Keep::default(), now());
        let mut ends = Vec::new();
        let mut ports = Vec::new();
        for number in [1, 1, 2] {
            let (kept, end) = connection(now).await;
            ports.push(port(Some(&kept)));
            ends.push(end);
            pool.put(id(number), kept, now, &keep);
        }
        assert_eq!(pool.count(), 3);
        for careful in [false, true] {
            let taken = pool.take(id(1), now, careful);
            assert_eq!(port(taken.as_ref()), ports[1]);
            pool.put(id(1), taken.unwrap(), now, &keep);
        }
        let taken = [1, 1, 1, 2, 3].map(|number| pool.take(id(number), now, false));
        assert_eq!(taken.each_ref().map(|kept| port(kept.as_ref())), [ports[1], ports[0], None, ports[2], None]);
        assert_eq!(pool.count(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_its_backend_has_closed_is_not_used() {
        let (pool, keep, now) = (Pool::new(), Keep::default(), now());
        let (kept, end) = connection(now).await;
        drop(end);
        kept.stream.readable().await.unwrap();
        let (good, _end) = connection(now).await;
        let good_port = port(Some(&good));
        pool.put(id(1), good, now, &keep);
        pool.put(id(1), kept, now, &keep);
        assert_eq!(port(pool.take(id(1), now, false).as_ref()), good_port, "the one below is as good");
        assert_eq!(pool.count(), 0);
    }

    #[tokio::test]
    async fn a_connection_with_bytes_that_nobody_asked_for_is_not_used() {
        let (pool, keep, now) = (Pool::new(), Keep::default(), now());
        let (kept, mut end) = connection(now).await;
        end.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        kept.stream.readable().await.unwrap();
        pool.put(id(1), kept, now, &keep);
        assert!(pool.take(id(1), now, false).is_none());
    }

    #[tokio::test]
    async fn care_sees_what_the_reactor_has_not_heard_of() {
        let (pool, keep, now) = (Pool::new(), Keep::default(), now());
        for (careful, taken) in [(false, true), (true, false)] {
            let (kept, end) = connection(now).await;
            pool.put(id(1), kept, now, &keep);
            drop(end);
            assert_eq!(pool.take(id(1), now, careful).is_some(), taken);
        }
    }

    #[tokio::test]
    async fn a_connection_whose_bytes_were_read_with_nothing_left_over_is_used() {
        let (pool, keep, now) = (Pool::new(), Keep::default(), now());
        let (kept, mut end) = connection(now).await;
        end.write_all(b"answer").unwrap();
        kept.stream.readable().await.unwrap();
        // The buffer is full, so that the reactor does not learn that there is no more.
        assert_eq!(kept.stream.try_read(&mut [0; 6]).unwrap(), 6);
        pool.put(id(1), kept, now, &keep);
        assert!(pool.take(id(1), now, false).is_some());
    }

    #[tokio::test]
    async fn limits_are_kept() {
        let (pool, born, second) = (Pool::new(), now(), Duration::from_secs(1));
        let (short, one) = (Keep { idle_time: second, ..Keep::default() }, Keep { idle: 1, ..Keep::default() });
        let none = Keep { idle: 0, ..Keep::default() };
        let twice = Keep { uses: NonZeroU32::new(2), ..Keep::default() };
        let young = Keep { age: Some(second), ..Keep::default() };
        let kept_for = async |keep: Keep, uses, idle| {
            let (kept, _end) = connection(born).await;
            pool.put(id(1), Kept { uses, ..kept }, born, &keep);
            pool.take(id(1), born + idle, true).is_some()
        };
        assert!(kept_for(short, 1, second / 2).await && !kept_for(short, 1, second).await, "idle time");
        assert!(kept_for(young, 1, second / 2).await && !kept_for(young, 1, second).await, "age");
        assert!(kept_for(twice, 1, second).await && !kept_for(twice, 2, second).await, "uses");
        assert!(kept_for(one, 1, second).await && !kept_for(none, 1, second).await, "number");
        for expected in [1, 1] {
            let (kept, _end) = connection(born).await;
            pool.put(id(1), kept, born, &one);
            assert_eq!(pool.count(), expected);
        }
    }

    #[tokio::test]
    async fn a_sweep_closes_the_expired_the_dead_and_the_unwanted() {
        let (pool, now) = (Pool::new(), now());
        let (long, short) = (Keep::default(), Keep { idle_time: Duration::from_millis(500), ..Keep::default() });
        let mut ends = Vec::new();
        for (number, keep) in [(1, long), (2, short), (3, long), (4, long)] {
            let (kept, end) = connection(now).await;
            pool.put(id(number), kept, now, &keep);
            ends.push(end);
        }
        assert_eq!(pool.sweep(now, |_| true), Some(now + short.idle_time));
        assert_eq!(pool.sweep(now + short.idle_time, |id| id != self::id(3)), Some(now + long.idle_time));
        assert_eq!(pool.count(), 2);
        drop(ends.pop());
        while pool.count() == 2 {
            yield_now().await;
            let _ = pool.sweep(now, |_| true);
        }
        assert!(pool.take(id(1), now, true).is_some());
        assert_eq!(pool.sweep(now, |_| true), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_is_closed_in_time_without_anyone_asking() {
        let (pool, keep) = (Pool::new(), Keep::default());
        let (kept, _end) = connection(now()).await;
        let begin = now();
        let putting = async {
            pool.put(id(1), kept, begin, &keep);
            while pool.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            never = pool.keep_swept(|_| true) => match never {},
            () = putting => {}
        }
        let passed = now() - begin;
        assert!(passed >= keep.idle_time && passed < keep.idle_time + LOOK, "{passed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_is_noticed_and_otherwise_nobody_wakes_up() {
        let (pool, long) = (Pool::new(), Keep { idle_time: LOOK * 100_000, ..Keep::default() });
        let (kept, end) = connection(now()).await;
        pool.put(id(1), kept, now(), &long);
        let mut polls = 0;
        let mut swept = std::pin::pin!(pool.keep_swept(|_| true));
        let counted = std::future::poll_fn(|cx| {
            polls += 1;
            swept.as_mut().poll(cx)
        });
        assert!(tokio::time::timeout(LOOK * 10_000, counted).await.is_err());
        assert!(polls <= 5, "{polls}");
        drop(end);
        let gone = async {
            while pool.count() > 0 {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            never = swept => match never {},
            () = gone => {}
        }
    }

    #[tokio::test]
    async fn all_can_be_closed_at_once() {
        let (pool, now) = (Pool::new(), now());
        let (kept, _end) = connection(now).await;
        pool.put(id(1), kept, now, &Keep::default());
        pool.clear();
        assert_eq!((pool.count(), pool.take(id(1), now, false).is_none()), (0, true));
    }
}
