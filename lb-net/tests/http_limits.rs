//! Nobody waits for ever, nobody takes more than the limits say, and the good never notice.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use http_support::{Front, each, pair};
use lb_net::http::Settings;
use wire::{Backend, Client, End, Gate, answer, bulk, chunked, show};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const LIMIT: Duration = Duration::from_millis(400);
/// Deadlines are looked at now and then; more than that is too late.
const LATE: Duration = Duration::from_millis(2_500);

fn front(backend: &Backend, change: impl FnOnce(&mut Settings)) -> Front {
    Front::with(&backend.word(), change)
}

/// It took as long as the limit, and not much longer.
fn is_in_time(begin: Instant) {
    let took = begin.elapsed();
    assert!(took >= LIMIT.mul_f32(0.7) && took < LATE, "{took:?}");
}

/// Says one byte after the other until nobody listens.
fn dribble(client: &mut Client, bytes: &[u8]) {
    for byte in bytes.iter().cycle() {
        if !client.can_say([*byte]) || client.hears_within(Duration::from_millis(20)) {
            return;
        }
    }
}

#[test]
fn slow_heads_are_refused_while_a_good_client_is_served() {
    let backend = Backend::named("good");
    let front = front(&backend, |settings| settings.times.head = LIMIT);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let good = scope.spawn(|| {
            let (mut client, mut slowest) = (front.client(), Duration::ZERO);
            while !over.load(Relaxed) {
                let begin = Instant::now();
                assert_eq!(client.ask(GET).text(), "good");
                slowest = slowest.max(begin.elapsed());
                thread::sleep(Duration::from_millis(2));
            }
            slowest
        });
        let slow: Vec<_> = ["GET / HT", "GET / HTTP/1.1\r\nHost: a\r\nX-A: ", "", "\r\n"]
            .map(|first| {
                let front = &front;
                scope.spawn(move || {
                    let (begin, mut client) = (Instant::now(), front.client());
                    client.say(first);
                    if !first.is_empty() {
                        dribble(&mut client, b"x");
                    }
                    let (end, heard) = client.rest();
                    is_in_time(begin);
                    assert_ne!(end, End::Hung);
                    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 408 "), "{}", show(&heard));
                    assert!(first.len() < 3 || show(&heard).contains("lb-reason: head-timeout"), "{}", show(&heard));
                })
            })
            .into();
        slow.into_iter().for_each(|slow| slow.join().unwrap());
        over.store(true, Relaxed);
        let slowest = good.join().unwrap();
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    });
    assert!(backend.requests().iter().all(|request| request.first == "GET /a HTTP/1.1"));
}

#[test]
fn a_kept_connection_is_closed_without_a_word() {
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.times.idle = LIMIT);
    let mut client = front.client();
    assert_eq!(client.ask(GET).text(), "x");
    thread::sleep(LIMIT / 2);
    assert_eq!(client.ask(GET).text(), "x");
    let begin = Instant::now();
    assert_eq!(client.end(), End::Closed);
    is_in_time(begin);
}

#[test]
fn a_later_head_has_its_time_from_its_first_byte() {
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.times.head = LIMIT);
    let mut client = front.client();
    assert_eq!(client.ask(GET).text(), "x");
    thread::sleep(LIMIT * 2);
    let begin = Instant::now();
    client.say("GET / HTTP/1.1\r\n");
    assert_eq!(client.answer("GET").field("lb-reason"), "head-timeout");
    is_in_time(begin);
    client.ends();
}

#[test]
fn a_body_that_stands_still_is_refused_and_one_that_moves_is_not() {
    let bodies =
        [("length", "Content-Length: 10\r\n\r\nhel"), ("chunks", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel")];
    each(&bodies, |body| {
        let backend = Backend::named("x");
        let front = front(&backend, |settings| settings.times.body = LIMIT);
        let (mut client, begin) = (front.client(), Instant::now());
        client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
        let refused = client.answer("POST");
        assert_eq!((refused.status(), refused.field("lb-reason")), (408, "body-timeout"), "{}", show(&refused.head));
        is_in_time(begin);
        client.ends();
        backend.wait("its end", |seen| seen.open == 0);
        assert!(backend.requests().is_empty());
    });
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.times.body = LIMIT);
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        thread::sleep(LIMIT / 4);
        client.say("x");
    }
    assert_eq!(client.answer("POST").text(), "x");
}

