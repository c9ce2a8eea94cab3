//! The answer to a balancer that asks.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use tower_service::Service;

use super::{Health, Report};

/// The worst colour of all gauges.
const HEALTH_COLOUR: &str = "health-colour";
/// Each gauge and its colour.
const HEALTH_GAUGES: &str = "health-gauges";
/// What is not as it should be, beside what is said.
const HEALTH_NOTE: &str = "health-note";
/// Bytes of a field's value.
const MOST_BYTES: usize = 1024;

/// Answers with what an application says of itself, wherever it is mounted: a tower service, cheap to clone.
///
/// GET and HEAD are answered with 200, the word as plain text, and `Cache-Control: no-store`; other methods with 405. Where
/// there are gauges, `Health-Colour` has the worst colour and `Health-Gauges` that of each; `Health-Note` tells what is not
/// as it should be and changes nothing.
/// ```
/// use lb_core::health::Said;
/// use lb_net::health_endpoint::{Endpoint, Health};
/// let health = Health::new().with("database", Said::Down);
/// let answer = Endpoint::new(&health).answer();
/// assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, "DOWN: database\n"));
/// let answer = Endpoint::new(&health).with_status_503().answer();
/// assert_eq!(answer.status().as_u16(), 503);
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    health: Health,
    otherwise: StatusCode,
}

impl Endpoint {
    /// An endpoint that tells of this health.
    #[must_use]
    pub fn new(health: &Health) -> Self {
        Self { health: health.clone(), otherwise: StatusCode::OK }
    }

    /// With status 503 for whatever is not UP, for balancers that read the status only.
    ///
    /// Those that read the word need 200 no less than 503; but who reads the status cannot tell DOWN from a server that
    /// is in trouble, and will count failures first.
    #[must_use]
    pub fn with_status_503(self) -> Self {
        Self { otherwise: StatusCode::SERVICE_UNAVAILABLE, ..self }
    }

    /// The answer to a GET, for a handler of your own.
    #[must_use]
    pub fn answer(&self) -> Response<String> {
        let report = self.health.tell();
        let mut answer = Response::new(format!("{report}\n"));
        *answer.status_mut() = if report.is_up() { StatusCode::OK } else { self.otherwise };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let colour = report.colour().map(|colour| colour.to_string());
        let fields = [(HEALTH_COLOUR, colour), (HEALTH_GAUGES, gauges(&report)), (HEALTH_NOTE, report.note)];
        for (name, text) in fields {
            if let Some(value) = text.and_then(|text| field(&text)) {
                headers.insert(name, value);
            }
        }
        answer
    }

    /// The answer to a request with this method.
    fn answer_to(&self, method: &Method) -> Response<String> {
        match *method {
            Method::GET => self.answer(),
            Method::HEAD => {
                let (mut head, body) = self.answer().into_parts();
                head.headers.insert(CONTENT_LENGTH, body.len().into());
                Response::from_parts(head, String::new())
            }
            _ => {
                let mut answer = Response::new("this takes GET and HEAD\n".to_owned());
                *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                answer
            }
        }
    }
}

impl<B> Service<Request<B>> for Endpoint {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer_to(request.method())))
    }
}

fn gauges(report: &Report) -> Option<String> {
    // A name cannot look like two.
    let plain = |letter: char| if matches!(letter, '=' | ',') { '_' } else { letter };
    let one = |(name, colour): &(String, _)| format!("{}={colour}", name.chars().map(plain).collect::<String>());
    let all: Vec<_> = report.colours.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// The text as a field can hold it: visible ASCII, and not too much of it.
fn field(text: &str) -> Option<HeaderValue> {
    let plain = |letter: char| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' };
    let text: String = text.chars().take(MOST_BYTES).map(plain).collect();
    HeaderValue::from_str(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health_endpoint::{Colour, Gauge, State, Switch, Thresholds};

    fn header<'a>(answer: &'a Response<String>, name: &str) -> Option<&'a str> {
        answer.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_head_says_how_long_the_body_would_be() {
        let endpoint = Endpoint::new(&Health::new());
        let answer = endpoint.answer_to(&Method::HEAD);
        assert_eq!((header(&answer, "content-length"), answer.body().as_str()), (Some("3"), ""));
        let answer = endpoint.answer_to(&Method::GET);
        assert_eq!((header(&answer, "cache-control"), answer.body().as_str()), (Some("no-store"), "UP\n"));
        assert_eq!(header(&answer, "health-colour"), None);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = endpoint.answer_to(&method);
            assert_eq!((answer.status().as_u16(), header(&answer, "allow")), (405, Some("GET, HEAD")), "{method}");
        }
    }

    #[test]
    fn colours_and_notes_stand_in_fields_of_their_own_whatever_their_names_are() {
        #[derive(Debug)]
        struct Noted;
        impl super::super::Source for Noted {
            fn state(&self, _: std::time::Instant) -> State {
                State::up().with_note("über\r\nx: y")
            }
        }
        let thresholds = Thresholds::higher_is_worse([(Colour::Red, 1.0)]).unwrap();
        let [queue, disk] = [(); 2].map(|()| Gauge::new(thresholds.clone()));
        queue.set(0.0);
        disk.set(2.0);
        let health = Health::new().with("queue", queue).with("disk=,\n", disk).with("file", Noted);
        let answer = Endpoint::new(&health).with_status_503().answer();
        assert_eq!((answer.status().as_u16(), answer.body().as_str()), (503, "DOWN: disk=, : RED\n"));
        assert_eq!(header(&answer, "health-colour"), Some("RED"));
        assert_eq!(header(&answer, "health-gauges"), Some("queue=GREEN, disk__?=RED"));
        assert_eq!(header(&answer, "health-note"), Some("file: ?ber  x: y"));
    }

    #[test]
    fn with_503_only_up_is_200() {
        let switch = Switch::new(Said::Drain, "");
        let endpoint = Endpoint::new(&Health::new().with("switch", switch.clone())).with_status_503();
        let status = |said| {
            switch.set(said, "");
            endpoint.answer().status().as_u16()
        };
        let some = Said::Up(lb_core::health::Share::percent(1).unwrap());
        assert_eq!([some, Said::Drain, Said::Down, Said::Maintenance].map(status), [200, 503, 503, 503]);
    }

    use lb_core::health::Said;
}
