//! The load on HTTP: keeps connections busy, or requests coming at a fixed rate, and checks every answer. One thread, one epoll.
use super::exchange::{Exchange, SMALL};
use super::message::{self, Answered};
use super::pace::{Pace, percentiles};
use super::plan::Plan;
use crate::wire::{self, DISCARD_BYTES, Step};
use crate::work::Work;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The body of an upload is made of this.
static BLOB: [u8; 256 * 1024] = [b'u'; 256 * 1024];

/// What is read at once of an answer's head and its first bytes.
const READ_BYTES: usize = 4096;

/// Answers that have not come so long after the end have failed.
const GRACE: Duration = Duration::from_secs(5);

/// The event data of the timer.
const TIMER: u64 = u64::MAX;

/// Does what the plan says, and waits for the answers that are under way then.
///
/// # Errors
/// At the first request that is not answered as it must be.
pub(crate) fn run(plan: &Plan) -> io::Result<Work> {
    let mut load = Load::start(plan)?;
    let mut events = [MaybeUninit::<Event>::uninit(); 256];
    loop {
        let now = Instant::now();
        load.begin_due(now)?;
        if now >= load.end && load.is_done() {
            break;
        }
        let until = [load.measured, load.end, load.end + GRACE].into_iter().find(|time| *time > now);
        let until = until.ok_or_else(|| io::Error::other(format!("{} answers never came", load.busy)))?;
        let timeout = Timespec::try_from(until - now).map_err(io::Error::other)?;
        let Ok((ready, _)) = epoll::wait(&load.epoll, &mut events, Some(&timeout)) else { continue };
        load.now = Instant::now();
        for event in ready {
            match (event.data.u64(), &load.pace) {
                (TIMER, Some(pace)) => pace.acknowledge(),
                (slot, _) => load.advance(slot as usize)?,
            }
        }
    }
    Ok(Work { latency_ns: percentiles(&mut load.samples_ns), ..load.seen }.with_own_cpu())
}

/// The hidden command `http-load PLAN`: prints its work as one line.
pub(crate) fn main(args: &[String]) -> io::Result<()> {
    let plan = Plan::from_args(args).ok_or_else(|| io::Error::other("http-load PLAN"))?;
    println!("{}", run(&plan)?.to_line());
    Ok(())
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing.
    Free,
    /// So much of the request is out.
    Sending(u64),
    /// The answer's head has not come whole.
    Head,
    /// So much of the answer's body is still to come.
    Body(u64),
}

/// One connection, or the place for one.
struct Client {
    socket: Option<OwnedFd>,
    phase: Phase,
    /// The beginning of a head that came in pieces.
    partial: Vec<u8>,
    /// When its request was to begin.
    due: Instant,
    /// What epoll looks for.
    interest: EventFlags,
}

struct Load<'a> {
    plan: &'a Plan,
    epoll: OwnedFd,
    /// The head of each request.
    head: Vec<u8>,
    clients: Vec<Client>,
    room: Vec<u8>,
    /// Connections made so far.
    turn: u64,
    /// Requests under way.
    busy: usize,
    /// With a fixed rate: the times, and the connections that wait for one.
    pace: Option<Pace>,
    free: VecDeque<usize>,
    samples_ns: Vec<u64>,
    measured: Instant,
    end: Instant,
    /// When epoll last had something.
    now: Instant,
    seen: Work,
}

impl<'a> Load<'a> {
    fn start(plan: &'a Plan) -> io::Result<Self> {
        let now = Instant::now();
        let (epoll, head) = (epoll::create(CreateFlags::CLOEXEC)?, plan.exchange.head());
        let idle = || Client {
            socket: None,
            phase: Phase::Free,
            partial: Vec::new(),
            due: now,
            interest: EventFlags::empty(),
        };
        let clients = std::iter::repeat_with(idle).take(plan.connections).collect();
        let (measured, end) = (now + plan.warm, now + plan.warm + plan.run);
        let pace = (plan.per_second > 0).then(|| Pace::start(plan.per_second, plan.warm + plan.run)).transpose()?;
        if let Some(pace) = &pace {
            epoll::add(&epoll, pace.timer(), EventData::new_u64(TIMER), EventFlags::IN)?;
        }
        let (free, room, seen) = ((0..plan.connections).collect(), vec![0; DISCARD_BYTES], Work::default());
        let samples_ns = Vec::with_capacity(plan.run.as_secs() as usize * plan.per_second as usize);
        let (turn, busy) = (0, 0);
        let mut load =
            Self { plan, epoll, head, clients, room, turn, busy, pace, free, samples_ns, measured, end, now, seen };
        if load.pace.is_none() {
            (0..plan.connections).try_for_each(|slot| load.begin(slot, now))?;
        }
        Ok(load)
    }

