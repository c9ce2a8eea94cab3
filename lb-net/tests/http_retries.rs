//! A request goes to another backend, or on a fresh connection, exactly when that can do no harm.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::time::Instant;

use http_support::{Front, each, pair, words};
use lb_net::http::Settings;
use wire::{Backend, Broken, Gate, Message, Refusing, Visit, answer, bulk, show};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

fn with_method(method: &str) -> String {
    if method == "TRACE" {
        return GET.replace("GET", method);
    }
    POST.replace("POST", method)
}

/// The same request with a field that says it may be repeated.
fn with_key() -> String {
    POST.replace("Host: a", "Host: a\r\nIdempotency-Key: \"1\"")
}

/// Its status, its reason, and a short body with nothing of the inside in it.
fn is_refused(answer: &Message, statuses: &[u16], reasons: &[&str]) {
    assert!(statuses.contains(&answer.status()), "{}", show(&answer.head));
    assert!(reasons.contains(&answer.field("lb-reason")), "{}", show(&answer.head));
    let body = answer.text();
    assert!((10..200).contains(&body.len()) && !body.contains("127.0.0"), "{body}");
    assert!(answer.field("content-type").starts_with("text/plain"), "{}", show(&answer.head));
}

/// On connection 0 it answers one request and reads another, to end then as told; on others it is good.
fn dying(ends: fn(&mut Visit) -> Result<(), Broken>) -> Backend {
    Backend::new(move |visit| {
        visit.request()?;
        visit.say(answer("good"))?;
        visit.request()?;
        if visit.number == 0 {
            return ends(visit);
        }
        loop {
            visit.say(answer("good"))?;
            visit.request()?;
        }
    })
}

fn closes(_: &mut Visit) -> Result<(), Broken> {
    Ok(())
}

fn resets(visit: &mut Visit) -> Result<(), Broken> {
    visit.reset();
    Ok(())
}

#[test]
fn refused_connects_cost_no_request() {
    for request in [GET, POST] {
        let (good, bad) = (Backend::named("good"), [Refusing::new(), Refusing::new()]);
        let front = Front::new(&format!("{} {} {}", bad[0].word(), good.word(), bad[1].word()));
        for _ in 0..30 {
            assert_eq!(front.ask(request).text(), "good");
        }
        assert_eq!(good.requests().len(), 30);
        assert!(good.requests().iter().all(|seen| request.ends_with(&seen.text())));
    }
}

#[test]
fn refused_connects_are_made_good_whatever_the_budget_is() {
    let (good, bad) = (Backend::named("good"), Refusing::new());
    let front = Front::with(&format!("{} {}", bad.word(), good.word()), |settings| {
        settings.retry.percent = 0;
        settings.retry.per_second = 0;
    });
    for _ in 0..20 {
        assert_eq!(front.ask(POST).text(), "good");
    }
}

#[test]
fn when_all_refuse_it_is_said_at_once() {
    let bad = [Refusing::new(), Refusing::new(), Refusing::new()];
    let front = Front::new(&bad.each_ref().map(Refusing::word).join(" "));
    let mut client = front.client();
    for request in [GET, POST] {
        let begin = Instant::now();
        is_refused(&client.ask(request), &[502, 503], &["connect-failed", "no-backend"]);
        assert!(begin.elapsed() < Settings::default().times.connect);
    }
    let head = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.status() >= 502 && head.has("lb-reason"), "{}", show(&head.head));
    let gone = front.stats().iter().map(|backend| backend.connect_failed).sum::<u64>();
    assert!((3..=9).contains(&gone), "{gone} connects");
}

/// What died while it was kept has had no request: any method goes to a fresh connection.
#[test]
fn a_kept_connection_that_was_closed_costs_no_request() {
    for (request, ends) in [(GET, closes as fn(&mut Visit) -> _), (POST, closes), (GET, resets), (POST, resets)] {
        for _ in 0..10 {
            let gate = Gate::default();
            let theirs = gate.clone();
            let (backend, front) = pair(Backend::new(move |visit| {
                visit.request()?;
                visit.say(answer("good"))?;
                theirs.wait();
                ends(visit)
            }));
            let mut client = front.client();
            assert_eq!(client.ask(GET).text(), "good");
            gate.open();
            backend.wait("its end", |seen| seen.open == 0);
            assert_eq!(client.ask(request).text(), "good");
            assert_eq!((backend.requests().len(), backend.connections()), (2, 2));
        }
    }
}

