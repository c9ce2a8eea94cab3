//! One place that clients come to: its listeners, and who serves them at the moment.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use rustix::net::sockopt;
use tokio::sync::watch;

use super::{
    attendant::Attendant,
    closing::Closing,
    failure::PrepareError,
    role::{New, Proxy, Roles},
    worker::{Share, Workers},
};
use crate::{
    config::{Listen, Name, Role},
    http::Counters,
    listener::{self, BindError},
    resolve,
    sys::Keepalive,
};

/// A place before anybody serves it: clients that come wait in its queue.
pub(super) struct Opened {
    listeners: Vec<TcpListener>,
    /// The same sockets once more.
    handles: Vec<TcpListener>,
    pub(super) address: SocketAddr,
}

/// A place that is served. Its listeners stay open for as long as some model has the place, whatever else changes.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// The sockets that the workers have, for their options.
    listeners: Vec<TcpListener>,
    roles: Roles,
    stop: watch::Sender<bool>,
    closing: Arc<Closing>,
}

impl Opened {
    /// Listens there with a socket for each worker; `beside` places of ours that are in the way, and about to be closed,
    /// if there are such: both are open for a moment.
    pub(super) fn open(service: &Name, listen: &Listen, workers: usize, beside: bool) -> Result<Self, PrepareError> {
        let port = listen.port();
        let ip = listen.host().map(|host| resolved(service, listen, host)).transpose()?;
        let bind = |address| match beside {
            true => listener::bind_beside(address, workers),
            false => listener::bind(address, workers),
        };
        let listeners = match ip {
            Some(ip) => bind(SocketAddr::new(ip, port)),
            None => everywhere(port, bind),
        };
        let bound = |source| PrepareError::Bind { service: service.clone(), source };
        let listeners = listeners.map_err(bound)?;
        let asked = SocketAddr::new(ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), port);
        let unknown = |source| bound(BindError { address: asked, source });
        let address = listeners[0].local_addr().map_err(unknown)?;
        let handles = listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>().map_err(unknown)?;
        Ok(Self { listeners, handles, address })
    }

    /// What is accepted from now on is asked in this rhythm whether it is there.
    pub(super) fn keep_alive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        keepalive.map_or(Ok(()), |keepalive| self.listeners.iter().try_for_each(|listener| keepalive.set(listener)))
    }

    /// Has it served.
    pub(super) fn serve(self, service: &Name, proxy: Proxy, workers: &Workers, attendant: &Arc<dyn Attendant>) -> Door {
        let mut roles = Roles::default();
        await_bytes(&self.handles, &proxy);
        let new = roles.take_over(proxy);
        let door = Door {
            address: self.address,
            listeners: self.handles,
            roles,
            stop: watch::Sender::new(false),
            closing: Closing::new(service, self.address, attendant),
        };
        door.begin(new, self.listeners, workers);
        door
    }
}

impl Door {
    /// What is counted of its HTTP requests, if it has ever had any.
    pub(super) fn counters(&self) -> Option<Counters> {
        self.roles.counters()
    }

    /// Its sockets once more, for a role that nobody has served in here so far.
    pub(super) fn sockets_for(&self, role: Role) -> io::Result<Vec<TcpListener>> {
        let wanted = if self.roles.has(role) { &[] } else { &self.listeners[..] };
        wanted.iter().map(TcpListener::try_clone).collect()
    }

    /// From the next client on, on these sockets where nobody has served in that role so far.
    pub(super) fn serve_with(
        &mut self,
        service: &Name,
        (proxy, sockets): (Proxy, Vec<TcpListener>),
        keepalive: Option<Keepalive>,
        workers: &Workers,
    ) {
        self.closing.belongs_to(service);
        // What was accepted by an earlier rhythm keeps it. That the system refuses is for the start to find out.
        let keepalive = keepalive.unwrap_or_else(Keepalive::of_the_system);
        let _ = self.listeners.iter().try_for_each(|listener| keepalive.set(listener));
        await_bytes(&self.listeners, &proxy);
        let new = self.roles.take_over(proxy);
        self.begin(new, sockets, workers);
    }

