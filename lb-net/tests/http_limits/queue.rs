//! Backends have so many places, and who finds none waits in line.

use std::{sync::Arc, time::Instant};

use lb_net::http::HttpProxy;

use crate::{
    GET, LIMIT, front, gated, get,
    http_support::{self, Front, balancer},
    is_in_time, queued,
    wire::{Backend, Gate, show},
};

#[test]
fn who_waits_is_served_in_order() {
    let gate = Gate::default();
    let backend = gated(&[(0, &gate)]);
    let front = Front::new(&format!("{}:1", backend.word()));
    let mut clients: Vec<_> = (0..5).map(|at| queued(&front, at)).collect();
    assert_eq!(front.in_flight(), 1);
    gate.open();
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer("GET").text(), format!("/{at}"));
    }
    let targets: Vec<_> = backend.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
}

#[test]
fn who_finds_the_queue_full_is_told_to_come_again() {
    let gate = Gate::default();
    let backend = gated(&[(0, &gate)]);
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.length = 1);
    let mut clients = [queued(&front, 0), queued(&front, 1)];
    let full = front.ask(get(2));
    assert_eq!((full.status(), full.field("lb-reason")), (503, "all-full"), "{}", show(&full.head));
    assert!(full.field("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    gate.open();
    assert_eq!([clients[0].answer("GET").text(), clients[1].answer("GET").text()], ["/0", "/1"]);
    assert_eq!(backend.requests().len(), 2);
}

#[test]
fn without_a_queue_nobody_waits() {
    let gate = Gate::default();
    let backend = gated(&[(0, &gate)]);
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.length = 0);
    let mut first = queued(&front, 0);
    assert_eq!(front.ask(get(1)).field("lb-reason"), "all-full");
    gate.open();
    assert_eq!(first.answer("GET").text(), "/0");
}

#[test]
fn who_waits_too_long_is_told_to_come_again() {
    let gate = Gate::default();
    let backend = gated(&[(0, &gate)]);
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.time = LIMIT);
    let mut first = queued(&front, 0);
    let begin = Instant::now();
    let late = front.ask(get(1));
    is_in_time(begin);
    assert_eq!((late.status(), late.field("lb-reason")), (503, "queue-timeout"), "{}", show(&late.head));
    assert!(late.has("retry-after"));
    gate.open();
    assert_eq!(first.answer("GET").text(), "/0");
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn who_waits_is_looked_after_where_clients_come_to_other_backends_by_now() {
    let gate = Gate::default();
    let (backend, other) = (gated(&[(0, &gate)]), Backend::named("other"));
    let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.time = LIMIT);
    let (mut first, mut late) = (queued(&front, 0), queued(&front, 1));
    let begin = Instant::now();
    front.goes_on(HttpProxy::new(Arc::new(balancer(other.word().parse().unwrap()))));
    assert_eq!(late.answer("GET").field("lb-reason"), "queue-timeout");
    is_in_time(begin);
    assert_eq!(front.ask(GET).text(), "other");
    gate.open();
    assert_eq!(first.answer("GET").text(), "/0");
}

#[test]
fn who_goes_leaves_the_queue() {
    for resets in [false, true] {
        let gate = Gate::default();
        let backend = gated(&[(0, &gate)]);
        let front = Front::with(&format!("{}:1", backend.word()), |settings| settings.queue.length = 2);
        let mut first = queued(&front, 0);
        let gone = [queued(&front, 1), queued(&front, 2)];
        for client in gone {
            if resets { client.reset() } else { drop(client) }
        }
        // There is room again although nobody has been served.
        http_support::wait_for("room in the queue", || front.waiting() == 0);
        let mut last = queued(&front, 4);
        gate.open();
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

/// Its place is for others, also where the backend is one that was kept: the request's bytes were there when the
/// connection was accepted, so that nothing else would notice.
#[test]
fn a_client_that_resets_while_its_backend_thinks_gives_its_place_back() {
    let never = Gate::default();
    let backend = gated(&[(2, &never)]);
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

#[test]
fn requests_that_run_at_the_stop_are_answered_and_told_that_it_ends() {
    let gate = Gate::default();
    let backend = gated(&[(0, &gate)]);
    let mut front = Front::new(&backend.word());
    let mut running = queued(&front, 0);
    let mut idle = front.client();
    idle.say(get(1));
    assert_eq!(idle.answer("GET").text(), "/1");
    front.stop();
    idle.ends();
    gate.open();
    let last = running.answer("GET");
    assert!(last.text() == "/0" && last.closes(), "{}", show(&last.head));
    running.ends();
    assert_eq!(front.ended().cut, 0);
}
