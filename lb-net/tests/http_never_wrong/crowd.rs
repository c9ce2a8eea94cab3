//! Everything at once, each client with an answer that only it can have.

use std::{
    io::{self, Write as _},
    net::{Shutdown, TcpStream},
    thread,
};

use crate::{
    CHUNKS,
    http_support::{self, Front},
    wire::{self, Backend, Broken, Client, End, Visit, answer, show},
};

#[test]
fn among_rude_clients_and_backends_nobody_gets_anothers_answer() {
    let (backend, other) = (Backend::new(rude), Backend::new(rude));
    let front = Front::new(&http_support::words(&[&backend, &other]));
    thread::scope(|scope| {
        for at in 0..16_usize {
            let front = &front;
            scope.spawn(move || visitor(front, at));
        }
    });
    front.idle();
    assert!(backend.requests().len() > 100);
}

/// Ends a connection when it is dropped, in a panic too: threads wait for that.
struct Ends<'a>(&'a TcpStream);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[test]
fn who_always_has_another_request_leaves_others_their_turn() {
    const OURS: &str = "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    let front = Front::new("127.0.0.1:9");
    let flood = TcpStream::connect(front.address).unwrap();
    let (mut says, mut hears) = (&flood, &flood);
    thread::scope(|scope| {
        let _ends = Ends(&flood);
        scope.spawn(move || while says.write_all(OURS.repeat(2000).as_bytes()).is_ok() {});
        scope.spawn(move || io::copy(&mut hears, &mut io::sink()));
        for _ in 0..50 {
            assert_eq!(front.ask(OURS).status(), 200);
        }
    });
}

/// Tells what it got, in all manners.
fn rude(visit: &mut Visit) -> Result<(), Broken> {
    for count in 0.. {
        let request = visit.request()?;
        let told = format!("{} {}", request.target(), request.text());
        match (visit.number * 7 + count) % 11 {
            0 => return Ok(()),
            1 => {
                visit.reset();
                return Ok(());
            }
            2 => visit.say(format!("{}{}", answer(&told), answer("SECRET")))?,
            3 => return visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len() + 5)),
            4 => {
                visit.say(CHUNKS)?;
                visit.say(wire::chunked(told.as_bytes(), 3))?;
            }
            5 => return visit.say(format!("HTTP/1.1 200 OK\r\n\r\n{told}")),
            _ => visit.say(answer(&told))?,
        }
    }
    Ok(())
}

fn visitor(front: &Front, at: usize) {
    let mut client: Option<Client> = None;
    for round in 0..60_usize {
        let body = format!("{at}-{round}");
        let request = format!("PUT /{body} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut now = client.take().unwrap_or_else(|| front.client());
        if (at + round).is_multiple_of(9) {
            now.say(&request[..request.len() - 2]);
            continue;
        }
        now.say(&request);
        if (at + round).is_multiple_of(7) {
            now.reset();
            continue;
        }
        match now.try_answer("PUT") {
            Ok(answer) if answer.status() == 200 => {
                assert_eq!(answer.text(), format!("/{body} {body}"));
                client = (!answer.closes()).then_some(now);
            }
            Ok(answer) => assert_eq!(answer.status(), 502, "{}", show(&answer.head)),
            Err(broken) => assert!(matches!(broken.end, End::Closed | End::Reset), "{:?}", broken.end),
        }
    }
}
