//! HTTP from peers who say with the PROXY protocol who asks.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

mod http_support;
mod wire;

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http_support::Front;
use lb_net::{
    http::{Hooks, OwnAnswer, RequestView, Settings},
    observe::Observer,
    proxy_protocol::AcceptProxy,
};
use wire::{Backend, Client, End};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const TIME: Duration = Duration::from_millis(400);

/// Writes down who asks, and who was closed.
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

impl Observer for Notes {
    fn refused(&self, _: SocketAddr, why: &(dyn Error + 'static)) {
        self.note(format!("refused: {why}"));
    }
}

/// In front of this backend, with PROXY headers expected from 127.0.0.1.
fn accepting(backend: &Backend, settings: Settings) -> (Front, Arc<Notes>) {
    let notes = Arc::<Notes>::default();
    let accept = AcceptProxy::new("127.0.0.1".parse().unwrap()).with_timeout(TIME);
    let front = Front::by(&backend.word(), |proxy| {
        proxy
            .with_settings(settings)
            .with_accept_proxy(Some(accept))
            .with_hooks(Arc::clone(&notes) as Arc<dyn Hooks>)
            .with_observer(Arc::clone(&notes) as Arc<dyn Observer>)
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

#[test]
fn who_does_not_introduce_its_client_in_time_is_closed_without_a_word() {
    for begins in ["", "PROXY TCP4 203."] {
        let backend = Backend::named("x");
        let (front, notes) = accepting(&backend, Settings::default());
        let (mut client, begin) = (front.client(), Instant::now());
        client.say(begins);
        assert_eq!(client.end(), End::Closed, "{begins}");
        assert!(begin.elapsed() >= TIME.mul_f32(0.7), "{:?}", begin.elapsed());
        assert_eq!(notes.told(), ["refused: it sent no PROXY header within 400ms"]);
    }
}

#[test]
fn once_it_is_introduced_a_client_has_the_time_of_all_clients() {
    let backend = Backend::named("x");
    let (front, notes) = accepting(&backend, Settings::default());
    let mut introduced = front.client();
    introduced.say(introducing("203.0.113.9"));
    let mut stranger = Client::from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), front.address);
    // Whoever is too late when these were before is closed, by which it is known that the time is over.
    front.client().ends();
    assert_eq!(introduced.ask(GET).text(), "x");
    assert_eq!(stranger.ask(GET).text(), "x");
    assert!(notes.told().contains(&"203.0.113.9 asks".to_owned()));
}