    fn begin(&self, new: Option<New>, sockets: Vec<TcpListener>, workers: &Workers) {
        let Some((latest, accepts)) = new else { return };
        workers.serve(sockets.into_iter().map(|listener| Share {
            latest: latest.clone(),
            accepts: accepts.clone(),
            listener,
            stopped: self.stop.subscribe(),
            closing: Arc::clone(&self.closing),
        }));
    }

    /// Lets another socket of ours listen on the same port.
    pub(super) fn share(&self) {
        for listener in &self.listeners {
            // If it cannot, the other socket finds out.
            let _ = sockopt::set_socket_reuseport(listener, true);
        }
    }

    /// Whoever waits in its queue is served; then it is closed, and sessions go on for their grace period.
    pub(super) fn close(self) {
        // Before the workers close theirs: a connection would go on waiting at this one, for nobody.
        drop(self.listeners);
        self.stop.send_replace(true);
    }

    /// The same, while the instance goes on: that is told, and the end of its last session too.
    pub(super) fn close_for_good(self) {
        self.closing.begin();
        self.close();
    }
}

/// Clients of HTTP are the first to speak; those of other protocols may wait for a greeting.
fn await_bytes(listeners: &[TcpListener], proxy: &Proxy) {
    let awaits = matches!(proxy, Proxy::Http(_));
    // A system without this gives clients out before they have said anything: slower, and all the same.
    let _ = listeners.iter().try_for_each(|listener| listener::await_bytes(listener, awaits));
}

fn resolved(service: &Name, listen: &Listen, host: &str) -> Result<IpAddr, PrepareError> {
    let failed = |source| PrepareError::Host { service: service.clone(), listen: listen.clone(), source };
    let found = resolve::addresses(host, "1").map_err(failed)?;
    let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
    let first = found.first().map(SocketAddr::ip);
    first.ok_or_else(|| failed(resolve::ResolveError::Host(host.to_owned(), none())))
}

/// On all addresses of both families; on a machine without IPv6, on those of IPv4.
fn everywhere(
    port: u16,
    bind: impl Fn(SocketAddr) -> Result<Vec<TcpListener>, BindError>,
) -> Result<Vec<TcpListener>, BindError> {
    bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| {
        let no_ipv6 = matches!(error.source.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
            || error.source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        if no_ipv6 { bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)) } else { Err(error) }
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::OwnedFd, time::Duration};

    use lb_core::{
        Balancer,
        rand::{SeedableRng as _, rngs::SmallRng},
        sim::epoch,
    };
    use tokio::time::timeout;

    use super::*;
    use crate::{instance::News, resolve::Endpoint};

    struct Quiet;

    impl Attendant for Quiet {
        fn tell(&self, _: &News<'_>) {}
    }

    fn opened(socket: OwnedFd) -> Opened {
        Opened { listeners: vec![socket.into()], handles: vec![], address: (Ipv4Addr::LOCALHOST, 1).into() }
    }

    #[tokio::test]
    async fn a_listener_that_fails_is_told_once_and_the_others_may_end_in_order() {
        let workers = Workers::start(1).unwrap();
        let make = |_: &lb_core::BackendConfig| Endpoint::with_addresses("alpha", 80, vec![]);
        let mut rng = SmallRng::seed_from_u64(1);
        let balancer = Balancer::new("alpha:80".parse().unwrap(), epoch(), &mut rng, make);
        let proxy = Proxy::Tcp(crate::TcpProxy::new(Arc::new(balancer)));
        let (name, attendant): (Name, Arc<dyn Attendant>) = ("www".parse().unwrap(), Arc::new(Quiet));
        let serve = |opened: Opened| opened.serve(&name, proxy.clone(), &workers, &attendant);
        let good = serve(opened(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into()));
        // Nothing that can be watched.
        let _bad = serve(opened(File::open("/proc/self/exe").unwrap().into()));
        assert!(workers.ended().await.failure.is_some());
        let again = timeout(Duration::from_millis(50), workers.ended()).await;
        assert!(again.is_err(), "the other listener is served: {again:?}");
        good.close();
        workers.stop();
        let failure = workers.ended().await.failure.unwrap();
        assert_eq!(failure.to_string(), "cannot listen on 127.0.0.1:1");
    }
}
