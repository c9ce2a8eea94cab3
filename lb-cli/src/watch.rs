//! What happens to clients: logged where it concerns an operator, traced with `-d`, dumped with `-p`.

use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};

use lb_net::{
    relay::{End, Relayed},
    tcp::{Direction, NoConnection, Observer, Tap},
};

use crate::{
    dump,
    dumper::Dumper,
    log::{Entry, Level, Log},
};

/// Watches the clients of one `lb`.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) log: Log,
    /// Each decision is told.
    pub(crate) traces: bool,
    /// After which silence sessions are closed (`-T`).
    pub(crate) idle_timeout: Duration,
    /// Payload goes there.
    pub(crate) dumper: Option<Arc<Dumper>>,
}

impl Watch {
    fn trace(&self, event: &'static str, line: impl FnOnce() -> String) {
        if self.traces {
            self.log.write(&Entry::new(Level::Debug, event, line()));
        }
    }
}

impl Observer for Watch {
    fn accepted(&self, peer: SocketAddr) {
        self.trace("accepted", || format!("{peer}: accepted"));
    }

    fn introduced(&self, peer: SocketAddr, client: SocketAddr) {
        self.trace("introduced", || format!("{peer}: speaks for {client}"));
    }

    fn refused(&self, peer: SocketAddr, why: &(dyn Error + 'static)) {
        let line = format!("{peer} is closed: {why}");
        self.log.write(&Entry::new(Level::Warning, "proxy-header-refused", line).with("peer", peer.to_string()));
    }

    fn attempt(&self, client: SocketAddr, backend: &str) {
        self.trace("attempt", || format!("{client}: connecting to {backend}"));
    }

    fn attempt_failed(&self, client: SocketAddr, backend: &str, error: &io::Error) {
        self.trace("attempt-failed", || format!("{client}: cannot connect to {backend}: {error}"));
        let entry = Entry::new(Level::Warning, "connect-failed", format!("{backend}: cannot connect: {error}"));
        self.log.write(&entry.with("backend", backend).with("error", error.to_string()));
    }

    fn connected(&self, client: SocketAddr, backend: &str, after: Duration) {
        self.trace("connected", || format!("{client}: connected to {backend} after {after:?}"));
    }

    fn no_backend(&self, client: SocketAddr, reason: NoConnection) {
        if reason == NoConnection::ClientGone {
            return self.trace("client-gone", || format!("{client}: {reason}"));
        }
        let entry = Entry::new(Level::Warning, "no-backend", format!("{client} is turned away: {reason}"));
        self.log.write(&entry.with("client", client.to_string()).with("reason", reason.to_string()));
    }

    fn crowded(&self, most: usize) {
        let line = format!("{most} clients are connected, which is all there may be: others wait until one has gone");
        self.log.write(&Entry::new(Level::Warning, "crowded", line).with("most", most.to_string()));
    }

    fn no_answer(&self, client: SocketAddr, backend: &str, reason: &str) {
        let entry = Entry::new(Level::Warning, "no-answer", format!("{backend}: no good answer: {reason}"));
        let entry = entry.with("backend", backend).with("reason", reason);
        self.log.write(&entry.with("client", client.to_string()));
    }

    fn follows(&self, _: SocketAddr, _: &str) -> bool {
        self.traces || !self.idle_timeout.is_zero()
    }

    fn ended(&self, client: SocketAddr, backend: &str, relayed: &Relayed, lasted: Duration) {
        if relayed.end == End::IdleTimeout {
            // balance's words.
            let line = format!("{client}: timed out after {} seconds", self.idle_timeout.as_secs_f64());
            let entry = Entry::new(Level::Notice, "session-timed-out", line).with("client", client.to_string());
            self.log.write(&entry.with("backend", backend));
        }
        self.trace("ended", || {
            let Relayed { end, to_upstream_bytes, to_client_bytes, .. } = relayed;
            let bytes = format!("{to_upstream_bytes} bytes to the backend, {to_client_bytes} to the client");
            format!("{client}: ended at {backend} ({end:?}) after {lasted:?}: {bytes}")
        });
    }

    fn tap(&self, _: SocketAddr, _: &str) -> Option<Box<dyn Tap>> {
        self.dumper.as_ref().map(|dumper| Box::new(Dump(Arc::clone(dumper))) as Box<dyn Tap>)
    }
}

/// Hands over each piece of payload as one, so that those of several sessions do not mix.
struct Dump(Arc<Dumper>);

impl Tap for Dump {
    fn bytes(&mut self, direction: Direction, bytes: &[u8]) {
        let way = match direction {
            Direction::ToUpstream => dump::Way::ToBackend,
            Direction::ToClient => dump::Way::ToClient,
        };
        self.0.put(dump::text(way, bytes));
    }
}
