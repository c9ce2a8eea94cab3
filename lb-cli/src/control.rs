//! The side of `-i` and `-c` that serves: a running `lb` under control.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{BackendConfig, Balancer, SelectorKind};
use lb_net::{
    connect::Addresses as _,
    manage::{self, ControlSocket, Fleet, Managed, Settings},
    probe::Switch,
    resolve::Endpoint,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, socket, sockopt},
    process::{Signal, getpid, kill_process},
};
use tokio::{sync::watch, time::sleep};

use crate::{
    failure::{Failure, Status},
    log::{Entry, Level, Log},
    plan::endpoint,
    user::Identity,
};

/// How long who has killed this instance waits at most until its port is closed.
const CLOSE: Duration = Duration::from_millis(2500);

/// Between two looks whether the port is closed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The backends as control sessions see them, and what lets a monitor pause.
pub(crate) fn fleet(
    balancer: &Arc<Balancer<Endpoint>>,
    port: u16,
    selector: SelectorKind,
    hash_failover: bool,
    monitor: Option<Switch>,
) -> Arc<dyn Fleet> {
    let resolve = move |backend: &BackendConfig| endpoint(backend, port).map_err(|error| error.to_string());
    let unresolved = |backend: &BackendConfig| Endpoint::with_addresses(backend.host_and_port().0, 0, Vec::new());
    let kill = || {
        // As balance does, and everything else that TERM does follows. To oneself it cannot fail.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    let fleet = Managed::new(Arc::clone(balancer), resolve, unresolved, |endpoint: &Endpoint| endpoint.address(0));
    let fleet = fleet.with_hash_failover(hash_failover).with_selector(selector).with_kill(kill);
    Arc::new(match monitor {
        Some(switch) => {
            let seen = switch.clone();
            fleet.with_monitor(move || seen.is_enabled(), move |enabled| switch.set_enabled(enabled))
        }
        None => fleet,
    })
}

/// Serves control sessions until stopping has `begun`. That it cannot is no reason to serve clients no longer.
pub(crate) async fn serve(
    socket: ControlSocket,
    fleet: Arc<dyn Fleet>,
    mut begun: watch::Receiver<bool>,
    address: Option<SocketAddr>,
    log: Log,
) {
    let stopping = async move {
        // An error is the end of the sender: a stop as well.
        let _ = begun.wait_for(|begun| *begun).await;
    };
    let fleet = move || Arc::clone(&fleet);
    let served = manage::serve(socket, fleet, Settings::default(), stopping, closed(address));
    if let Err(error) = served.await {
        log.write(&Entry::new(Level::Error, "control-failed", format!("cannot be controlled: {error}")));
    }
}

/// Gives the control socket to the user that `lb` becomes.
pub(crate) fn hand_over(socket: &ControlSocket, user: &Identity) -> Result<(), Failure> {
    let (user, group) = user.ids();
    let handed_over = socket.hand_over(user, group);
    handed_over.map_err(|error| Failure::chain(Status::System, &error).about("cannot hand over the control socket"))
}

/// Completes when nobody listens any more: who has killed this instance may start the next. Workers close the port within
/// a moment; that another program listens there now keeps nobody waiting for long.
async fn closed(address: Option<SocketAddr>) {
    let began = Instant::now();
    while address.is_some_and(is_listened_on) && began.elapsed() < CLOSE {
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
