//! A small backend that says its name, and can be killed, silenced and revived.

use std::{
    future::poll_fn,
    io,
    net::{self, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::{listen, sockopt::set_socket_linger};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Connections that may wait for a backend that runs.
const BACKLOG: u32 = 1024;

/// A killed backend may finish the answers that it has begun: no balancer can give a request to a second backend once
/// the first has it, and what there is to see here is who gets the next connection.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The longest request that is read.
const REQUEST_BYTES: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// The port refuses connections.
    Killed,
    /// The port does not answer at all.
    Silent,
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    socket: Socket,
    sessions: JoinSet<()>,
    answers: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Socket {
    Running(TcpListener),
    /// With the connections that fill its queue.
    Silent(net::TcpListener, Vec<net::TcpStream>),
    /// Bound but not listening: the port refuses, and stays ours.
    Killed(Option<TcpSocket>),
}

impl Backend {
    /// A running backend on a free port of 127.0.0.1.
    pub(super) fn start(name: &'static str) -> io::Result<Self> {
        let listener = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let answers = Arc::default();
        Ok(Self { name, address, socket: Socket::Running(listener), sessions: JoinSet::new(), answers })
    }

    pub(super) fn state(&self) -> State {
        match self.socket {
            Socket::Running(_) => State::Running,
            Socket::Silent(..) => State::Silent,
            Socket::Killed(_) => State::Killed,
        }
    }

    /// Answers given so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Relaxed)
    }

    /// Takes connections and answers them, for as long as it is polled.
    pub(super) fn poll_serve(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.sessions.poll_join_next(cx) {}
        while let Socket::Running(listener) = &self.socket {
            match listener.poll_accept(cx) {
                Poll::Ready(Ok((client, _))) => self.answer(client),
                // What befell one connection in the queue; the next one is another.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => return,
            }
        }
    }

    /// From here on its port refuses, and soon its connections are reset.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        if let Some(listener) = self.stop()? {
            drop(listener);
            self.socket = Socket::Killed(Some(bound(self.address)?));
            let sessions = std::mem::take(&mut self.sessions);
            tokio::spawn(async move {
                sleep(LAST_WORDS).await;
                drop(sessions);
            });
        }
        Ok(())
    }

    /// From here on a connect to it is neither taken nor refused: its queue is full, so the system drops what arrives.
    pub(super) fn silence(&mut self) -> io::Result<()> {
        if let Some(listener) = self.stop()? {
            listen(&listener, 0)?;
            // More than the queue holds: the last one finds out that it is full.
            let filler =
                (0..8).map_while(|_| net::TcpStream::connect_timeout(&self.address, Duration::from_millis(5)).ok());
            let filler = filler.collect();
            self.socket = Socket::Silent(listener, filler);
        }
        Ok(())
    }

    /// Answers again, on the same port.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        let listener = match std::mem::replace(&mut self.socket, Socket::Killed(None)) {
            Socket::Running(listener) => listener,
            Socket::Killed(held) => held.map_or_else(|| bound(self.address), Ok)?.listen(BACKLOG)?,
            Socket::Silent(listener, filler) => {
                drop(filler);
                listen(&listener, BACKLOG.cast_signed())?;
                TcpListener::from_std(listener)?
            }
        };
        self.socket = Socket::Running(listener);
        Ok(())
    }

    /// The listener out of service, if there is one; those who wait in its queue are answered.
    fn stop(&mut self) -> io::Result<Option<net::TcpListener>> {
        let listener = match std::mem::replace(&mut self.socket, Socket::Killed(None)) {
            Socket::Running(listener) => listener.into_std()?,
            Socket::Silent(listener, _) => listener,
            killed @ Socket::Killed(_) => {
                self.socket = killed;
                return Ok(None);
            }
        };
        // Not through the reactor: it may not have been told yet of those who came last.
        while let Ok((client, _)) = listener.accept() {
            client.set_nonblocking(true)?;
            self.answer(TcpStream::from_std(client)?);
        }
        Ok(Some(listener))
    }

    fn answer(&mut self, client: TcpStream) {
        let (name, answers) = (self.name, Arc::clone(&self.answers));
        self.sessions.spawn(async move {
            // A connection that has failed asks for no answer.
            let _ = answer(client, name, &answers).await;
        });
    }
}

/// Serves backends, for as long as it is polled.
pub(super) async fn serve(backends: &mut [Backend]) {
    poll_fn(|cx| {
        backends.iter_mut().for_each(|backend| backend.poll_serve(cx));
        Poll::Pending
    })
    .await
}

/// A socket that has the address, and refuses until it listens.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// One request, whatever it asks for. Dropped before its end it resets the connection.
async fn answer(mut client: TcpStream, name: &str, answers: &AtomicU64) -> io::Result<()> {
    lb_net::sys::set_reset_on_close(&client)?;
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES {
        if client.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    set_socket_linger(&client, None)?;
    if request.is_empty() {
        return Ok(());
    }
    let (head, length) = ("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n", "hello from \n".len() + name.len());
    let answer = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\nhello from {name}\n");
    client.write_all(answer.as_bytes()).await?;
    answers.fetch_add(1, Relaxed);
    client.shutdown().await?;
    // What is still to come of the request is read: closing over it would be a reset, and could overtake the answer.
    let _ = timeout(LAST_WORDS, tokio::io::copy(&mut client, &mut tokio::io::sink())).await;
    Ok(())
}
