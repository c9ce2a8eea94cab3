//! Nobody may take a request: it is answered at once with 503, when to come again, and a page.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use http_support::Front;
use lb_core::{
    BackendId, Config, Status,
    health::{Evidence, Probe, RiseFall, Said},
};
use lb_net::http::{Page, Settings};
use wire::{Backend, Message, show};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn page(body: impl Into<Vec<u8>>) -> Option<Page> {
    Page::new("text/html; charset=utf-8", body).ok()
}

fn with_page(settings: &mut Settings) {
    *settings = settings.clone().with_unavailable_page(page("<h1>later</h1>"));
}

/// Backends that are judged by probes and up before the first one.
fn probed(text: &str) -> Config {
    let one = NonZeroU32::MIN;
    text.parse::<Config>().unwrap().with_probes(RiseFall::new(one, one).assuming_up())
}

fn probe(front: &Front, name: &str, probe: Probe) {
    let now = std::time::Instant::now();
    front.balancer.observe(BackendId::new(name, 0), &Evidence::Probe(probe), now).unwrap();
    // At most every 10 ms a snapshot is published; then it is.
    let mut at = now;
    while let Some(next) = front.balancer.settle(at).filter(|next| *next < now + Duration::from_secs(1)) {
        at = next;
    }
}

/// It is a 503 for this reason with the page.
fn shows_the_page(answer: &Message, reason: &str) {
    assert_eq!((answer.status(), answer.field("lb-reason")), (503, reason), "{}", show(&answer.head));
    assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
    assert_eq!((answer.all("content-type").len(), answer.field("content-length")), (1, "14"));
    assert_eq!(answer.field("cache-control"), "no-store");
    assert!((5..=10).contains(&answer.field("retry-after").parse::<u32>().unwrap()), "{}", show(&answer.head));
    assert_eq!(answer.text(), "<h1>later</h1>");
}

#[test]
fn without_a_backend_that_may_take_it_there_is_a_page_and_a_time_to_come_again() {
    shows_the_page(&Front::with("", with_page).ask(GET), "no-backend");
    let name = "127.0.0.1:9";
    let front = Front::with(name, with_page);
    front.balancer.set_status(BackendId::new(name, 0), Status::Disabled, std::time::Instant::now()).unwrap();
    shows_the_page(&front.ask(GET), "no-backend");
}

#[test]
fn what_backends_say_of_themselves_is_a_reason_of_its_own() {
    let backend = Backend::named("a");
    let front = Front::of(probed(&backend.word()), with_page);
    probe(&front, &backend.word(), Probe::Said(Said::Down));
    let mut client = front.client();
    for _ in 0..3 {
        shows_the_page(&client.ask(GET), "backends-decline");
    }
    probe(&front, &backend.word(), Probe::Said(Said::Maintenance));
    shows_the_page(&client.ask(GET), "maintenance");
    probe(&front, &backend.word(), Probe::Passed);
    assert_eq!(client.ask(GET).text(), "a", "on the same connection");
}

#[test]
fn the_full_and_those_who_have_waited_in_vain_get_it_too() {
    let gate = wire::Gate::default();
    let opened = gate.clone();
    let backend = Backend::new(move |visit| {
        visit.request()?;
        gate.wait();
        visit.say(wire::answer("done"))
    });
    let front = Front::with(&format!("{}:1", backend.word()), |settings| {
        with_page(settings);
        (settings.queue.length, settings.queue.time) = (1, http_support::ROOMY);
    });
    let mut first = front.client();
    first.say(GET);
    backend.wait("the first", |seen| !seen.requests.is_empty());
    let mut waiting = front.client();
    waiting.say(GET);
    http_support::wait_for("the queue to be full", || front.waiting() == 1);
    shows_the_page(&front.ask(GET), "all-full");
    shows_the_page(&waiting.answer("GET"), "queue-timeout");
    opened.open();
    assert_eq!(first.answer("GET").text(), "done");
}

#[test]
fn an_answer_to_head_has_all_but_the_page_and_the_connection_goes_on() {
    let front = Front::with("", with_page);
    let mut client = front.client();
    client.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer("HEAD");
    assert_eq!((answer.status(), answer.field("content-length")), (503, "14"));
    assert!(!answer.closes() && answer.body.is_empty());
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    shows_the_page(&client.answer("POST"), "no-backend");
    client.say(GET);
    shows_the_page(&client.answer("GET"), "no-backend");
}

#[test]
fn who_is_still_sending_hears_it_at_once_and_to_the_end() {
    let front = Front::with("", with_page);
    let mut client = front.client();
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    client.say(vec![b'x'; 100_000]);
    let answer = client.answer("POST");
    shows_the_page(&answer, "no-backend");
    assert!(answer.closes());
}

#[test]
fn a_long_page_arrives_whole() {
    let long = wire::bulk(1 << 20);
    let front = Front::with("", |settings| settings.unavailable_page = page(long.clone()));
    let mut client = front.client();
    for _ in 0..3 {
        client.say(GET);
        let answer = client.answer("GET");
        assert!(answer.status() == 503 && answer.body == long, "{}", show(&answer.head));
    }
    let front = Front::with("", |settings| settings.unavailable_page = page(""));
    let answer = front.ask(GET);
    assert_eq!((answer.field("content-length"), answer.body.len()), ("0", 0));
}

#[test]
fn clients_are_told_different_times_or_none() {
    let front = Front::with("", |settings| settings.retry_after = Some(Duration::from_secs(20)));
    let times: Vec<u32> = (0..60).map(|_| front.ask(GET).field("retry-after").parse().unwrap()).collect();
    assert!(times.iter().all(|time| (20..=40).contains(time)), "{times:?}");
    assert!(times.iter().collect::<BTreeSet<_>>().len() > 5, "{times:?}");
    let front = Front::with("", |settings| *settings = settings.clone().with_retry_after(None));
    let answer = front.ask(GET);
    assert!(answer.status() == 503 && !answer.has("retry-after") && answer.text() == "No server is available.\n");
}

#[test]
fn who_was_asked_and_failed_is_no_reason_for_the_page() {
    let backend = Backend::saying("nonsense\r\n\r\n");
    let front = Front::with(&backend.word(), with_page);
    let answer = front.ask(GET);
    assert_eq!((answer.status(), answer.has("retry-after")), (502, false), "{}", show(&answer.head));
    assert!(answer.field("content-type").starts_with("text/plain"));
    let answer = front.ask("GET / HTTP/1.1\r\n\r\n");
    assert_eq!((answer.status(), answer.has("retry-after")), (400, false));
}

#[test]
fn while_backends_recover_a_share_of_the_requests_is_served() {
    let backend = Backend::named("a");
    let config = probed(&backend.word()).with_slow_start(Duration::from_secs(3600));
    let front = Front::of(config, with_page);
    probe(&front, &backend.word(), Probe::Said(Said::Down));
    probe(&front, &backend.word(), Probe::Passed);
    let mut client = front.client();
    let mut served = 0;
    for _ in 0..200 {
        let answer = client.ask(GET);
        match answer.status() {
            200 => served += 1,
            _ => shows_the_page(&answer, "recovering"),
        }
    }
    assert!((60..=140).contains(&served), "half of 200: {served}");
    assert_eq!(backend.requests().len(), served);
}
