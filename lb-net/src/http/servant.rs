//! Memory for serving: what a request needs while it is served, used again and again, so that connections that wait have
//! none of it and requests allocate none.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

/// Servants that a worker keeps for the next requests.
const KEPT: usize = 256;

/// One who serves a connection's requests, and then another one's.
pub(super) type Servant<P> = Pin<Box<dyn Serve<P>>>;

/// Serves connections, one after the other.
pub(super) trait Serve<P>: Send {
    /// With this one.
    fn begin(self: Pin<&mut Self>, parts: Box<P>);

    /// Ready when its requests are answered: whether it may have more of them.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Box<P>, bool)>;
}

pin_project! {
    struct Slot<S, F> {
        serve: S,
        #[pin]
        serving: Option<F>,
    }
}

/// A new one, who serves in this way.
pub(super) fn new<P, F>(serve: impl Fn(Box<P>) -> F + Send + 'static) -> Servant<P>
where
    P: 'static,
    F: Future<Output = (Box<P>, bool)> + Send + 'static,
{
    Box::pin(Slot { serve, serving: None })
}

impl<P, S, F> Serve<P> for Slot<S, F>
where
    S: Fn(Box<P>) -> F + Send,
    F: Future<Output = (Box<P>, bool)> + Send,
{
    fn begin(self: Pin<&mut Self>, parts: Box<P>) {
        let mut slot = self.project();
        let serving = (slot.serve)(parts);
        slot.serving.set(Some(serving));
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Box<P>, bool)> {
        let mut serving = self.project().serving;
        let Some(running) = serving.as_mut().as_pin_mut() else { return Poll::Pending };
        let served = ready!(running.poll(cx));
        serving.set(None);
        Poll::Ready(served)
    }
}

/// Those of one worker that have nothing to do.
pub(super) struct Servants<P>(Mutex<Vec<Servant<P>>>);

impl<P> Servants<P> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn take(&self) -> Option<Servant<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn give_back(&self, servant: Servant<P>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(servant);
        }
    }
}
