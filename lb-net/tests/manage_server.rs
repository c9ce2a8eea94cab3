//! Sessions on the control socket: what they are told, and that none keeps anybody waiting.
#![cfg(feature = "manage")]
#![allow(clippy::unwrap_used, reason = "only tests call it")]

#[path = "support/controlled.rs"]
mod controlled;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::IpAddr,
    os::unix::net::{UnixListener, UnixStream},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use controlled::*;
use lb_net::manage::{Client, ConnectError, ControlSocket, End, PlaceError, Settings};

#[test]
fn a_session_answers_line_by_line_and_keeps_its_group() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha ! beta"), Settings::default());
    let mut client = running.client();
    assert_eq!((client.pid(), client.version()), (std::process::id(), env!("CARGO_PKG_VERSION")));
    let answer = client.execute("group 1").unwrap();
    assert_eq!((answer.text.as_str(), answer.failed, answer.group, answer.end), ("", false, 1, None));
    assert_eq!(client.execute("disable 0\n").unwrap().text, "channel 0 disabled\n");
    let answer = client.execute("disable 1\ndisable 0").unwrap();
    assert_eq!((answer.text.as_str(), answer.failed), ("no such channel 1\nchannel 0 already disabled\n", true));
    assert_eq!(
        running.client().execute("disable 0").unwrap().text,
        "channel 0 disabled\n",
        "another begins at group 0"
    );
    assert!(client.is_open());
    assert_eq!(client.execute("quit").unwrap().end, Some(End::Quit));
    assert!(client.wait_for_end(HUNG).unwrap() && !client.is_open());
}

#[test]
fn the_wire_is_readable() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let mut stream = UnixStream::connect(running.place.socket()).unwrap();
    stream.write_all(b"disable 0\ngroup 99\nquit\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let greeting = format!("lb {} {}\n", std::process::id(), env!("CARGO_PKG_VERSION"));
    assert_eq!(text, format!("{greeting}ok 0 19\nchannel 0 disabled\nfailed 0 19\nvalue out of range\nok 0 0 quit\n"));
}

#[test]
fn a_last_line_without_an_end_is_carried_out() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let mut stream = UnixStream::connect(running.place.socket()).unwrap();
    stream.write_all(b"disable 0").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("channel 0 disabled\n"), "{text}");
}

#[test]
fn sessions_above_the_limit_are_told_so() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default().with_sessions(2));
    let mut clients = [running.client(), running.client()];
    let error = Client::connect(&running.place).unwrap_err();
    assert_eq!(error.to_string(), "it takes no session: there are 2 already");
    assert!(clients[0].execute("show").is_ok());
    let [first, _second] = clients;
    drop(first);
    wait_for("a free place", || Client::connect(&running.place).is_ok());
}

#[test]
fn who_says_nothing_for_long_is_let_go() {
    let scratch = Scratch::new();
    let settings = Settings::default().with_idle_timeout(Duration::from_millis(50));
    let running = Running::start(&scratch.place(80), fleet("alpha"), settings);
    assert!(running.client().wait_for_end(HUNG).unwrap());
}

#[test]
fn who_does_not_read_is_let_go_and_keeps_nobody_waiting() {
    let scratch = Scratch::new();
    let words: Vec<String> = (0..2_000).map(|at| format!("host-{at}:80")).collect();
    // Long for who reads, also on a machine that has much else to do.
    let settings = Settings::default().with_write_timeout(Duration::from_secs(2)).with_sessions(2);
    let running = Running::start(&scratch.place(80), fleet(&words.join(" ")), settings);
    let mut deaf = UnixStream::connect(running.place.socket()).unwrap();
    deaf.write_all("show json\n".repeat(4).as_bytes()).unwrap();
    let mut client = running.client();
    assert_eq!(client.execute("disable 0").unwrap().text, "channel 0 disabled\n");
    wait_for("its place", || Client::connect(&running.place).is_ok());
    let mut heard = Vec::new();
    deaf.read_to_end(&mut heard).unwrap_or_default();
    let whole = client.execute("show json").unwrap().text;
    assert!(!heard.is_empty() && heard.len() < whole.len(), "{} of {}", heard.len(), whole.len());
}