#[test]
fn a_backend_that_does_not_answer_has_its_time() {
    for request in [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"] {
        let backend = Backend::new(|visit| {
            visit.request()?;
            visit.listen()
        });
        let front = front(&backend, |settings| settings.times.first_byte = LIMIT);
        let (mut client, begin) = (front.client(), Instant::now());
        let late = client.ask(request);
        assert_eq!((late.status(), late.field("lb-reason")), (504, "first-byte-timeout"), "{}", show(&late.head));
        assert!(begin.elapsed() >= LIMIT.mul_f32(0.7) && begin.elapsed() < LATE * 2);
        assert!(backend.requests().len() <= 1 + usize::from(request == GET));
        backend.wait("its end", |seen| seen.open == 0);
        front.idle();
    }
}

#[test]
fn a_backend_that_does_not_listen_has_its_time() {
    let over = Gate::default();
    let theirs = over.clone();
    let backend = Backend::new(move |visit| {
        visit.head()?;
        theirs.wait();
        Ok(())
    });
    let front = front(&backend, |settings| settings.times.first_byte = LIMIT);
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let sent = (0..100).take_while(|_| client.can_say(bulk(1_000_000))).count();
    let (end, heard) = client.rest();
    over.open();
    assert!(end != End::Hung && sent < 100, "{end:?} after {sent} MB");
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 50"), "{}", show(&heard));
}

#[test]
fn an_answer_that_stands_still_is_cut() {
    let heads = [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"),
        ("until the end", "HTTP/1.1 200 OK\r\n\r\nhel"),
    ];
    each(&heads, |said| {
        let said = (*said).to_owned();
        let backend = Backend::new(move |visit| {
            visit.request()?;
            visit.say(&said)?;
            visit.listen()
        });
        let front = front(&backend, |settings| settings.times.between_reads = LIMIT);
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let (mut client, begin) = (front.client(), Instant::now());
            client.say(GET.replace("HTTP/1.1", version));
            let broken = client.try_answer("GET").expect_err("it looks whole");
            is_in_time(begin);
            assert!(matches!(broken.end, End::Closed | End::Reset), "{:?}", broken.end);
            assert!(version == "HTTP/1.1" || show(&broken.got).contains("Length") || broken.end == End::Reset);
        }
        backend.wait("its end", |seen| seen.open == 0);
    });
}

#[test]
fn an_answer_that_moves_may_take_its_time() {
    let backend = Backend::new(|visit| {
        visit.request()?;
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")?;
        for _ in 0..10 {
            thread::sleep(LIMIT / 4);
            visit.say("x")?;
        }
        visit.listen()
    });
    let front = front(&backend, |settings| {
        settings.times.between_reads = LIMIT;
        settings.times.first_byte = LIMIT;
        settings.times.body = LIMIT;
    });
    assert_eq!(front.ask(GET).text(), "x".repeat(10));
}

#[test]
fn a_whole_request_has_its_time() {
    let silent = Backend::new(|visit| {
        visit.request()?;
        visit.listen()
    });
    let limit = |settings: &mut Settings| settings.times.request = Some(LIMIT);
    let begin = Instant::now();
    let late = front(&silent, limit).ask(GET);
    assert_eq!((late.status(), late.field("lb-reason")), (504, "request-timeout"), "{}", show(&late.head));
    is_in_time(begin);
    let endless = Backend::new(|visit| {
        visit.request()?;
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
        loop {
            visit.say("x")?;
            thread::sleep(Duration::from_millis(10));
        }
    });
    let (begin, front) = (Instant::now(), front(&endless, limit));
    let mut client = front.client();
    client.say(GET).try_answer("GET").unwrap_err();
    is_in_time(begin);
    endless.wait("its end", |seen| seen.open == 0);
}

