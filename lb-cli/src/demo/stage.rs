//! The backends and what befalls them, by key or by timer.

use std::{io, time::Duration};

use super::backend::{Backend, State};

/// Between two events of the timer.
pub(super) const BETWEEN: Duration = Duration::from_secs(3);

/// Until the first of them.
pub(super) const BEFORE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) backends: Vec<Backend>,
    /// Events of the timer so far.
    scenes: usize,
    /// Who is to be silent next.
    next_silent: usize,
}

impl Stage {
    pub(super) fn new(names: &[&'static str]) -> io::Result<Self> {
        let backends = names.iter().map(|name| Backend::start(name)).collect::<io::Result<_>>()?;
        Ok(Self { backends, scenes: 0, next_silent: 0 })
    }

    /// What the timer does: one is killed, the next one falls silent, both come back; then the same with the others.
    pub(super) fn next_scene(&mut self) -> String {
        let (round, scene) = (self.scenes / 4, self.scenes % 4);
        self.scenes += 1;
        let victim = (round + 1) % self.backends.len();
        let other = (victim + 1) % self.backends.len();
        match scene {
            0 => self.kill(victim),
            1 => self.silence(other),
            2 => self.revive(victim),
            _ => self.revive(other),
        }
    }

    /// What a key does to a backend. `None` when there is none of that number.
    pub(super) fn toggle(&mut self, at: usize) -> Option<String> {
        let running = self.backends.get(at)?.state() == State::Running;
        Some(if running { self.kill(at) } else { self.revive(at) })
    }

    /// The next one that runs falls silent.
    pub(super) fn silence_next(&mut self) -> String {
        let count = self.backends.len();
        let mut next = (0..count).map(|step| (self.next_silent + step) % count);
        let Some(at) = next.find(|at| self.backends[*at].state() == State::Running) else {
            return "none is running that could be made silent: revive one".to_owned();
        };
        self.next_silent = at + 1;
        self.silence(at)
    }

    fn kill(&mut self, at: usize) -> String {
        let done = self.backends[at].kill();
        let rest = self.running();
        self.event(
            at,
            done,
            "killed",
            &match rest.as_str() {
                "" => "nobody is left to answer".to_owned(),
                rest => format!("it refuses connections, they go to {rest}"),
            },
        )
    }

    fn silence(&mut self, at: usize) -> String {
        let done = self.backends[at].silence();
        let rest = self.running();
        self.event(
            at,
            done,
            "silent",
            &match rest.as_str() {
                "" => "nobody is left to answer".to_owned(),
                rest => format!("it does not answer, so the next is tried alongside: {rest}"),
            },
        )
    }

    fn revive(&mut self, at: usize) -> String {
        let done = self.backends[at].revive();
        self.event(at, done, "revived", "it has its turn again")
    }

    fn event(&self, at: usize, done: io::Result<()>, what: &str, so: &str) -> String {
        let name = self.backends[at].name;
        match done {
            Ok(()) => format!("{name} {what}: {so}"),
            Err(error) => format!("{name} cannot be {what}: {error}"),
        }
    }

    /// The names of those that run: `alpha`, `alpha and beta`.
    fn running(&self) -> String {
        let running = self.backends.iter().filter(|backend| backend.state() == State::Running);
        running.map(|backend| backend.name).collect::<Vec<_>>().join(" and ")
    }
}
