//! Keys of the fields of requests and answers, and of who gets a request by them.

use std::net::Ipv4Addr;

use crate::{
    Tested, both,
    http_place::{Answer, Client, Web, both_ways, pool},
    place::{Lb, Place},
};

pub(crate) const TESTED: &[&[Tested]] = &[
    both!("http.x_forwarded", backends_are_told_the_client_of_a_request),
    both!("http.forwarded", backends_are_told_the_client_of_a_request),
    both!("http.via", lb_says_its_name_both_ways),
    both!("http.host", backends_see_a_host),
    both!("http.trusted_proxies", proxies_in_front_are_believed),
    both!("http.request_headers", fields_are_changed_both_ways),
    both!("http.answer_headers", fields_are_changed_both_ways),
    both!("http.key", requests_are_hashed_by_what_they_say),
    both!("http.sticky", a_cookie_brings_clients_back),
    both!("http.sticky.cookie", a_cookie_brings_clients_back),
    both!("http.sticky.lifetime", a_cookie_brings_clients_back),
];

/// The answers of the service that it holds for and of the other one, to a request with these fields.
fn each(line: &str, otherwise: &str, fields: &str, look: impl Fn([Answer; 2])) {
    let place = Place::new();
    let alpha = Web::start(&place, "alpha");
    for lb in both_ways(&place, &pool(&[&alpha]), line, otherwise) {
        look([0, 1].map(|service| Client::new(lb.fronts[service]).get("/", fields)));
    }
}

#[test]
fn backends_are_told_the_client_of_a_request() {
    each("x_forwarded = false", "x_forwarded = true", "", |answers| {
        assert_eq!(answers.map(|answer| answer.sent("X-Forwarded-For").is_some()), [false, true]);
    });
    each("forwarded = true", "forwarded = false", "", |answers| {
        assert_eq!(answers.map(|answer| answer.sent("Forwarded").is_some()), [true, false]);
    });
}

#[test]
fn lb_says_its_name_both_ways() {
    each("via = \"edge-1\"", "via = \"off\"", "", |answers| {
        let said = answers.map(|answer| (answer.sent("Via"), answer.field("Via")));
        let edge = || Some("1.1 edge-1".to_owned());
        assert_eq!(said, [(edge(), edge()), (None, None)]);
    });
}

#[test]
fn backends_see_a_host() {
    each("host = \"inner.example:81\"", "host = \"client\"", "", |answers| {
        let hosts = answers.map(|answer| answer.sent("Host").unwrap());
        assert_eq!(hosts, ["inner.example:81", "site.example"]);
    });
}

#[test]
fn proxies_in_front_are_believed() {
    let fields = "X-Forwarded-For: 192.0.2.7\r\n";
    each("trusted_proxies = \"127.0.0.0/8\"", "trusted_proxies = \"off\"", fields, |answers| {
        let said = answers.map(|answer| answer.sent("X-Forwarded-For").unwrap());
        assert!(said[0].starts_with("192.0.2.7, 127."), "{said:?}");
        assert!(said[1].starts_with("127."), "{said:?}");
    });
}

#[test]
fn fields_are_changed_both_ways() {
    let line = "request_headers = [\"set X-A: lb\", \"remove X-B\"]";
    each(line, "request_headers = []", "X-A: client\r\nX-B: client\r\n", |answers| {
        let said = answers.map(|answer| ["X-A", "X-B"].map(|name| answer.sent(name)));
        let client = || Some("client".to_owned());
        assert_eq!(said, [[Some("lb".to_owned()), None], [client(), client()]]);
    });
    each("answer_headers = [\"remove Server\", \"add X-C: lb\"]", "answer_headers = []", "", |answers| {
        let said = answers.map(|answer| ["Server", "X-C"].map(|name| answer.field(name)));
        assert_eq!(said, [[None, Some("lb".to_owned())], [Some("web".to_owned()), None]]);
    });
}

/// Who answers each of 24 users, all from one address.
fn by_user(lb: &Lb, service: usize) -> Vec<String> {
    let ask = |user: usize| {
        let mut client = Client::from(Ipv4Addr::new(127, 96, 0, 1), lb.fronts[service]);
        client.get("/", &format!("X-User: {user}\r\n")).name().to_owned()
    };
    (0..24).map(ask).collect()
}

#[test]
fn requests_are_hashed_by_what_they_say() {
    let place = Place::new();
    let [alpha, beta] = ["alpha", "beta"].map(|name| Web::start(&place, name));
    let pool = format!("selector = \"hash\"\ngroups = \"{} {}\"", alpha.address, beta.address);
    for lb in both_ways(&place, &pool, "key = \"header X-User\"", "key = \"client\"") {
        let [first, again] = [(); 2].map(|()| by_user(&lb, 0));
        assert_eq!(first, again);
        assert!(["alpha", "beta"].iter().all(|name| first.iter().any(|one| one == name)), "{first:?}");
        let by_address = by_user(&lb, 1);
        assert!(by_address.iter().all(|name| *name == by_address[0]), "{by_address:?}");
    }
}

#[test]
fn a_cookie_brings_clients_back() {
    let place = Place::new();
    let [alpha, beta] = ["alpha", "beta"].map(|name| Web::start(&place, name));
    let line = "sticky = { cookie = \"site\", lifetime = \"7m\" }";
    for lb in both_ways(&place, &pool(&[&alpha, &beta]), line, "sticky = \"off\"") {
        let first = Client::new(lb.front()).get("/", "");
        let cookie = first.field("Set-Cookie").unwrap();
        assert!(cookie.starts_with("site=") && cookie.contains("Max-Age=420"), "{cookie}");
        let fields = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        for _ in 0..4 {
            assert_eq!(Client::new(lb.front()).get("/", &fields).name(), first.name());
        }
        let other = [(); 2].map(|()| Client::new(lb.fronts[1]).get("/", &fields));
        assert!(other[0].name() != other[1].name() && other[0].field("Set-Cookie").is_none(), "{other:?}");
    }
}
