//! What embedders may see of requests and answers, and change.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use http_support::{Front, wait_for};
use lb_net::http::{AnswerView, Hooks, OwnAnswer, Record, RequestView};
use wire::{Backend, answer};

/// Everything that hooks are shown, one line each.
#[derive(Default)]
struct Diary {
    lines: Mutex<Vec<String>>,
    ends: Mutex<Vec<String>>,
}

impl Hooks for Diary {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
        let line = format!(
            "{} {} {} {} {} {}",
            request.method(),
            request.path(),
            text(request.host()),
            request.client().ip(),
            text(request.field("x-A")),
            request.fields().count()
        );
        self.lines.lock().unwrap().push(line);
        None
    }

    fn on_answer(&self, answer: &mut AnswerView<'_, '_>) {
        let line = format!("{} {} {}", answer.status(), answer.field("server").is_some(), answer.fields().count());
        self.lines.lock().unwrap().push(line);
    }

    fn on_end(&self, record: &Record<'_>) {
        let target = String::from_utf8_lossy(record.target);
        let (method, status) = (record.method, record.status);
        let line = format!("{method} {target} {status} {} {}", record.reason.unwrap_or("-"), record.answer_bytes);
        self.ends.lock().unwrap().push(line);
    }
}

/// The proxy in front of this backend, with these hooks.
fn hooked(backend: &Backend, hooks: impl Hooks) -> (Front, Arc<dyn Hooks>) {
    let hooks: Arc<dyn Hooks> = Arc::new(hooks);
    (Front::by(&backend.word(), |proxy| proxy.with_hooks(Arc::clone(&hooks))), hooks)
}

