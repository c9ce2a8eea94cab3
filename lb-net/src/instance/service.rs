//! What a service of the model is to the clients that come from now on.

use std::sync::Arc;

use super::{Backends, Instance, pool::RunningPool, role::Proxy};
use crate::{
    TcpProxy,
    config::{Http, Name, Service, Sessions},
    connect::Dialer,
    http::{AccessLog, HttpProxy},
    resolve::Endpoint,
    tcp::{AcceptProxy, Observer},
};

/// What serves the clients of a service that goes to the backends of this pool.
pub(super) fn proxy(
    instance: &Instance,
    name: &Name,
    service: &Service,
    pool: &RunningPool,
    log: Option<&AccessLog>,
) -> Proxy {
    let (sessions, observer) = (service.sessions(), instance.attendant.observer(name, service));
    match service.http() {
        None => Proxy::Tcp(tcp(sessions, &pool.balancer, observer)),
        Some(http) => Proxy::Http(self::http(http, sessions, pool, observer).with_access_log(log.cloned())),
    }
}

fn tcp(sessions: &Sessions, balancer: &Arc<Backends>, observer: Option<Arc<dyn Observer>>) -> TcpProxy<Endpoint> {
    let proxy = TcpProxy::with_connector(Arc::clone(balancer), Arc::new(dialer(sessions).with_late_acknowledgement()))
        .with_settings(sessions.settings())
        .with_accept_proxy(accept_proxy(sessions))
        .with_send_proxy(sessions.send_proxy);
    match observer {
        Some(observer) => proxy.with_observer(observer),
        None => proxy,
    }
}

fn http(
    http: &Http,
    sessions: &Sessions,
    pool: &RunningPool,
    observer: Option<Arc<dyn Observer>>,
) -> HttpProxy<Endpoint> {
    let proxy = HttpProxy::with_connector(Arc::clone(&pool.balancer), Arc::new(dialer(sessions)))
        .in_line_with(&pool.line)
        .with_settings(http.settings(sessions))
        .with_accept_proxy(accept_proxy(sessions));
    match observer {
        Some(observer) => proxy.with_observer(observer),
        None => proxy,
    }
}

fn dialer(sessions: &Sessions) -> Dialer {
    let dialer = Dialer::default();
    let dialer = sessions.source.map_or(dialer, |source| dialer.with_source(source));
    sessions.backend_keepalive.map_or(dialer, |keepalive| dialer.with_keepalive(keepalive))
}

fn accept_proxy(sessions: &Sessions) -> Option<AcceptProxy> {
    let believed = Some(sessions.accept_proxy.clone()).filter(|networks| !networks.is_empty());
    believed.map(AcceptProxy::new)
}
