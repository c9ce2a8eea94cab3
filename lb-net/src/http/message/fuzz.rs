//! Damaged heads and bodies by the million: nothing panics, and nothing that is taken can be understood in two ways.
//!
//! Each target runs for two seconds with a seed that it prints when it fails. For longer, or for one failure again:
//! `LB_FUZZ_SECONDS=600 LB_FUZZ_SEED=1 cargo test --release -p lb-net --features http --lib http::fuzz`

use std::{
    collections::hash_map::RandomState,
    env,
    hash::BuildHasher as _,
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    chunked,
    field::{FieldRoom, Known},
    forward::{Back, Forward, Hop, write_answer, write_request},
    framing::{AnswerFraming, Asked, Body, RequestFraming, of_answer, of_request},
    head::{AnswerHead, HeadLimits, RequestHead},
    refusal::Reason,
};
use crate::field_text::is_token;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 64 };

/// `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Says how a failure is repeated.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("to see this again: LB_FUZZ_SEED={}", self.0);
        }
    }
}

/// Rounds until the time is over; each says whether what it made up was taken. Both has to happen.
fn fuzz(mut round: impl FnMut(&mut Chance) -> bool) {
    let number =
        |name| env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")));
    let seconds = number("LB_FUZZ_SECONDS").unwrap_or(2);
    let first = number("LB_FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seed = Seed(first);
    let (mut rounds, mut taken) = (0_u64, 0_u64);
    while rounds < 1000 || Instant::now() < end {
        taken += u64::from(round(&mut Chance(seed.0)));
        rounds += 1;
        seed.0 = seed.0.wrapping_add(1);
    }
    println!("seed {first}: {rounds} rounds, {taken} taken");
    assert!(taken > 0 && taken < rounds, "seed {first}: {taken} of {rounds} taken");
}

/// Lines end with `|` in what these are made of.
fn bytes(text: &str) -> Vec<u8> {
    text.replace('|', "\r\n").into_bytes()
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1|Host: a||",
    "GET /a?b HTTP/1.0|Connection: keep-alive|Accept: */*||",
    "|POST /x HTTP/1.1|Host: a:80|Content-Length: 5|Cookie: a=b; c=d|Expect: 100-continue||hello",
    "POST / HTTP/1.1|Host: [::1]|Transfer-Encoding: chunked|TE: trailers|Connection: TE|Trailer: X||0||",
    "GET http://u.example:8080/p HTTP/1.1|Host: other|Via: 1.1 lb, 1.0 x|X-Forwarded-For: 9.9.9.9|Forwarded: for=x||",
    "GET /chat HTTP/1.1|Host: a|Upgrade: websocket, h2c|Connection: Upgrade, HTTP2-Settings|HTTP2-Settings: AA||",
    "OPTIONS * HTTP/1.2|Host: a|Max-Forwards: 3|Connection: close, X-A|X-A: 1|x_forwarded_for: 1|Content_Length: 3||",
    "POST / HTTP/1.1|Host: a|Content-Length: 5|Transfer-Encoding: gzip, chunked||",
    "TRACE / HTTP/1.1|Host: a|Max-Forwards: 0||",
    "CONNECT a:443 HTTP/1.1|Host: a||",
    "PRI * HTTP/2.0||SM||",
];

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK|Content-Length: 5|Set-Cookie: a|Set-Cookie: b||hello",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Trailer: X|Connection: close, X-A|X-A: 1||0||",
    "HTTP/1.0 404 Not Found|Connection: keep-alive|Keep-Alive: 5|lb-reason: x||",
    "HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: upgrade||",
    "HTTP/1.1 103 Early Hints|Link: a||HTTP/1.1 200 OK||",
    "HTTP/1.3 204|Content-Length: 0||",
    "HTTP/1.1 304 Not Modified|Content-Length: 5|ETag: x||",
    "HTTP/1.1 426 Upgrade Required|Upgrade: a/1, h2c|Connection: upgrade|Content-Length: 0||",
];

const BODIES: &[&str] = &[
    "5|hello|0||",
    "1;a=b|x|00A;c=\"d\"|0123456789|0||GET",
    "f \t;x|0123456789abcde|0|X-Sum: 1|Host: a|Y:||",
    "7fffffffffffffff|a",
    "1|||0||",
];

