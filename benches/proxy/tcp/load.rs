//! The load on TCP: keeps a number of connections busy for a time and counts what came back. One thread, one epoll.
use super::request::{REQUEST_BYTES, Request};
use crate::wire::{self, DISCARD_BYTES, Step};
use crate::work::Work;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// What to ask of a product, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    /// Connections that are busy at any time.
    pub(crate) connections: usize,
    pub(crate) reply_bytes: u64,
    /// A new connection for each request.
    pub(crate) reconnect: bool,
    pub(crate) warm: Duration,
    pub(crate) run: Duration,
}

impl Plan {
    /// As arguments of a child process.
    pub(crate) fn to_args(self) -> Vec<String> {
        let reconnect = u8::from(self.reconnect);
        let words = [self.connections as u64, self.reply_bytes, u64::from(reconnect)];
        let times = [self.warm, self.run].map(|time| time.as_micros().to_string());
        std::iter::once(self.port.to_string()).chain(words.map(|word| word.to_string())).chain(times).collect()
    }

    /// From the arguments of a child process.
    pub(crate) fn from_args(args: &[String]) -> Option<Self> {
        let numbers: Vec<u64> = args.iter().map_while(|arg| arg.parse().ok()).collect();
        let [port, connections, reply_bytes, reconnect, warm, run] = numbers[..] else { return None };
        let (connections, reconnect) = (connections as usize, reconnect == 1);
        let (warm, run) = (Duration::from_micros(warm), Duration::from_micros(run));
        Some(Self { port: port.try_into().ok()?, connections, reply_bytes, reconnect, warm, run })
    }
}

/// Does what the plan says; takes as long as it says.
pub(crate) fn run(plan: &Plan) -> io::Result<Work> {
    let begin = Instant::now();
    let (measured, end) = (begin + plan.warm, begin + plan.warm + plan.run);
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let request = Request { reply_bytes: plan.reply_bytes, close: plan.reconnect };
    let clients = (0..plan.connections).map(|_| Client { socket: None, sent: false, left: 0 }).collect();
    let room = vec![0; DISCARD_BYTES];
    let mut load = Load { plan, epoll, request: request.to_bytes(), clients, room, turn: 0, seen: Work::default() };
    (0..plan.connections).for_each(|slot| load.connect(slot));
    let mut events = [MaybeUninit::<Event>::uninit(); 256];
    let mut warm = true;
    loop {
        let now = Instant::now();
        if warm && now >= measured {
            warm = false;
            let Work { exchanges: other_exchanges, bytes: other_bytes, .. } = load.seen;
            load.seen = Work { other_exchanges, other_bytes, exchanges: 0, bytes: 0, ..load.seen };
        }
        if now >= end {
            break;
        }
        let until = if warm { measured } else { end };
        let timeout = Timespec::try_from(until - now).map_err(io::Error::other)?;
        let Ok((ready, _)) = epoll::wait(&load.epoll, &mut events, Some(&timeout)) else { continue };
        ready.iter().for_each(|event| load.advance(event.data.u64() as usize));
    }
    Ok(load.seen.with_own_cpu())
}

/// The hidden command `load PLAN`: prints its work as one line.
pub(crate) fn main(args: &[String]) -> io::Result<()> {
    let plan = Plan::from_args(args).ok_or_else(|| io::Error::other("load PLAN"))?;
    println!("{}", run(&plan)?.to_line());
    Ok(())
}

/// One connection, or the place for one.
struct Client {
    socket: Option<OwnedFd>,
    /// Whether the request is out; if not, the connection is not yet made.
    sent: bool,
    /// Bytes of the reply still to come.
    left: u64,
}

struct Load<'a> {
    plan: &'a Plan,
    epoll: OwnedFd,
    request: [u8; REQUEST_BYTES],
    clients: Vec<Client>,
    room: Vec<u8>,
    /// Connections made so far.
    turn: u64,
    seen: Work,
}

impl Load<'_> {
    /// A new connection with its first request. On loopback it stands when `connect` returns, so a send is tried first.
    fn connect(&mut self, slot: usize) {
        self.turn += 1;
        let Ok(socket) = wire::connect(self.plan.port, self.turn) else { return self.fail(slot) };
        let step = wire::write(&socket, &self.request);
        let sent = step == Step::Moved(self.request.len());
        let flags = if sent { EventFlags::IN } else { EventFlags::OUT };
        if step == Step::Over || epoll::add(&self.epoll, &socket, EventData::new_u64(slot as u64), flags).is_err() {
            return self.fail(slot);
        }
        self.clients[slot] = Client { socket: Some(socket), sent, left: self.plan.reply_bytes };
    }

    /// A connection that failed is counted; its place stays empty until someone connects again.
    fn fail(&mut self, slot: usize) {
        self.seen.errors += 1;
        self.clients[slot].socket = None;
    }

    fn advance(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = client.socket.as_ref() else { return };
        if !client.sent {
            return self.send(slot);
        }
        let most = client.left.min(DISCARD_BYTES as u64) as usize;
        match wire::discard(socket, &mut self.room[..most]) {
            Step::Moved(bytes) => {
                client.left -= bytes as u64;
                self.seen.bytes += bytes as u64;
            }
            Step::Blocked => return,
            Step::Over => {
                self.fail(slot);
                return self.connect(slot);
            }
        }
        if client.left == 0 {
            self.seen.exchanges += 1;
            if self.plan.reconnect { self.connect(slot) } else { self.send(slot) }
        }
    }

    /// The next request on a connection that stands.
    fn send(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = client.socket.as_ref() else { return };
        let sent = wire::write(socket, &self.request) == Step::Moved(self.request.len());
        let data = EventData::new_u64(slot as u64);
        let listens = client.sent || epoll::modify(&self.epoll, socket, data, EventFlags::IN).is_ok();
        (client.sent, client.left) = (true, self.plan.reply_bytes);
        if !(sent && listens) {
            self.fail(slot);
            self.connect(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin;
    use crate::tcp::origin::Peer;
    use std::os::unix::net::UnixStream;

    /// 100 ms of load on an origin in a thread.
    fn direct(connections: usize, reply_bytes: u64, reconnect: bool) -> Work {
        let listeners = origin::listeners(1).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || origin::serve::<Peer>(&listeners, stopped));
        let (warm, run) = (Duration::from_millis(20), Duration::from_millis(80));
        let work = super::run(&Plan { port, connections, reply_bytes, reconnect, warm, run }).unwrap();
        drop(stop);
        serving.join().unwrap().unwrap();
        work
    }

    #[test]
    fn kept_and_new_connections_exchange_without_errors() {
        for reconnect in [false, true] {
            let work = direct(8, 100, reconnect);
            assert!(work.exchanges > 0 && work.other_exchanges > 0, "{work:?}");
            assert!(work.bytes >= 100 * work.exchanges && work.errors == 0, "{work:?}");
        }
    }

    #[test]
    fn a_download_without_end_is_counted_while_it_arrives() {
        let work = direct(2, 1 << 60, false);
        assert!(work.bytes > 1 << 20 && work.exchanges == 0 && work.errors == 0, "{work:?}");
    }

    #[test]
    fn a_plan_survives_the_way_to_a_child() {
        let (warm, run) = (Duration::from_millis(300), Duration::from_secs(1));
        let plan = Plan { port: 80, connections: 64, reply_bytes: 1 << 60, reconnect: true, warm, run };
        assert_eq!(Plan::from_args(&plan.to_args()).unwrap().to_args(), plan.to_args());
    }
}
