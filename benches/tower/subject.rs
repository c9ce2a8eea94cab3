//! The balanced services that take turns.

use std::{convert::Infallible, future::ready, sync::Arc, time::Instant};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, SelectorKind,
    rand::{SeedableRng as _, rngs::SmallRng},
    selector::Metric,
};
use lb_net::tower::Balance;
use tokio::runtime::Runtime;
use tower::{
    balance::p2c,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
};

use crate::timing::{Cost, allocations, clones, own, tasks};

/// Requests that wait in front of tower's balancer, at most.
const BUFFERED: usize = 1024;

type Measure = Box<dyn FnMut(&Runtime, &Runtime, &mut Cost)>;

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    measure: Measure,
}

impl Subject {
    pub(crate) fn all(backends: usize) -> Vec<Self> {
        vec![
            ours("lb least-loaded", SelectorKind::LeastLoaded(Metric::InFlight), backends),
            ours("lb round-robin", SelectorKind::RoundRobin, backends),
            p2c_alone(backends),
            p2c_buffered(backends),
        ]
    }

    pub(crate) fn measure(&mut self, one: &Runtime, two: &Runtime, cost: &mut Cost) {
        (self.measure)(one, two, cost);
    }
}

/// Answers at once.
type Echo = fn(()) -> std::future::Ready<Result<(), Infallible>>;

fn echo() -> tower::util::ServiceFn<Echo> {
    tower::service_fn(|()| ready(Ok(())))
}

fn ours(name: &'static str, selector: SelectorKind, backends: usize) -> Subject {
    let backend = |at: usize| BackendConfig::new(format!("backend-{at}:80"));
    let group = GroupConfig::new((0..backends).map(backend)).with_selector(selector);
    let mut rng = SmallRng::seed_from_u64(1);
    let config = Config::default().with_group(group);
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, |_| echo()));
    let mut balance = Balance::new(balancer);
    let measure = move |one: &Runtime, two: &Runtime, cost: &mut Cost| {
        cost.own.push(own(one, &mut balance));
        cost.clone.push(clones(one, &balance));
        cost.tasks.push(tasks(two, &balance));
        cost.allocations = allocations(one, &mut balance);
    };
    Subject { name, measure: Box::new(measure) }
}

fn list(backends: usize) -> ServiceList<Vec<PendingRequests<tower::util::ServiceFn<Echo>>>> {
    let service = |_| PendingRequests::new(echo(), CompleteOnResponse::default());
    ServiceList::new((0..backends).map(service).collect())
}

/// It cannot be cloned.
fn p2c_alone(backends: usize) -> Subject {
    let mut balance = p2c::Balance::new(list(backends));
    let measure = move |one: &Runtime, _: &Runtime, cost: &mut Cost| {
        cost.own.push(own(one, &mut balance));
        cost.allocations = allocations(one, &mut balance);
    };
    Subject { name: "tower p2c", measure: Box::new(measure) }
}

fn p2c_buffered(backends: usize) -> Subject {
    let mut balance = Buffer::new(p2c::Balance::new(list(backends)), BUFFERED);
    let measure = move |_: &Runtime, two: &Runtime, cost: &mut Cost| {
        // Its worker has a thread of its own here: with the caller's it would take longer.
        cost.own.push(own(two, &mut balance));
        cost.clone.push(clones(two, &balance));
        cost.tasks.push(tasks(two, &balance));
        cost.allocations = allocations(two, &mut balance);
    };
    Subject { name: "tower p2c in a Buffer", measure: Box::new(measure) }
}
