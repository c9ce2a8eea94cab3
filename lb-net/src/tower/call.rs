//! One call: to the backend that was picked, and to others when that comes to nothing.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use lb_core::{BackendId, Lease, Outcome, Tried, rand::rngs::SmallRng};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{BoxError, End, Error, Policy, shared::Shared};
use crate::driver::now;

/// How a request gets to the backend that was picked.
pub trait Aim<T, S, Req> {
    /// Whether one service is for all backends: that it is not ready says nothing about any of them.
    const IS_SHARED: bool;

    /// Leaves in `service` what to call for it, and makes the request fit for it.
    fn aim(&self, backend: &Lease<T>, service: &mut Option<S>, request: &mut Req) -> Result<(), Error>;
}

pin_project! {
    /// A call under way. Dropped, it counts as cancelled and gives its place back.
    /// ```
    /// # use std::{sync::Arc, time::Instant};
    /// use lb_core::{Balancer, rand::{SeedableRng, rngs::SmallRng}};
    /// use lb_net::tower::Balance;
    /// use tower::{Service as _, service_fn};
    /// let never = service_fn(|(): ()| std::future::pending::<Result<(), std::io::Error>>());
    /// let (mut rng, config) = (SmallRng::seed_from_u64(1), "alpha beta".parse()?);
    /// let mut balance = Balance::new(Arc::new(Balancer::new(config, Instant::now(), &mut rng, |_| never)));
    /// let call = balance.call(());
    /// assert_eq!(balance.balancer().stats().backends[0].in_flight, 1);
    /// drop(call);
    /// assert_eq!(balance.balancer().stats().backends[0].cancelled, 1);
    /// # Ok::<(), lb_core::SpecError>(())
    /// ```
    #[must_use = "futures do nothing unless they are polled"]
    #[project = CallProjection]
    pub struct Call<S: Service<Req>, Req, T, P, A> {
        #[pin]
        running: Option<S::Future>,
        attempt: Attempt<S, Req, T, P, A>,
    }
}

/// What there is beside the inner future.
struct Attempt<S, Req, T, P, A> {
    shared: Arc<Shared<T, P>>,
    aim: A,
    service: Option<S>,
    /// Whether the service has said that it is ready.
    is_ready: bool,
    /// Until the service is ready.
    request: Option<Req>,
    lease: Option<Lease<T>>,
    /// Whether anybody wants to know when the lease began and ends.
    is_timed: bool,
    /// For another backend.
    spare: Option<Req>,
    /// Whether a backend may have begun with it before this one.
    is_repeated: bool,
    /// On the heap, as hardly any call needs it.
    tried: Option<Box<Tried>>,
    /// Why it goes nowhere, until it is told.
    error: Option<Error>,
}

impl<S, Req, T, P, A> Call<S, Req, T, P, A>
where
    S: Service<Req>,
    T: Send + Sync,
    P: Policy<Req, S::Response, T>,
    A: Aim<T, S, Req>,
{
    /// Picks a backend at once. `ready` is a service that is.
    pub(super) fn begin(
        shared: &Arc<Shared<T, P>>,
        rng: &mut SmallRng,
        request: Req,
        ready: Option<S>,
        aim: A,
    ) -> Self {
        shared.begin();
        let time = shared.balancer.time_if_needed(now);
        let picked = shared.pick(shared.policy.hints(&request), None, time.unwrap_or(shared.made), rng);
        let spare = picked.is_ok().then(|| shared.policy.copy(&request)).flatten();
        let mut attempt = Attempt {
            shared: Arc::clone(shared),
            aim,
            is_ready: ready.is_some(),
            service: ready,
            request: None,
            lease: None,
            is_timed: time.is_some(),
            spare,
            is_repeated: false,
            tried: None,
            error: None,
        };
        match picked {
            Ok(lease) => attempt.go(lease, request),
            Err(reason) => attempt.error = Some(Error::NoPick(reason)),
        }
        Self { running: None, attempt }
    }
}

