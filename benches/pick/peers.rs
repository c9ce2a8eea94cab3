//! The same for the selectors of other balancers that a Rust program can embed.

use std::{cell::RefCell, convert::Infallible, future::ready, sync::Mutex};

use pingora_load_balancing::{
    LoadBalancer,
    selection::{BackendIter, BackendSelection, Consistent, FNVHash, Random, RoundRobin},
};
use tower::{
    Service, ServiceExt as _,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
};

use crate::{case::Openness, show, timing::measure};

pub(crate) fn table(sizes: &[usize]) {
    for backends in sizes.iter().copied() {
        pingora::<RoundRobin>("pingora round robin", backends);
        pingora::<Random>("pingora random", backends);
        pingora::<FNVHash>("pingora FNV hash", backends);
        pingora::<Consistent>("pingora ketama", backends);
        p2c(backends);
    }
}

thread_local! {
    static KEY: RefCell<u64> = const { RefCell::new(0) };
}

/// It only chooses: no limit, no lease, no count.
fn pingora<S: BackendSelection + Send + Sync + 'static>(name: &str, backends: usize)
where
    S::Iter: BackendIter,
    S::Config: Send + Sync,
{
    let addresses = (0..backends).map(|at| format!("127.{}.{}.1:80", at / 250, at % 250));
    let Ok(balancer) = LoadBalancer::<S>::try_from_iter(addresses) else { return };
    let select = |rounds: usize| {
        for _ in 0..rounds {
            let key = KEY.with_borrow_mut(|key| {
                *key += 1;
                key.to_le_bytes()
            });
            std::hint::black_box(balancer.select(&key, 256));
        }
    };
    show(name, backends, Openness::All, measure(&select));
}

/// It must be called through `&mut`, so that two threads need a lock, and gives the answer of a service.
fn p2c(backends: usize) {
    let service = |_| {
        let echo = tower::service_fn(|(): ()| ready(Ok::<(), Infallible>(())));
        PendingRequests::new(echo, CompleteOnResponse::default())
    };
    let list = ServiceList::new((0..backends).map(service).collect::<Vec<_>>());
    let balance = Mutex::new(Balance::new(list));
    let runtime = || tokio::runtime::Builder::new_current_thread().build();
    let call = |rounds: usize| {
        let Ok(runtime) = runtime() else { return };
        for _ in 0..rounds {
            let Ok(mut balance) = balance.lock() else { return };
            let _ = runtime.block_on(async { balance.ready().await?.call(()).await });
        }
    };
    show("tower p2c", backends, Openness::All, measure(&call));
}
