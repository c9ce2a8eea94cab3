//! Who a client is, where a proxy in front of us says so.

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{io::Interest, net::TcpStream, time::Instant};

use super::Inner;
use crate::{
    alarm::{Alarm, Alarms},
    driver::later,
    proxy_protocol::{AcceptProxy, Header, HeaderError, MOST_BYTES, Route},
    sys,
};

/// Why a peer that is to send a PROXY header was closed.
/// ```
/// use lb_net::{proxy_protocol::HeaderError, tcp::NoIntroduction};
/// let error = NoIntroduction::Header(HeaderError::LineTooLong);
/// assert_eq!(error.to_string(), "it sent no good PROXY header: its line is longer than 107 bytes");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoIntroduction {
    /// It sent something else.
    #[error("it sent no good PROXY header: {0}")]
    Header(HeaderError),
    /// It took too long.
    #[error("it sent no PROXY header within {0:?}")]
    TimedOut(Duration),
    /// It ended before.
    #[error("it ended before its PROXY header was complete")]
    Ended,
    /// The connection failed.
    #[error("its PROXY header cannot be read")]
    Failed(#[source] io::Error),
}

/// Where a proxy at `peer` says that its client's connection goes from and to. `None` for one that is closed: it has not
/// said it as it should.
pub(super) async fn introduced<T>(
    inner: &Inner<T>,
    client: &TcpStream,
    peer: SocketAddr,
    alarms: &Arc<Alarms>,
) -> Option<Option<Box<Route>>> {
    let accept = inner.accept_proxy.as_ref().filter(|accept| accept.networks.contain(peer.ip()));
    let Some(accept) = accept else { return Some(None) };
    // In a box of its own, so that those who need none are no larger for it.
    match Box::pin(receive(accept, client, Arc::clone(alarms))).await {
        Ok(route) => {
            if let Some(route) = &route {
                inner.tell(|observer| observer.introduced(peer, route.source()));
            }
            Some(route.map(Box::new))
        }
        Err(why) => {
            inner.tell(|observer| observer.refused(peer, &why));
            None
        }
    }
}

/// What the backend is to hear first.
pub(super) fn preface<T>(
    inner: &Inner<T>,
    client: &TcpStream,
    peer: SocketAddr,
    route: Option<&Route>,
) -> Option<Vec<u8>> {
    let version = inner.send_proxy?;
    let own = || client.local_addr().ok().map(|address| Route::new(peer, address));
    Some(Header { version, route: route.copied().or_else(own) }.to_bytes())
}

/// Reads the header and not a byte more. `None` is for a connection that stands for itself.
async fn receive(
    accept: &AcceptProxy,
    client: &TcpStream,
    alarms: Arc<Alarms>,
) -> Result<Option<Route>, NoIntroduction> {
    let (deadline, mut alarm) = (later(Instant::now(), accept.timeout), Alarm::new(alarms));
    let mut reading = pin!(read(client));
    poll_fn(|cx| match reading.as_mut().poll(cx) {
        Poll::Pending if deadline <= Instant::now() => Poll::Ready(Err(NoIntroduction::TimedOut(accept.timeout))),
        Poll::Pending => {
            alarm.set(deadline, cx.waker());
            Poll::Pending
        }
        ready => ready,
    })
    .await
}

async fn read(client: &TcpStream) -> Result<Option<Route>, NoIntroduction> {
    // Only what came in pieces: the buffer itself is on the stack, and nobody who waits holds one.
    let mut seen = Vec::new();
    loop {
        client.readable().await.map_err(NoIntroduction::Failed)?;
        match advance(client, &mut seen) {
            Err(NoIntroduction::Failed(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(Some(header)) => return Ok(header.route),
            Ok(None) => {}
        }
    }
}

/// Looks at what is there, and takes what belongs to the header out of the socket.
fn advance(client: &TcpStream, seen: &mut Vec<u8>) -> Result<Option<Header>, NoIntroduction> {
    let (mut buffer, before) = ([0; MOST_BYTES], seen.len());
    buffer[..before].copy_from_slice(seen);
    let peeked = client.try_io(Interest::READABLE, || sys::peek(client, &mut buffer[before..]));
    let end = match peeked.map_err(NoIntroduction::Failed)? {
        0 => return Err(NoIntroduction::Ended),
        count => before + count,
    };
    let parsed = Header::parse(&buffer[..end]).map_err(NoIntroduction::Header)?;
    // Of a header that is not complete, all that is there is a part: less than what fits into the buffer.
    let (header, end) = parsed.map_or((None, end), |(header, length)| (Some(header), length));
    let mut taken = before;
    while taken < end {
        match sys::receive(client, &mut buffer[taken..end]).map_err(NoIntroduction::Failed)? {
            0 => return Err(NoIntroduction::Ended),
            count => taken += count,
        }
    }
    seen.extend_from_slice(&buffer[before..end]);
    Ok(header)
}