#[test]
fn a_client_that_does_not_read_has_its_time() {
    let backend = Backend::new(|visit| {
        visit.request()?;
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        for _ in 0..100 {
            visit.say(bulk(1_000_000))?;
        }
        Ok(())
    });
    let front = front(&backend, |settings| settings.times.body = LIMIT);
    let mut client = Client::narrow(front.address);
    client.say(GET);
    backend.wait("its end", |seen| seen.connections == 1 && seen.open == 0);
    front.idle();
    let (end, heard) = client.rest();
    assert!(end != End::Hung && heard.len() < 100_000_000);
}

#[test]
fn a_backend_that_is_silent_to_connects_has_its_time() {
    // Its queue is full, so that the system drops whoever knocks.
    let queue = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&queue, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&queue, 0).unwrap();
    let address: std::net::SocketAddr = rustix::net::getsockname(&queue).unwrap().try_into().unwrap();
    let _full = std::net::TcpStream::connect(address).unwrap();
    let alone = Front::with(&address.to_string(), |settings| settings.times.connect = LIMIT);
    let begin = Instant::now();
    let late = alone.ask(GET);
    assert!([502, 504].contains(&late.status()), "{}", show(&late.head));
    assert!(["connect-timeout", "connect-failed"].contains(&late.field("lb-reason")), "{}", show(&late.head));
    is_in_time(begin);
    // The next one is tried alongside, long before the time is over.
    let good = Backend::named("good");
    let both = Front::new(&format!("{address} {}", good.word()));
    for request in [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"] {
        let begin = Instant::now();
        assert_eq!(both.ask(request).text(), "good");
        assert!(begin.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn a_body_may_have_so_many_bytes_and_no_more() {
    let limit = |settings: &mut Settings| settings.limits.body_bytes = Some(1_000);
    for (size, may) in [(999, true), (1_000, true), (1_001, false), (500_000, false)] {
        let body = bulk(size);
        let backend = Backend::named("x");
        let front_ = front(&backend, limit);
        let mut client = front_.client();
        client.say(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        if may {
            assert_eq!(client.say(&body).answer("POST").text(), "x");
        } else {
            let refused = client.answer("POST");
            assert_eq!((refused.status(), refused.field("lb-reason")), (413, "body-too-large"));
            client.say(&body).ends();
            assert_eq!(backend.connections(), 0);
        }
        let backend = Backend::named("x");
        let front = front(&backend, limit);
        let mut client = front.client();
        client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").say(chunked(&body, 300));
        if may {
            assert_eq!(client.answer("POST").text(), "x");
        } else {
            let (end, heard) = client.rest();
            assert_ne!(end, End::Hung);
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 413 "), "{}", show(&heard));
            backend.wait("its end", |seen| seen.open == 0);
            assert!(backend.requests().is_empty());
        }
    }
}

#[test]
fn a_chunk_that_says_it_is_too_large_is_refused_before_it_comes() {
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.limits.body_bytes = Some(1_000));
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n").say(bulk(5_000));
    client.ends_or_refuses();
    backend.wait("its end", |seen| seen.open == 0);
    assert!(backend.requests().is_empty());
}

#[test]
fn so_many_connections_and_no_more_are_served_at_a_time() {
    let (one, two) = (Gate::default(), Gate::default());
    let backend = one_by_one(vec![one.clone(), two.clone()]);
    let front = front(&backend, |settings| settings.limits.connections = std::num::NonZeroU32::new(2));
    let (mut first, mut second, mut third) = (front.client(), front.client(), front.client());
    for (client, at) in [(&mut first, 1), (&mut second, 2)] {
        client.say(get(at));
        backend.wait("a request", |seen| seen.requests.len() == at);
    }
    third.say(get(3));
    assert!(!third.hears_within(Duration::from_millis(200)));
    one.open();
    assert_eq!(first.answer("GET").text(), "/1");
    // Nobody who waits for a connection waits for one that waits for a request.
    first.ends();
    assert_eq!(third.answer("GET").text(), "/3");
    two.open();
    assert_eq!(second.answer("GET").text(), "/2");
}

#[test]
fn connections_without_a_request_make_room_for_clients_without_a_connection() {
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.limits.connections = std::num::NonZeroU32::new(40));
    let mut idle: Vec<_> = (0..40).map(|_| front.client()).collect();
    assert!(idle.iter_mut().all(|client| client.ask(GET).text() == "x"));
    assert_eq!(front.ask(GET).text(), "x");
    // Some of them, and not all.
    let is_open = |client: &mut Client| client.can_say(GET) && client.try_answer("GET").is_ok();
    let left = idle.iter_mut().map(is_open).filter(|is_open| !is_open).count();
    assert!((1..=4).contains(&left), "{left} had to leave");
}

/// Its place is for others, also where the backend is one that was kept: the request's bytes were there when the
/// connection was accepted, so that nothing else would notice.
#[test]
fn a_client_that_resets_while_its_backend_thinks_gives_its_place_back() {
    let (first, never) = (Gate::default(), Gate::default());
    first.open();
    let backend = one_by_one(vec![first, never.clone()]);
    let front = front(&backend, |_| {});
    assert_eq!(front.ask(get(1)).text(), "/1");
    let mut client = front.client();
    client.say(get(2));
    backend.wait("the second request", |seen| seen.requests.len() == 2);
    client.reset();
    front.idle();
    never.open();
    assert_eq!(backend.connections(), 1);
}

/// A backend with room for one, that answers each request when it is told to.
fn one_by_one(gates: Vec<Gate>) -> Backend {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Backend::new(move |visit| {
        loop {
            let target = visit.request()?.target().to_owned();
            gates.get(next.fetch_add(1, Relaxed)).inspect(|gate| gate.wait());
            visit.say(answer(&target))?;
        }
    })
}

fn get(at: usize) -> String {
    format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A client who has asked and is in the queue.
fn queued(front: &Front, at: usize) -> Client {
    let mut client = front.client();
    client.say(get(at));
    assert!(!client.hears_within(Duration::from_millis(60)));
    client
}

#[test]
fn who_waits_is_served_in_order() {
    let gates: Vec<Gate> = vec![Gate::default(); 1];
    let backend = one_by_one(gates.clone());
    let front = Front::new(&format!("{}:1", backend.word()));
    let mut clients: Vec<_> = (0..5).map(|at| queued(&front, at)).collect();
    assert_eq!(front.in_flight(), 1);
    gates[0].open();
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer("GET").text(), format!("/{at}"));
    }
    let targets: Vec<_> = backend.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
}