#[test]
fn hooks_see_what_was_sent_and_how_it_ended() {
    let backend = Backend::new(|visit| {
        while let Ok(request) = visit.request() {
            let answer = match request.target() {
                "/bad" => "HTTP/9.9 nonsense\r\n\r\n",
                "/early" => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\nyes",
            };
            visit.say(answer)?;
        }
        Ok(())
    });
    let diary = Arc::new(Diary::default());
    let front = Front::by(&backend.word(), |proxy| proxy.with_hooks(Arc::clone(&diary) as Arc<dyn Hooks>));
    let mut client = front.client();
    assert_eq!(client.ask("GET /a?b=1 HTTP/1.1\r\nHost: Example:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n").text(), "yes");
    assert_eq!(client.ask("POST /early HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi").status(), 103);
    assert_eq!(client.answer("POST").status(), 204);
    assert_eq!(client.ask("GET /bad HTTP/1.1\r\nHost: b\r\n\r\n").status(), 502);
    assert_eq!(front.ask("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status(), 400);
    let seen = ["GET /a?b=1 Example:80 127.0.0.1 1 3", "200 true 2", "POST /early b 127.0.0.1 - 2", "204 false 0"];
    let seen: Vec<_> = seen.into_iter().chain(["GET /bad b 127.0.0.1 - 1"]).collect();
    assert_eq!(*diary.lines.lock().unwrap(), seen, "neither interim answers, nor ours, nor what is no request");
    wait_for("four ends", || diary.ends.lock().unwrap().len() == 4);
    let ends = diary.ends.lock().unwrap();
    assert_eq!(ends[..2], ["GET /a?b=1 200 - 3", "POST /early 204 - 0"]);
    assert!(ends[2].starts_with("GET /bad 502 bad-answer"), "{}", ends[2]);
    assert!(ends[3].contains(" 400 "), "{}", ends[3]);
}

struct Editor;

impl Hooks for Editor {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        request.set("X-Set", "new").unwrap();
        request.add("X-Add", "2").unwrap();
        request.remove("X-Remove").unwrap();
        for own in ["Content-Length", "Transfer-Encoding", "Connection", "Not a name"] {
            assert!(request.set(own, "1").is_err(), "{own}");
        }
        assert!(request.set("X-Set", "a\r\nX-Injected: 1").is_err());
        None
    }

    fn on_answer(&self, answer: &mut AnswerView<'_, '_>) {
        answer.set("X-Set", "new").unwrap();
        answer.add("X-Add", "2").unwrap();
        answer.remove("X-Remove").unwrap();
        assert!(answer.set("Content-Length", "1").is_err());
    }
}

#[test]
fn fields_are_changed_both_ways() {
    let fields = "X-Set: old\r\nX-Set: older\r\nX-Add: 1\r\nx-remove: 1\r\n";
    let backend = Backend::saying(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n{fields}\r\nx"));
    let (front, _hooks) = hooked(&backend, Editor);
    let answer = front.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    for message in [backend.request(), answer] {
        assert_eq!(message.all("x-set"), ["new"]);
        assert_eq!(message.all("x-add"), ["1", "2"]);
        assert!(!message.has("x-remove") && !message.has("x-injected"));
    }
}

/// Takes a field away, from both.
struct Remover;

impl Hooks for Remover {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        request.remove("X-Remove").unwrap();
        None
    }

    fn on_answer(&self, answer: &mut AnswerView<'_, '_>) {
        answer.remove("X-Remove").unwrap();
    }
}

#[test]
fn what_is_taken_away_does_not_come_behind_the_body() {
    let body = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Remove: 1\r\n\r\n";
    let ask = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n{body}");
    for removes in [false, true] {
        let backend = Backend::saying(format!("HTTP/1.1 200 OK\r\n{body}"));
        let diary: Arc<dyn Hooks> = Arc::new(Diary::default());
        let front =
            Front::by(&backend.word(), |proxy| proxy.with_hooks(if removes { Arc::new(Remover) } else { diary }));
        let answer = front.ask(&ask);
        for message in [backend.request(), answer] {
            assert_eq!((message.text().as_str(), message.trailers.is_empty()), ("hello", removes));
        }
    }
}

/// Answers by itself what begins with `/own`, with this status.
struct Answering(u16, AtomicUsize);

impl Hooks for Answering {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        let answer = OwnAnswer::new(self.0).with_field("X-Own", "1").unwrap().with_body("mine");
        request.path().starts_with("/own").then_some(answer)
    }

    fn on_end(&self, _: &Record<'_>) {
        self.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn an_own_answer_takes_the_place_of_a_backends_and_leaves_the_connection_in_order() {
    let backend = Backend::saying(answer("theirs"));
    let (front, _hooks) = hooked(&backend, Answering(200, AtomicUsize::new(0)));
    let mut client = front.client();
    let own = client.ask("GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((own.status(), own.text().as_str(), own.field("x-own")), (200, "mine", "1"));
    assert!(client.ask("HEAD /own HTTP/1.1\r\nHost: a\r\n\r\n").body.is_empty());
    // The body of a request that was answered by ourselves is no request.
    let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = format!("POST /own HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(client.ask(post).text(), "mine");
    assert_eq!(client.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").text(), "theirs");
    assert_eq!(backend.requests().iter().map(|request| request.target()).collect::<Vec<_>>(), ["/other"]);
}

#[test]
fn an_own_answer_to_a_body_that_is_still_coming_ends_the_connection() {
    let backend = Backend::saying(answer("theirs"));
    let (front, _hooks) = hooked(&backend, Answering(403, AtomicUsize::new(0)));
    let mut client = front.client();
    let own = client.ask("PUT /own HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    assert_eq!((own.status(), own.text().as_str()), (403, "mine"));
    assert!(own.closes());
    client.finish().ends();
    assert_eq!(backend.connections(), 0);
}

#[test]
fn an_own_answer_of_a_kind_without_a_body_has_none() {
    let backend = Backend::saying(answer("theirs"));
    let (front, _hooks) = hooked(&backend, Answering(204, AtomicUsize::new(0)));
    let mut client = front.client();
    for _ in 0..2 {
        let own = client.ask("GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(own.status() == 204 && own.body.is_empty() && !own.has("content-length"));
    }
}

#[test]
fn each_request_ends_once() {
    let backend = Backend::saying(answer("theirs"));
    let hooks = Arc::new(Answering(200, AtomicUsize::new(0)));
    let front = Front::by(&backend.word(), |proxy| proxy.with_hooks(Arc::clone(&hooks) as Arc<dyn Hooks>));
    let mut client = front.client();
    for page in ["/own", "/other", "/own", "/other"] {
        client.ask(format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    drop(client);
    front.ask("NONSENSE\r\n\r\n");
    wait_for("five ends", || hooks.1.load(SeqCst) == 5);
}

#[test]
fn who_asks_is_whom_trusted_proxies_name() {
    let backend = Backend::saying(answer("theirs"));
    let diary = Arc::new(Diary::default());
    let mut settings = lb_net::http::Settings::default();
    settings.forward.trusted = "127.0.0.0/8".parse().unwrap();
    let front = Front::by(&backend.word(), |proxy| {
        proxy.with_settings(settings).with_hooks(Arc::clone(&diary) as Arc<dyn Hooks>)
    });
    let mut client = front.client();
    for named in ["6.6.6.6, 192.0.2.7, 127.0.0.5", "192.0.2.8", "nobody"] {
        client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {named}\r\n\r\n"));
    }
    let lines = diary.lines.lock().unwrap();
    let asked: Vec<_> =
        lines.iter().filter(|line| line.starts_with("GET")).map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(asked, [Some("192.0.2.7"), Some("192.0.2.8"), Some("127.0.0.1")]);
    let told: Vec<_> = backend.requests().iter().map(|request| request.field("x-forwarded-for").to_owned()).collect();
    assert_eq!(told, ["6.6.6.6, 192.0.2.7, 127.0.0.5, 127.0.0.1", "192.0.2.8, 127.0.0.1", "nobody, 127.0.0.1"]);
}
