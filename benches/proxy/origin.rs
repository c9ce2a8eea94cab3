//! The backend: answers every request with as many bytes as it asks for. One thread, one epoll.
use crate::wire::{self, REQUEST_BYTES, Request, Step};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SocketFlags, sockopt};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};

/// What is written in one go of a long reply.
static BLOB: [u8; 256 * 1024] = [b'x'; 256 * 1024];

/// More connections than this are not waiting to be accepted.
const BACKLOG: i32 = 4096;

/// The event data that means: end.
const STOP: u64 = u64::MAX;

/// Listeners on free ports of 127.0.0.1.
pub(crate) fn listeners(count: usize) -> io::Result<Vec<TcpListener>> {
    let listen = |_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    (0..count).map(listen).collect()
}

/// The hidden command `origin COUNT`: prints its ports and serves until its input ends.
pub(crate) fn main(args: &[String]) -> io::Result<()> {
    let count = args.first().and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other("origin COUNT"))?;
    let listeners = listeners(count)?;
    let ports: io::Result<Vec<u16>> = listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect();
    println!("{}", ports?.iter().map(u16::to_string).collect::<Vec<_>>().join(" "));
    serve(&listeners, io::stdin())
}

/// Serves until `stop` is readable or closed.
pub(crate) fn serve(listeners: &[TcpListener], stop: impl AsFd) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
    for (index, listener) in listeners.iter().enumerate() {
        epoll::add(&epoll, listener, EventData::new_u64(index as u64), EventFlags::IN)?;
    }
    let mut origin = Origin { epoll, peers: Vec::new(), free: Vec::new(), first: listeners.len() };
    let mut events = [MaybeUninit::<Event>::uninit(); 256];
    loop {
        let ready = match epoll::wait(&origin.epoll, &mut events, None) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            match event.data.u64() {
                STOP => return Ok(()),
                data if (data as usize) < listeners.len() => origin.accept(&listeners[data as usize])?,
                data => origin.advance(data as usize - listeners.len())?,
            }
        }
    }
}

/// One accepted connection.
struct Peer {
    socket: OwnedFd,
    request: [u8; REQUEST_BYTES],
    /// Bytes of the next request that are here already.
    filled: usize,
    /// Bytes of the reply still to be written.
    owed: u64,
    close: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Request,
    Room,
    Never,
}

struct Origin {
    epoll: OwnedFd,
    peers: Vec<Option<(Peer, Wait)>>,
    /// Empty places in `peers`.
    free: Vec<usize>,
    /// The event data of the first place in `peers`.
    first: usize,
}

impl Origin {
    /// Takes every connection that waits. One whose request is there already may be over before epoll hears of it.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(socket) = rustix::net::accept_with(listener, flags) {
            sockopt::set_tcp_nodelay(&socket, true)?;
            let mut peer = Peer { socket, request: [0; REQUEST_BYTES], filled: 0, owed: 0, close: false };
            let wait = peer.advance();
            if wait == Wait::Never {
                continue;
            }
            let place = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            epoll::add(&self.epoll, &peer.socket, self.data(place), flags_for(wait))?;
            self.peers[place] = Some((peer, wait));
        }
        Ok(())
    }

    fn advance(&mut self, place: usize) -> io::Result<()> {
        let data = self.data(place);
        let Some((peer, waits)) = self.peers[place].as_mut() else { return Ok(()) };
        let wait = peer.advance();
        if wait == Wait::Never {
            self.peers[place] = None;
            self.free.push(place);
        } else if wait != *waits {
            *waits = wait;
            epoll::modify(&self.epoll, &peer.socket, data, flags_for(wait))?;
        }
        Ok(())
    }

    fn data(&self, place: usize) -> EventData {
        EventData::new_u64((self.first + place) as u64)
    }
}

fn flags_for(wait: Wait) -> EventFlags {
    if wait == Wait::Room { EventFlags::OUT } else { EventFlags::IN }
}

impl Peer {
    /// One read and one write at most, so that a long reply does not hold up the others.
    fn advance(&mut self) -> Wait {
        if self.owed == 0 {
            match wire::read(&self.socket, &mut self.request[self.filled..]) {
                Step::Moved(bytes) => self.filled += bytes,
                Step::Blocked => return Wait::Request,
                Step::Over => return Wait::Never,
            }
            if self.filled < REQUEST_BYTES {
                return Wait::Request;
            }
            let Some(request) = Request::from_bytes(&self.request) else { return Wait::Never };
            (self.filled, self.owed, self.close) = (0, request.reply_bytes, request.close);
        }
        let most = self.owed.min(BLOB.len() as u64) as usize;
        match wire::write(&self.socket, &BLOB[..most]) {
            Step::Moved(bytes) => self.owed -= bytes as u64,
            Step::Blocked => return Wait::Room,
            Step::Over => return Wait::Never,
        }
        match (self.owed, self.close) {
            (0, true) => Wait::Never,
            (0, false) => Wait::Request,
            _ => Wait::Room,
        }
    }
}
