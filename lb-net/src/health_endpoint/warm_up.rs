//! What must be done before the first request.

use std::sync::{Arc, Mutex, PoisonError};

use lb_core::health::Said;

use super::State;

/// A piece of warm-up that has begun: the application is DOWN until it is [`done`](Self::done).
///
/// Dropped without that, by a panic or an early return, it has failed, and the application stays DOWN; to begin the same
/// anew, by its name, makes up for it.
/// ```
/// use lb_net::health_endpoint::Health;
/// let health = Health::new();
/// let (caches, index) = (health.warm_up("caches"), health.warm_up("index"));
/// assert_eq!(health.report().to_string(), "DOWN: warming: caches, index");
/// caches.done();
/// drop(index);
/// assert_eq!(health.report().to_string(), "DOWN: warm-up failed: index");
/// health.warm_up("index").done();
/// assert_eq!(health.report().to_string(), "UP");
/// ```
#[derive(Debug)]
#[must_use = "dropped, it has failed"]
pub struct WarmUp {
    tasks: WarmUps,
    serial: u64,
    is_done: bool,
}

impl WarmUp {
    /// It has been done.
    pub fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for WarmUp {
    fn drop(&mut self) {
        self.tasks.end(self.serial, self.is_done);
    }
}

/// All that are under way or have failed, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(super) struct WarmUps(Arc<Mutex<Tasks>>);

#[derive(Debug, Default)]
struct Tasks {
    next: u64,
    open: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    serial: u64,
    name: String,
    has_failed: bool,
}

impl WarmUps {
    pub(super) fn begin(&self, name: String) -> WarmUp {
        let serial = self.with(|tasks| {
            tasks.next += 1;
            tasks.open.retain(|task| !(task.has_failed && task.name == name));
            tasks.open.push(Task { serial: tasks.next, name, has_failed: false });
            tasks.next
        });
        WarmUp { tasks: self.clone(), serial, is_done: false }
    }

    fn end(&self, serial: u64, is_done: bool) {
        self.with(|tasks| {
            tasks.open.retain(|task| !(is_done && task.serial == serial));
            tasks.open.iter_mut().filter(|task| task.serial == serial).for_each(|task| task.has_failed = true);
        });
    }

    /// What they say, if there is something left to do.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, State)> {
        let named = |what, has_failed| {
            let open = |tasks: &mut Tasks| {
                let open = tasks.open.iter().filter(|task| task.has_failed == has_failed);
                open.map(|task| task.name.clone()).collect::<Vec<_>>()
            };
            let names = self.with(open);
            (!names.is_empty()).then(|| (what, State::new(Said::Down).with_reason(names.join(", "))))
        };
        [named("warm-up failed", true), named("warming", false)].into_iter().flatten()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Tasks) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use crate::health_endpoint::Health;

    #[test]
    fn a_task_that_panics_has_failed() {
        let health = Health::new();
        let guard = health.warm_up("caches");
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("no caches (this panic belongs to the test)");
        });
        assert!(thread.join().is_err());
        assert_eq!(health.report().to_string(), "DOWN: warm-up failed: caches");
    }

    #[test]
    fn two_of_one_name_are_both_waited_for() {
        let health = Health::new();
        let (one, two) = (health.warm_up("caches"), health.warm_up("caches"));
        one.done();
        assert_eq!(health.report().to_string(), "DOWN: warming: caches");
        two.done();
        assert_eq!(health.report().to_string(), "UP");
    }

    #[test]
    fn a_name_of_no_letters_is_waited_for_too() {
        let health = Health::new();
        let guard = health.warm_up("");
        assert!(!health.report().is_up());
        guard.done();
        assert!(health.report().is_up());
    }
}
