//! What those in line see of each other.

use std::{
    sync::mpsc,
    task::Wake,
    thread::{self, Thread},
};

use lb_core::{
    Balancer, Lease, NoPick, Outcome, Request, Status,
    rand::{RngExt as _, SeedableRng as _, rngs::SmallRng},
};

use super::*;

/// Nobody is stranded for so long.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(3600);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A balancer, its line, and one client of both.
#[derive(Clone)]
struct Client {
    balancer: Arc<Balancer<()>>,
    waiting: Waiting,
    rng: SmallRng,
    key: Option<u64>,
    pin: Option<BackendId>,
}

impl Client {
    fn of(text: &str) -> Self {
        let mut rng = SmallRng::seed_from_u64(7);
        let balancer = Balancer::new(text.parse().unwrap(), Instant::now(), &mut rng, |_| ());
        Self { balancer: Arc::new(balancer), waiting: Waiting::default(), rng, key: None, pin: None }
    }

    fn pinned(&self, name: &str) -> Self {
        Self { pin: Some(BackendId::new(name, 0)), ..self.clone() }
    }

    fn keyed(&self, key: u64) -> Self {
        Self { key: Some(key), ..self.clone() }
    }

    /// The same client whose key belongs to this backend.
    fn of_owner(&self, name: &str) -> Self {
        let owned = |key: &u64| self.keyed(*key).pick().is_ok_and(|lease| lease.name() == name);
        self.keyed((0..1000).find(owned).unwrap())
    }

    fn request(&self) -> Request<'static> {
        let mut request = Request::new(Instant::now());
        (request.key, request.pin) = (self.key, self.pin);
        request
    }

    fn pick(&mut self) -> Result<Lease<()>, NoPick> {
        self.balancer.pick(&self.request(), &mut self.rng)
    }

    /// After a pick that failed.
    fn needs(&self) -> Needs {
        Needs::after(self.balancer.wait_for(&self.request())).unwrap()
    }

    fn take(&mut self) -> Lease<()> {
        self.pick().unwrap()
    }

    fn arrive(&self) -> Arrival {
        self.waiting.arrive(Needs::arriving(self.pin))
    }

    /// Behind all others, after a pick that failed.
    fn join(&mut self) -> Waiter {
        let arrival = self.arrive();
        assert!(self.pick().is_err());
        self.join_as(arrival, self.needs()).unwrap()
    }

    fn join_as(&self, arrival: Arrival, needs: Needs) -> Result<Waiter, QueueFull> {
        self.waiting.join(arrival, needs, 1000, Instant::now() + LONG)
    }

    /// The same, with the first try behind it.
    fn wait(&mut self) -> Waiter {
        let mut waiter = self.join();
        while is_called(&mut waiter) {
            assert!(self.pick().is_err());
            waiter.failed(self.needs());
        }
        waiter
    }

    fn end(&self, lease: Lease<()>) {
        let id = lease.id();
        lease.finish(Outcome::Success, Instant::now());
        self.waiting.freed(id);
    }

    /// A whole wait, as a request does it: until it has a place.
    fn queue(&mut self, waiter: Option<Waiter>) -> Lease<()> {
        let arrival = self.arrive();
        let mut needs = Needs::arriving(self.pin);
        if waiter.is_none() && arrival.may_try() {
            if let Ok(lease) = self.pick() {
                return lease;
            }
            needs = self.needs();
        }
        let mut waiter = waiter.unwrap_or_else(|| self.join_as(arrival, needs).unwrap());
        loop {
            block(&mut waiter);
            if let Ok(lease) = self.pick() {
                waiter.served(lease.id());
                return lease;
            }
            waiter.failed(self.needs());
        }
    }
}

impl Line {
    fn is_trying(&self) -> bool {
        let tickets = std::iter::successors(self.queue.first(), |ticket| self.queue.after(*ticket));
        tickets.filter_map(|ticket| self.queue.get(ticket)).any(|guest| !matches!(guest.turn, Turn::Waits))
    }
}

fn is_called(waiter: &mut Waiter) -> bool {
    waiter.poll_turn(&Context::from_waker(Waker::noop())).is_ready()
}

