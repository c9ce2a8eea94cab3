//! So many connections may be open, and who says nothing disturbs nobody.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use lb_net::http::Settings;

use crate::{
    GET, front, gated, get,
    http_support::pair,
    wire::{Backend, Client, Gate},
};

#[test]
fn so_many_connections_and_no_more_are_served_at_a_time() {
    let (one, two) = (Gate::default(), Gate::default());
    let backend = gated(&[(1, &one), (2, &two)]);
    let front = front(&backend, |settings| settings.limits.connections = NonZeroU32::new(2));
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
fn who_waits_for_room_is_let_in_by_the_limit_of_the_moment() {
    let limit = |most| move |settings: &mut Settings| settings.limits.connections = NonZeroU32::new(most);
    let gates = [1, 2, 3, 4].map(|at| (at, Gate::default()));
    let backend = gated(&gates.each_ref().map(|(at, gate)| (*at, gate)));
    let front = front(&backend, limit(2));
    let mut clients: Vec<_> = gates
        .iter()
        .map(|(at, _)| {
            let mut client = front.client();
            client.say(get(*at));
            client
        })
        .collect();
    backend.wait("as many as may", |seen| seen.requests.len() == 2);
    front.goes_on_with(limit(3));
    backend.wait("one more", |seen| seen.requests.len() == 3);
    // Lower than before: two have to leave before the last one may come.
    front.goes_on_with(limit(2));
    for (at, gate) in &gates[..2] {
        assert!(!clients[3].hears_within(Duration::from_millis(200)), "{at}");
        assert_eq!(backend.requests().len(), 3);
        gate.open();
        assert_eq!(clients[at - 1].answer("GET").text(), format!("/{at}"));
    }
    backend.wait("the last", |seen| seen.requests.len() == 4);
    gates[2..].iter().for_each(|(_, gate)| gate.open());
    for at in [3, 4] {
        assert_eq!(clients[at - 1].answer("GET").text(), format!("/{at}"));
    }
}

#[test]
fn connections_without_a_request_make_room_for_clients_without_a_connection() {
    let backend = Backend::named("x");
    let front = front(&backend, |settings| settings.limits.connections = NonZeroU32::new(40));
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
