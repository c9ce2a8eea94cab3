//! A body may have so many bytes.

use lb_net::http::Settings;

use crate::{
    front,
    wire::{Backend, End, bulk, chunked, show},
};

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
