//! The backend: accepts, and lets each connection answer as its layer does. One thread, one epoll.
use crate::wire::DISCARD_BYTES;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{SocketFlags, sockopt};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};

/// More connections than this are not waiting to be accepted.
const BACKLOG: i32 = 4096;

/// The event data that means: end.
const STOP: u64 = u64::MAX;

/// One accepted connection.
pub(crate) trait Peer {
    fn new(socket: OwnedFd) -> Self;

    fn socket(&self) -> &OwnedFd;

    /// One read and one write at most, so that a long one does not hold up the others. Into `room` bytes may be thrown away.
    fn advance(&mut self, room: &mut [u8]) -> Wait;
}

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
pub(crate) fn main<P: Peer>(args: &[String]) -> io::Result<()> {
    let count = args.first().and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other("origin COUNT"))?;
    let listeners = listeners(count)?;
    let ports: io::Result<Vec<u16>> = listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect();
    println!("{}", ports?.iter().map(u16::to_string).collect::<Vec<_>>().join(" "));
    serve::<P>(&listeners, io::stdin())
}

/// Serves until `stop` is readable or closed.
pub(crate) fn serve<P: Peer>(listeners: &[TcpListener], stop: impl AsFd) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
    for (index, listener) in listeners.iter().enumerate() {
        epoll::add(&epoll, listener, EventData::new_u64(index as u64), EventFlags::IN)?;
    }
    let room = vec![0; DISCARD_BYTES];
    let mut origin = Origin::<P> { epoll, peers: Vec::new(), free: Vec::new(), first: listeners.len(), room };
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

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Request,
    Room,
    Never,
}

struct Origin<P> {
    epoll: OwnedFd,
    peers: Vec<Option<(P, Wait)>>,
    /// Empty places in `peers`.
    free: Vec<usize>,
    /// The event data of the first place in `peers`.
    first: usize,
    room: Vec<u8>,
}

impl<P: Peer> Origin<P> {
    /// Takes every connection that waits. One whose request is there already may be over before epoll hears of it.
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(socket) = rustix::net::accept_with(listener, flags) {
            sockopt::set_tcp_nodelay(&socket, true)?;
            let mut peer = P::new(socket);
            let wait = peer.advance(&mut self.room);
            if wait == Wait::Never {
                continue;
            }
            let place = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            epoll::add(&self.epoll, peer.socket(), self.data(place), flags_for(wait))?;
            self.peers[place] = Some((peer, wait));
        }
        Ok(())
    }

    fn advance(&mut self, place: usize) -> io::Result<()> {
        let data = self.data(place);
        let Some((peer, waits)) = self.peers[place].as_mut() else { return Ok(()) };
        let wait = peer.advance(&mut self.room);
        if wait == Wait::Never {
            self.peers[place] = None;
            self.free.push(place);
        } else if wait != *waits {
            *waits = wait;
            epoll::modify(&self.epoll, peer.socket(), data, flags_for(wait))?;
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