#[test]
fn who_finds_the_queue_full_is_told_to_come_again() {
    let gates = vec![Gate::default()];
    let backend = one_by_one(gates.clone());
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.length = 1);
    let mut clients = [queued(&front, 0), queued(&front, 1)];
    let full = front.ask(get(2));
    assert_eq!((full.status(), full.field("lb-reason")), (503, "all-full"), "{}", show(&full.head));
    assert!(full.field("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    gates[0].open();
    assert_eq!([clients[0].answer("GET").text(), clients[1].answer("GET").text()], ["/0", "/1"]);
    assert_eq!(backend.requests().len(), 2);
}

#[test]
fn without_a_queue_nobody_waits() {
    let gates = vec![Gate::default()];
    let backend = one_by_one(gates.clone());
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.length = 0);
    let mut first = queued(&front, 0);
    assert_eq!(front.ask(get(1)).field("lb-reason"), "all-full");
    gates[0].open();
    assert_eq!(first.answer("GET").text(), "/0");
}

#[test]
fn who_waits_too_long_is_told_to_come_again() {
    let gates = vec![Gate::default()];
    let backend = one_by_one(gates.clone());
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.time = LIMIT);
    let mut first = queued(&front, 0);
    let begin = Instant::now();
    let late = front.ask(get(1));
    is_in_time(begin);
    assert_eq!((late.status(), late.field("lb-reason")), (503, "queue-timeout"), "{}", show(&late.head));
    assert!(late.has("retry-after"));
    gates[0].open();
    assert_eq!(first.answer("GET").text(), "/0");
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn who_goes_leaves_the_queue() {
    for resets in [false, true] {
        let gates = vec![Gate::default()];
        let backend = one_by_one(gates.clone());
        let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.length = 2);
        let mut first = queued(&front, 0);
        let gone = [queued(&front, 1), queued(&front, 2)];
        for client in gone {
            if resets { client.reset() } else { drop(client) }
        }
        // There is room again although nobody has been served.
        let mut last = front.client();
        http_support::wait_for("room in the queue", || {
            let mut client = front.client();
            client.say(get(3));
            !client.hears_within(Duration::from_millis(60))
        });
        last.say(get(4));
        assert!(!last.hears_within(Duration::from_millis(60)));
        gates[0].open();
        assert_eq!((first.answer("GET").text(), last.answer("GET").text()), ("/0".into(), "/4".into()));
        let targets: Vec<_> = backend.requests().iter().map(|request| request.target().to_owned()).collect();
        assert!(!targets.iter().any(|target| ["/1", "/2"].contains(&target.as_str())), "{targets:?}");
    }
}