#[test]
fn what_may_have_been_done_is_done_again_only_if_that_does_no_harm() {
    let yes = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"].map(with_method);
    let no = ["POST", "PATCH", "LOCK", "get", "X"].map(with_method);
    let all = yes.iter().map(|request| (request, true)).chain(no.iter().map(|request| (request, false)));
    for (request, may) in all {
        for ends in [closes, resets] {
            let (backend, front) = pair(dying(ends));
            let mut client = front.client();
            assert_eq!(client.ask(GET).text(), "good");
            let answer = client.ask(request);
            if may {
                assert_eq!(answer.status(), 200, "{request}: {}", show(&answer.head));
                assert_eq!((backend.requests().len(), backend.connections()), (3, 2), "{request}");
            } else {
                is_refused(&answer, &[502], &["backend-closed"]);
                assert_eq!((backend.requests().len(), backend.connections()), (2, 1), "{request}");
            }
        }
    }
}

/// When one has ended under a request, the others that were kept as long are likely to.
#[test]
fn what_is_done_again_goes_on_a_fresh_connection() {
    for ends in [closes as fn(&mut Visit) -> _, resets] {
        let (asked, both) = (Gate::default(), Gate::default());
        let gates = [asked.clone(), both.clone()];
        let (backend, front) = pair(Backend::new(move |visit| {
            if visit.request()?.target() == "/wait" {
                gates[0].open();
                gates[1].wait();
            }
            visit.say(answer("good"))?;
            visit.request()?;
            ends(visit)
        }));
        let (mut one, mut other) = (front.client(), front.client());
        one.say(GET.replace("/a", "/wait"));
        asked.wait();
        assert_eq!(other.ask(GET).text(), "good");
        both.open();
        assert_eq!((one.answer("GET").text().as_str(), backend.connections()), ("good", 2));
        assert_eq!((other.ask(GET).text().as_str(), backend.connections()), ("good", 3));
    }
}

#[test]
fn a_key_for_repeating_counts_where_that_is_allowed() {
    for allowed in [false, true] {
        let backend = dying(closes);
        let front = Front::with(&backend.word(), |settings| settings.retry.idempotency_key = allowed);
        let mut client = front.client();
        assert_eq!(client.ask(GET).text(), "good");
        let answer = client.ask(with_key());
        assert_eq!(answer.status(), if allowed { 200 } else { 502 });
        assert_eq!(backend.requests().len(), if allowed { 3 } else { 2 });
    }
}

#[test]
fn a_poisonous_request_visits_two_backends_at_most() {
    for (request, most) in [(GET, 2), (POST, 1)] {
        for ends in [closes as fn(&mut Visit) -> _, resets] {
            let poisoned = || {
                Backend::new(move |visit| {
                    visit.request()?;
                    ends(visit)
                })
            };
            let backends = [poisoned(), poisoned(), poisoned(), poisoned()];
            let front = Front::new(&words(&backends.each_ref()));
            is_refused(&front.ask(request), &[502], &["backend-closed"]);
            let visits: Vec<_> = backends.iter().map(|backend| backend.requests().len()).collect();
            assert!(visits.iter().sum::<usize>() == most && visits.iter().all(|count| *count <= 1), "{visits:?}");
        }
    }
}

#[test]
fn a_budget_that_is_spent_repeats_nothing() {
    const CLIENTS: usize = 20;
    // What a second may repeat is at hand for ten seconds.
    for (percent, per_second, most) in [(0, 0, 0), (0, 1, 11), (50, 0, CLIENTS / 2 + 1)] {
        let backends = [(), ()].map(|()| Backend::new(|visit| visit.request().map(drop)));
        let begin = Instant::now();
        let front = Front::with(&words(&backends.each_ref()), |settings| {
            settings.retry.percent = percent;
            settings.retry.per_second = per_second;
        });
        for _ in 0..CLIENTS {
            is_refused(&front.ask(GET), &[502], &["backend-closed"]);
        }
        let again = backends.iter().map(|backend| backend.requests().len()).sum::<usize>() - CLIENTS;
        let most = most + per_second as usize * begin.elapsed().as_secs() as usize;
        assert!(again <= most, "{again} repeated with {percent} % and {per_second}/s");
        assert!(most == 0 || again > 0, "nothing repeated with {percent} % and {per_second}/s");
    }
}

