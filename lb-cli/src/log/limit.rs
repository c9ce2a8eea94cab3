//! So many lines of a kind in a while: a backend that fails under load does not flood the log.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Level;

/// For how long lines of a kind are counted.
pub(super) const SPAN: Duration = Duration::from_secs(10);

/// Lines of one kind about one backend in that time.
const LINES: u32 = 10;

/// How many kinds are kept before old ones are looked for.
const KEPT: usize = 256;

/// What a line is about: a backend or source, say, and which one; or two empty words.
pub(super) type Subject<T> = (&'static str, T);

/// What was left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct More {
    pub(super) level: Level,
    pub(super) event: &'static str,
    pub(super) subject: Subject<String>,
    pub(super) count: u64,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    level: Level,
    lines: u32,
    more: u64,
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) >= SPAN
    }
}

/// The lines of the last while, by what they are about.
#[derive(Debug)]
pub(super) struct Limits {
    windows: HashMap<(&'static str, Subject<String>), Window>,
    /// At this size windows that are over are taken out: twice what was left the last time, so that it costs little.
    look_at: usize,
    /// When the first window in which something was left out is over: before that, nothing has to be looked through.
    next_due: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { windows: HashMap::new(), look_at: KEPT, next_due: None }
    }
}

impl Limits {
    /// Whether this line may be written. What is over must have been taken out by [`due`](Self::due).
    pub(super) fn admit(&mut self, level: Level, event: &'static str, subject: Subject<&str>, now: Instant) -> bool {
        if self.windows.len() >= self.look_at {
            self.windows.retain(|_, window| window.more > 0 || !window.is_over(now));
            self.look_at = KEPT.max(2 * self.windows.len());
        }
        let fresh = || Window { began: now, level, lines: 0, more: 0 };
        let window = self.windows.entry((event, (subject.0, subject.1.to_owned()))).or_insert_with(fresh);
        if window.more == 0 && window.is_over(now) {
            *window = fresh();
        }
        if window.lines < LINES {
            window.lines += 1;
            return true;
        }
        let over = window.began + SPAN;
        self.next_due = Some(self.next_due.map_or(over, |next| next.min(over)));
        window.more += 1;
        window.level = window.level.min(level);
        false
    }

    /// What was left out in windows that are over; in all of them when no time is given.
    pub(super) fn due(&mut self, now: Option<Instant>) -> Vec<More> {
        let mut due = Vec::new();
        if self.next_due.is_none_or(|next| now.is_some_and(|now| now < next)) {
            return due;
        }
        let (windows, mut next_due) = (&mut self.windows, None);
        windows.retain(|(event, subject), window| {
            if window.more == 0 {
                return true;
            }
            if now.is_some_and(|now| !window.is_over(now)) {
                let over = window.began + SPAN;
                next_due = Some(next_due.map_or(over, |next: Instant| next.min(over)));
                return true;
            }
            let subject = subject.clone();
            due.push(More { level: window.level, event, subject, count: window.more });
            false
        });
        self.next_due = next_due;
        due
    }

    /// When the first of them is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_of_a_kind_pass_and_the_others_are_summed_up() {
        let (mut limits, began) = (Limits::default(), Instant::now());
        let passed = |limits: &mut Limits, event, subject, at| {
            (0..1000).filter(|_| limits.admit(Level::Warning, event, ("backend", subject), at)).count()
        };
        assert_eq!(passed(&mut limits, "down", "a", began), 10);
        assert_eq!(passed(&mut limits, "down", "b", began), 10, "another backend");
        assert_eq!(passed(&mut limits, "up", "a", began), 10, "another kind");
        assert_eq!(limits.due(Some(began)), []);
        assert_eq!(limits.next_due(), Some(began + SPAN));
        let mut due = limits.due(Some(began + SPAN));
        due.sort_by_key(|more| (more.event, more.subject.1.clone()));
        let left_out = due.iter().map(|more| (more.event, more.subject.1.as_str(), more.count)).collect::<Vec<_>>();
        assert_eq!(left_out, [("down", "a", 990), ("down", "b", 990), ("up", "a", 990)]);
        assert_eq!(limits.next_due(), None);
        assert_eq!(passed(&mut limits, "down", "a", began + SPAN), 10, "the next while");
        assert_eq!(limits.due(None).len(), 1, "at the end");
    }

    #[test]
    fn what_is_over_does_not_stay() {
        let (mut limits, began) = (Limits::default(), Instant::now());
        for backend in 0..10_000_u32 {
            let at = began + Duration::from_millis(u64::from(backend) * 100);
            assert!(limits.admit(Level::Notice, "down", ("backend", &backend.to_string()), at));
        }
        assert!(limits.windows.len() <= 2 * KEPT, "{} kept", limits.windows.len());
    }
}
