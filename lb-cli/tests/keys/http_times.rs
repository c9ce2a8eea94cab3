//! Keys of the times of requests.

use std::time::Duration;

use crate::{
    Tested, both,
    http_place::{Client, Web, both_ways, pool},
    place::{Lb, Place},
};

pub(crate) const TESTED: &[&[Tested]] = &[
    both!("http", a_head_has_its_time),
    both!("http.head_timeout", a_head_has_its_time),
    both!("http.body_timeout", a_body_has_its_time),
    both!("http.keep_alive_timeout", a_connection_without_a_request_has_its_time),
    both!("http.first_byte_timeout", the_begin_of_an_answer_has_its_time),
    both!("http.read_timeout", an_answer_goes_on_in_time),
    both!("http.request_timeout", a_whole_request_has_its_time),
    both!("http.tunnel_timeout", a_tunnel_in_which_nothing_moves_has_its_time),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: site.example\r\n";

fn each(line: &str, otherwise: &str, look: impl Fn(&Lb)) {
    let place = Place::new();
    let alpha = Web::start(&place, "alpha");
    both_ways(&place, &pool(&[&alpha]), line, otherwise).iter().for_each(look);
}

fn clients(lb: &Lb) -> [Client; 2] {
    [0, 1].map(|service| Client::new(lb.fronts[service]))
}

#[test]
fn a_head_has_its_time() {
    each("head_timeout = \"100ms\"", "head_timeout = \"1h\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        [&mut patient, &mut hasty].into_iter().for_each(|client| client.send(GET));
        assert_eq!(hasty.answer().unwrap().status, 408);
        patient.send("\r\n");
        assert_eq!(patient.answer().unwrap().status, 200);
    });
}

#[test]
fn a_body_has_its_time() {
    each("body_timeout = \"100ms\"", "body_timeout = \"1h\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        let begin = "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 2\r\n\r\na";
        [&mut patient, &mut hasty].into_iter().for_each(|client| client.send(begin));
        assert_eq!(hasty.answer().unwrap().status, 408);
        patient.send("b");
        assert_eq!(patient.answer().unwrap().status, 200);
    });
}

#[test]
fn a_connection_without_a_request_has_its_time() {
    each("keep_alive_timeout = \"100ms\"", "keep_alive_timeout = \"1h\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        assert_eq!([&mut patient, &mut hasty].map(|client| client.get("/", "").status), [200; 2]);
        assert!(hasty.sees_the_end());
        assert_eq!(patient.get("/", "").status, 200);
    });
}

#[test]
fn the_begin_of_an_answer_has_its_time() {
    each("first_byte_timeout = \"100ms\"", "first_byte_timeout = \"1h\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        assert_eq!(hasty.get("/wait/30000", "").status, 504);
        assert_eq!(patient.get("/wait/500", "").status, 200);
    });
}

#[test]
fn an_answer_goes_on_in_time() {
    each("read_timeout = \"100ms\"", "read_timeout = \"1h\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        let cut = hasty.get("/pause/30000", "");
        // Its time may be over before there is any answer.
        assert!(!cut.is_whole || cut.status == 504, "{cut:?}");
        assert!(patient.get("/pause/500", "").is_whole);
    });
}

#[test]
fn a_whole_request_has_its_time() {
    each("request_timeout = \"100ms\"", "request_timeout = \"never\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        let cut = hasty.get("/pause/30000", "");
        // Its time may be over before there is any answer.
        assert!(!cut.is_whole || cut.status == 504, "{cut:?}");
        assert!(patient.get("/pause/500", "").is_whole);
    });
}

#[test]
fn a_tunnel_in_which_nothing_moves_has_its_time() {
    each("tunnel_timeout = \"100ms\"", "tunnel_timeout = \"never\"", |lb| {
        let [mut hasty, mut patient] = clients(lb);
        let upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n";
        assert_eq!([&mut patient, &mut hasty].map(|client| client.get("/upgrade", upgrade).status), [101; 2]);
        assert!(patient.echoes());
        assert!(hasty.sees_the_end());
        assert!(patient.echoes(), "longer than the other one");
        assert!(patient.waits(Duration::from_millis(10)));
    });
}