/// What matters to a reader of messages.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "|",
    "\r\n\r\n",
    "\r\n ",
    "\u{e4}",
    "\u{7f}",
    "chunked",
    "Transfer-Encoding: ",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: ",
    "Content-Length: 5\r\n",
    "Content-Length: 05\r\n",
    "Connection: ",
    "Host: ",
    "Connection: close\r\n",
    "Connection: Host\r\n",
    "Host: a\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
    "Connection: upgrade\r\n",
    "TE: trailers\r\n",
    "X-A: 1\r\n",
    "X-Forwarded-For: 1\r\n",
    "Via: 1.1 lb\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "GET ",
    "OPTIONS ",
    "TRACE ",
    "http://",
    "*",
    "/",
    "#",
    "@",
    "+",
    "-",
    "0x",
    "0",
    "1",
    "5",
    "99999999999999999999",
    "ffffffffffffffff",
    "100",
    "101",
    "204",
    "304",
    "0\r\n",
    "0\r\n\r\n",
    "1\r\nx\r\n",
    ";a=\"",
    "_",
    "identity",
    "gzip, ",
];

/// One of these, damaged in a few places or not at all.
fn damaged(chance: &mut Chance, corpus: &[&str]) -> Vec<u8> {
    let mut text = bytes(chance.one_of(corpus));
    for _ in 0..chance.below(5) {
        let (from, to) = (chance.below(text.len() + 1), chance.below(text.len() + 1));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 40));
        let with = match chance.below(7) {
            0 => Vec::new(),
            1 => [&text[from..to], &text[from..to]].concat(),
            2 => bytes(chance.one_of(corpus)),
            3 => vec![u8::try_from(chance.next() & 0xff).unwrap()],
            4 => text[from..to].iter().map(|byte| byte ^ 0x20).collect(),
            _ => chance.one_of(PIECES).as_bytes().to_vec(),
        };
        // Most damage is put in between, some in place of what was there.
        let to = if chance.below(3) == 0 || with.is_empty() { to } else { from };
        text.splice(from..to, with);
    }
    text
}

