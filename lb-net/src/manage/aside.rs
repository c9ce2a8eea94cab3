//! Work that may block, beside the runtime.

use std::{io, thread};

use tokio::sync::oneshot;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum AsideError {
    #[error("the system has no thread for it: {0}")]
    NoThread(io::Error),
    #[error("this command has failed inside lb, please report it")]
    Panicked,
}

/// Does it on a thread of its own, not one of the runtime's: the runtime would not end before it does.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AsideError> {
    let (answer, answered) = oneshot::channel();
    let started = thread::Builder::new().name("lb-control".to_owned()).spawn(move || {
        // Nobody waits for it when the session was ended meanwhile.
        let _ = answer.send(work());
    });
    started.map_err(AsideError::NoThread)?;
    answered.await.map_err(|_| AsideError::Panicked)
}
