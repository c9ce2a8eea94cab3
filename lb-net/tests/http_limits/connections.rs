//! So many connections may be open, and who says nothing disturbs nobody.

use std::time::{Duration, Instant};

use crate::{
    GET, front, gated, get,
    http_support::pair,
    wire::{Backend, Client, Gate},
};

#[test]
fn so_many_connections_and_no_more_are_served_at_a_time() {
    let (one, two) = (Gate::default(), Gate::default());
    let backend = gated(&[(1, &one), (2, &two)]);
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
