//! Each part of a request, and each connection, has its time.

use std::{
    thread,
    time::{Duration, Instant},
};

use lb_core::{
    Request,
    rand::{SeedableRng as _, rngs::SmallRng},
};
use lb_net::http::Settings;

use crate::{
    GET, LATE, LIMIT, front,
    http_support::{Front, ROOMY, each, moments},
    is_in_time, is_within,
    wire::{self, Backend, Client, End, Gate, bulk, show},
};

#[test]
fn slow_heads_are_refused_while_a_good_client_is_served() {
    let backend = Backend::named("good");
    let front = front(&backend, |settings| settings.times.head = LIMIT);
    thread::scope(|scope| {
        let slow = SLOW.map(|first| {
            let front = &front;
            scope.spawn(move || is_refused_in_time(front, first))
        });
        let mut good = front.client();
        while !slow.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert_eq!(good.ask(GET).text(), "good");
        }
        slow.into_iter().for_each(|slow| slow.join().unwrap());
    });
    assert!(backend.requests().iter().all(|request| request.first == "GET /a HTTP/1.1"));
}

/// How a head may begin that does not end.
const SLOW: [&str; 4] = ["GET / HT", "GET / HTTP/1.1\r\nHost: a\r\nX-A: ", "", "\r\n"];

fn is_refused_in_time(front: &Front, first: &str) {
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
}

#[test]
fn slow_heads_keep_nobody_waiting() {
    let backend = Backend::named("good");
    let front = front(&backend, |settings| settings.times.head = Duration::from_secs(3600));
    let _slow = SLOW.map(|first| {
        let mut client = front.client();
        client.say(first);
        client
    });
    for _ in 0..20 {
        assert_eq!(front.ask(GET).text(), "good");
    }
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
fn a_kept_connection_is_closed_without_a_word() {
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.times.idle = ROOMY);
    let (mut client, mut begin) = (front.client(), Instant::now());
    for () in moments() {
        begin = Instant::now();
        assert_eq!(client.ask(GET).text(), "x");
    }
    assert_eq!(client.end(), End::Closed);
    is_within(ROOMY, begin);
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
    let front = front(&backend, |settings| settings.times.body = ROOMY);
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for () in moments() {
        client.say("1\r\nx\r\n");
    }
    assert_eq!(client.say("0\r\n\r\n").answer("POST").text(), "x");
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
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for () in moments() {
            visit.say("1\r\nx\r\n")?;
        }
        visit.say("0\r\n\r\n")?;
        visit.listen()
    });
    let front = front(&backend, |settings| {
        settings.times.between_reads = ROOMY;
        settings.times.first_byte = ROOMY;
        settings.times.body = ROOMY;
    });
    let begin = Instant::now();
    let text = front.ask(GET).text();
    assert!(begin.elapsed() > ROOMY && text.len() > 1 && text.bytes().all(|byte| byte == b'x'), "{text}");
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

/// When the time of a whole request is over, a backend is blamed only if it was the one who was waited for.
#[test]
fn a_request_that_is_late_for_its_client_is_not_its_backends_fault() {
    let silent = Backend::new(|visit| {
        visit.head()?;
        visit.listen()
    });
    let limit = |settings: &mut Settings| settings.times.request = Some(LIMIT);
    for (request, failed) in [(GET, 1), ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel", 0)] {
        let front = front(&silent, limit);
        let mut client = front.client();
        client.say(request);
        let late = client.answer("GET");
        assert_eq!((late.status(), late.field("lb-reason")), (504, "request-timeout"), "{}", show(&late.head));
        front.idle();
        let stats = front.stats().remove(0);
        assert_eq!((stats.failed, stats.cancelled), (failed, 1 - failed), "{request}");
    }
    let bulky = Backend::new(|visit| {
        visit.request()?;
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
        for _ in 0..100 {
            visit.say(bulk(1_000_000))?;
        }
        Ok(())
    });
    let front = front(&bulky, limit);
    let mut client = Client::narrow(front.address);
    client.say(GET);
    bulky.wait("its end", |seen| seen.connections == 1 && seen.open == 0);
    front.idle();
    assert_eq!((front.stats()[0].succeeded, front.stats()[0].cancelled), (0, 1));
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
fn a_whole_request_has_its_time_in_line_too() {
    let backend = Backend::named("x");
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.times.request = Some(LIMIT));
    let mut rng = SmallRng::seed_from_u64(1);
    let taken = front.balancer.pick(&Request::new(Instant::now()), &mut rng).unwrap();
    let begin = Instant::now();
    let late = front.ask(GET);
    assert_eq!((late.status(), late.field("lb-reason")), (504, "request-timeout"), "{}", show(&late.head));
    is_in_time(begin);
    assert_eq!(front.waiting(), 0);
    drop(taken);
    assert_eq!(front.ask(GET).text(), "x");
}

#[test]
fn a_backend_that_is_silent_to_connects_has_its_time() {
    // Its queue is full, so that the system drops whoever knocks.
    let queue = wire::socket();
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
    // It is a part of the whole request, as the next attempt is.
    let whole = Front::with(&format!("{address} {address}"), |settings| {
        (settings.times.request, settings.times.connect) = (Some(LIMIT * 3), LIMIT * 2);
        settings.times.race = None;
    });
    let begin = Instant::now();
    let late = whole.ask(GET);
    assert_eq!((late.status(), late.field("lb-reason")), (504, "request-timeout"), "{}", show(&late.head));
    is_within(LIMIT * 3, begin);
    // The next one is tried alongside, long before the time is over.
    let good = Backend::named("good");
    let both = Front::new(&format!("{address} {}", good.word()));
    for request in [GET, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"] {
        let begin = Instant::now();
        assert_eq!(both.ask(request).text(), "good");
        assert!(begin.elapsed() < Settings::default().times.connect);
    }
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
