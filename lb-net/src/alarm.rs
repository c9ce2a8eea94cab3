//! Many deadlines that hardly ever come due, on one timer.
//!
//! A connect is over long before its backend counts as silent. A timer of its own for each would cost more than the
//! rest of its bookkeeping, so deadlines are only noted, and one task looks at them while there are any.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How late an alarm may come.
const TICK: Duration = Duration::from_millis(20);

/// The deadlines of one listener's connects.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    noted: Mutex<Noted>,
    first: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    places: Vec<Option<(Instant, Waker)>>,
    free: Vec<usize>,
    /// Whether the task is looking; while it is, it finds new deadlines by itself.
    watched: bool,
}

/// One deadline, forgotten when it is dropped.
#[derive(Debug)]
pub(crate) struct Alarm {
    alarms: Arc<Alarms>,
    place: Option<usize>,
}

impl Alarms {
    /// Wakes whom it is time for, for as long as it is polled.
    pub(crate) async fn ring(self: Arc<Self>) -> Infallible {
        loop {
            while let Some(next) = self.wake_due(Instant::now()) {
                sleep_until(next.min(Instant::now() + TICK)).await;
            }
            self.first.notified().await;
        }
    }

    /// Returns the next deadline; without any nobody is looking from here on.
    fn wake_due(&self, now: Instant) -> Option<Instant> {
        let mut noted = self.noted();
        let due = noted.places.iter().flatten().filter(|(at, _)| *at <= now);
        due.for_each(|(_, waker)| waker.wake_by_ref());
        // Who was woken notes a new deadline, or is gone by the next look.
        let next = noted.places.iter().flatten().map(|(at, _)| if *at <= now { now + TICK } else { *at }).min();
        noted.watched = next.is_some();
        next
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alarm {
    pub(crate) fn new(alarms: Arc<Alarms>) -> Self {
        Self { alarms, place: None }
    }

    /// Has `waker` woken at this time, in place of whatever was set before.
    pub(crate) fn set(&mut self, at: Instant, waker: &Waker) {
        let noted = &mut *self.alarms.noted();
        let place = *self.place.get_or_insert_with(|| {
            noted.free.pop().unwrap_or_else(|| {
                noted.places.push(None);
                noted.places.len() - 1
            })
        });
        match &mut noted.places[place] {
            Some((time, known)) if known.will_wake(waker) => *time = at,
            other => *other = Some((at, waker.clone())),
        }
        if !std::mem::replace(&mut noted.watched, true) {
            self.alarms.first.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let noted = &mut *self.alarms.noted();
        noted.places[place] = None;
        noted.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    async fn wait(alarms: Arc<Alarms>, time: Duration) {
        let (mut alarm, at) = (Alarm::new(alarms), Instant::now() + time);
        poll_fn(|cx| {
            alarm.set(at, cx.waker());
            if Instant::now() >= at { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn alarms_ring_in_time_and_leave_nothing_behind() {
        let alarms = Arc::<Alarms>::default();
        let ringing = tokio::spawn(Arc::clone(&alarms).ring());
        let begin = Instant::now();
        let wait = |millis| wait(Arc::clone(&alarms), Duration::from_millis(millis));
        tokio::join!(wait(100), wait(300), wait(5000));
        let passed = begin.elapsed();
        assert!(passed >= Duration::from_secs(5) && passed <= Duration::from_secs(5) + TICK, "{passed:?}");
        wait(50).await;
        let noted = alarms.noted();
        assert_eq!((noted.places.iter().flatten().count(), noted.places.len(), noted.free.len()), (0, 3, 3));
        ringing.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_alarm_wakes_nobody() {
        let alarms = Arc::<Alarms>::default();
        let mut alarm = Alarm::new(Arc::clone(&alarms));
        poll_fn(|cx| {
            alarm.set(Instant::now(), cx.waker());
            Poll::Ready(())
        })
        .await;
        drop(alarm);
        assert_eq!(alarms.wake_due(Instant::now()), None);
    }
}
