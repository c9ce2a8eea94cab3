//! The balanced services that take turns.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{
    BackendConfig, Balancer, Config, GroupConfig, SelectorKind,
    rand::{SeedableRng as _, rngs::SmallRng},
    selector::Metric,
};
use lb_net::tower::Balance;
use tokio::runtime::Runtime;
use tower::{
    BoxError, Service,
    balance::p2c,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, Load, PeakEwma, PendingRequests},
};

use crate::timing::{Cost, allocations, call_often, clones, own, tasks};

/// Requests that wait in front of tower's balancer, at most.
const BUFFERED: usize = 1024;

/// One round of timing, or so many calls by one caller.
enum Task<'a> {
    Measure { two: &'a Runtime, cost: &'a mut Cost },
    Call(usize),
}

type Run = Box<dyn FnMut(&Runtime, Task<'_>)>;

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Whether its calls end on the caller's own thread.
    pub(crate) is_alone: bool,
    run: Run,
}

impl Subject {
    pub(crate) fn all(backends: usize) -> Vec<Self> {
        vec![
            ours("lb least-loaded", SelectorKind::LeastLoaded(Metric::InFlight), backends),
            ours("lb peak-ewma", SelectorKind::LeastLoaded(Metric::PeakEwma), backends),
            ours("lb round-robin", SelectorKind::RoundRobin, backends),
            p2c_alone("tower p2c", services(backends, pending)),
            p2c_alone("tower p2c, peak EWMA", services(backends, peak_ewma)),
            p2c_buffered("tower p2c in a Buffer", services(backends, pending)),
            p2c_buffered("tower p2c, peak EWMA, in a Buffer", services(backends, peak_ewma)),
        ]
    }

    pub(crate) fn measure(&mut self, one: &Runtime, two: &Runtime, cost: &mut Cost) {
        (self.run)(one, Task::Measure { two, cost });
    }

    /// So many calls on this runtime, one after the other.
    pub(crate) fn call(&mut self, one: &Runtime, calls: usize) {
        (self.run)(one, Task::Call(calls));
    }
}

/// Answers at once.
type Echo = tower::util::ServiceFn<fn(()) -> std::future::Ready<Result<(), Infallible>>>;

fn echo() -> Echo {
    tower::service_fn(|()| ready(Ok(())))
}

fn ours(name: &'static str, selector: SelectorKind, backends: usize) -> Subject {
    let backend = |at: usize| BackendConfig::new(format!("backend-{at}:80"));
    let group = GroupConfig::new((0..backends).map(backend)).with_selector(selector);
    let mut rng = SmallRng::seed_from_u64(1);
    let config = Config::default().with_group(group);
    let balancer = Arc::new(Balancer::new(config, Instant::now(), &mut rng, |_| echo()));
    let mut balance = Balance::new(balancer);
    let run = move |one: &Runtime, task: Task<'_>| match task {
        Task::Measure { two, cost } => {
            cost.own.push(own(one, &mut balance));
            cost.clone.push(clones(one, &balance));
            cost.tasks.push(tasks(two, &balance));
            cost.allocations = allocations(one, &mut balance);
        }
        Task::Call(calls) => one.block_on(call_often(&mut balance, calls)),
    };
    Subject { name, is_alone: true, run: Box::new(run) }
}

fn pending() -> PendingRequests<Echo> {
    PendingRequests::new(echo(), CompleteOnResponse::default())
}

/// With the times that its documentation has.
fn peak_ewma() -> PeakEwma<Echo> {
    PeakEwma::new(echo(), Duration::from_millis(1), 10e9, CompleteOnResponse::default())
}

fn services<S: Service<()>>(backends: usize, service: fn() -> S) -> ServiceList<Vec<S>> {
    ServiceList::new::<()>((0..backends).map(|_| service()).collect())
}

/// It cannot be cloned.
fn p2c_alone<S>(name: &'static str, services: ServiceList<Vec<S>>) -> Subject
where
    S: Service<(), Error: Into<BoxError>> + Load<Metric: Debug> + 'static,
{
    let mut balance = p2c::Balance::new(services);
    let run = move |one: &Runtime, task: Task<'_>| match task {
        Task::Measure { cost, .. } => {
            cost.own.push(own(one, &mut balance));
            cost.allocations = allocations(one, &mut balance);
        }
        Task::Call(calls) => one.block_on(call_often(&mut balance, calls)),
    };
    Subject { name, is_alone: true, run: Box::new(run) }
}

fn p2c_buffered<S>(name: &'static str, services: ServiceList<Vec<S>>) -> Subject
where
    S: Service<(), Response: Send, Error: Into<BoxError> + Send, Future: Send> + Load<Metric: Debug> + Send + 'static,
{
    let mut balance = Buffer::new(p2c::Balance::new(services), BUFFERED);
    let run = move |one: &Runtime, task: Task<'_>| match task {
        Task::Measure { two, cost } => {
            // Its worker has a thread of its own here: with the caller's it would take longer.
            cost.own.push(own(two, &mut balance));
            cost.clone.push(clones(two, &balance));
            cost.tasks.push(tasks(two, &balance));
            cost.allocations = allocations(two, &mut balance);
        }
        Task::Call(calls) => one.block_on(call_often(&mut balance, calls)),
    };
    Subject { name, is_alone: false, run: Box::new(run) }
}