/// The lines of a head that was written by us, read in the plainest way: first line, then names in lower case with values.
fn lines(head: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let head = head.strip_suffix(b"\r\n\r\n").expect("it ends with an empty line");
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    assert!(!lines.iter().any(|line| line.iter().any(control)), "no line has a control character");
    let first = String::from_utf8(lines.remove(0).to_vec()).unwrap();
    let field = |line: &&[u8]| {
        let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        assert!(!name.is_empty() && name.iter().copied().all(is_token), "names are tokens");
        let value = value.strip_prefix(b" ").expect("one space is behind the colon");
        assert!(!matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']), "no more white space is around a value");
        (String::from_utf8(name.to_ascii_lowercase()).unwrap(), value.to_vec())
    };
    (first, lines.iter().map(field).collect())
}

/// That a head has one framing at most, and nothing of a connection but what lb says itself.
fn judge_written(fields: &[(String, Vec<u8>)], body: Body, connection: &[&str]) {
    let all = |name: &str| {
        fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    match body {
        Body::Length(length) => assert_eq!((lengths, codings), (vec![length.to_string().as_bytes()], vec![])),
        Body::Chunked => assert_eq!((lengths, codings), (vec![], vec![&b"chunked"[..]])),
        Body::None | Body::UntilClose => assert!(codings.is_empty() && lengths.len() <= 1),
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        assert!(all(name).is_empty(), "{name}");
    }
    let said = all("connection");
    assert!(
        said.len() <= 1 && said.iter().all(|said| connection.iter().any(|option| option.as_bytes() == *said)),
        "{said:?}"
    );
    let protocols = all("upgrade").into_iter().flat_map(|value| value.split(|byte| *byte == b','));
    let mut names = protocols.filter_map(|protocol| protocol.trim_ascii().split(|byte| *byte == b'/').next());
    assert!(!names.any(|name| name.eq_ignore_ascii_case(b"h2c")), "h2c is never asked for");
}

/// The fields of one head that are not the hop's, and not nominated.
fn end_to_end(head: &[(Known, String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    let nominated: Vec<Vec<u8>> = head
        .iter()
        .filter(|(known, ..)| *known == Known::Connection)
        .flat_map(|(.., value)| {
            value.split(|byte| *byte == b',').map(|option| option.trim_ascii().to_ascii_lowercase())
        })
        .collect();
    let goes_on = |(known, name, _): &&(Known, String, Vec<u8>)| {
        let plain =
            matches!(known, Known::Other | Known::Cookie | Known::SetCookie | Known::Referer | Known::UserAgent);
        plain && !nominated.contains(&name.clone().into_bytes())
    };
    head.iter().filter(goes_on).map(|(_, name, value)| (name.clone(), value.clone())).collect()
}

/// A request as a backend gets it: its framing, the fields that are the client's, and the bytes.
type Written<F> = (F, Vec<(String, Vec<u8>)>, Vec<u8>);

fn pass_request(bytes: &[u8]) -> Result<Option<Written<RequestFraming>>, Reason> {
    let forward = Forward { x_forwarded: false, via: None, ..Forward::default() };
    let (client, local) = ("192.0.2.7:4000".parse().unwrap(), "198.51.100.1:8080".parse().unwrap());
    let hop = Hop { client, local, peer_trusted: false, forward: &forward, edits: &[], more_edits: &[] };
    let mut room = FieldRoom::new();
    let Some(head) = RequestHead::parse(bytes, &mut room, &LIMITS)? else { return Ok(None) };
    let framing = of_request(&head)?;
    let mut out = Vec::new();
    write_request(&head, &framing, &hop, &mut out)?;
    let fields: Vec<_> =
        head.fields.iter().map(|field| (field.known, field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    Ok(Some((framing, end_to_end(&fields), out)))
}

fn pass_answer(bytes: &[u8], asked: Asked) -> Result<Option<Written<AnswerFraming>>, Reason> {
    let mut room = FieldRoom::new();
    let Some(head) = AnswerHead::parse(bytes, &mut room, &LIMITS)? else { return Ok(None) };
    let framing = of_answer(&head, &asked)?;
    let body = framing.for_client(1);
    let back = Back {
        edits: &[],
        more_edits: &[],
        via: None,
        client_minor: 1,
        keep_alive: true,
        body,
        trailers: true,
        set_cookie: None,
    };
    let mut out = Vec::new();
    write_answer(&head, &framing, &back, &mut out);
    let fields: Vec<_> =
        head.fields.iter().map(|field| (field.known, field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    Ok(Some((framing, end_to_end(&fields), out)))
}

/// Whether a request is taken; then it goes on as one message, which another lb takes for the same.
fn check_request(bytes: &[u8]) -> bool {
    let Ok(Some((framing, ours, out))) = pass_request(bytes) else { return false };
    let (first, fields) = lines(&out);
    assert_eq!(first.split(' ').count(), 3, "{first}");
    judge_written(&fields, framing.body, &["TE", "upgrade", "TE, upgrade"]);
    assert_eq!(fields.iter().filter(|(name, _)| name == "host").count(), 1);
    assert!(!fields.iter().any(|(name, _)| name == "content_length" || name == "transfer_encoding"));
    if framing.is_for_us() {
        return true;
    }
    let again = pass_request(&out);
    if framing.max_forwards == Some(1) {
        assert!(first.starts_with("OPTIONS ") || again == Err(Reason::TraceNotAllowed), "{first}");
        return true;
    }
    let (framing_again, ours_again, out_again) = again.expect("it is taken again").expect("it is whole");
    let what = |framing: &RequestFraming| (framing.body, framing.expects_continue, framing.upgrade, framing.trailers);
    assert_eq!(what(&framing_again), what(&framing));
    assert_eq!(ours_again, ours);
    if framing.max_forwards.is_none() {
        assert_eq!(out_again, out);
    }
    true
}

fn check_answer(bytes: &[u8], asked: Asked) -> bool {
    let Ok(Some((framing, ours, out))) = pass_answer(bytes, asked) else { return false };
    let (first, fields) = lines(&out);
    assert!(first.starts_with("HTTP/1.1 "), "{first}");
    judge_written(&fields, framing.for_client(1), &["upgrade", "close"]);
    let (framing_again, ours_again, out_again) =
        pass_answer(&out, asked).expect("it is taken again").expect("it is whole");
    assert_eq!(framing_again.body, framing.for_client(1));
    assert_eq!((framing_again.interim, framing_again.switching), (framing.interim, framing.switching));
    assert_eq!((ours_again, out_again), (ours, out));
    true
}

/// What a head is does not depend on the pieces that it comes in: less than it is too little, and what is refused early would be
/// refused as a whole.
fn check_prefix<T, E>(whole: Result<Option<(T, usize)>, E>, part: Result<Option<(T, usize)>, E>, bytes: usize) {
    match (whole, part) {
        (Ok(Some((_, end))), part) if bytes < end => assert!(matches!(part, Ok(None)), "less than a head is no head"),
        (Ok(Some((_, end))), part) => {
            assert!(matches!(part, Ok(Some((_, other))) if other == end), "a head ends where it ends")
        }
        (Ok(None), part) => assert!(matches!(part, Ok(None)), "more could come"),
        (Err(_), part) => assert!(!matches!(part, Ok(Some(_))), "what is refused is no head earlier"),
    }
}

#[test]
fn damaged_heads() {
    fuzz(|chance| {
        let asked = Asked { head: chance.below(2) == 0, upgrade: chance.below(2) == 0 };
        let corpus = chance.one_of(&[REQUESTS, ANSWERS]);
        let text = damaged(chance, corpus);
        let cut = chance.below(text.len() + 1);
        let request = |bytes: &[u8]| {
            let mut room = FieldRoom::new();
            let head = RequestHead::parse(bytes, &mut room, &LIMITS)?;
            Ok::<_, Reason>(head.map(|head| (head.minor, head.bytes)))
        };
        check_prefix(request(&text), request(&text[..cut]), cut);
        let answer = |bytes: &[u8]| {
            let mut room = FieldRoom::new();
            let head = AnswerHead::parse(bytes, &mut room, &LIMITS)?;
            Ok::<_, Reason>(head.map(|head| (head.minor, head.bytes)))
        };
        check_prefix(answer(&text), answer(&text[..cut]), cut);
        check_request(&text) | check_answer(&text, asked)
    });
}

#[test]
fn damaged_framings() {
    let lines: Vec<&str> =
        REQUESTS.iter().chain(ANSWERS).flat_map(|head| head.split('|')).filter(|line| line.contains(": ")).collect();
    fuzz(|chance| {
        let asked = Asked { head: chance.below(2) == 0, upgrade: chance.below(2) == 0 };
        let fields: Vec<&str> = (0..chance.below(5)).map(|_| chance.one_of(&lines)).collect();
        let mut text = damaged(chance, &[&fields.join("|")]);
        text.extend(b"\r\n\r\n");
        let first =
            ["GET / HTTP/1.1\r\nHost: a\r\n", "POST http://b HTTP/1.0\r\n", "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n"];
        let request = [chance.one_of(&first).as_bytes(), &text].concat();
        let first = [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 200 OK\r\n",
            "HTTP/1.1 204 None\r\n",
            "HTTP/1.1 101 Go\r\n",
            "HTTP/1.1 304 Same\r\n",
        ];
        let answer = [chance.one_of(&first).as_bytes(), &text].concat();
        check_request(&request) | check_answer(&answer, asked)
    });
}

#[test]
fn damaged_chunks() {
    fuzz(|chance| {
        let text = damaged(chance, BODIES);
        let whole = chunked::tests::read(&text, text.len());
        assert_eq!(chunked::tests::read(&text, 1 + chance.below(9)), whole, "pieces come to the same");
        let Ok(Some((data, trailers, behind))) = whole else { return false };
        assert_eq!(chunked::tests::model(&text), Some((data, text.len() - behind)));
        if !trailers.is_empty() {
            let head = [b"x\r\n", trailers.as_slice(), b"\r\n"].concat();
            let known = |name: &str| {
                matches!(Known::of(name), Known::Other | Known::IdempotencyKey | Known::Referer | Known::UserAgent)
            };
            assert!(lines(&head).1.iter().all(|(name, _)| known(name)));
        }
        true
    });
}

/// Lines of a head that are sound each for itself.
fn sound_lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "[A-Za-z][A-Za-z-]{0,9}:[ \t]{0,2}([!-~]([ -~]{0,9}[!-~])?)?[ \t]{0,2}",
        "Connection: (close|keep-alive|TE|upgrade|X-A, X-B)",
        "(X-A|x-b|Cookie|Set-Cookie|TE|Upgrade|Trailer|Via|Keep-Alive|Expect): (a|trailers|100-continue|websocket|h2c)",
    ];
    prop::collection::vec(line, 0..9).prop_map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect())
}

proptest! {
    #[test]
    fn a_request_is_the_same_when_it_has_gone_on(
        first in "(GET|POST|OPTIONS) (/[a-z?=/%]{0,9}|http://b:8[a-z/]{0,3}) HTTP/1.[012]\r\n",
        framing in "(Content-Length: [0-9]{1,9}\r\n|Transfer-Encoding: chunked\r\n)?",
        lines in sound_lines(),
    ) {
        let head = format!("{first}Host: a\r\n{framing}{lines}\r\n");
        check_request(head.as_bytes());
    }

    #[test]
    fn an_answer_is_the_same_when_it_has_gone_on(
        first in "HTTP/1.[012] [1-5]0[0-9]( [ -~]{0,9})?\r\n",
        framing in "(Content-Length: [0-9]{1,9}\r\n|Transfer-Encoding: chunked\r\n)?",
        lines in sound_lines(),
        head in any::<bool>(),
        upgrade in any::<bool>(),
    ) {
        check_answer(format!("{first}{framing}{lines}\r\n").as_bytes(), Asked { head, upgrade });
    }
}
