//! Several handles on one backend, so that threads that pick it at once do not all write the same reference count.

use std::{
    array,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::member::Member;

/// As many as `lb` has workers by default.
const HANDLES: usize = 4;

thread_local! {
    /// Threads are numbered as they pick for the first time; it decides nothing but which handle they use.
    static NUMBER: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

/// What a lease holds.
pub(crate) struct Handle<T> {
    member: Arc<Member<T>>,
    /// Keeps two reference counts from sharing a cache line. More than an alignment would need, which would put the
    /// count and what it counts into two.
    _apart: [u64; 12],
}

/// All handles on one backend.
pub(crate) struct Handles<T>([Arc<Handle<T>>; HANDLES]);

impl<T> Handles<T> {
    pub(crate) fn new(member: &Arc<Member<T>>) -> Self {
        Self(array::from_fn(|_| Arc::new(Handle { member: Arc::clone(member), _apart: [0; 12] })))
    }

    /// The one that this thread uses.
    pub(crate) fn mine(&self) -> Arc<Handle<T>> {
        Arc::clone(&self.0[NUMBER.with(|number| number % HANDLES)])
    }
}

impl<T> Clone for Handles<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Handle<T> {
    type Target = Member<T>;

    fn deref(&self) -> &Member<T> {
        &self.member
    }
}
