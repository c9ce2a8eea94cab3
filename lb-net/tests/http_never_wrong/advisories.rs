//! One test for each advisory that concerns HTTP/1.

use crate::{
    AFTER, GET, SMUGGLED,
    cut::is_cut,
    http_support::pair,
    telling,
    wire::{Backend, End, Gate, answer, show},
};

/// With `/smuggled` nowhere but in bodies: as one request with this body, or not at all.
fn is_one_request_or_none(bytes: &str, body: &str) {
    for piece in [usize::MAX, 1] {
        let (backend, front) = pair(Backend::new(telling));
        let mut client = front.client();
        client.say_slowly(bytes, piece).finish();
        let (end, heard) = client.rest();
        assert_ne!(end, End::Hung);
        let answers = show(&heard).matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{}", show(&heard));
        drop(front);
        backend.wait("its connections to end", |seen| seen.open == 0);
        match &backend.requests()[..] {
            [] => assert!(
                heard.is_empty() || heard.starts_with(b"HTTP/1.1 4") || heard.starts_with(b"HTTP/1.1 501"),
                "{}",
                show(&heard)
            ),
            [one] => assert_eq!((one.text().as_str(), one.target()), (body, "/first")),
            more => panic!("{more:?}"),
        }
    }
}

#[test]
fn rustsec_2020_0008_the_body_of_a_get_is_no_request() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let length = SMUGGLED.len();
        let head = format!("{method} /first HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let (backend, front) = pair(Backend::new(|visit| {
            loop {
                visit.request()?;
                visit.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            }
        }));
        let mut client = front.client();
        assert_eq!(client.ask(format!("{head}{SMUGGLED}")).status(), 200);
        assert_eq!(client.ask(AFTER).status(), 200);
        assert_eq!(backend.firsts(), [format!("{method} /first HTTP/1.1"), "GET /after HTTP/1.1".to_owned()]);
        assert_eq!(backend.requests()[0].text(), SMUGGLED);
    }
}

#[test]
fn rustsec_2021_0020_several_codings_have_one_meaning_or_none() {
    let codings = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: x",
    ];
    for coding in codings {
        let request = format!("POST /first HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
        is_one_request_or_none(&request, "never");
    }
}

#[test]
fn rustsec_2021_0078_a_length_with_a_sign_is_none() {
    for length in ["+5", "-5", "+0", "0x0", "5,+5"] {
        let request = format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello{SMUGGLED}");
        is_one_request_or_none(&request, "never");
    }
}

#[test]
fn rustsec_2021_0079_a_chunk_size_does_not_wrap_around() {
    let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for size in ["10000000000000005", "100000000000000000000000000000005", "f0000000000000005", "fffffffffffffffff"] {
        is_one_request_or_none(&format!("{head}{size}\r\nhello\r\n0\r\n\r\n{SMUGGLED}"), "never");
        let said = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n");
        is_cut(&said, GET);
    }
}

#[test]
fn rustsec_2020_0031_and_2021_0081_a_coding_is_spelt_right_or_is_none() {
    let spelt = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked-x",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked, ",
        "Transfer-Encoding\0: chunked",
    ];
    for coding in spelt {
        for length in ["", "Content-Length: 15\r\n"] {
            let request =
                format!("POST /first HTTP/1.1\r\nHost: a\r\n{length}{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}");
            is_one_request_or_none(&request, "never");
        }
    }
}

#[test]
fn rustsec_2025_0037_an_early_answer_leaves_no_body_behind() {
    let body = format!("{SMUGGLED}{SMUGGLED}");
    for framing in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        // How much of the request the client has sent when the answer comes.
        for sent in [0, 10, body.len() / 2] {
            let (backend, front) = pair(Backend::new(|visit| {
                if visit.number > 0 {
                    return telling(visit);
                }
                visit.head()?;
                visit.say(answer("early"))?;
                visit.listen()
            }));
            let all = format!("POST /first HTTP/1.1\r\nHost: a\r\n{framing}");
            let (now, later) = all.split_at(all.len() - body.len() + sent);
            let mut client = front.client();
            client.say(now);
            let early = client.answer("POST");
            assert_eq!(early.text(), "early");
            client.say(later).say(AFTER);
            if early.closes() {
                client.ends();
            } else {
                assert_eq!(client.answer("GET").text(), "/after ");
            }
            assert_eq!(front.ask(AFTER).text(), "/after ");
            let firsts = backend
                .look(|seen| seen.requests.iter().map(|(at, head)| (*at, head.first.clone())).collect::<Vec<_>>());
            assert!(firsts.iter().skip(1).all(|(at, first)| *at > 0 && first == "GET /after HTTP/1.1"), "{firsts:?}");
        }
    }
}

#[test]
fn rustsec_2026_0034_a_request_of_http_1_0_does_not_end_with_its_connection() {
    let one = format!("POST /first HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n{SMUGGLED}");
    is_one_request_or_none(&one, "never");
    let kept = format!(
        "POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"
    );
    is_one_request_or_none(&kept, "never");
    let both = format!(
        "POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello{SMUGGLED}"
    );
    is_one_request_or_none(&both, "never");
    // Without a length there is no body: what follows is not taken for one.
    is_one_request_or_none(&format!("POST /first HTTP/1.0\r\nHost: a\r\n\r\n{SMUGGLED}"), "");
}

#[test]
fn cve_2026_105299_nominated_fields_stay_on_their_connection() {
    let (backend, front) = pair(Backend::new(telling));
    let fields = "Connection: X-Secret, Cookie, Authorization\r\nX-Secret: 1\r\nCookie: 2\r\nAuthorization: 3\r\n";
    assert_eq!(front.ask(format!("GET /first HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).status(), 200);
    let request = backend.request();
    assert!(["x-secret", "cookie", "authorization"].iter().all(|name| !request.has(name)), "{}", show(&request.head));
}

#[test]
fn cve_2026_73548_a_connection_that_was_to_change_serves_nobody_else() {
    // The backend answers 200 to the upgrade and then speaks the other protocol all the same.
    let (served, poisoned) = (Gate::default(), Gate::default());
    let (theirs, told) = (served.clone(), poisoned.clone());
    let (_backend, front) = pair(Backend::new(move |visit| {
        if visit.number > 0 {
            return telling(visit);
        }
        visit.request()?;
        visit.say(answer("no"))?;
        theirs.wait();
        let said = visit.say(answer("SECRET"));
        told.open();
        said?;
        visit.listen()
    }));
    let asks = "GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\n";
    assert_eq!(front.ask(asks).text(), "no");
    served.open();
    poisoned.wait();
    assert_eq!(front.ask(AFTER).text(), "/after ");
}

#[test]
fn cve_2025_55315_and_2025_43859_junk_at_the_end_of_a_chunks_line_is_no_end() {
    let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        "5;\n0\r\nhello\r\n0\r\n\r\n",
        "5;a\nxx\r\nhello\r\n0\r\n\r\n",
        "5\n\nhello\r\n0\r\n\r\n",
        "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloxx0\r\n\r\n",
        "5\r\nhello\r\r0\r\n\r\n",
        "5\r\nhello\n\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
        "2\r\nxx\r\n47;\nGET / HTTP/1.1\r\n\r\n0\r\n\r\n",
    ];
    for body in bodies {
        is_one_request_or_none(&format!("{head}{body}{SMUGGLED}"), "never");
        is_cut(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), GET);
    }
}
