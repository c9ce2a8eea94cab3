//! Accepts connections, and has a service answer their requests.

use std::{convert::Infallible, error::Error, future::poll_fn, io, pin::Pin, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    Limits, Listener,
    listener::{Kind, UnixSocket},
    patient::{Patient, Stage},
};
use crate::{listener, sys};

/// How long accept rests when the system has no means for another connection. Nobody is lost: they wait in the queue.
const REST: Duration = Duration::from_millis(50);

/// Answers requests until `stopping` completes; then nobody is accepted any more, a unix socket is removed, and requests
/// that have begun are answered within the grace period.
///
/// At a unix socket only root and the user of this process are answered. Dropping the future cuts all connections.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use lb_net::{manage, serve::{self, HttpAddress, Limits, Listener}};
/// # use std::{convert::Infallible, io::{Read, Write}, net::TcpStream};
/// # #[derive(Clone)] struct Hello;
/// # impl tower_service::Service<http::Request<hyper::body::Incoming>> for Hello {
/// #     type Response = http::Response<String>;
/// #     type Error = Infallible;
/// #     type Future = std::future::Ready<Result<http::Response<String>, Infallible>>;
/// #     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
/// #         std::task::Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: http::Request<hyper::body::Incoming>) -> Self::Future {
/// #         std::future::ready(Ok(http::Response::new("hello".to_owned())))
/// #     }
/// # }
/// let listener = Listener::bind(&HttpAddress::Tcp("127.0.0.1:0".parse()?))?;
/// let HttpAddress::Tcp(address) = listener.address()? else { return Ok(()) };
/// let asked = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
///     let (mut stream, mut answer) = (TcpStream::connect(address)?, String::new());
///     stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
///     stream.read_to_string(&mut answer)?;
///     Ok(answer)
/// });
/// let stop = async { assert!(asked.await.unwrap().unwrap().ends_with("hello")) };
/// serve::serve(listener, Hello, Limits::default(), stop).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the socket cannot be watched: outside a runtime with I/O, or without a descriptor left.
pub async fn serve<S, B>(
    listener: Listener,
    service: S,
    limits: Limits,
    stopping: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut door = Door::new(listener)?;
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stopping = std::pin::pin!(stopping);
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            () = &mut stopping => break,
        };
        match accepted {
            // It is the system that lacks something, or one client that has gone.
            Err(_) => sleep(REST).await,
            Ok(client) if !client.is_welcome() => {}
            Ok(client) if connections.len() >= limits.connections => client.turn_away(limits.connections),
            Ok(client) => drop(connections.spawn(connection(client.boxed(), service.clone(), limits, stopped.clone()))),
        }
    }
    drop(door);
    drop(stop);
    let _ = timeout(limits.grace, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// One connection to its end. That it fails is the client's affair.
async fn connection<S, B>(stream: Stream, service: S, limits: Limits, mut stopped: watch::Receiver<()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let stage = Stage::default();
    let stream = TokioIo::new(Patient::new(stream, stage.clone(), limits));
    let mut protocol = http1::Builder::new();
    // Ours is the patience. A client may have said all and wait for the answer.
    protocol.header_read_timeout(None).half_close(true).max_header_size(limits.head_bytes);
    let connection = protocol.serve_connection(stream, Staged { service, stage });
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        // An error is the end of the sender: a stop.
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// A service that tells when it works.
struct Staged<S> {
    service: S,
    stage: Stage,
}

impl<S> hyper::service::Service<Request<Incoming>> for Staged<S>
where
    S: Service<Request<Incoming>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut service, stage) = (self.service.clone(), self.stage.clone());
        stage.running();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let response = service.call(request).await;
            stage.answered();
            response
        })
    }
}

/// Both kinds of streams as one: the protocol is compiled once.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}
type Stream = Box<dyn Bytes>;

/// A listener within a runtime.
enum Door {
    Tcp(listener::Listener),
    /// The socket is removed before the listener goes, which is how others know that it is ours to remove.
    Unix {
        _socket: UnixSocket,
        listener: UnixListener,
    },
}

impl Door {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener.0 {
            Kind::Tcp(listener) => Self::Tcp(listener::Listener::new(listener)?),
            Kind::Unix(socket) => Self::Unix { listener: UnixListener::from_std(socket.listener()?)?, _socket: socket },
        })
    }

    async fn accept(&mut self) -> io::Result<Client> {
        match self {
            Self::Tcp(listener) => TcpStream::from_std(listener.accept().await?.0).map(Client::Tcp),
            Self::Unix { listener, .. } => listener.accept().await.map(|(stream, _)| Client::Unix(stream)),
        }
    }
}

enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    /// Behind a unix socket only root and our own user are.
    fn is_welcome(&self) -> bool {
        let Self::Unix(stream) = self else { return true };
        stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
    }

    /// It fits into an empty buffer; who does not read it does not want to know.
    fn turn_away(&self, connections: usize) {
        let text = format!("there are {connections} connections already\n");
        let head =
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 1\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        // The runtime does not know yet that it can be written to.
        let _ = match self {
            Self::Tcp(stream) => sys::send(stream, answer.as_bytes()),
            Self::Unix(stream) => sys::send(stream, answer.as_bytes()),
        };
    }

    fn boxed(self) -> Stream {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }
}
