//! Who is told what happens to clients.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use lb_core::NoPick;

use crate::relay::Relayed;
pub use crate::relay::{Direction, Tap};

/// Is told what happens to clients, for logs and traces. It is called inside the sessions, on their threads: it must not
/// block, and what it does is added to each connection.
///
/// Backends are given by their configured names. `client` is the address of the one who asks: the peer of the connection,
/// or whom a proxy in front of us has introduced.
/// ```
/// use lb_net::observe::{NoConnection, Observer};
/// struct Log;
/// impl Observer for Log {
///     fn no_backend(&self, client: std::net::SocketAddr, reason: NoConnection) {
///         println!("{client} is turned away: {reason}");
///     }
/// }
/// ```
#[allow(unused_variables, reason = "the names say what the arguments are")]
pub trait Observer: Send + Sync {
    /// A connection was accepted from this peer.
    fn accepted(&self, peer: SocketAddr) {}

    /// A proxy in front of us, at `peer`, has said who its client is (PROXY protocol).
    fn introduced(&self, peer: SocketAddr, client: SocketAddr) {}

    /// A peer that is to send a PROXY header has not sent a good one, and was closed.
    fn refused(&self, peer: SocketAddr, why: &(dyn Error + 'static)) {}

    /// A connect to a backend begins. There may be several for one client, and several at a time.
    fn attempt(&self, client: SocketAddr, backend: &str) {}

    /// A connect failed, perhaps after its client has been served by another backend.
    fn attempt_failed(&self, client: SocketAddr, backend: &str, error: &io::Error) {}

    /// A backend has answered, `after` its own connect began, and the session begins.
    fn connected(&self, client: SocketAddr, backend: &str, after: Duration) {}

    /// The client was turned away because there is no connection for it.
    fn no_backend(&self, client: SocketAddr, reason: NoConnection) {}

    /// As many clients are connected as may be: another one waits until one of them leaves.
    fn crowded(&self, most: usize) {}

    /// A backend that a request was sent to has given no good answer, for this reason. Another one may have.
    fn no_answer(&self, client: SocketAddr, backend: &str, reason: &str) {}

    /// Whether to tell how this session ends: remembering that costs each one a little time and memory.
    fn follows(&self, client: SocketAddr, backend: &str) -> bool {
        true
    }

    /// A session that was followed has ended, so long after its connect. Those that a stop cuts are not told of.
    fn ended(&self, client: SocketAddr, backend: &str, relayed: &Relayed, lasted: Duration) {}

    /// Someone who listens in on this session (balance's `-p`). Without one it moves bytes in the cheapest way.
    fn tap(&self, client: SocketAddr, backend: &str) -> Option<Box<dyn Tap>> {
        None
    }
}

/// Why a client has no connection to a backend.
/// ```
/// use lb_core::NoPick;
/// use lb_net::observe::NoConnection;
/// assert_eq!(NoConnection::NoPick(NoPick::AllFull).to_string(), "all backends are full");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoConnection {
    /// No backend could be picked, or none of those that were has answered.
    #[error(transparent)]
    NoPick(NoPick),
    /// There are no descriptors, no kernel memory or no local ports for a connection: the next backend would not get one
    /// either.
    #[error("descriptors, memory or local ports have run out")]
    Shortage,
    /// The client has reset its connection meanwhile.
    #[error("the client has gone")]
    ClientGone,
}
