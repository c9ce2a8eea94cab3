//! The demo's own client: some requests a second, and how they went.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Between two requests.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// How far back the slowest request is remembered.
pub(super) const RECENT: Duration = Duration::from_secs(5);

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How one request went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    ended: Instant,
    took: Duration,
    answered: bool,
}

/// One request over a connection of its own.
pub(super) async fn visit(front: SocketAddr) -> Visit {
    let began = Instant::now();
    let answered = matches!(timeout(PATIENCE, ask(front)).await, Ok(Ok(text)) if text.contains("\r\n\r\nhello from "));
    Visit { ended: Instant::now(), took: began.elapsed(), answered }
}

async fn ask(front: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(front).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// How all of them went.
#[derive(Debug, Default)]
pub(super) struct Visits {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) slowest: Duration,
    recent: VecDeque<Visit>,
}

impl Visits {
    pub(super) fn add(&mut self, visit: Visit) {
        *(if visit.answered { &mut self.answered } else { &mut self.failed }) += 1;
        self.slowest = self.slowest.max(visit.took);
        self.recent.push_back(visit);
        while self.recent.front().is_some_and(|oldest| oldest.ended + RECENT < visit.ended) {
            self.recent.pop_front();
        }
    }

    /// The slowest of the last seconds.
    pub(super) fn slowest_recently(&self) -> Duration {
        self.recent.iter().map(|visit| visit.took).max().unwrap_or_default()
    }
}
