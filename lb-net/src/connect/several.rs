//! A backend with several addresses: the next is tried when one refuses, and alongside when one is silent.

use std::{
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::Dialer;
use crate::{driver::later, sys};

/// How long an address may be silent before the next one is tried alongside: what RFC 8305, section 5, recommends.
const SILENCE: Duration = Duration::from_millis(250);

type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The first connection that stands, beginning at the address whose turn it is; or the failure that says most.
pub(super) async fn dial(dialer: Dialer, mut addresses: Vec<SocketAddr>, turn: usize) -> io::Result<TcpStream> {
    let count = addresses.len().max(1);
    addresses.rotate_left(turn % count);
    let mut rest = addresses.into_iter();
    let mut dialing: Vec<Dialing> = Vec::new();
    let mut failure = None;
    let mut next_start = Instant::now();
    loop {
        if let Some(address) = (next_start <= Instant::now()).then(|| rest.next()).flatten() {
            dialing.push(Box::pin(async move { dialer.dial(address).await }));
            next_start = later(Instant::now(), SILENCE);
        }
        if dialing.is_empty() {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()));
        }
        let silence = async {
            match rest.len() {
                0 => pending().await,
                _ => sleep_until(next_start).await,
            }
        };
        tokio::select! {
            biased;
            outcome = first(&mut dialing) => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    if sys::ran_out(&error) {
                        // The next address would find no descriptor either; those under way have theirs.
                        rest = Vec::new().into_iter();
                    }
                    failure = Some(more_telling(failure, error));
                    next_start = Instant::now();
                }
            },
            () = silence => {}
        }
    }
}

/// What ends first of those under way; it is taken out of them.
async fn first(dialing: &mut Vec<Dialing>) -> io::Result<TcpStream> {
    poll_fn(|cx| {
        for at in 0..dialing.len() {
            if let Poll::Ready(outcome) = dialing[at].as_mut().poll(cx) {
                drop(dialing.remove(at));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

/// A failure that is about the backend says more than one that is about us, such as an IPv6 address on a machine that
/// has no IPv6; of two that are, the later one says how it is now.
fn more_telling(before: Option<io::Error>, error: io::Error) -> io::Error {
    match before {
        Some(before) if is_ours(&error) => before,
        _ => error,
    }
}

/// Is it this machine that has no such address, family or route?
fn is_ours(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::INVAL | Errno::NETUNREACH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_our_own_hides_no_refusal() {
        let both = [Errno::CONNREFUSED, Errno::NETUNREACH];
        for [first, second] in [both, [both[1], both[0]]] {
            let told = more_telling(Some(first.into()), second.into());
            assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
