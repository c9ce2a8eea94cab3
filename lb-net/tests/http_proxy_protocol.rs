//! HTTP from peers who say with the PROXY protocol who asks.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::sync::{Arc, Mutex};

use http_support::Front;
use lb_net::{
    http::{Hooks, OwnAnswer, RequestView, Settings},
    proxy_protocol::AcceptProxy,
};
use wire::Backend;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Writes down who asks.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Hooks for Notes {
    fn on_request(&self, request: &mut RequestView<'_, '_>) -> Option<OwnAnswer> {
        self.note(format!("{} asks", request.client().ip()));
        None
    }
}

/// In front of this backend, with PROXY headers expected from 127.0.0.1.
fn accepting(backend: &Backend, settings: Settings) -> (Front, Arc<Notes>) {
    let notes = Arc::<Notes>::default();
    let accept = AcceptProxy::new("127.0.0.1".parse().unwrap());
    let front = Front::by(&backend.word(), |proxy| {
        proxy.with_settings(settings).with_accept_proxy(Some(accept)).with_hooks(Arc::clone(&notes) as Arc<dyn Hooks>)
    });
    (front, notes)
}

fn trusting(networks: &str) -> Settings {
    let mut settings = Settings::default();
    settings.forward.trusted = networks.parse().unwrap();
    settings
}

/// What is said first for who asks from there.
fn introducing(client: &str) -> String {
    format!("PROXY TCP4 {client} 127.0.0.1 5000 80\r\n")
}

#[test]
fn who_is_introduced_is_believed_where_that_one_is_trusted_and_not_for_who_introduces() {
    let rows = [
        // Trusted, introduced, said of itself: who asks, and what the backend is told.
        ("127.0.0.0/8", "203.0.113.9", "6.6.6.6", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8,10.0.0.0/8", "203.0.113.9", "6.6.6.6", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.1.1.1", "192.0.2.7", "192.0.2.7", "192.0.2.7, 10.1.1.1"),
        (
            "10.0.0.0/8",
            "10.1.1.1",
            "6.6.6.6, 192.0.2.7, 10.2.2.2",
            "192.0.2.7",
            "6.6.6.6, 192.0.2.7, 10.2.2.2, 10.1.1.1",
        ),
    ];
    for (trusted, introduced, said, asks, told) in rows {
        let backend = Backend::named("x");
        let (front, notes) = accepting(&backend, trusting(trusted));
        let request =
            GET.replace("\r\n\r\n", &format!("\r\nX-Forwarded-For: {said}\r\nX-Forwarded-Proto: https\r\n\r\n"));
        let mut client = front.client();
        client.say(introducing(introduced) + &request);
        assert_eq!(client.answer("GET").text(), "x");
        assert_eq!(notes.told(), [format!("{asks} asks")], "{introduced} of {trusted}");
        let request = backend.request();
        let proto = if told == introduced { "http" } else { "https" };
        assert_eq!((request.field("x-forwarded-for"), request.field("x-forwarded-proto")), (told, proto));
    }
}

/// A balancer that asks for itself, to check us, is who it is.
#[test]
fn who_asks_for_itself_is_the_peer() {
    let backend = Backend::named("x");
    let (front, notes) = accepting(&backend, trusting("127.0.0.0/8"));
    let mut client = front.client();
    client.say(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert_eq!(client.ask(GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")).text(), "x");
    assert_eq!(notes.told(), ["192.0.2.7 asks"]);
}
