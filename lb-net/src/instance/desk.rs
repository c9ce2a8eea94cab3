//! A control socket while it is served: whichever pool is behind it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, socket, sockopt},
};
use tokio::{net::UnixListener, runtime::Handle, sync::watch, time::sleep};

use super::attendant::{Attendant, News};
use crate::{
    manage::{self, ControlSocket, Fleet, Managed, Settings},
    resolve::Endpoint,
};

/// How long workers have to close a port: who has killed this instance waits no longer for it, nor who listens there anew.
pub(super) const CLOSE: Duration = Duration::from_millis(2500);

/// Between two looks whether the port is closed.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A control socket that is served until this is dropped: the socket goes with it, at once, so that the place is free for
/// who wants it next. Who has killed the instance learns when its port is closed.
pub(super) struct Desk {
    shared: Arc<Shared>,
    // Before those who serve it: while they listen, others know whose it is.
    _socket: ControlSocket,
    _serving: watch::Sender<()>,
}

struct Shared {
    fleet: ArcSwap<Managed<Endpoint>>,
    address: Mutex<SocketAddr>,
}

impl Desk {
    /// None, when the system cannot watch the socket. That it cannot be controlled is no reason to serve no clients.
    pub(super) fn serve(
        socket: ControlSocket,
        fleet: Arc<Managed<Endpoint>>,
        address: SocketAddr,
        runtime: &Handle,
        attendant: &Arc<dyn Attendant>,
    ) -> Option<Self> {
        let listener = {
            let _inside = runtime.enter();
            socket.listener().and_then(UnixListener::from_std)
        };
        let listener = listener.map_err(|error| attendant.tell(&News::ControlFailed(&error))).ok()?;
        let shared = Arc::new(Shared { fleet: ArcSwap::from(fleet), address: Mutex::new(address) });
        let serving = watch::Sender::new(());
        let (behind, current, mut served) = (Arc::clone(&shared), Arc::clone(&shared), serving.subscribe());
        let fleet = move || -> Arc<dyn Fleet> { current.fleet.load_full() };
        runtime.spawn(async move {
            let stopping = async {
                // Nothing is sent: it is the end of the sender.
                let _ = served.changed().await;
            };
            manage::serve_at(listener, fleet, Settings::default(), stopping, closed(&behind)).await;
        });
        Some(Self { shared, _socket: socket, _serving: serving })
    }

    /// Commands from the next on are about this pool.
    pub(super) fn follow(&self, fleet: Arc<Managed<Endpoint>>, address: SocketAddr) {
        self.shared.fleet.store(fleet);
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

/// Completes when nobody listens any more: who has killed this instance may start the next. Workers close the port within
/// a moment; that another program listens there now keeps nobody waiting for long.
async fn closed(shared: &Shared) {
    let began = Instant::now();
    let address = *shared.address.lock().unwrap_or_else(PoisonError::into_inner);
    while is_listened_on(address) && began.elapsed() < CLOSE {
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether the system would let nobody else listen there. It is bound to and not listened on: no client can tell.
fn is_listened_on(address: SocketAddr) -> bool {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let bound = socket(family, SocketType::STREAM, None).and_then(|socket| {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        bind(&socket, &address)
    });
    bound == Err(Errno::ADDRINUSE)
}