/// What is not at hand any more cannot be sent once more.
#[test]
fn a_body_that_has_been_let_go_is_not_repeated() {
    let (backend, front) = pair(Backend::new(|visit| {
        if visit.head()?.method() == "HEAD" {
            return Ok(());
        }
        visit.bytes(1_000_000)?;
        visit.reset();
        Ok(())
    }));
    let mut client = front.client();
    client.say("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").say(bulk(3_000_000));
    let refused = client.answer("PUT");
    is_refused(&refused, &[502], &["backend-closed"]);
    assert_eq!(backend.connections(), 1);
    if refused.closes() {
        client.ends();
    } else {
        assert_eq!(client.ask("HEAD /next HTTP/1.1\r\nHost: a\r\n\r\n").status(), 502, "its body is no request");
    }
}

#[test]
fn a_body_that_is_at_hand_is_repeated_whole() {
    let body = bulk(8_000);
    for by_chunks in [false, true] {
        let (dying, good) = (Backend::new(|visit| visit.request().map(drop)), Backend::named("good"));
        let front = Front::new(&words(&[&dying, &good]));
        let mut request = b"PUT /a HTTP/1.1\r\nHost: a\r\n".to_vec();
        if by_chunks {
            request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            request.extend(wire::chunked(&body, 1_000));
        } else {
            request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            request.extend(&body);
        }
        let answer = front.ask(&request);
        let requests = [dying.requests(), good.requests()].concat();
        assert!(requests.iter().all(|request| request.body == body));
        if answer.status() != 200 {
            is_refused(&answer, &[502], &["backend-closed"]);
            assert!(by_chunks, "it was at hand");
        }
    }
}

#[test]
fn an_interim_answer_that_was_passed_on_forbids_it() {
    let (backend, front) = pair(Backend::new(|visit| {
        visit.request()?;
        visit.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    }));
    let mut client = front.client();
    assert_eq!(client.ask(GET).status(), 103);
    is_refused(&client.answer("GET"), &[502], &["backend-closed"]);
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn answers_of_any_status_are_answers() {
    let cases = ["500 Oops", "502 Bad Gateway", "503 Unavailable", "504 Slow", "429 Many", "408 Slow"];
    each(&cases.map(|status| (status, status)), |status| {
        let (backend, front) = pair(Backend::saying(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno")));
        let answer = front.ask(GET);
        assert_eq!((answer.text().as_str(), answer.has("lb-reason")), ("no", false));
        assert_eq!(backend.requests().len(), 1);
    });
}

#[test]
fn without_a_backend_that_may_have_it_a_request_is_refused() {
    let backend = Backend::named("x");
    let front = Front::new(&backend.word());
    let id = front.stats()[0].id;
    front.balancer.set_status(id, lb_core::Status::Disabled, Instant::now()).unwrap();
    let mut client = front.client();
    is_refused(&client.ask(GET), &[503], &["no-backend"]);
    front.balancer.set_status(id, lb_core::Status::Enabled, Instant::now()).unwrap();
    assert_eq!(client.ask(GET).text(), "x", "the connection goes on");
}

#[test]
fn while_backends_come_and_go_no_request_that_may_be_repeated_fails() {
    let steady = Backend::named("good");
    let moody = Backend::new(|visit| {
        for count in 0..visit.number % 5 {
            visit.request()?;
            visit.say(answer("good"))?;
            if (visit.number + count).is_multiple_of(7) {
                visit.reset();
                return Ok(());
            }
        }
        Ok(())
    });
    let front = Front::with(&words(&[&moody, &steady]), |settings| settings.retry.percent = 100);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = front.client();
                for _ in 0..100 {
                    assert_eq!(client.ask(GET).text(), "good");
                }
            });
        }
    });
    front.idle();
}
