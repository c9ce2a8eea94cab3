//! What a service of the model is to the clients that come from now on.

use std::sync::Arc;

use super::{Backends, Instance};
use crate::{
    TcpProxy,
    config::{Name, Service},
    connect::Dialer,
    resolve::Endpoint,
    tcp::AcceptProxy,
};

/// What serves the clients of a service that goes to these backends.
pub(super) fn proxy(
    instance: &Instance,
    name: &Name,
    service: &Service,
    balancer: &Arc<Backends>,
) -> TcpProxy<Endpoint> {
    let sessions = service.sessions();
    let dialer = Dialer::default().with_late_acknowledgement();
    let dialer = sessions.source.map_or(dialer, |source| dialer.with_source(source));
    let dialer = sessions.backend_keepalive.map_or(dialer, |keepalive| dialer.with_keepalive(keepalive));
    let believed = Some(sessions.accept_proxy.clone()).filter(|networks| !networks.is_empty());
    let proxy = TcpProxy::with_connector(Arc::clone(balancer), Arc::new(dialer))
        .with_settings(sessions.settings())
        .with_accept_proxy(believed.map(AcceptProxy::new))
        .with_send_proxy(sessions.send_proxy);
    match instance.attendant.observer(name, service) {
        Some(observer) => proxy.with_observer(observer),
        None => proxy,
    }
}
