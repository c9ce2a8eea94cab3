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
use tokio::{runtime::Handle, sync::watch, time::sleep};

use super::attendant::{Attendant, News};
use crate::{
    manage::{self, ControlSocket, Fleet, Managed, Settings},
    resolve::Endpoint,
};

/// How long who has killed this instance waits at most until its port is closed.
const CLOSE: Duration = Duration::from_millis(2500);

/// Between two looks whether the port is closed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A control socket that is served until it is stopped or dropped.
pub(super) struct Desk {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

struct Shared {
    fleet: ArcSwap<Managed<Endpoint>>,
    address: Mutex<SocketAddr>,
}

impl Desk {
    pub(super) fn serve(
        socket: ControlSocket,
        fleet: Arc<Managed<Endpoint>>,
        address: SocketAddr,
        runtime: &Handle,
        attendant: &Arc<dyn Attendant>,
    ) -> Self {
        let shared = Arc::new(Shared { fleet: ArcSwap::from(fleet), address: Mutex::new(address) });
        let stop = watch::Sender::new(false);
        let (behind, mut stopped, attendant) = (Arc::clone(&shared), stop.subscribe(), Arc::clone(attendant));
        let current = Arc::clone(&shared);
        let fleet = move || -> Arc<dyn Fleet> { current.fleet.load_full() };
        runtime.spawn(async move {
            let stopping = async {
                // An error is the end of the sender: a stop as well.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            let served = manage::serve(socket, fleet, Settings::default(), stopping, closed(&behind));
            // That it cannot be controlled is no reason to serve clients no longer.
            if let Err(error) = served.await {
                attendant.tell(&News::ControlFailed(&error));
            }
        });
        Self { shared, stop }
    }

    /// Commands from the next on are about this pool.
    pub(super) fn follow(&self, fleet: Arc<Managed<Endpoint>>, address: SocketAddr) {
        self.shared.fleet.store(fleet);
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// The socket goes at once. Who has killed the instance learns when its port is closed.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
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
