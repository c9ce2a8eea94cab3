//! The checks of one backend in one round.

use std::{net::SocketAddr, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use lb_core::BackendId;
use tokio::time::{Instant, timeout};

use super::{Answer, Probe, Target};

/// A probe with its name and its time.
/// ```
/// use lb_net::probe::{Check, Tcp};
/// use std::{sync::Arc, time::Duration};
/// let check = Check::new("connect", Arc::new(Tcp::default()), Duration::from_millis(300));
/// assert_eq!((check.name(), check.timeout().as_millis()), ("connect", 300));
/// ```
#[derive(Clone, Debug)]
pub struct Check {
    name: String,
    probe: Arc<dyn Probe>,
    timeout: Duration,
}

impl Check {
    /// This probe, under this name in what is told of it. It has no answer when `timeout` has passed.
    #[must_use]
    pub fn new(name: impl Into<String>, probe: Arc<dyn Probe>, timeout: Duration) -> Self {
        Self { name: name.into(), probe, timeout }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn make(&self, target: &Target) -> Answer {
        let probe = AssertUnwindSafe(async { self.probe.probe(target).await }).catch_unwind();
        match timeout(self.timeout, probe).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Answer::Inconclusive("the probe panicked".into()),
            Err(_) => Answer::Silent(format!("no answer within {:?}", self.timeout)),
        }
    }
}

/// What a round found of one backend.
/// ```
/// use lb_net::probe::{Answer, Finding};
/// let show = |found: &Finding| println!("{}: {}", found.backend, found.reason);
/// # let _ = show;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which one.
    pub id: BackendId,
    /// Its name as configured.
    pub backend: String,
    /// How the check that decided has ended.
    pub answer: Answer,
    /// The same for a log: `probe: connect: connection refused`, `probe: passed`.
    pub reason: String,
}

/// A round that is under way.
pub(super) type Round = Pin<Box<dyn Future<Output = Option<Found>> + Send>>;

/// A round that has ended: which one, when it has begun, and when the next is due unless a policy knows better.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) finding: Finding,
    pub(super) serial: u64,
    pub(super) began: Instant,
    pub(super) next: Instant,
}

/// Looks at one address after the other until there is an answer.
pub(super) async fn round(checks: Arc<[Check]>, id: BackendId, backend: String, addresses: Vec<SocketAddr>) -> Finding {
    let mut worst = (Answer::Silent("it has no address".into()), "probe: it has no address".to_owned());
    for address in addresses {
        let (answer, reason) = look(&checks, &Target::new(&*backend, address)).await;
        let unsure = matches!(worst.0, Answer::Inconclusive(_));
        match answer {
            Answer::Silent(_) if unsure => {}
            Answer::Silent(_) | Answer::Inconclusive(_) => worst = (answer, reason),
            _ => return Finding { id, backend, answer, reason },
        }
    }
    Finding { id, backend, answer: worst.0, reason: worst.1 }
}

/// All checks of one address; the first that does not pass decides. Where all do, it is the smallest share that was said.
async fn look(checks: &[Check], target: &Target) -> (Answer, String) {
    let mut least = (Answer::Passed, "probe: passed".to_owned());
    for check in checks {
        let answer = check.make(target).await;
        let share = answer.share();
        let says_nothing = answer == Answer::Passed || least.0 != Answer::Passed && share >= least.0.share();
        if share.is_some() && says_nothing {
            continue;
        }
        let reason = format!("probe: {}: {}", check.name, answer.reason());
        least = (answer, reason);
        if share.is_none() {
            break;
        }
    }
    least
}