    /// Begins every request that is due, as long as there are free connections.
    fn begin_due(&mut self, now: Instant) -> io::Result<()> {
        while let (Some(pace), Some(slot)) = (&mut self.pace, self.free.front().copied()) {
            let Some(due) = pace.next(now) else { break };
            self.free.pop_front();
            self.begin(slot, due)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.busy == 0 && self.pace.as_ref().is_none_or(Pace::is_over)
    }

    fn begin(&mut self, slot: usize, due: Instant) -> io::Result<()> {
        self.busy += 1;
        let client = &mut self.clients[slot];
        (client.due, client.phase) = (due, Phase::Sending(0));
        if client.socket.is_none() {
            self.turn += 1;
            client.socket = Some(wire::connect(self.plan.port, self.turn)?);
            client.interest = EventFlags::empty();
        }
        self.send(slot)
    }

    fn advance(&mut self, slot: usize) -> io::Result<()> {
        match self.clients[slot].phase {
            Phase::Free => Err(io::Error::other("a connection ended, or spoke, without a request")),
            Phase::Sending(_) => self.send(slot),
            Phase::Head => self.receive_head(slot),
            Phase::Body(left) => self.receive_body(slot, left),
        }
    }

    /// As much of the request as fits. On loopback a connection stands when `connect` returns, so nothing is waited for.
    fn send(&mut self, slot: usize) -> io::Result<()> {
        let (head_bytes, body_bytes) = (self.head.len() as u64, self.plan.exchange.upload_bytes());
        let client = &mut self.clients[slot];
        let (Some(socket), Phase::Sending(mut out)) = (client.socket.as_ref(), client.phase) else { return Ok(()) };
        let mut interest = EventFlags::IN;
        while out < head_bytes + body_bytes {
            let piece = match out.checked_sub(head_bytes) {
                None => &self.head[out as usize..],
                Some(out) => &BLOB[..BLOB.len().min((body_bytes - out) as usize)],
            };
            match wire::write(socket, piece) {
                Step::Moved(bytes) => out += bytes as u64,
                Step::Blocked => {
                    interest = EventFlags::OUT;
                    break;
                }
                Step::Over => return Err(early_answer(socket, "a request could not be sent")),
            }
        }
        client.phase = if interest == EventFlags::IN { Phase::Head } else { Phase::Sending(out) };
        if client.interest != interest {
            let data = EventData::new_u64(slot as u64);
            if client.interest.is_empty() {
                epoll::add(&self.epoll, socket, data, interest)?;
            } else {
                epoll::modify(&self.epoll, socket, data, interest)?;
            }
            client.interest = interest;
        }
        Ok(())
    }

    fn receive_head(&mut self, slot: usize) -> io::Result<()> {
        let client = &mut self.clients[slot];
        let Some(socket) = client.socket.as_ref() else { return Ok(()) };
        let mut buffer = [0; READ_BYTES];
        let had = client.partial.len();
        let Some(free) = buffer.get_mut(had..).filter(|free| !free.is_empty()) else {
            return Err(io::Error::other("an answer's head does not end"));
        };
        let bytes = match wire::read(socket, free) {
            Step::Moved(bytes) => had + bytes,
            Step::Blocked => return Ok(()),
            Step::Over => return Err(io::Error::other("a connection ended without an answer")),
        };
        buffer[..had].copy_from_slice(&client.partial);
        let Some(answer) = message::answered(&buffer[..bytes]).map_err(io::Error::other)? else {
            client.partial = buffer[..bytes].to_vec();
            return Ok(());
        };
        client.partial.clear();
        let left = judge(self.plan.exchange, &answer, &buffer[answer.head_bytes..bytes]).map_err(io::Error::other)?;
        client.phase = Phase::Body(left);
        if left == 0 { self.finish(slot) } else { Ok(()) }
    }

    fn receive_body(&mut self, slot: usize, left: u64) -> io::Result<()> {
        let client = &mut self.clients[slot];
        let Some(socket) = client.socket.as_ref() else { return Ok(()) };
        let most = left.min(DISCARD_BYTES as u64) as usize;
        match wire::discard(socket, &mut self.room[..most]) {
            Step::Moved(bytes) => client.phase = Phase::Body(left - bytes as u64),
            Step::Blocked => {}
            Step::Over => return Err(io::Error::other(format!("an answer ended {left} bytes early"))),
        }
        if client.phase == Phase::Body(0) { self.finish(slot) } else { Ok(()) }
    }

    /// A whole answer has come: it is counted, and the next request begins.
    fn finish(&mut self, slot: usize) -> io::Result<()> {
        let exchange = self.plan.exchange;
        let now = if self.pace.is_some() { Instant::now() } else { self.now };
        let bytes = exchange.upload_bytes().max(exchange.answer_bytes());
        if (self.measured..self.end).contains(&now) {
            self.seen.exchanges += 1;
            self.seen.bytes += bytes;
        } else {
            self.seen.other_exchanges += 1;
            self.seen.other_bytes += bytes;
        }
        self.busy -= 1;
        let client = &mut self.clients[slot];
        client.phase = Phase::Free;
        if exchange == Exchange::Close {
            client.socket = None;
        }
        if self.pace.is_some() {
            if client.due >= self.measured {
                self.samples_ns.push(now.saturating_duration_since(client.due).as_nanos() as u64);
            }
            self.free.push_back(slot);
            return Ok(());
        }
        if now < self.end { self.begin(slot, now) } else { Ok(()) }
    }
}

/// How much of the body is still to come after its first bytes; an error if it is not what was asked for.
fn judge(exchange: Exchange, answer: &Answered, first: &[u8]) -> Result<u64, String> {
    let wanted = exchange.answer_bytes();
    if answer.body_bytes != wanted {
        return Err(format!("an answer has {} bytes, not {wanted}", answer.body_bytes));
    }
    if answer.close != (exchange == Exchange::Close) {
        return Err(format!("an answer's connection {}", if answer.close { "is not kept" } else { "is kept" }));
    }
    if wanted == SMALL.len() as u64 && !SMALL.starts_with(first) {
        return Err(format!("an answer is {:?}", String::from_utf8_lossy(first)));
    }
    wanted.checked_sub(first.len() as u64).ok_or_else(|| "an answer is longer than it says".to_owned())
}

/// What came instead of room for the rest of a request.
fn early_answer(socket: &OwnedFd, what: &str) -> io::Error {
    let mut buffer = [0; READ_BYTES];
    match wire::read(socket, &mut buffer) {
        Step::Moved(bytes) => match message::answered(&buffer[..bytes]) {
            Err(why) => io::Error::other(format!("{what}: {why}")),
            Ok(_) => io::Error::other(format!("{what}: it was answered before its end")),
        },
        _ => io::Error::other(what.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::origin::Peer;
    use crate::origin;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    const RUN: Duration = Duration::from_millis(80);

    /// 100 ms of load on an origin in a thread.
    fn direct(exchange: Exchange, per_second: u64) -> Work {
        let listeners = origin::listeners(1).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || origin::serve::<Peer>(&listeners, stopped));
        let warm = Duration::from_millis(20);
        let work = super::run(&Plan { port, exchange, connections: 4, per_second, warm, run: RUN });
        drop(stop);
        serving.join().unwrap().unwrap();
        work.unwrap()
    }

    #[test]
    fn every_kind_of_exchange_is_made_and_counted() {
        for (name, exchange) in Exchange::ALL {
            let work = direct(exchange, 0);
            let whole = work.exchanges + work.other_exchanges;
            assert!(whole >= 4 && work.errors == 0, "{name}: {work:?}");
            let each = exchange.upload_bytes().max(exchange.answer_bytes());
            assert_eq!(work.bytes + work.other_bytes, whole * each, "{name}");
        }
    }

    #[test]
    fn at_a_fixed_rate_every_request_is_made_and_its_time_is_taken() {
        let work = direct(Exchange::Kept, 1000);
        assert_eq!(work.exchanges + work.other_exchanges, 100);
        let [p50, p99, p999] = work.latency_ns;
        assert!(0 < p50 && p50 <= p99 && p99 <= p999, "{work:?}");
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_fails_the_run() {
        for answer in [
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok!",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokok",
            "",
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let serving = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let plan = Plan { port, exchange: Exchange::Kept, connections: 1, per_second: 0, warm: RUN, run: RUN };
            assert!(super::run(&plan).is_err(), "{answer:?}");
            serving.join().unwrap();
        }
    }
}