#[test]
fn a_line_without_end_is_refused() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let mut stream = UnixStream::connect(running.place.socket()).unwrap();
    let writer = stream.try_clone().unwrap();
    let endless = thread::spawn(move || {
        let mut writer = writer;
        while writer.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let mut heard = Vec::new();
    // Its own words may still be under way when the session is closed: that resets it, behind what was said.
    let _ = stream.read_to_end(&mut heard);
    let text = String::from_utf8(heard).unwrap();
    assert!(text.ends_with("\nfailed 0 36 quit\nthe line is longer than 65536 bytes\n"), "{text}");
    endless.join().unwrap();
    let error = running.client().execute(&"x".repeat(65_536)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(running.client().execute(&"x".repeat(65_535)).unwrap().text, "syntax error\n");
}

#[test]
fn a_name_that_takes_long_keeps_nobody_else_waiting() {
    let scratch = Scratch::new();
    let (resolving, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (resolving, released) = (Mutex::new(resolving), Mutex::new(released));
    let slow = slow_fleet("alpha", move |_| {
        resolving.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv_timeout(HUNG);
    });
    let running = Running::start(&scratch.place(80), slow, Settings::default());
    let mut slow = running.client();
    let creating = thread::spawn(move || slow.execute("create beta 80").unwrap().text);
    begun.recv_timeout(HUNG).unwrap();
    assert_eq!(running.client().execute("disable 0").unwrap().text, "channel 0 disabled\n");
    release.send(()).unwrap();
    assert_eq!(creating.join().unwrap(), "channel created\n");
}

#[test]
fn kill_is_answered_and_then_the_session_ends_with_the_service() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let mut client = running.client();
    let answer = client.execute("disable 0; kill; enable 0").unwrap();
    assert_eq!((answer.text.as_str(), answer.end), ("channel 0 disabled\n", Some(End::Kill)));
    // The place is free for the next one at once, and the session goes on until the port is closed.
    wait_for("the place", || {
        let claimed = ControlSocket::claim(&running.place);
        assert!(matches!(claimed, Ok(_) | Err(PlaceError::InUse { .. })), "{claimed:?}");
        claimed.is_ok()
    });
    assert!(!client.wait_for_end(Duration::from_millis(20)).unwrap());
    running.closed.notify_one();
    assert!(client.wait_for_end(HUNG).unwrap());
}

#[test]
fn the_session_of_a_kill_ends_with_the_service_and_with_nothing_else() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha"), Settings::default());
    let mut streams = [(); 2].map(|()| UnixStream::connect(running.place.socket()).unwrap());
    let greeting = format!("lb {} {}\n", std::process::id(), env!("CARGO_PKG_VERSION"));
    streams.iter_mut().for_each(|stream| stream.read_exact(&mut vec![0; greeting.len()]).unwrap());
    // As `echo kill | socat` does it, and one that has said more already.
    for (stream, lines) in streams.iter_mut().zip([&b"kill\n"[..], b"kill\nshow\nquit\n"]) {
        stream.write_all(lines).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for stream in &mut streams {
        let mut heard = Vec::new();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let ended = stream.read_to_end(&mut heard).map_err(|error| error.kind());
        assert_eq!(ended, Err(std::io::ErrorKind::WouldBlock), "the port may still be open");
        assert_eq!(String::from_utf8_lossy(&heard), "ok 0 0 kill\n");
    }
    running.closed.notify_one();
    for stream in &mut streams {
        stream.set_read_timeout(Some(HUNG)).unwrap();
        // What was not read any more may reset it.
        let ended = stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    }
}

#[test]
fn who_is_no_lb_is_told_from_one() {
    let scratch = Scratch::new();
    let place = scratch.place(80);
    drop(ControlSocket::claim(&place).unwrap());
    fs::create_dir(place.socket().parent().unwrap()).unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 mail\n"));
    let error = Client::connect(&place).unwrap_err();
    assert!(matches!(&error, ConnectError::Io(_, cause) if cause.to_string() == "whoever answers there is no lb"));
}

#[test]
fn an_explanation_crosses_the_wire() {
    let scratch = Scratch::new();
    let running = Running::start(&scratch.place(80), fleet("alpha beta"), Settings::default());
    let client: IpAddr = "2001:db8::7".parse().unwrap();
    let text = running.client().execute(&format!("explain {client}")).unwrap().text;
    assert!(text.starts_with("client 2001:db8::7 gets group 0 channel 0, alpha\n"), "{text}");
}