impl<S, Req, T, P, A> Future for Call<S, Req, T, P, A>
where
    S: Service<Req, Error: Into<BoxError>>,
    T: Send + Sync,
    P: Policy<Req, S::Response, T>,
    A: Aim<T, S, Req>,
{
    type Output = Result<P::Held, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let CallProjection { mut running, attempt } = self.project();
        loop {
            if let Some(future) = running.as_mut().as_pin_mut() {
                let result = ready!(future.poll(cx));
                running.set(None);
                // Polled again after its end, it says nothing more.
                let Some(lease) = attempt.lease.take() else { return Poll::Pending };
                match result {
                    Ok(response) => return Poll::Ready(Ok(attempt.answer(lease, response))),
                    Err(error) => attempt.fail(lease, error.into(), true),
                }
            } else if attempt.request.is_none() {
                return attempt.error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            } else {
                match ready!(attempt.poll_call(cx)) {
                    Ok(future) => running.set(Some(future)),
                    Err(error) => {
                        let Some(lease) = attempt.lease.take() else { return Poll::Pending };
                        attempt.fail(lease, error.into(), false);
                    }
                }
            }
        }
    }
}

impl<S, Req, T, P, A> Attempt<S, Req, T, P, A>
where
    S: Service<Req>,
    T: Send + Sync,
    P: Policy<Req, S::Response, T>,
    A: Aim<T, S, Req>,
{
    /// Sends the request there, once the service is ready.
    fn go(&mut self, lease: Lease<T>, mut request: Req) {
        match self.aim.aim(&lease, &mut self.service, &mut request) {
            Ok(()) => (self.lease, self.request) = (Some(lease), Some(request)),
            Err(error) => self.error = Some(error),
        }
    }

    /// Calls the service as soon as it is ready.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::Future, S::Error>> {
        let Some(service) = &mut self.service else { return Poll::Pending };
        if !self.is_ready {
            ready!(service.poll_ready(cx))?;
        }
        self.is_ready = false;
        let Some(request) = self.request.take() else { return Poll::Pending };
        Poll::Ready(Ok(service.call(request)))
    }

    fn answer(&mut self, mut lease: Lease<T>, response: S::Response) -> P::Held {
        let policy = &self.shared.policy;
        let outcome = policy.outcome(Ok(&response));
        if outcome == Outcome::Success {
            lease.went_well();
        }
        let any = (!self.is_timed).then_some(self.shared.made);
        policy.hold(response, End::new(lease, outcome, any))
    }

    /// Goes to another backend or leaves the error.
    #[cold]
    fn fail(&mut self, lease: Lease<T>, source: BoxError, has_begun: bool) {
        self.request = None;
        if A::IS_SHARED && !has_begun {
            self.error = Some(Error::NotReady(source));
            // Dropped, the lease counts as cancelled.
            return;
        }
        let (id, backend, now) = (lease.id(), lease.name().to_owned(), now());
        // Nobody has seen a request for which the service was never ready, and no client can bring that about.
        let outcome = if has_begun { self.shared.policy.outcome(Err(&*source)) } else { Outcome::ConnectFailed };
        lease.finish(outcome, now);
        if !self.goes_on(id, outcome) {
            self.error = Some(Error::Failed { backend, source });
        }
    }

    /// Whether there is another backend for it; then it goes there.
    fn goes_on(&mut self, id: BackendId, outcome: Outcome) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(spare) = self.spare.take() else { return false };
        let may = match outcome {
            Outcome::ConnectFailed => true,
            Outcome::Broken | Outcome::TimedOut | Outcome::ServerError
                if !self.is_repeated && shared.policy.is_repeatable(&spare) =>
            {
                self.is_repeated = true;
                shared.may_repeat(now())
            }
            _ => false,
        };
        if !may {
            return false;
        }
        let tried = self.tried.get_or_insert_default();
        tried.insert(id);
        self.is_timed = true;
        let picked = shared.pick(shared.policy.hints(&spare), Some(tried), now(), &mut shared.rng());
        let Ok(lease) = picked else { return false };
        self.spare = shared.policy.copy(&spare);
        self.go(lease, spare);
        true
    }
}

impl<S: Service<Req>, Req, T, P, A> fmt::Debug for Call<S, Req, T, P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attempt { lease, is_repeated, .. } = &self.attempt;
        f.debug_struct("Call").field("lease", lease).field("is_repeated", is_repeated).finish_non_exhaustive()
    }
}