#[test]
fn a_place_is_given_back_with_the_answer_and_not_with_the_connection() {
    let backend = Backend::named("x");
    let front = Front::new(&format!("{}:1", backend.word()));
    let mut clients: Vec<_> = (0..10).map(|_| front.client()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.ask(GET).text(), "x");
        }
    }
    assert_eq!(backend.look(|seen| seen.open), 1);
}

#[test]
fn requests_that_run_at_the_stop_are_answered_and_told_that_it_ends() {
    let gates = vec![Gate::default()];
    let backend = one_by_one(gates.clone());
    let mut front = Front::new(&backend.word());
    let mut running = queued(&front, 0);
    let mut idle = front.client();
    idle.say(get(1));
    assert_eq!(idle.answer("GET").text(), "/1");
    front.stop();
    idle.ends();
    gates[0].open();
    let last = running.answer("GET");
    assert!(last.text() == "/0" && last.closes(), "{}", show(&last.head));
    running.ends();
    assert_eq!(front.ended().cut, 0);
}

#[test]
fn backend_connections_are_kept_no_longer_than_told() {
    let backend = Backend::named("x");
    let front_ = front(&backend, |settings| settings.keep.idle_time = LIMIT);
    assert_eq!(front_.ask(GET).text(), "x");
    let begin = Instant::now();
    backend.wait("its end", |seen| seen.open == 0);
    assert!(begin.elapsed() < LATE * 2, "{:?}", begin.elapsed());
    let none = Backend::named("x");
    let front_ = front(&none, |settings| settings.keep.idle = 0);
    for _ in 0..3 {
        assert_eq!(front_.ask(GET).text(), "x");
    }
    assert_eq!(none.connections(), 3);
    let twice = Backend::named("x");
    let front = front(&twice, |settings| settings.keep.uses = std::num::NonZeroU32::new(2));
    for _ in 0..6 {
        assert_eq!(front.ask(GET).text(), "x");
    }
    assert_eq!(twice.connections(), 3);
}

#[test]
fn a_hundred_clients_who_say_nothing_disturb_nobody() {
    let (_backend, front) = pair(Backend::named("x"));
    let silent: Vec<_> = (0..100).map(|_| front.client()).collect();
    let begin = Instant::now();
    for _ in 0..50 {
        assert_eq!(front.ask(GET).text(), "x");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(silent);
}
