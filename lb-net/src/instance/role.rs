//! What becomes of the clients of a place, by role: each role that it has had has its own tasks on the same sockets, and
//! one of them accepts. So a place changes its role between two clients, and those who are there notice nothing.

use tokio::sync::watch;

use crate::{
    TcpProxy,
    config::Role,
    http::{Counters, HttpProxy},
    resolve::Endpoint,
};

/// Who serves the clients of a service.
#[derive(Clone)]
pub(super) enum Proxy {
    Tcp(TcpProxy<Endpoint>),
    Http(HttpProxy<Endpoint>),
}

/// The latest one of a role, for those who serve with it.
#[derive(Clone)]
pub(super) enum Latest {
    Tcp(watch::Receiver<TcpProxy<Endpoint>>),
    Http(watch::Receiver<HttpProxy<Endpoint>>),
}

/// The roles that a place has had.
#[derive(Default)]
pub(super) struct Roles {
    tcp: Option<Turn<TcpProxy<Endpoint>>>,
    http: Option<Turn<HttpProxy<Endpoint>>>,
}

/// One role: who serves in it, and whether it is the one that accepts.
struct Turn<P> {
    proxies: watch::Sender<P>,
    accepts: watch::Sender<bool>,
}

/// What a role that is new at a place is served by, and when.
pub(super) type New = (Latest, watch::Receiver<bool>);

impl Roles {
    /// Whether the tasks of this role are there.
    pub(super) fn has(&self, role: Role) -> bool {
        match role {
            Role::Tcp => self.tcp.is_some(),
            Role::Http => self.http.is_some(),
        }
    }

    /// What is counted of HTTP requests.
    pub(super) fn counters(&self) -> Option<Counters> {
        self.http.as_ref().map(|turn| turn.proxies.borrow().counters().clone())
    }

    /// Who serves from the next client on. If nobody has served in this role so far, what its tasks need.
    pub(super) fn take_over(&mut self, proxy: Proxy) -> Option<New> {
        match proxy {
            Proxy::Tcp(proxy) => {
                self.http.iter().for_each(Turn::end);
                let (proxies, accepts) = Turn::begin(&mut self.tcp, proxy, TcpProxy::succeeding)?;
                Some((Latest::Tcp(proxies), accepts))
            }
            Proxy::Http(proxy) => {
                self.tcp.iter().for_each(Turn::end);
                let (proxies, accepts) = Turn::begin(&mut self.http, proxy, HttpProxy::succeeding)?;
                Some((Latest::Http(proxies), accepts))
            }
        }
    }
}

impl<P> Turn<P> {
    fn begin(
        own: &mut Option<Self>,
        proxy: P,
        succeeding: impl FnOnce(P, &P) -> P,
    ) -> Option<(watch::Receiver<P>, watch::Receiver<bool>)> {
        if let Some(turn) = own {
            let proxy = succeeding(proxy, &turn.proxies.borrow());
            turn.proxies.send_replace(proxy);
            turn.accepts.send_if_modified(|accepts| !std::mem::replace(accepts, true));
            return None;
        }
        let turn = own.insert(Self { proxies: watch::Sender::new(proxy), accepts: watch::Sender::new(true) });
        Some((turn.proxies.subscribe(), turn.accepts.subscribe()))
    }

    fn end(&self) {
        self.accepts.send_if_modified(|accepts| std::mem::replace(accepts, false));
    }
}
