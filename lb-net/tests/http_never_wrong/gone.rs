//! Clients that go, and backends that refuse, in the middle of something leave nothing behind for the next.

use std::net::SocketAddr;

use lb_net::http::{Counters, Settings};

use crate::{
    AFTER, CHUNKS, GET, SMUGGLED,
    http_support::{Front, pair, wait_for},
    telling,
    wire::{self, Backend, Gate, PATIENCE, answer, bulk, show},
};

/// A client goes while it sends: the backend gets no whole request, and its connection serves nobody else.
#[test]
fn a_client_that_goes_in_the_middle_of_its_request_leaves_nothing_behind() {
    let parts = [
        "POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello",
        "POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello",
    ];
    for part in parts {
        for resets in [false, true] {
            let (backend, front) = pair(Backend::new(telling));
            assert_eq!(front.ask(AFTER).text(), "/after ");
            let mut client = front.client();
            client.say(part);
            backend.wait(&format!("the beginning of {part}"), |seen| {
                seen.bytes.iter().any(|bytes| show(bytes).contains("/gone")) || seen.open > 1
            });
            if resets {
                client.reset()
            } else {
                drop(client)
            }
            front.idle();
            for _ in 0..3 {
                assert_eq!(front.ask(AFTER).text(), "/after ");
            }
            assert!(backend.requests().iter().all(|request| request.target() == "/after"));
        }
    }
}

/// A client goes while it is answered: what is left of its answer is nobody's.
#[test]
fn a_client_that_goes_in_the_middle_of_its_answer_leaves_nothing_behind() {
    for (resets, chunks) in [(false, false), (false, true), (true, false), (true, true)] {
        let (backend, front) = pair(Backend::new(move |visit| {
            loop {
                let request = visit.request()?;
                if request.target() != "/large" {
                    visit.say(answer("mine"))?;
                } else if chunks {
                    visit.say(CHUNKS)?;
                    visit.say(wire::chunked(&bulk(4_000_000), 50_000))?;
                } else {
                    visit.say("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")?;
                    visit.say(bulk(4_000_000))?;
                }
            }
        }));
        let mut client = front.client();
        assert_eq!(client.ask(AFTER).text(), "mine");
        assert_eq!(client.say("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").head("GET").status(), 200);
        client.bytes(1_000);
        if resets {
            client.reset()
        } else {
            drop(client)
        }
        for _ in 0..3 {
            assert_eq!(front.ask(AFTER).text(), "mine");
        }
        front.idle();
        assert!(backend.connections() <= 2, "{}", backend.connections());
    }
}

#[test]
fn a_client_that_goes_before_its_answer_leaves_nothing_behind() {
    for resets in [false, true] {
        let (asked, gone) = (Gate::default(), Gate::default());
        let (theirs, until) = (asked.clone(), gone.clone());
        let (backend, front) = pair(Backend::new(move |visit| {
            loop {
                if visit.request()?.target() == "/after" {
                    visit.say(answer("mine"))?;
                } else {
                    theirs.open();
                    until.wait();
                    visit.say(answer("SECRET"))?;
                }
            }
        }));
        let mut client = front.client();
        client.say("POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        asked.wait();
        if resets {
            client.reset()
        } else {
            drop(client)
        }
        let first = front.ask(AFTER).text();
        gone.open();
        assert_eq!((first.as_str(), front.ask(AFTER).text().as_str()), ("mine", "mine"));
        front.idle();
        assert!(backend.requests().iter().filter(|request| request.target() == "/secret").count() == 1);
    }
}

/// Early refusal of a large upload: the client gets the refusal although it is still sending, and nobody hangs.
#[test]
fn an_early_refusal_of_an_upload_reaches_who_is_still_sending() {
    for closes in [false, true] {
        let (backend, front) = pair(Backend::new(move |visit| {
            if visit.number > 0 {
                return telling(visit);
            }
            visit.head()?;
            visit.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")?;
            if closes { Ok(()) } else { visit.listen() }
        }));
        let mut client = front.client();
        client.say("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n").say(bulk(100_000));
        let refused = client.answer("POST");
        assert_eq!((refused.status(), refused.text().as_str()), (403, "no"));
        // Whatever it sends now is no request, and does not go on for ever.
        for _ in 0..500 {
            if !client.can_say(SMUGGLED.repeat(1_000)) {
                break;
            }
        }
        drop(client);
        front.idle();
        assert_eq!(front.ask(AFTER).text(), "/after ");
        assert!(backend.firsts().iter().all(|first| !first.contains("smuggled")), "{:?}", backend.firsts());
    }
}

/// Who has ended its direction still waits for its answer; its reset says that it does not any more.
#[test]
fn a_client_that_resets_after_it_has_ended_its_direction_is_not_waited_for() {
    for begins in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel"] {
        let asked = Gate::default();
        let theirs = asked.clone();
        let (backend, front) = pair(Backend::new(move |visit| {
            if visit.request()?.target() == "/after" {
                return visit.say(answer("mine"));
            }
            visit.say(begins)?;
            theirs.open();
            visit.listen()
        }));
        let mut client = front.client();
        client.say(GET);
        asked.wait();
        if !begins.is_empty() {
            client.bytes(begins.len());
        }
        client.finish();
        // Who is served afterwards tells that the end was noticed.
        assert_eq!(front.ask(AFTER).text(), "mine");
        wait_for("its own place alone", || front.in_flight() == 1);
        client.reset();
        front.idle();
        backend.wait("its end", |seen| seen.open == 0);
    }
}

#[test]
fn a_client_that_resets_after_the_end_of_its_direction_is_not_connected_for() {
    // Its queue is full, so that the system drops whoever knocks.
    let queue = wire::socket();
    rustix::net::bind(&queue, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&queue, 0).unwrap();
    let address: SocketAddr = rustix::net::getsockname(&queue).unwrap().try_into().unwrap();
    let _full = std::net::TcpStream::connect(address).unwrap();
    let (counters, mut settings) = (Counters::default(), Settings::default());
    (settings.times.connect, settings.times.race) = (PATIENCE * 2, None);
    let front = Front::by(&address.to_string(), |proxy| proxy.with_settings(settings).with_counters(counters.clone()));
    let mut client = front.client();
    client.say(GET);
    wait_for("its place", || front.in_flight() == 1);
    client.finish();
    assert_eq!(front.ask("NONSENSE\r\n\r\n").status(), 400);
    client.reset();
    wait_for("its end", || counters.sum().reasons.contains_key("client-gone"));
}