fn block(waiter: &mut Waiter) {
    let (waker, since) = (Waker::from(Arc::new(Unpark(thread::current()))), Instant::now());
    while waiter.poll_turn(&Context::from_waker(&waker)).is_pending() {
        assert!(since.elapsed() < PATIENCE, "nobody called");
        thread::park_timeout(PATIENCE);
    }
}

#[test]
fn under_a_limit_of_one_eight_are_served_in_the_order_of_their_arrival() {
    let mut client = Client::of("a::1");
    let lease = client.take();
    let (tell, told) = mpsc::channel();
    let serve = |number: usize| {
        let (mut client, tell) = (client.clone(), tell.clone());
        let waiter = client.join();
        thread::spawn(move || {
            let lease = client.queue(Some(waiter));
            tell.send((number, lease)).unwrap();
        })
    };
    let threads: Vec<_> = (0..8).map(serve).collect();
    assert_eq!(client.waiting.len(), 8);
    client.end(lease);
    for turn in 0..8 {
        let (number, lease) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(number, turn);
        // Whoever tries in the moment in which the place is given back has it, wherever in line.
        while client.waiting.shared.line().is_trying() {
            thread::yield_now();
        }
        client.end(lease);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(client.waiting.len(), 0);
}

#[test]
fn no_place_is_lost_between_two_threads() {
    let client = Client::of("a::1");
    let run = || {
        let mut client = client.clone();
        thread::spawn(move || {
            for _ in 0..50_000 {
                let lease = client.queue(None);
                client.end(lease);
            }
        })
    };
    let threads = [run(), run()];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(client.waiting.len(), 0);
}

#[test]
fn with_pokes_nobody_is_stranded_among_many_who_are_pinned_or_leave() {
    let client = Client::of("a::2 b::1");
    let run = |seed: u64| {
        let mut client = Client { rng: SmallRng::seed_from_u64(seed), ..client.clone() };
        thread::spawn(move || {
            for _ in 0..4_000 {
                let pins = [None, None, Some(BackendId::new("a", 0)), Some(BackendId::new("b", 0))];
                client.pin = pins[client.rng.random_range(0..4)];
                if client.rng.random_range(0..4) == 0 {
                    let waiter = client.join_as(client.arrive(), Needs::arriving(client.pin)).unwrap();
                    thread::yield_now();
                    drop(waiter);
                }
                let lease = client.queue(None);
                client.end(lease);
            }
        })
    };
    let threads: Vec<_> = (0..6).map(run).collect();
    while !threads.iter().all(thread::JoinHandle::is_finished) {
        client.waiting.poke(Instant::now());
        thread::park_timeout(2 * POKE);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(client.waiting.len(), 0);
}

#[test]
fn one_place_calls_one() {
    let mut client = Client::of("a::1");
    let lease = client.take();
    let mut waiters = [client.wait(), client.wait(), client.wait()];
    client.end(lease);
    assert_eq!(waiters.each_mut().map(is_called), [true, false, false]);
}

#[test]
fn one_that_was_to_try_anyway_is_the_one_that_is_called() {
    let mut client = Client::of("a::1");
    let lease = client.take();
    let (mut first, mut second) = (client.join(), client.wait());
    client.end(lease);
    assert_eq!((is_called(&mut second), is_called(&mut first)), (false, true));
}

#[test]
fn whoever_leaves_passes_its_call_on() {
    let mut client = Client::of("a::1");
    let lease = client.take();
    let [first, mut second, mut third] = [client.wait(), client.wait(), client.wait()];
    client.end(lease);
    drop(first);
    assert!(is_called(&mut second), "called, and gone before it tried");
    drop(second);
    assert!(is_called(&mut third), "gone while it tried");
    third.served(BackendId::new("a", 0));
    assert_eq!(client.waiting.len(), 0);
}

#[test]
fn whoever_has_a_place_calls_nobody() {
    let mut client = Client::of("a::1");
    let lease = client.take();
    let [mut first, mut second] = [client.wait(), client.wait()];
    client.end(lease);
    assert!(is_called(&mut first));
    first.served(BackendId::new("a", 0));
    assert!(!is_called(&mut second));
}

#[test]
fn a_pinned_one_holds_up_nobody_else_and_is_called_for_its_own_backend() {
    let mut client = Client::of("a::1 b::1");
    let [a, b] = [client.take(), client.take()];
    let mut pinned = client.pinned("a").wait();
    let mut other = client.wait();
    client.end(b);
    assert_eq!((is_called(&mut pinned), is_called(&mut other)), (false, true));
    other.failed(Needs::Any);
    client.end(a);
    assert_eq!((is_called(&mut pinned), is_called(&mut other)), (true, false));
}

#[test]
fn one_whose_owner_is_full_holds_up_nobody_else() {
    let client = Client::of("a::1 b::1 %");
    let [mut to_a, mut to_b] = ["a", "b"].map(|name| client.of_owner(name));
    let [a, b] = [to_a.take(), to_b.take()];
    let (mut first, mut second) = (to_a.wait(), to_b.wait());
    client.end(b);
    assert_eq!((is_called(&mut first), is_called(&mut second)), (false, true));
    assert!(to_b.pick().is_ok() && to_b.arrive().may_try(), "another owner is waited for");
    client.end(a);
    assert!(is_called(&mut first));
}

#[test]
fn a_try_that_shows_what_it_needs_lets_the_call_go_on() {
    let client = Client::of("a::1 b::1 %");
    let [mut to_a, mut to_b] = ["a", "b"].map(|name| client.of_owner(name));
    let (_a, mut first) = (to_a.take(), client.join_as(client.arrive(), Needs::Any).unwrap());
    let b = to_b.take();
    assert!(is_called(&mut first) && to_a.pick().is_err());
    first.failed(to_a.needs());
    let mut second = to_b.wait();
    client.end(b);
    assert_eq!((is_called(&mut first), is_called(&mut second)), (false, true));
}

#[test]
fn whoever_takes_another_place_than_it_was_called_for_passes_its_call_on() {
    let mut client = Client::of("a::1 b::1");
    let [a, b] = [client.take(), client.take()];
    let (mut any, mut pinned) = (client.wait(), client.pinned("a").wait());
    client.end(a);
    client.end(b);
    assert_eq!((is_called(&mut any), is_called(&mut pinned)), (true, false));
    any.served(BackendId::new("b", 0));
    assert!(is_called(&mut pinned));
}

#[test]
fn newcomers_do_not_overtake() {
    let mut client = Client::of("a::1 b::1");
    assert!(client.arrive().may_try(), "nobody waits");
    let [_a, b] = [client.take(), client.take()];
    let pinned = client.pinned("a").wait();
    assert!(client.arrive().may_try() && client.pinned("b").arrive().may_try(), "they do not wait for the same");
    assert!(!client.pinned("a").arrive().may_try());
    let mut any = client.wait();
    drop(pinned);
    client.end(b);
    let late = client.arrive();
    assert!(!late.may_try());
    let mut late = client.join_as(late, Needs::Any).unwrap();
    assert_eq!((is_called(&mut any), is_called(&mut late)), (true, false));
}

#[test]
fn a_place_that_is_free_between_a_look_and_the_joining_is_not_missed() {
    let mut client = Client::of("a::1");
    let lease = client.take();
    let arrival = client.arrive();
    assert!(client.pick().is_err());
    client.end(lease);
    let mut waiter = client.join_as(arrival, Needs::Any).unwrap();
    assert!(is_called(&mut waiter) && client.pick().is_ok());
}

#[test]
fn a_place_for_which_all_have_been_called_is_for_who_comes_next() {
    let mut client = Client::of("a::2");
    let [one, other] = [client.take(), client.take()];
    let mut first = client.wait();
    client.end(one);
    client.end(other);
    let mut second = client.join_as(client.arrive(), Needs::Any).unwrap();
    let mut third = client.join_as(client.arrive(), Needs::Any).unwrap();
    assert_eq!([&mut first, &mut second, &mut third].map(is_called), [true, true, false]);
}

#[test]
fn a_place_that_is_free_while_one_tries_is_tried_too() {
    let mut client = Client::of("a::1 b::1");
    let [a, b] = [client.take(), client.take()];
    let mut pinned = client.pinned("b").wait();
    client.waiting.freed(b.id());
    assert!(is_called(&mut pinned));
    client.end(b);
    pinned.failed(Needs::Backend(BackendId::new("b", 0)));
    assert!(is_called(&mut pinned), "its try may have been too early");
    client.end(a);
}

#[test]
fn the_line_has_an_end() {
    let client = Client::of("a");
    let join = |length| client.waiting.join(client.arrive(), Needs::Any, length, Instant::now() + LONG);
    let one = join(1).unwrap();
    assert_eq!(join(1).map(|_| ()), Err(QueueFull));
    let other = join(2).unwrap();
    drop((one, other));
    assert_eq!(join(0).map(|_| ()), Err(QueueFull));
}

#[test]
fn each_service_has_as_many_in_the_line_as_it_may() {
    let client = Client::of("a");
    let other = Client { waiting: client.waiting.for_another(), ..client.clone() };
    let now = Instant::now();
    let join = |client: &Client, length, until| client.waiting.join(client.arrive(), Needs::Any, length, until);
    let one = join(&client, 1, now + LONG).unwrap();
    let two = [2, 2].map(|length| join(&other, length, now).unwrap());
    assert_eq!((client.waiting.len(), other.waiting.len()), (3, 3));
    assert!(join(&client, 1, now).is_err() && join(&other, 2, now).is_err() && join(&other, 0, now).is_err());
    drop(one);
    assert!(join(&client, 1, now).is_ok());
    client.waiting.poke(now);
    let again = join(&other, 1, now + LONG).unwrap();
    drop(two);
    assert!(join(&other, 1, now).is_err(), "who was too late counts once");
    drop(again);
    assert_eq!((client.waiting.len(), join(&other, 1, now).is_ok()), (0, true));
}

#[test]
fn what_nobody_tells_is_found_by_a_poke() {
    let mut client = Client::of("a::1");
    let _a = client.take();
    let mut waiters = [client.wait(), client.wait()];
    let now = Instant::now();
    client.balancer.set_limit(BackendId::new("a", 0), Some(3), now).unwrap();
    assert_eq!(waiters.each_mut().map(is_called), [false, false]);
    client.waiting.poke(now);
    assert_eq!(waiters.each_mut().map(is_called), [true, true]);
    waiters.iter_mut().for_each(|waiter| waiter.failed(Needs::Any));
    client.waiting.poke(now + POKE / 2);
    assert_eq!(waiters.each_mut().map(is_called), [false, false], "another worker has just done it");
    client.waiting.poke(now + POKE);
    assert_eq!(waiters.each_mut().map(is_called), [true, true]);
}

#[tokio::test]
async fn whoever_has_waited_too_long_is_told_and_no_longer_in_line() {
    let client = Client::of("a");
    let (now, arrival) = (Instant::now(), client.arrive());
    let mut waiter = client.waiting.join(arrival, Needs::Any, 9, now + POKE).unwrap();
    let tries = tokio::spawn(async move {
        let mut tries = 0;
        while waiter.turn().await.is_ok() {
            tries += 1;
        }
        tries
    });
    tokio::task::yield_now().await;
    client.waiting.poke(now);
    tokio::task::yield_now().await;
    client.waiting.poke(now + POKE);
    assert_eq!(tries.await.unwrap(), 2, "as it joined, and at the first poke");
    assert_eq!(client.waiting.len(), 0);
}

#[test]
fn a_drained_backend_takes_its_own_past_those_who_wait_for_others() {
    let mut client = Client::of("a::1 b");
    client.balancer.set_status(BackendId::new("b", 0), Status::Draining, Instant::now()).unwrap();
    let _a = client.take();
    let _waits = client.wait();
    let mut pinned = client.pinned("b");
    assert!(pinned.arrive().may_try() && pinned.pick().is_ok());
}

#[test]
fn calls_that_help_nobody_do_not_go_round_for_ever() {
    let mut client = Client::of("a::1 b::1");
    let [_a, b] = [client.take(), client.take()];
    let mut waiters: Vec<Waiter> = (0..10).map(|_| client.wait()).collect();
    let mut tries = 0;
    for _ in 0..1000 {
        // Nothing is free, and yet there is a call.
        client.waiting.freed(b.id());
        for waiter in &mut waiters {
            if is_called(waiter) {
                tries += 1;
                waiter.failed(Needs::Any);
            }
        }
    }
    assert!(tries <= MOST_PASSED_ON as usize + 1000, "{tries}");
}
