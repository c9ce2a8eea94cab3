//! A service over a set of services.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use lb_core::{Balancer, Lease, rand::rngs::SmallRng};
use tower_service::Service;

use super::{
    BoxError, Call, Error, HttpRules, PlainRules, Policy, Rules,
    call::Aim,
    shared::{Settings, Shared},
};

/// A service over the services that a balancer keeps for its backends.
///
/// It is always ready: which service a call needs is known only when it is made. The call picks a backend, clones its
/// service, waits until that clone is ready, and calls it. A clone of a `Balance` shares backends, counts and budget.
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # use std::{sync::Arc, time::Instant};
/// use lb_core::{Balancer, rand::{SeedableRng, rngs::SmallRng}};
/// use lb_net::tower::Balance;
/// use tower::{ServiceExt as _, service_fn};
/// let make = |backend: &lb_core::BackendConfig| {
///     let name: Arc<str> = backend.name.as_str().into();
///     service_fn(move |(): ()| std::future::ready(Ok::<_, std::io::Error>(Arc::clone(&name))))
/// };
/// let mut rng = SmallRng::seed_from_u64(1);
/// let balancer = Arc::new(Balancer::new("alpha beta".parse()?, Instant::now(), &mut rng, make));
/// tokio::spawn(lb_net::drive(Arc::clone(&balancer)));
///
/// let balance = Balance::new(Arc::clone(&balancer));
/// assert_eq!(&*balance.clone().oneshot(()).await?, "alpha");
/// assert_eq!(&*balance.oneshot(()).await?, "beta");
/// assert_eq!(balancer.stats().backends[1].succeeded, 1);
/// # Ok(()) }
/// ```
pub struct Balance<S, P = PlainRules> {
    shared: Arc<Shared<S, P>>,
    rng: SmallRng,
}

impl<S: Send + Sync> Balance<S> {
    /// Over any services, with [`Rules::plain`].
    #[must_use]
    pub fn new(balancer: Arc<Balancer<S>>) -> Self {
        Self::of(Shared::new(balancer, Rules::plain(), Settings::default()))
    }
}

impl<S: Send + Sync> Balance<S, HttpRules> {
    /// Over HTTP services, with [`Rules::http`].
    #[must_use]
    pub fn http(balancer: Arc<Balancer<S>>) -> Self {
        Self::of(Shared::new(balancer, Rules::http(), Settings::default()))
    }
}

impl<S: Send + Sync, P> Balance<S, P> {
    fn of(shared: Arc<Shared<S, P>>) -> Self {
        let rng = shared.rng();
        Self { shared, rng }
    }

    /// With these rules, or a policy of your own.
    #[must_use]
    pub fn with_rules<Q>(self, rules: Q) -> Balance<S, Q> {
        Balance::of(self.shared.with_policy(rules))
    }

    /// The balancer, for its counts, changes and orders.
    #[must_use]
    pub fn balancer(&self) -> &Arc<Balancer<S>> {
        &self.shared.balancer
    }
}

impl<S: Send + Sync, P: Clone> Balance<S, P> {
    /// With repetitions of so many percent of the calls, and so many a second besides; 20 and 10 by default. What nobody
    /// has seen costs none of them.
    #[must_use]
    pub fn with_budget(self, percent: u8, per_second: u32) -> Self {
        self.with(Settings { percent, per_second, ..self.shared.settings })
    }

    /// With chance that is the same in each run.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.with(Settings { seed: Some(seed), ..self.shared.settings })
    }

    fn with(&self, settings: Settings) -> Self {
        Self::of(Shared::new(Arc::clone(&self.shared.balancer), self.shared.policy.clone(), settings))
    }
}

impl<S: Send + Sync, P> Clone for Balance<S, P> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }
}

impl<S, P> fmt::Debug for Balance<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").field("balancer", &self.shared.balancer).finish_non_exhaustive()
    }
}

impl<S, Req, P> Service<Req> for Balance<S, P>
where
    S: Service<Req, Error: Into<BoxError>> + Clone + Send + Sync,
    P: Policy<Req, S::Response, S>,
{
    type Response = P::Held;
    type Error = Error;
    type Future = Call<S, Req, S, P, Own>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        Call::begin(&self.shared, &mut self.rng, request, None, Own)
    }
}

/// The backend has a service of its own.
#[derive(Clone, Copy, Debug)]
pub struct Own;

impl<S: Clone, Req> Aim<S, S, Req> for Own {
    const IS_SHARED: bool = false;

    fn aim(&self, backend: &Lease<S>, service: &mut Option<S>, _: &mut Req) -> Result<(), Error> {
        *service = Some(backend.payload().clone());
        Ok(())
    }
}
