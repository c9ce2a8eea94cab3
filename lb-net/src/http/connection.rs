//! One client connection from its accept to its end: idle most of the time, and small then.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::task::coop::consume_budget;

use super::{
    exchange::{self, Next},
    parts::{Parts, Worker},
    servant::{self, Servant},
};

/// A connection, written by hand because it lives long and there are many: what a request needs belongs to a servant, who
/// goes on to others as soon as it is answered.
pub(super) enum Connection<T> {
    /// Waiting for a request.
    Idle(Box<Parts<T>>),
    /// Serving requests.
    Busy(Servant<Parts<T>>),
    Ended,
}

impl<T: Send + Sync + 'static> Connection<T> {
    pub(super) fn new(worker: &Arc<Worker<T>>, socket: std::net::TcpStream, peer: SocketAddr) -> Self {
        Self::Idle(Box::new(Parts::new(worker, socket, peer)))
    }
}

impl<T: Send + Sync + 'static> Future for Connection<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            *self = match std::mem::replace(&mut *self, Self::Ended) {
                Self::Idle(mut parts) => match parts.poll_request(cx) {
                    Poll::Pending => {
                        *self = Self::Idle(parts);
                        return Poll::Pending;
                    }
                    Poll::Ready(false) => return Poll::Ready(()),
                    Poll::Ready(true) => {
                        let mut servant = parts.worker.servants.take().unwrap_or_else(|| servant::new(serve));
                        servant.as_mut().begin(parts);
                        Self::Busy(servant)
                    }
                },
                Self::Busy(mut servant) => match servant.as_mut().poll(cx) {
                    Poll::Pending => {
                        *self = Self::Busy(servant);
                        return Poll::Pending;
                    }
                    Poll::Ready((parts, more)) => {
                        parts.worker.servants.give_back(servant);
                        if !more {
                            return Poll::Ready(());
                        }
                        Self::Idle(parts)
                    }
                },
                Self::Ended => return Poll::Ready(()),
            }
        }
    }
}

/// Serves the requests that are there; whether there may be more of them.
async fn serve<T: Send + Sync + 'static>(mut parts: Box<Parts<T>>) -> (Box<Parts<T>>, bool) {
    loop {
        // A client whose next request is always there, and who reads at once, waits for nothing: others have their turn too.
        consume_budget().await;
        match exchange::serve(&mut parts).await {
            Next::Another => {}
            Next::Close => return (parts, false),
            Next::Linger => {
                Box::pin(parts.linger()).await;
                return (parts, false);
            }
            Next::Tunnel(tunnel) => {
                Box::pin(tunnel.run(&mut parts)).await;
                return (parts, false);
            }
        }
        if parts.input.is_empty() {
            return (parts, true);
        }
        parts.refresh();
    }
}
